# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
import pytest

from tl_adapt.environments.base import Measurement
from tl_adapt.models.model_set import ModelSet
from tl_adapt.study import study_from_dict
from tl_adapt.tuner import Tuner
from tl_adapt.tuning import search, trust

COMMAND = ['{python}', '-c', '']
AXIS = {'type': 'double', 'range': [0.0, 1.0], 'default': 0.9}
STUDY = study_from_dict({
    'version': 1, 'name': 'trust', 'parameters': {'a': AXIS, 'b': AXIS},
    'metrics': {'time': {'direction': 'minimize'}, 'gap': {'direction': 'maximize'}},
    'objectives': [{'metric': 'time'}], 'limits': ['gap >= 0.0'],
    'environments': {
        'sim': {'kind': 'command', 'role': 'source', 'command': COMMAND},
        'robot': {'kind': 'command', 'role': 'target', 'command': COMMAND},
    },
    'budget': {'target': 10},
})
TOGETHER = [(0.3, 0.6), (0.31, 0.6), (0.3, 0.61), (0.31, 0.61)]
APART = [(0.3, 0.6), (0.95, 0.05), (0.05, 0.1), (0.9, 0.95), (0.3, 0.62)]


@pytest.fixture(autouse=True)
def small_pool(monkeypatch):
    monkeypatch.setattr(search, 'POOL', 64)


def valley(a, b):
    return 1.0 + (a - 0.3) ** 2 + (b - 0.6) ** 2


def run(environment, place, time, gap=1.0, number=0):
    a, b = place
    return Measurement(environment, {'a': a, 'b': b}, number, {'time': time, 'gap': gap})


def source(n=24):
    rng = np.random.default_rng(0)
    return [run('sim', place, valley(*place) + 0.002 * rng.standard_normal())
            for place in rng.random((n, 2)).tolist()]


def fitted(target):
    return ModelSet(STUDY).fit(source(), target)


def stuck(target):
    return trust.stuck(fitted(target), target)


def runs(places, times=None, gap=1.0):
    return [run('robot', place, valley(*place) if times is None else times[i], gap)
            for i, place in enumerate(places)]


def test_what_is_near_by_the_source_is_one_place():
    model = fitted([]).models['time'].sources[0]
    assert trust.places(model, np.array(TOGETHER)).tolist() == [0, 0, 0, 0]
    assert trust.places(model, np.array(APART)).tolist() == [0, 1, 2, 3, 0]


def test_runs_apart_confirm_a_source_that_they_agree_with():
    assert not trust.confirmed(fitted(runs(APART[:2])))
    assert trust.confirmed(fitted(runs(APART)))
    contrary = [2.0 - valley(*place) for place in APART]
    assert not trust.confirmed(fitted(runs(APART, contrary)))


def test_a_run_in_vain_where_the_source_points_is_enough():
    assert not stuck(runs(TOGETHER[:1]))
    assert stuck(runs(TOGETHER[:2], [1.0, 1.1]))
    assert not stuck(runs(TOGETHER[:2], [1.0, 0.2])), 'it got better'
    assert not stuck(runs(APART[:2], [1.0, 1.1])), 'the last was elsewhere'
    known = runs([*APART[:2], TOGETHER[2]], [1.0, 1.5, 1.1])
    assert not stuck(known), 'the source was right elsewhere'
    known[1].metrics['time'] = 0.7
    assert stuck(known)


def test_a_limit_that_stays_broken_is_in_vain():
    times = [1.0, 0.2]
    assert stuck(runs(TOGETHER[:2], times, gap=-1.0))
    kept = runs(TOGETHER[:2], times, gap=-1.0)
    kept[1].metrics['gap'] = 1.0
    assert not stuck(kept)


def test_runs_that_have_been_everywhere_speak_for_themselves(monkeypatch):
    contrary = runs(APART, [2.0 - valley(*place) for place in APART])
    monkeypatch.setattr(trust, 'PLACES', 5)
    assert stuck(contrary)
    monkeypatch.setattr(trust, 'PLACES', 4)
    assert not stuck(contrary)


def tune(target, **settings):
    study = dataclasses.replace(
        STUDY, tuning=dataclasses.replace(STUDY.tuning, **settings)
    )
    tuner = Tuner(study, source=source(), budget=10)
    for one in target:
        tuner.tell(one)
    return tuner.ask()[0]


def test_the_tuner_tests_a_source_that_leads_nowhere():
    proposal = tune(runs(TOGETHER[:2], [1.0, 1.1]))
    assert proposal.configuration == STUDY.space.default()
    assert 'to test what the source says' in proposal.why
    assert 'test' not in tune(runs(TOGETHER[:2], [1.0, 0.2])).why
    assert 'test' not in tune(runs(TOGETHER[:2], [1.0, 1.1]), safe=True).why
