# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0

import dataclasses
import json
import zipfile

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tl_adapt.environments.base import Measurement
from tl_adapt.errors import InputError
from tl_adapt.models import persistence
from tl_adapt.models.model_set import ModelSet
from tl_adapt.models.transfer import TransferModel
from tl_adapt.study import study_from_dict
from tl_adapt.testing.analytic import AnalyticEnvironment, analytic_study

STUDY = analytic_study()
SOURCE = AnalyticEnvironment(STUDY, 'source')
TARGET = AnalyticEnvironment(STUDY, 'target')


def measure(environment, n, seed):
    return [environment.measure(c, i) for i, c in enumerate(STUDY.space.sample(n, seed=seed))]


@pytest.fixture(scope='module')
def data():
    return measure(SOURCE, 96, 1), measure(TARGET, 8, 2)


@pytest.fixture(scope='module')
def models(data):
    return ModelSet(STUDY).fit(*data)


def test_other_runs_of_the_source_are_learnt_anew(data):
    source, target = data
    edited = [dataclasses.replace(run, configuration=dict(run.configuration)) for run in source]
    kept = ModelSet(STUDY).fit(edited, target)
    pool = STUDY.space.sample(20, seed=5)
    first = dict(edited[0].configuration)
    edited[0].configuration.update(edited[1].configuration)
    for runs in (edited, source[:40], source[1:41], [*source[1:41], *edited[:5]], source):
        fresh = ModelSet(STUDY).fit(runs, target)
        kept = kept.branch().fit(runs, target)
        assert_allclose(kept.assess(STUDY.space.encode(pool)).mean,
                        fresh.assess(STUDY.space.encode(pool)).mean, rtol=1e-9)
    assert edited[0].configuration != first


def test_it_predicts_the_targets_metrics(models):
    pool = STUDY.space.sample(300, seed=5)
    truth = TARGET.truth(pool)
    found = models.predict(pool)
    assert set(found.mean) == set(found.std) == {'duration', 'energy', 'margin'}
    for name in ('duration', 'energy'):
        assert np.corrcoef(np.log(found.mean[name]), np.log(truth[name]))[0, 1] > 0.6
    assert np.corrcoef(found.mean['margin'], truth['margin'])[0, 1] > 0.9
    crash = truth['margin'] < -0.12
    assert found.valid[crash].mean() < found.valid[~crash].mean() - 0.2


def test_the_objective_is_the_weighted_sum(models):
    pool = STUDY.space.sample(20, seed=5)
    mean, std = models.objective(pool)
    parts = {name: models.models[name].moments(STUDY.space.encode(pool), noise=False)
             for name in ('duration', 'energy')}
    duration, energy = parts['duration'], parts['energy']
    assert_allclose(mean, 0.6 * duration[0] / 20 + 0.4 * energy[0] / 100)
    assert_allclose(std, np.hypot(0.6 * duration[1] / 20, 0.4 * energy[1] / 100))


def test_feasibility_is_validity_times_the_limits_kept(models):
    pool = STUDY.space.sample(300, seed=6)
    feasible = models.feasibility(pool)
    assert (feasible <= models.predict(pool).valid + 1e-12).all()
    margin = TARGET.truth(pool)['margin']
    assert feasible[margin > 0.05].mean() > 0.6
    assert feasible[margin < -0.05].mean() < 0.25


def test_a_limit_on_a_log_metric_may_be_zero_or_less(data):
    study = study_from_dict(json.loads(json.dumps(raw_study())) | {
        'limits': ['duration >= 0.0', 'energy <= -1.0'],
    })
    models = ModelSet(study).fit(*data)
    assert_allclose(models.feasibility(study.space.sample(5, seed=0)), 0.0, atol=1e-12)


