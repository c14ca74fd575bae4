# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import math

import pytest

from tl_adapt.comparison import compare, counted_metrics, objective_values, worst_values
from tl_adapt.environments.base import Measurement
from tl_adapt.study import load_study, study_from_dict


@pytest.fixture
def study():
    return study_from_dict({
        'version': 1,
        'name': 'small',
        'parameters': {'v': {'type': 'double', 'range': [0.0, 1.0], 'default': 0.5}},
        'metrics': {
            'time': {'unit': 's', 'direction': 'minimize', 'failed': 60.0},
            'energy': {'unit': 'J', 'direction': 'minimize', 'failed': 'exclude'},
            'clearance': {'unit': 'm', 'direction': 'maximize', 'failed': 0.0},
        },
        'objectives': [
            {'metric': 'time', 'weight': 0.5, 'reference': 10.0},
            {'metric': 'energy', 'weight': 0.5, 'reference': 100.0},
        ],
        'limits': ['clearance >= 0.1'],
        'environments': {
            'sim': {'kind': 'command', 'role': 'source', 'command': ['true']},
            'robot': {'kind': 'command', 'role': 'target', 'command': ['true']},
        },
    })


def run(v, seed, time=10.0, energy=100.0, clearance=0.2, reason=''):
    metrics = {} if reason else {'time': time, 'energy': energy, 'clearance': clearance}
    return Measurement('robot', {'v': v}, seed, metrics, valid=not reason, reason=reason)


def test_a_failed_mission_counts_as_the_study_says(study):
    good, bad = run(0.1, 1, energy=300.0), run(0.2, 1, reason='collision')
    worst = worst_values(study, [good, bad])
    assert worst == {'time': 10.0, 'energy': 300.0, 'clearance': 0.2}
    assert counted_metrics(study, bad, worst) == {'time': 60.0, 'energy': 300.0, 'clearance': 0.0}
    assert objective_values(study, [good, bad], worst).tolist() == [2.0, 4.5]


def test_no_objective_where_nothing_is_known(study):
    bad = run(0.2, 1, reason='collision')
    assert math.isnan(objective_values(study, [bad], worst_values(study, [bad]))[0])


def test_differences_are_paired_by_seed(study):
    runs = {
        'ours': [run(0.1, seed, time=10.0 + seed) for seed in range(12)],
        'default': [run(0.2, seed, time=13.0 + seed) for seed in reversed(range(12))],
    }
    comparison = compare(study, runs, 'ours')
    difference = comparison.rows['default']['difference']['time']
    assert difference['pairs'] == 12
    assert (difference['low'], difference['high']) == (3.0, 3.0)
    assert difference['verdict'] == 'higher'
    assert comparison.rows['default']['difference']['energy']['verdict'] == 'inconclusive'
    assert comparison.rows['ours']['difference'] == {}


@pytest.mark.parametrize(
    'pairs, verdict', [(1, 'inconclusive'), (5, 'inconclusive'), (6, 'higher')]
)
def test_a_few_pairs_conclude_nothing(study, pairs, verdict):
    runs = {
        'ours': [run(0.1, seed) for seed in range(pairs)],
        'default': [run(0.2, seed, time=13.0) for seed in range(pairs)],
    }
    difference = compare(study, runs, 'ours').rows['default']['difference']['time']
    assert (difference['pairs'], difference['verdict']) == (pairs, verdict)


def test_failures_and_broken_limits_are_counted(study):
    runs = {
        'ours': [run(0.1, 1), run(0.1, 2)],
        'other': [run(0.2, 1, clearance=0.05), run(0.2, 2, reason='timeout')],
    }
    row = compare(study, runs, 'ours').rows['other']
    assert row['limits_broken'] == 1
    assert row['failures'] == {'timeout': 1}
    assert row['success']['estimate'] == 0.5
    assert row['metrics']['time']['mean'] == pytest.approx(35.0)
    assert row['metrics']['energy']['n'] == 1


def test_an_unknown_baseline_is_refused(study):
    with pytest.raises(KeyError):
        compare(study, {'ours': [run(0.1, 1)]}, 'nobody')


def test_a_busy_host_explains_a_difference_in_cpu_time():
    study = load_study('demo')

    def row(seed, cpu, busy):
        return Measurement(
            'simulation', {}, seed, {'cpu': cpu, 'mission_time': 1.0},
            provenance={'reference_loop': busy},
        )

    quiet = [row(seed, 0.10 + 0.001 * seed, 0.010) for seed in range(10)]
    for cpu, busy, verdict in ((0.2, 0.020, 'inconclusive'), (0.2, 0.010, 'higher')):
        other = [row(seed, cpu + 0.002 * (seed % 3), busy) for seed in range(10)]
        rows = compare(study, {'ours': quiet, 'other': other}, 'ours').rows
        assert rows['other']['difference']['cpu']['verdict'] == verdict
