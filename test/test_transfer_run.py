# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import dataclasses
import threading

import pytest
import yaml

from tl_adapt.errors import ApparatusError, StoreError
from tl_adapt.parameter_file import (
    configuration_lines,
    parameter_tree,
    write_parameter_file,
)
from tl_adapt.store import Store
from tl_adapt.study import load_study
from tl_adapt.testing.analytic import AnalyticEnvironment, analytic_study
from tl_adapt.transfer import run_transfer
from tl_adapt.tuning.operator import Answer


@pytest.fixture(scope='module')
def study():
    return analytic_study(1, budget=4)


@pytest.fixture(scope='module')
def source(study):
    environment = AnalyticEnvironment(study, 'source')
    return [environment.measure(c, i) for i, c in enumerate(study.space.sample(16, seed=1))]


def configurations(result):
    return [m.configuration for m in result.measurements]


def test_an_interrupted_transfer_goes_on_where_it_ended(study, source, tmp_path):
    target = AnalyticEnvironment(study, 'target')
    with Store(tmp_path / 'whole.sqlite', study=study) as store:
        whole = run_transfer(study, store, target, budget=3, seed=5, source=source)
    stop = threading.Event()
    with Store(tmp_path / 'parts.sqlite', study=study) as store:
        first = run_transfer(
            study, store, target, budget=3, seed=5, source=source, stop=stop,
            on_measurement=lambda *_: stop.set(),
        )
        assert first.stopped == 'interrupted'
        assert len(first.measurements) == 1
        second = run_transfer(study, store, target, budget=3, seed=5, source=source)
        assert configurations(second) == configurations(whole)
        assert store.count(environment=target.name, purpose='transfer') == 3
        third = run_transfer(study, store, target, budget=3, seed=5, source=source)
    assert third.stopped == second.stopped
    assert third.choice.configuration == whole.choice.configuration


def test_methods_are_kept_apart(study, source, tmp_path):
    target = AnalyticEnvironment(study, 'target')
    with Store(tmp_path / 'store.sqlite', study=study) as store:
        for method in ('random', 'target-only'):
            run_transfer(study, store, target, method=method, budget=2, seed=5, source=source)
        assert store.count(purpose='random') == store.count(purpose='target-only') == 2
        assert store.count(purpose='transfer') == 0
        stored = store.get(purpose='target-only')[0]
    assert stored.provenance['versions']['tl_adapt']
    assert stored.configuration == study.space.default()


def test_measurements_for_another_aim_are_not_taken_for_ours(study, source, tmp_path):
    target = AnalyticEnvironment(study, 'target')
    with Store(tmp_path / 'store.sqlite', study=study) as store:
        run_transfer(study, store, target, budget=2, seed=5, source=source)
        with pytest.raises(StoreError, match='holds 2 measurements .* another seed'):
            run_transfer(study, store, target, budget=2, seed=6, source=source)
        again = run_transfer(study, store, target, budget=1, seed=6, source=source, reuse=True)
        assert len(again.measurements) == 1
        assert len(again.tuner.target) == 3
        assert store.count(purpose='transfer') == 3


@pytest.mark.parametrize('method', ['transfer', 'random'])
def test_what_was_recorded_in_bags_is_learnt_from_and_costs_nothing(
    study, source, tmp_path, method
):
    target = AnalyticEnvironment(study, 'target')
    with Store(tmp_path / 'store.sqlite', study=study) as store:
        for seed, configuration in enumerate(study.space.sample(3, seed=3)):
            recorded = target.measure(configuration, seed)
            recorded.purpose = 'bag'
            if seed == 2:
                # A bag may lack what a metric needs.
                recorded.metrics.pop(study.objectives[0].metric)
            store.add(recorded)
        result = run_transfer(
            study, store, target, method=method, budget=2, seed=5, source=source
        )
    assert len(result.measurements) == 2
    assert len(result.tuner.target) == 5
    assert result.stopped == 'the budget of 2 target measurements is spent'


def test_the_operator_can_end_it(study, source, tmp_path):
    target = AnalyticEnvironment(study, 'target')
    with Store(tmp_path / 'store.sqlite', study=study) as store:
        result = run_transfer(
            study, store, target, budget=3, seed=5, source=source,
            confirm=lambda index, *_: Answer.RUN if index < 1 else Answer.ABORT,
        )
    assert result.stopped == 'the operator ended it'
    assert not result.interrupted
    assert len(result.measurements) == 1


@pytest.mark.parametrize('method', ['transfer', 'target-only', 'random'])
def test_what_the_operator_refuses_is_not_asked_again(study, source, tmp_path, method):
    target = AnalyticEnvironment(study, 'target')
    asked, answers = [], [Answer.SKIP, Answer.RUN, Answer.SKIP, Answer.RUN, Answer.LATE]

    def confirm(index, proposal, tuner):
        asked.append(proposal.configuration)
        assert index == len(tuner.target)
        return answers[len(asked) - 1]

    with Store(tmp_path / 'store.sqlite', study=study) as store:
        result = run_transfer(
            study, store, target, method=method, budget=4, seed=5, source=source, confirm=confirm,
        )
        assert result.interrupted
        assert result.stopped == 'the operator gave no answer'
        assert configurations(result) == [asked[1], asked[3]]
        assert len({str(one) for one in asked}) == 5
        again = run_transfer(
            study, store, target, method=method, budget=4, seed=5, source=source,
            refused=result.tuner.refused,
        )
    assert not again.interrupted
    refused = [asked[0], asked[2]]
    assert again.tuner.refused == refused
    assert all(one not in refused for one in configurations(again))
    assert again.choice.configuration not in refused


