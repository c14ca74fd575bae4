# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import pytest

pytest.importorskip('rosbags')

from small_bag import replay_study  # noqa: E402

from tl_adapt.closed_loop import commands  # noqa: E402
from tl_adapt.errors import InputError  # noqa: E402
from tl_adapt.study import load_study, study_from_dict  # noqa: E402


def refused(change):
    content = replay_study('some_bag')
    change(content, content['environments']['drive'])
    with pytest.raises(InputError) as caught:
        study_from_dict(content)
    return caught.value


def edit(**options):
    return lambda content, drive: drive.update(options)


def change_metric(**options):
    def change(content, drive):
        content['metrics']['error'] = {'direction': 'minimize', **options}

    return change


def add_parameter(*nodes):
    def change(content, drive):
        content['parameters']['other'] = {
            'type': 'int', 'range': [1, 3], 'default': 1, 'targets': [{'node': n} for n in nodes],
        }

    return change


def only_others(content, drive):
    for parameter in content['parameters'].values():
        parameter['targets'][0]['node'] = 'navigator'


@pytest.mark.parametrize(('change', 'key', 'rule'), [
    (edit(outputs=['cmd_vel']), 'environments.drive.outputs[0]', 'named like a command'),
    (edit(outputs=['pose', 'goal_pose']), 'environments.drive.outputs[1]',
     'where missions send their goals'),
    (edit(outputs=['pose', 'scan']), 'environments.drive.outputs[1]', 'among its inputs, too'),
    (edit(outputs=['pose', 'navigate/_action/status']), 'environments.drive.outputs[1]',
     'it offers the action /navigate'),
    (edit(answer={'input': 'imu', 'output': 'pose'}), 'environments.drive.answer.input',
     'must be one of environments.drive.inputs: odom, scan'),
    (edit(answer={'input': 'scan', 'output': 'path'}), 'environments.drive.answer.output',
     'must be one of environments.drive.outputs: pose'),
    (edit(drop_transforms=['odom']), 'environments.drive.drop_transforms', 'needs /tf'),
    (edit(inputs=['scan', 'odom', '/clock']), 'environments.drive.inputs',
     'comes by itself, see use_sim_time'),
    (edit(rate='fast'), 'environments.drive.rate', 'must be lock_step'),
    (edit(rate=0), 'environments.drive.rate', 'must be > 0'),
    (edit(bringup=[]), 'environments.drive.bringup', 'must have at least 1 element'),
    (edit(simulator={'node': 'world'}), 'environments.drive.simulator', 'unknown key'),
    (edit(node_parameters={'localizer': {'bias': 1.0}}),
     'environments.drive.node_parameters.localizer.bias', 'is tuned as parameters.bias'),
    (change_metric(reduction='time_to_goal'), 'metrics.error.reduction',
     'which environments.drive can not change'),
    (change_metric(reduction='success'), 'metrics.error.reduction',
     'which environments.drive can not change'),
    (change_metric(reduction='path_length', topic='ground_truth'), 'metrics.error.topic',
     'must read one of environments.drive.outputs'),
    (change_metric(reduction='cpu', nodes=['localizer', 'navigator']), 'metrics.error.nodes',
     'is not replayed by environments.drive'),
    (change_metric(), 'metrics.error.reduction', 'is required but missing'),
    (add_parameter('localizer', 'navigator'), 'parameters.other.targets',
     'replays only a part of the nodes that have it; not navigator'),
    (only_others, 'environments.drive.bringup',
     'must bring up a node that has parameters of the study (navigator)'),
])
def test_what_makes_no_sense_is_refused_with_its_reason(change, key, rule):
    error = refused(change)
    assert error.key == key
    assert rule in error.rule
    assert str(error).startswith('study.yaml: ')


def test_an_output_that_only_looks_like_a_command_can_be_declared_open_loop():
    content = replay_study('some_bag')
    content['environments']['drive'].update(
        outputs=['pose', 'estimated_cmd'], open_loop=['estimated_cmd']
    )
    assert study_from_dict(content).source.options['open_loop'] == ['estimated_cmd']


def test_parameters_of_other_nodes_are_allowed():
    content = replay_study('some_bag')
    add_parameter('navigator')(content, None)
    assert study_from_dict(content).space['other'].targets[0].node == 'navigator'


@pytest.mark.parametrize(('topic', 'kinds', 'moves'), [
    ('/cmd_vel', (), True),
    ('/arm/joint_commands', (), True),
    ('/wheels', ('ackermann_msgs/msg/AckermannDriveStamped',), True),
    ('/velocity', ('geometry_msgs/msg/TwistStamped',), True),
    ('/velocity', ('geometry_msgs/msg/TwistWithCovarianceStamped',), False),
    ('/pose', ('geometry_msgs/msg/PoseWithCovarianceStamped',), False),
    ('/follow_path/_action/status', ('action_msgs/msg/GoalStatusArray',), True),
    ('/map', ('nav_msgs/msg/OccupancyGrid',), False),
])
def test_commands_are_known_by_type_and_name(topic, kinds, moves):
    assert bool(commands(topic, kinds)) == moves


def test_the_shipped_study_varies_the_localizer_alone():
    study = load_study('demo_replay')
    nodes = {target.node for p in study.space.parameters for target in p.targets}
    assert nodes == {'localizer'}
    assert (study.source.kind, study.target.kind) == ('replay', 'stack')
