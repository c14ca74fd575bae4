# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import yaml
from small_study import SMALL, changed, error_of, write

from tl_adapt.errors import InputError
from tl_adapt.study import load_study, study_from_dict


def test_the_demo():
    study = load_study('demo')
    assert study.name == 'demo' and study.path.name == 'demo.yaml'
    assert study.space.dim >= 16
    assert study.source.name == 'simulation' and study.target.name == 'robot'
    assert study.space.names == tuple(sorted(study.space.names))
    assert study.metrics['energy'].field == '-voltage * current'
    assert study.mission.goals == ((2.3, 2.2, 0.0),)
    assert study.mission.seed_targets == (('simulator', 'seed'), ('localizer', 'seed'))
    assert load_study('demo.yaml').digest == study.digest == load_study(study.path).digest
    design = study.space.sample(64, seed=study.seeds.campaign)
    assert all(study.space.contains(c) for c in design)


def test_a_small_study(tmp_path):
    study = load_study(write(tmp_path, SMALL))
    count = study.space['n'].targets[0]
    assert (count.node, count.name, count.index, count.mode('humble')) == (
        'driver', 'count', None, 'live'
    )  # fmt: skip
    assert study.space['v'].targets[0].name == 'v'
    assert list(study.metrics) == ['time', 'gap', 'load']
    gap = study.metrics['gap']
    assert (gap.time, gap.factor, gap.offset, gap.failed, gap.sign) == (
        'header', 1.0, 0.0, 'exclude', -1.0
    )  # fmt: skip
    assert study.metrics['load'].nodes == ('driver',)
    mission = study.mission
    assert (mission.start, mission.timeout, mission.wall_timeout) == (None, 30.0, 210.0)
    assert (mission.repeats, mission.result_topic, mission.fail_when) == (1, None, ())
    assert study.environment('robot').cost == 10.0
    assert study.environment('sim').identity == {'hardware': 'none'}
    assert study.environment('sim').options == {}
    assert (study.budget.source, study.budget.target, study.seeds.evaluation) == (48, 8, 1000)
    assert study.adaptation['environment'] == 'robot' and study.adaptation['window'] == 'mission'


def test_objective_and_limits():
    study = study_from_dict(yaml.safe_load(SMALL))
    assert study.objective({'time': 20.0, 'gap': 0.5, 'load': 9.0}) == pytest.approx(4.0 - 0.5)
    with pytest.raises(InputError, match='gap: an objective needs this metric'):
        study.objective({'time': 20.0})
    assert study.broken_limits({'gap': 0.1}) == []
    assert study.broken_limits({'gap': 0.05}) == ['gap >= 0.1']
    assert study.broken_limits({'gap': math.nan}) == study.broken_limits({}) == ['gap >= 0.1']


def test_a_study_without_robots():
    data = {
        'version': 1,
        'name': 'codec',
        'parameters': {'threads': {'type': 'int', 'range': [1, 8], 'default': 2}},
        'metrics': {'latency': {'direction': 'minimize', 'unit': 's'}},
        'objectives': [{'metric': 'latency'}],
        'environments': {
            'old': {'kind': 'table', 'role': 'source', 'file': 'old.csv'},
            'new': {'kind': 'command', 'role': 'test', 'command': ['run', 'it']},
        },
    }
    study = study_from_dict(data)
    assert study.mission is None and study.metrics['latency'].reduction == 'given'
    assert study.environment('new').options == {'command': ['run', 'it']}
    assert study.adaptation['environment'] is None
    text = error_of(lambda: study.target)
    assert text == 'study.yaml: environments: no environment has the role target'
    assert 'known are old, new' in error_of(study.environment, 'robot')


def test_apply_modes_per_distribution():
    data = changed(
        'parameters', 'v', 'targets', 0, 'apply', value={'default': 'live', 'humble': 'restart'}
    )
    target = study_from_dict(data).space['v'].targets[0]
    assert [target.mode(d) for d in ('humble', 'jazzy')] == ['restart', 'live']


def test_the_digest_is_of_the_content(tmp_path):
    study = study_from_dict(yaml.safe_load(SMALL))

    def reordered(value):
        if isinstance(value, dict):
            return {key: reordered(value[key]) for key in reversed(list(value))}
        return value

    def digests(data):
        other = study_from_dict(data)
        return other.digest == study.digest, other.metric_digest == study.metric_digest

    text = '# a comment\n' + SMALL.replace('v <= n', 'v <= n # !')
    commented = load_study(write(tmp_path, text))
    assert commented.digest == study.digest
    turned = reordered(yaml.safe_load(SMALL))
    assert digests(turned) == (True, True)
    assert study_from_dict(turned).space.names == study.space.names
    assert digests(changed('metrics', 'gap', 'description', value='a gap')) == (True, True)
    assert digests(changed('description', value='for the test')) == (True, True)
    assert digests(changed('metrics', 'gap', 'time', value='recorder')) == (False, False)
    assert digests(changed('metrics', 'gap', 'time', value='header')) == (False, True)
    assert digests(changed('parameters', 'n', 'default', value=4)) == (False, True)


def test_anchors_and_merge_keys(tmp_path):
    text = SMALL.replace('  sim: {', '  sim: &base {').replace(
        '  robot: {kind: stack, role: target, cost: 10}',
        '  robot: {<<: *base, role: target, cost: 10}',
    )
    robot = load_study(write(tmp_path, text)).target
    assert (robot.cost, robot.identity) == (10.0, {'hardware': 'none'})
