# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for tl_adapt.adaptation.model_planner."""

import json
import math

import numpy as np
import pytest

from tl_adapt.adaptation.carrying import carried
from tl_adapt.adaptation.events import Window
from tl_adapt.adaptation.model_planner import ModelPlanner, load_choice
from tl_adapt.adaptation.recurring import explains, last_change
from tl_adapt.environments.base import Measurement
from tl_adapt.errors import InputError, TlAdaptError
from tl_adapt.models.model_set import ModelSet
from tl_adapt.models.transfer import TransferModel
from tl_adapt.study import study_from_dict


def truth(configuration, load):
    """Return a made-up time: its best v rises with the load."""
    v = configuration['v']
    return 10.0 * math.exp(3.0 * (v - 0.3 - 0.4 * load) ** 2 + 0.5 * load)


@pytest.fixture(scope='module')
def study():
    return study_from_dict({
        'version': 1, 'name': 'planner',
        'parameters': {
            'v': {'type': 'double', 'range': [0.0, 1.0], 'default': 0.5},
            'w': {'type': 'double', 'range': [0.0, 1.0], 'default': 0.5},
        },
        'metrics': {
            'time': {'unit': 's', 'direction': 'minimize', 'scale': 'log'},
            'gap': {'unit': 'm', 'direction': 'maximize'},
        },
        'objectives': [{'metric': 'time', 'weight': 1.0, 'reference': 10.0}],
        'limits': ['gap >= 0.1'],
        'environments': {'robot': {'kind': 'command', 'role': 'target', 'command': ['true']}},
    })


@pytest.fixture(scope='module')
def model(study):
    rng = np.random.default_rng(0)

    def measured(configuration, factor):
        time = factor * truth(configuration, 0.0) * math.exp(0.02 * rng.standard_normal())
        return Measurement('', configuration, 0, {'time': time, 'gap': 1.0 - configuration['v']})

    source = [measured(c, 1.0) for c in study.space.sample(24, seed=1)]
    source.append(Measurement('', {'v': 1.0, 'w': 1.0}, 0, valid=False, reason='crash'))
    target = [measured(c, 1.2) for c in study.space.sample(4, seed=2)]
    return ModelSet(study).fit(source, target)


def window(configuration, load, noise=0.0):
    time = 1.2 * truth(configuration, load) * math.exp(noise)
    return Window({'time': time, 'gap': 1.0 - configuration['v']}, '', 20.0, configuration)


def residual(band, value):
    return (band.scaled(value) - band.mean) / band.std


def test_bands_hold_what_is_normal_and_not_what_has_changed(study, model):
    planner = ModelPlanner(study, model)
    configuration = {'v': 0.35, 'w': 0.5}
    bands = planner.bands(configuration)
    assert abs(residual(bands['time'], 1.2 * truth(configuration, 0.0))) < 3.0
    assert abs(residual(bands['time'], 1.2 * truth(configuration, 1.0))) > 4.0
    assert bands['time'].log
    assert not bands['gap'].log


def test_what_is_carried_on_is_what_the_present_model_says(study, model):
    rows = carried(study, model)
    assert len(rows) == 28, 'the failure alone tells too little of a region'
    found = np.array([row.metrics['time'] for row in rows])
    said = model.predict([row.configuration for row in rows]).mean['time']
    assert np.median(np.abs(np.log(found / said))) < 0.05


def test_few_windows_after_a_change_lead_to_a_better_configuration(study, model):
    planner = ModelPlanner(study, model)
    planner.prepare()
    anchor = {'v': 0.3, 'w': 0.5}
    evidence = [window(anchor, 1.0), window(anchor, 1.0, 0.01)]
    for number in range(4):
        choice = planner.propose(evidence, [])
        if choice is None:
            assert number > 0, 'it is worth a trial'
            break
        assert study.space.contains(choice.configuration)
        evidence.append(window(choice.configuration, 1.0))
    best = planner.best(evidence, anchor, [])
    assert truth(best.configuration, 1.0) < 0.85 * truth(anchor, 1.0)
    assert best.gain > 0.1
    planner.accept(evidence)
    band = planner.bands(best.configuration)['time']
    assert abs(residual(band, window(best.configuration, 1.0).metrics['time'])) < 3.0


def test_what_must_be_avoided_is_not_proposed(study, model):
    planner = ModelPlanner(study, model)
    evidence = [window({'v': 0.3, 'w': 0.5}, 1.0)] * 2
    first = planner.propose(evidence, [])
    second = planner.propose(evidence, [first.configuration])
    assert second is None or second.configuration != first.configuration
    best = planner.best(evidence, {'v': 0.3, 'w': 0.5}, [])
    other = planner.best(evidence, {'v': 0.3, 'w': 0.5}, [best.configuration])
    assert other.configuration != best.configuration
    assert planner.best(evidence, {'v': 0.3, 'w': 0.5}, []).configuration == best.configuration