def test_a_run_that_is_given_up_is_not_kept(study, source, tmp_path):
    stop = threading.Event()
    target = AnalyticEnvironment(study, 'target')

    class Dying:
        name = target.name
        retries = 0

        def measure(self, configuration, seed):
            stop.set()
            raise ApparatusError('its processes were ended')

    with Store(tmp_path / 'store.sqlite', study=study) as store:
        result = run_transfer(
            study, store, Dying(), budget=3, seed=5, source=source, stop=stop
        )
        assert (result.interrupted, result.measurements) == (True, [])
        assert store.count(environment=target.name) == 0
        with pytest.raises(ApparatusError):
            run_transfer(study, store, Dying(), budget=3, seed=5, source=source)


@pytest.mark.parametrize(('valid', 'kept'), [(True, 1), (False, 0)])
def test_a_run_that_ends_as_the_stop_comes_is_kept_unless_it_failed(
    study, source, tmp_path, valid, kept
):
    stop = threading.Event()
    target = AnalyticEnvironment(study, 'target')

    class Stopped:
        name = target.name

        def measure(self, configuration, seed):
            found = target.measure(configuration, seed)
            found.valid, found.reason = valid, '' if valid else 'its processes were ended'
            stop.set()
            return found

    with Store(tmp_path / 'store.sqlite', study=study) as store:
        told = []
        result = run_transfer(
            study, store, Stopped(), budget=3, seed=5, source=source, stop=stop,
            on_measurement=lambda *run: told.append(run),
        )
        assert result.interrupted
        assert len(result.measurements) == len(told) == kept
        assert len(result.tuner.target) == kept
        assert store.count(environment=target.name, purpose='transfer') == kept


def test_what_was_measured_when_ctrl_c_came_is_kept(study, source, tmp_path, monkeypatch):
    target = AnalyticEnvironment(study, 'target')
    with Store(tmp_path / 'store.sqlite', study=study) as store:
        add, calls = store.add, []

        def interrupted(measurement):
            calls.append(measurement)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return add(measurement)

        monkeypatch.setattr(store, 'add', interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_transfer(study, store, target, budget=3, seed=5, source=source)
        assert store.count(environment=target.name, purpose='transfer') == 2
        whole = run_transfer(study, store, target, budget=3, seed=5, source=source)
        assert len(whole.measurements) == 3


@pytest.mark.parametrize('method', ['transfer', 'random'])
def test_what_was_refused_stays_so_whatever_is_looked_for(study, source, tmp_path, method):
    target = AnalyticEnvironment(study, 'target')
    asked = []

    def skip(index, proposal, tuner):
        asked.append(proposal.configuration)
        return Answer.SKIP if len(asked) == 1 else Answer.LATE

    limited = dataclasses.replace(study, limits=())
    path = tmp_path / 'store.sqlite'
    with Store(path, study=study) as store:
        run_transfer(
            study, store, target, method=method, budget=3, seed=5, source=source, confirm=skip
        )
    refused = asked[0]
    for other, seed in ((study, 6), (limited, 5)):
        with Store(path, study=other) as store:
            assert store.refused(target.name) == [refused]
            assert store.refused(study.source.name) == []
            again = run_transfer(
                other, store, target, method=method, budget=1, seed=seed, source=source,
                reuse=True,
            )
            assert again.tuner.refused == [refused]
            assert refused not in configurations(again)
            assert again.choice.configuration != refused


def test_it_ends_where_all_was_refused(study, source, tmp_path):
    target = AnalyticEnvironment(study, 'target')
    target.configurations = lambda: study.space.sample(2, seed=1)
    for method in ('transfer', 'random'):
        with Store(tmp_path / 'store.sqlite', study=study) as store:
            result = run_transfer(
                study, store, target, method=method, budget=3, seed=5, source=source,
                confirm=lambda *_: Answer.SKIP,
            )
            assert result.stopped == 'all 2 configurations are measured or refused'
            assert len(store.refused(target.name)) == 2


def test_runs_of_another_aim_are_not_counted_on_the_budget(study, source, tmp_path):
    target = AnalyticEnvironment(study, 'target')
    for method in ('transfer', 'random'):
        with Store(tmp_path / f'{method}.sqlite', study=study) as store:
            run_transfer(study, store, target, method=method, budget=2, seed=5, source=source)
            again = run_transfer(
                study, store, target, method=method, budget=3, seed=6, source=source, reuse=True
            )
        assert again.stopped == 'the budget of 3 target measurements is spent'
        assert len(again.measurements) == 3
        assert len(again.tuner.target) == 5


def test_an_unknown_method_is_refused(study, tmp_path):
    with Store(tmp_path / 'store.sqlite', study=study) as store, pytest.raises(ValueError):
        run_transfer(
            study, store, AnalyticEnvironment(study, 'target'), method='magic', budget=1, seed=0
        )


def test_the_parameter_file_has_the_nodes_types(tmp_path):
    demo = load_study('demo')
    path = write_parameter_file(demo, demo.space.default(), tmp_path / 'deep' / 'tuned.yaml')
    tree = yaml.safe_load(path.read_text())
    assert tree == parameter_tree(demo, demo.space.default())
    values = tree['/localizer']['ros__parameters']
    assert type(values['particles']) is int
    assert type(tree['/navigator']['ros__parameters']['max_vel_x']) is float
    assert [p.name for p in path.parent.iterdir()] == ['tuned.yaml']


def test_a_configuration_is_shown_as_lines_with_units():
    demo = load_study('demo')
    lines = configuration_lines(demo, demo.space.default())
    assert len(lines) == demo.space.dim
    assert 'max_vel_x = 0.3 m/s' in lines
    assert 'refinements = 1' in lines
