# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json
import threading

import pytest

from tl_adapt.campaign import CampaignResult
from tl_adapt.demo import job as steps
from tl_adapt.report.page import write_report
from tl_adapt.store import Store
from tl_adapt.study_parts import Tuning
from tl_adapt.testing.analytic import AnalyticEnvironment, analytic_study
from tl_adapt.verbs.demo import run_steps


class Counting:
    """Make environments of the analytic problem and count what they measure."""

    def __init__(self):
        self.measured = []

    def __call__(self, study, name, *, worker=0, traces=None):
        role = 'source' if name == study.source.name else 'target'
        environment = AnalyticEnvironment(study, role)
        inner = environment.measure

        def measure(configuration, seed):
            self.measured.append((name, seed))
            return inner(configuration, seed)

        environment.measure = measure
        return environment


@pytest.fixture
def study():
    return analytic_study(0, budget=3)


def do(study, folder, counting, adapt=lambda job, ours: {}):
    said = []
    with Store(folder / 'store.sqlite', study=study) as store:
        job = steps.Job(study, store, folder, 1, 6, said.append, counting)
        return run_steps(job, adapt), said


def test_the_whole_job_and_its_repetition(study, tmp_path):
    counting = Counting()
    result, said = do(study, tmp_path, counting)
    assert set(result['comparison']['rows']) == {
        'default', 'simulation best', 'target-only', 'random', 'ours'
    }
    rows = result['comparison']['rows']
    assert all(row['runs'] == 6 for row in rows.values())
    assert rows['default']['configuration'] == study.space.default()
    spent = {method: len(one['measurements']) for method, one in result['transfer'].items()}
    assert spent['transfer'] <= 3
    assert spent['random'] == 3
    assert 3 <= spent['target-only'] <= 9
    assert any('came level' in line for line in said)
    assert set(result['influence']) == {'formulas', 'other_formulas'}
    assert result['gap']['objective']['pairs'] >= 3
    page = write_report(json.loads(json.dumps(result)), tmp_path / 'report.html').read_text()
    assert 'simulation best' in page
    # Seeds of the comparison are none that tuning has seen.
    seen = {m['seed'] for one in result['transfer'].values() for m in one['measurements']}
    with Store(tmp_path / 'store.sqlite', study=study) as store:
        evaluated = {m.seed for m in store.get(purpose='evaluation')}
    assert not seen & evaluated
    # What is in the store is not measured again, and gives the same result.
    before = len(counting.measured)
    again, _ = do(study, tmp_path, counting)
    assert len(counting.measured) == before
    assert again['comparison'] == result['comparison']


def test_target_only_has_the_choice_of_a_run_with_the_same_budget(study, tmp_path):
    with Store(tmp_path / 'store.sqlite', study=study) as store:
        job = steps.Job(study, store, tmp_path, 1, 6, lambda text: None, Counting())
        source = steps.campaign(job)
        longer = steps.tune(job, source, 9)['target-only']
    with Store(tmp_path / 'other.sqlite', study=study) as store:
        job = steps.Job(study, store, tmp_path, 1, 6, lambda text: None, Counting())
        shorter = steps.tune(job, source, 3)['target-only']
    assert [m.configuration for m in longer.measurements[:3]] == [
        m.configuration for m in shorter.measurements
    ]
    assert steps.choice_after(job, longer, 3) == shorter.choice.configuration


def test_an_error_in_one_stream_ends_the_other(study, tmp_path):
    def fail(study, name, *, worker=0, traces=None):
        environment = AnalyticEnvironment(study, 'target')
        if worker == 1:
            def measure(configuration, seed):
                raise RuntimeError('no such luck')

            environment.measure = measure
        return environment

    with Store(tmp_path / 'store.sqlite', study=study) as store:
        job = steps.Job(study, store, tmp_path, 1, 6, lambda text: None, fail)
        with pytest.raises(RuntimeError, match='no such luck'):
            steps.tune(job, [], 9)
        assert job.stop.is_set()


def test_an_error_is_not_waited_with_until_the_other_stream_ends(study, tmp_path):
    closed, begun = threading.Event(), threading.Event()

    def make(study, name, *, worker=0, traces=None):
        environment = AnalyticEnvironment(study, 'target')
        inner = environment.measure

        def slow(configuration, seed):
            begun.set()
            assert closed.wait(30.0), 'nobody closed it'
            return inner(configuration, seed)

        def fail(configuration, seed):
            assert begun.wait(30.0)
            raise RuntimeError('no such luck')

        environment.measure = (slow, fail)[worker]
        environment.close = closed.set if worker == 0 else lambda: None
        return environment

    with Store(tmp_path / 'store.sqlite', study=study) as store:
        job = steps.Job(study, store, tmp_path, 1, 6, lambda text: None, make)
        with pytest.raises(RuntimeError, match='no such luck'):
            steps.tune(job, [], 9)


def test_what_would_have_been_chosen_is_one_of_what_can_be_measured(study, tmp_path):
    listed = study.space.sample(12, seed=3)

    class Listed(AnalyticEnvironment):
        def configurations(self):
            return listed

    def make(study, name, *, worker=0, traces=None):
        return Listed(study, 'target')

    with Store(tmp_path / 'store.sqlite', study=study) as store:
        job = steps.Job(study, store, tmp_path, 1, 6, lambda text: None, make)
        result = steps.run_transfer(
            study, store, make(study, ''), method='target-only', budget=3, seed=1
        )
        failed = [dataclasses.replace(run, valid=False) for run in result.measurements]
        for runs in (result.measurements, failed):
            result.measurements = runs
            assert steps.choice_after(job, result, 2) in listed


def test_the_jobs_own_environments_simulate_for_the_tuning(tmp_path, monkeypatch):
    study = dataclasses.replace(
        analytic_study(0, budget=3), tuning=dataclasses.replace(Tuning(), simulate=True)
    )
    given = []

    def run_transfer(study, store, environment, *, environments, **more):
        given.append((environments[study.source.name], environment))
        raise RuntimeError('enough')

    monkeypatch.setattr(steps, 'run_transfer', run_transfer)
    counting = Counting()
    with Store(tmp_path / 'store.sqlite', study=study) as store:
        job = steps.Job(study, store, tmp_path, 1, 6, lambda text: None, counting)
        with pytest.raises(RuntimeError, match='enough'):
            steps.tune(job, [], 3)
    for source, target in given:
        source.measure(study.space.default(), 1)
        target.measure(study.space.default(), 1)
    assert {name for name, _ in counting.measured} == {study.source.name, study.target.name}


def test_an_interrupted_campaign_ends_the_job(study, tmp_path, monkeypatch):
    monkeypatch.setattr(
        steps, 'run_campaign', lambda *args, **options: CampaignResult(0, 0, 0, True)
    )
    with Store(tmp_path / 'store.sqlite', study=study) as store:
        job = steps.Job(study, store, tmp_path, 1, 6, lambda text: None, Counting())
        with pytest.raises(steps.Interrupted):
            steps.campaign(job)