def test_another_change_forgets_the_evidence_of_the_first(study, model):
    planner = ModelPlanner(study, model)
    anchor = {'v': 0.3, 'w': 0.5}
    planner.propose([window(anchor, 1.0)] * 3, [])
    planner.propose([window(anchor, -1.0)] * 2, [])
    fresh = ModelPlanner(study, model)
    fresh.propose([window(anchor, -1.0)] * 2, [])
    evidence = [window(anchor, -1.0)] * 2
    assert planner.best(evidence, anchor, []) == fresh.best(evidence, anchor, [])


def test_a_failed_window_teaches_validity(study, model):
    planner = ModelPlanner(study, model)
    bad = {'v': 0.8, 'w': 0.2}
    before = model.feasibility([bad])[0]
    evidence = [Window({}, 'timeout', 60.0, bad)] * 2
    planner.accept(evidence)
    assert planner.model.feasibility([bad])[0] < before


def test_a_fit_that_fails_late_is_said_and_changes_nothing(study, model, monkeypatch):
    planner = ModelPlanner(study, model)
    evidence = [window({'v': 0.3, 'w': 0.5}, 1.0)] * 2
    planner.prepare()
    present = planner.bands(evidence[0].configuration)

    def fail(*args, **options):
        raise np.linalg.LinAlgError('not positive definite')

    with monkeypatch.context() as patch:
        patch.setattr(TransferModel, 'fit', fail)
        for ask in (planner.accept, lambda e: planner.propose(e, []),
                    lambda e: planner.best(e, evidence[0].configuration, [])):
            with pytest.raises(TlAdaptError, match='not positive definite'):
                ask(evidence)
        assert planner.model is model
    with monkeypatch.context() as patch:
        patch.setattr(TransferModel, 'latent', fail)
        assert planner.bands(evidence[0].configuration) == present
        with pytest.raises(TlAdaptError, match='can not predict: not positive definite'):
            planner.bands({'v': 0.9, 'w': 0.5})
    planner.accept(evidence)
    assert planner.model is not model


@pytest.mark.parametrize('text, match', [
    (None, 'no chosen configuration'),
    ('{', 'no JSON'),
    ('[' * 100_000, 'nested too deeply'),
    ('[]', 'must hold a configuration'),
    (json.dumps({'configuration': {'v': 2.0, 'w': 0.5}}), 'choice.json'),
    (json.dumps({'configuration': {'v': 0.5}}), 'missing'),
    (json.dumps({'configuration': {'v': 0.5, 'w': 1}, 'digest': 'x'}), 'another study, or to'),
])
def test_a_wrong_choice_is_refused(study, tmp_path, text, match):
    if text is not None:
        (tmp_path / 'choice.json').write_text(text)
    with pytest.raises(InputError, match=match):
        load_choice(tmp_path, study)


def test_a_choice_is_read(study, tmp_path):
    (tmp_path / 'choice.json').write_text(
        json.dumps({'configuration': {'v': 0.5, 'w': 1}, 'why': 'because'}))
    assert load_choice(tmp_path, study) == ({'v': 0.5, 'w': 1.0}, 'because')
    (tmp_path / 'choice.json').write_text(
        json.dumps({'configuration': {'v': 0.5, 'w': 1}, 'digest': study.digest}))
    assert load_choice(tmp_path, study)[0] == {'v': 0.5, 'w': 1.0}


def test_what_is_chosen_keeps_the_limits(study, model):
    planner = ModelPlanner(study, model)
    # The best v under this load, 1.1, is beyond the limit of the gap at 0.9.
    anchor = {'v': 0.3, 'w': 0.5}
    evidence = [window({'v': v, 'w': 0.5}, 2.0) for v in (0.3, 0.3, 0.99, 0.95, 0.6)]
    best = planner.best(evidence, anchor, [])
    assert best.configuration['v'] <= 0.9
    assert best.gain > 0.1
    planner.accept(evidence)
    outlook = planner.outlook(best.configuration)
    assert outlook.kept >= 0.9
    assert outlook.kept <= outlook.valid <= 1.0
    assert planner.outlook({'v': 0.99, 'w': 0.5}).kept < 0.5


def test_a_branch_learns_for_itself(study, model):
    planner = ModelPlanner(study, model)
    anchor = {'v': 0.3, 'w': 0.5}
    other = planner.branch()
    before = planner.bands(anchor)['time']
    assert other.bands(anchor)['time'] == before
    other.accept([window(anchor, 1.0)] * 2)
    assert other.bands(anchor)['time'].mean > before.mean + 0.2
    assert planner.bands(anchor)['time'] == before