def raw_study():
    """Return the content of a study with the analytic one's parameters."""
    parameters = {}
    for p in STUDY.space.parameters:
        entry = {'type': p.type, 'default': p.default}
        if p.choices is not None:
            entry['choices'] = list(p.choices)
        else:
            entry |= {'range': [p.low, p.high], 'log': p.log}
        parameters[p.name] = entry
    command = ['{python}', '-c', '']
    return {
        'version': 1, 'name': 'analytic', 'parameters': parameters,
        'metrics': {
            'duration': {'direction': 'minimize', 'scale': 'log'},
            'energy': {'direction': 'minimize', 'scale': 'log'},
            'margin': {'direction': 'maximize'},
        },
        'objectives': [{'metric': 'duration'}, {'metric': 'margin', 'weight': 2.0}],
        'environments': {
            'formulas': {'kind': 'command', 'role': 'source', 'command': command},
            'other_formulas': {'kind': 'command', 'role': 'target', 'command': command},
        },
    }


def test_a_metric_to_be_maximised_enters_with_a_minus(data):
    study = study_from_dict(raw_study())
    models = ModelSet(study).fit(*data)
    pool = study.space.sample(5, seed=0)
    X = study.space.encode(pool)
    duration = models.models['duration'].moments(X, noise=False)[0]
    margin = models.models['margin'].moments(X, noise=False)[0]
    assert_allclose(models.objective(pool)[0], duration - 2.0 * margin)


def test_failed_numbers_are_not_regressed(data):
    source, target = data
    spoilt = [
        Measurement.from_dict({**m.to_dict(), 'metrics': {'duration': 1e9, 'margin': 1e9}})
        if not m.valid else m
        for m in source
    ]
    assert any(not m.valid for m in source)
    pool = STUDY.space.sample(10, seed=0)
    for name, mean in ModelSet(STUDY).fit(spoilt, target).predict(pool).mean.items():
        assert_allclose(mean, ModelSet(STUDY).fit(source, target).predict(pool).mean[name])


def test_zero_on_a_log_scale_is_no_error(data):
    source = [Measurement.from_dict(m.to_dict()) for m in data[0]]
    source[0].metrics['energy'] = 0.0
    found = ModelSet(STUDY).fit(source, data[1]).predict(STUDY.space.sample(5, seed=0))
    assert (found.mean['energy'] > 0).all()


@pytest.mark.parametrize('n', [0, 1, 2])
def test_few_target_measurements_or_no_source_work(data, n):
    pool = STUDY.space.sample(5, seed=0)
    for source in (data[0], []):
        models = ModelSet(STUDY).fit(source, data[1][:n])
        assert models.ready == bool(source or n)
        if models.ready:
            mean, std = models.objective(pool)
            assert np.isfinite(mean).all()
            assert (std > 0).all()


def test_without_a_valid_measurement_it_says_so(data):
    failed = [m for m in data[0] if not m.valid]
    models = ModelSet(STUDY).fit(failed, [])
    assert not models.ready
    with pytest.raises(InputError, match='no valid measurement'):
        models.objective(STUDY.space.sample(2, seed=0))


def test_a_branch_leaves_the_original_alone(data, models):
    pool = STUDY.space.sample(5, seed=0)
    before = models.objective(pool)[0]
    branch = models.branch().fit(data[0], data[1][:3], quick=True)
    assert not np.allclose(branch.objective(pool)[0], before)
    assert_allclose(models.objective(pool)[0], before)
    assert branch.models['energy'].source is models.models['energy'].source


def test_only_models_that_are_asked_for_are_fitted(data, models, monkeypatch):
    fits = []
    fit = TransferModel.fit

    def counted(self, *args, quick=False):
        fits.append(quick)
        return fit(self, *args, quick=quick)

    monkeypatch.setattr(TransferModel, 'fit', counted)
    pool = STUDY.space.sample(5, seed=0)
    late = ModelSet(STUDY).fit(data[0], data[1][:5]).fit(*data)
    assert fits == []
    objective = late.objective(pool)
    assert fits == [False] * len(late.needed)
    for got, wanted in zip(objective, models.objective(pool)):
        assert_allclose(got, wanted, rtol=1e-9)
    early = ModelSet(STUDY).fit(data[0], data[1][:6])
    early.predict(pool)
    early.fit(*data, quick=True)
    fits.clear()
    late = ModelSet(STUDY).fit(data[0], data[1][:6]).fit(*data, quick=True)
    for name, mean in late.predict(pool).mean.items():
        assert_allclose(mean, early.predict(pool).mean[name], rtol=1e-9)
    assert sorted(fits) == [False] * 3 + [True] * 6
    assert set(late.predict(pool, ['margin']).mean) == {'margin'}