def with_gap(configuration, load, gap, noise=0.0):
    seen = window(configuration, load, noise)
    return Window({**seen.metrics, 'gap': gap}, '', 20.0, configuration)


def test_what_is_not_worth_its_risk_is_not_tried_out(study, model):
    planner = ModelPlanner(study, model)
    best = planner.best([window({'v': 0.3, 'w': 0.5}, 0.0)] * 4, {'v': 0.3, 'w': 0.5}, [])
    evidence = [window(best.configuration, 0.0, 0.01 * i) for i in range(4)]
    assert planner.propose(evidence, []) is None, 'it is as good as it can be already'


def test_a_broken_limit_leads_away_from_what_broke_it(study, model):
    planner = ModelPlanner(study, model)
    bad, back = {'v': 0.3, 'w': 0.5}, {'v': 0.5, 'w': 0.5}
    before = planner.outlook(bad).kept
    assert before > 0.9
    evidence = [with_gap(bad, 0.0, 0.05), with_gap(back, 0.0, 0.5)]
    choice = planner.best(evidence, back, [])
    planner.accept(evidence)
    assert choice.kept >= 0.9
    assert choice.kept == pytest.approx(planner.outlook(choice.configuration).kept, abs=0.05)
    assert planner.outlook(bad).kept < min(before, choice.kept)


def test_the_gain_counts_limits_that_may_be_broken(study, model):
    planner = ModelPlanner(study, model)
    anchor = {'v': 0.89, 'w': 0.5}
    evidence = [with_gap(anchor, 2.0, gap, 0.0) for gap in (0.09, 0.11, 0.1)]
    choice = planner.best(evidence, anchor, [])
    assert choice.kept > 0.9
    assert choice.configuration['v'] < anchor['v']
    assert choice.gain > 0.1, 'though the objective is no better there'


def test_an_environment_that_was_met_before_gets_its_model_again(study, model):
    planner = ModelPlanner(study, model)
    anchor = {'v': 0.3, 'w': 0.5}
    loaded = [window(anchor, 1.0, noise) for noise in (0.0, 0.01, -0.01)]
    planner.best(loaded, anchor, [])
    planner.accept(loaded)
    other = {'v': 0.8, 'w': 0.2}
    first = ModelPlanner(study, model).bands(other)['time'].mean
    assert abs(planner.bands(other)['time'].mean - first) > 0.2
    again = [window(anchor, 0.0, noise) for noise in (0.0, 0.01, -0.01)]
    planner.best(again, anchor, [])
    planner.accept(again)
    assert abs(planner.bands(other)['time'].mean - first) < 0.1
    assert len(planner._past) == 1, 'each environment has one model'


def test_windows_of_an_earlier_environment_teach_nothing(study, model):
    anchor = {'v': 0.3, 'w': 0.5}
    noise = (0.0, 0.01, -0.01, 0.02)
    before = [window(anchor, 1.0, one) for one in noise]
    after = [window(anchor, 0.0, one) for one in noise[:2]]
    assert last_change(study, model, [*before, *after]) == len(before)
    assert last_change(study, model, before) == last_change(study, model, []) == 0
    failed = Window({}, 'timeout', 60.0, anchor)
    assert last_change(study, model, [*before, failed, *after]) in (4, 5)
    mixed, clean = ModelPlanner(study, model), ModelPlanner(study, model)
    mixed.accept([*before, *after])
    clean.accept(after)
    assert mixed.bands(anchor)['time'] == clean.bands(anchor)['time']


def test_what_was_seen_is_weighed_by_what_each_model_says(study, model):
    anchor = {'v': 0.3, 'w': 0.5}
    planner = ModelPlanner(study, model)
    planner.accept([window(anchor, 1.0)] * 3)
    models = [planner.model, model]
    assert explains(study, models, []) is planner.model
    assert explains(study, models, [window(anchor, 1.0)] * 2) is planner.model
    assert explains(study, models, [window(anchor, 0.0)] * 2) is model
    assert explains(study, models[:1], [window(anchor, 0.0)] * 2) is planner.model


def test_models_of_the_past_hold_no_memory_that_only_makes_them_quicker(study, model):
    planner = ModelPlanner(study, model)
    anchor = {'v': 0.3, 'w': 0.5}
    for load in (1.0, -1.0, 2.0):
        evidence = [window(anchor, load)] * 2
        planner.best(evidence, anchor, [])
        planner.accept(evidence)
    for past in planner._past:
        assert not any(s._kept for one in past.models.values() for s in one.sources)