def test_saved_models_predict_the_same(models, tmp_path):
    models.save(tmp_path / 'model')
    loaded = ModelSet.load(tmp_path / 'model', STUDY)
    pool = STUDY.space.sample(50, seed=7)
    for got, wanted in zip(loaded.objective(pool), models.objective(pool)):
        assert_allclose(got, wanted, rtol=1e-9)
    assert_allclose(loaded.feasibility(pool), models.feasibility(pool), rtol=1e-9)
    for name, std in models.predict(pool).std.items():
        assert_allclose(loaded.predict(pool).std[name], std, rtol=1e-9)
    models.save(tmp_path / 'model')  # over the old one


def edit(folder, **changes):
    path = folder / 'model.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_foreign_and_corrupt_files_are_refused(models, tmp_path):
    folder = tmp_path / 'model'

    def refused(match, study=STUDY):
        with pytest.raises(InputError, match=match):
            ModelSet.load(folder, study)
        models.save(folder)

    refused('no model here')
    refused('another study', analytic_study(5))
    edit(folder, version=99)
    refused('version')
    edit(folder, format='a cake')
    refused('format')
    edit(folder, metrics=['duration', 'energy', 'taste'])
    refused('taste')
    edit(folder, metrics=7)
    refused('corrupt')
    for metrics in ([], ['duration', 'energy'], ['duration', 'duration', 'margin']):
        edit(folder, metrics=metrics)
        refused('model.json: the model is corrupt: 3 metrics are kept, and')
    edit(folder, seed=None)
    refused('corrupt')
    (folder / 'model.json').write_text('{"format":')
    refused('JSON')
    (folder / 'model.json').write_bytes(b'\xff\xfe\x00')
    refused('JSON')
    data = (folder / 'model.npz').read_bytes()
    (folder / 'model.npz').write_bytes(data[:-20])
    refused('corrupt')
    (folder / 'model.npz').unlink()
    refused('can not be read')


@pytest.mark.parametrize('lacks', ['duration', 'margin'])
def test_a_model_without_a_metric_that_decides_is_refused(data, tmp_path, lacks):
    def without(measurements):
        return [
            dataclasses.replace(m, metrics={k: v for k, v in m.metrics.items() if k != lacks})
            for m in measurements
        ]

    ModelSet(STUDY).fit(*map(without, data)).save(tmp_path)
    with pytest.raises(InputError, match=f'metrics: has no model of {lacks}, which the object'):
        ModelSet.load(tmp_path, STUDY)


def test_the_file_holds_the_arrays_and_nothing_else(tmp_path):
    persistence.save(tmp_path, {'a': 1}, {'x': np.arange(3.0)})
    meta, arrays = persistence.load(tmp_path)
    assert (meta['a'], list(arrays)) == (1, ['x'])


def test_no_pickle_is_ever_loaded(models, tmp_path):
    import hashlib

    models.save(tmp_path)
    np.savez(tmp_path / 'model.npz', evil=np.array([{'a': 1}], dtype=object))
    data = (tmp_path / 'model.npz').read_bytes()
    edit(tmp_path, sha256=hashlib.sha256(data).hexdigest())
    with pytest.raises(InputError, match='corrupt'):
        ModelSet.load(tmp_path, STUDY)
    with zipfile.ZipFile(tmp_path / 'model.npz', 'w') as file:
        file.writestr('X.npy', b'nothing')
    data = (tmp_path / 'model.npz').read_bytes()
    edit(tmp_path, sha256=hashlib.sha256(data).hexdigest())
    with pytest.raises(InputError, match='corrupt'):
        ModelSet.load(tmp_path, STUDY)
