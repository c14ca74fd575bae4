# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests that the studies of Nav2 say what Nav2's sources say."""

import re

import pytest
import yaml

from tl_adapt.errors import InputError
from tl_adapt.study import load_study, shipped_file, study_from_dict

WHOLE = ('nav2_dwb', 'nav2_mppi', 'nav2_rpp', 'nav2_rpp_lyrical')
PARTS = ('nav2/checkers', 'nav2/amcl')
CONTROLLER, SMOOTHER, PLANNER, AMCL = (
    'controller_server', 'velocity_smoother', 'planner_server', 'amcl',
)
COSTMAPS = ('local_costmap/local_costmap', 'global_costmap/global_costmap')
# Read at configure, or refused or skipped while the robot drives, as the distribution has it.
BARE = {'humble': 'idle', 'jazzy': 'idle'}
GONE = {**BARE, 'kilted': 'restart', 'lyrical': 'restart'}
STAYS = {**BARE, 'kilted': 'idle', 'lyrical': 'idle'}
DISTRIBUTIONS = ('humble', 'jazzy', 'kilted', 'lyrical')


def follow(names, kind, modes, values, log=False):
    return {
        (CONTROLLER, f'FollowPath.{name}'): (kind, modes, values, log) for name in names.split()
    }


# (node, name) -> type, mode (or modes by distribution), range or choices, log scale
TABLE = {
    (CONTROLLER, 'controller_frequency'): ('double', GONE, (10, 30), False),
    (CONTROLLER, 'failure_tolerance'): ('double', STAYS, (0, 1), False),
    (CONTROLLER, 'progress_checker.required_movement_radius'): ('double', 'live', (0.1, 1), False),
    (CONTROLLER, 'progress_checker.movement_time_allowance'): ('double', 'live', (5, 30), False),
    (CONTROLLER, 'general_goal_checker.xy_goal_tolerance'):
        ('double', 'live', (0.05, 0.5), False),
    (CONTROLLER, 'general_goal_checker.yaw_goal_tolerance'):
        ('double', 'live', (0.05, 0.6), False),
    # MPPI
    **follow('vx_max', 'double', 'live', (0.15, 0.6)),
    **follow('wz_max', 'double', 'live', (0.5, 3)),
    **follow('ax_max', 'double', 'live', (0.5, 4)),
    **follow('vx_std', 'double', 'live', (0.05, 0.5)),
    **follow('wz_std', 'double', 'live', (0.1, 0.8)),
    **follow('batch_size', 'int', 'live', (500, 3000)),
    **follow('time_steps', 'int', 'live', (30, 80)),
    **follow('model_dt', 'double', 'restart', (0.05, 0.1)),
    **follow('temperature', 'double', 'live', (0.05, 1), True),
    **follow('gamma', 'double', 'live', (0.001, 0.1), True),
    **follow('CostCritic.cost_weight PathFollowCritic.cost_weight GoalCritic.cost_weight',
             'double', 'live', (1, 20), True),
    **follow('PathAlignCritic.cost_weight', 'double', 'live', (2, 30), True),
    **follow('PathAngleCritic.cost_weight', 'double', 'live', (0.5, 10), True),
    **follow('PreferForwardCritic.cost_weight', 'double', 'live', (0, 15)),
    # DWB
    **follow('max_vel_x max_speed_xy', 'double', 'live', (0.1, 0.5)),
    **follow('max_vel_theta', 'double', 'live', (0.5, 2.5)),
    **follow('acc_lim_x', 'double', 'live', (0.5, 3)),
    **follow('decel_lim_x', 'double', 'live', (-3, -0.5)),
    **follow('sim_time', 'double', 'restart', (0.8, 3)),
    **follow('vx_samples', 'int', 'restart', (5, 40)),
    **follow('vtheta_samples', 'int', 'restart', (5, 60)),
    **follow('PathAlign.scale PathDist.scale GoalAlign.scale GoalDist.scale',
             'double', 'restart', (5, 64), True),
    **follow('BaseObstacle.scale', 'double', 'restart', (0.005, 0.5), True),
    # regulated pure pursuit
    **follow('desired_linear_vel max_linear_vel', 'double', 'live', (0.1, 0.6)),
    **follow('lookahead_dist', 'double', 'live', (0.2, 1.2)),
    **follow('lookahead_time', 'double', 'live', (0.5, 3)),
    **follow('use_velocity_scaled_lookahead_dist', 'bool', 'live', (False, True)),
    **follow('regulated_linear_scaling_min_radius', 'double', 'live', (0.3, 2)),
    **follow('max_allowed_time_to_collision_up_to_carrot', 'double', 'live', (0.5, 3)),
    **follow('max_angular_accel', 'double', 'live', (1, 5)),
    # the others
    **{(node, 'inflation_layer.inflation_radius'): ('double', 'live', (0.25, 1.2), False)
       for node in COSTMAPS},
    **{(node, 'inflation_layer.cost_scaling_factor'): ('double', 'live', (1, 15), True)
       for node in COSTMAPS},
    **{(node, 'update_frequency'): ('double', 'restart', (2, 10), False) for node in COSTMAPS},
    (COSTMAPS[0], 'resolution'): ('double', 'live', (0.03, 0.05, 0.1), False),
    (PLANNER, 'GridBased.tolerance'): ('double', 'live', (0.1, 1), False),
    (PLANNER, 'GridBased.use_astar'): ('bool', 'live', (False, True), False),
    (AMCL, 'max_particles'): ('int', 'live', (500, 5000), None),
    (AMCL, 'max_beams'): ('int', 'live', (20, 180), None),
    **{(AMCL, f'alpha{n}'): ('double', 'live', (0.02, 1), True) for n in range(1, 5)},
    (AMCL, 'update_min_d'): ('double', 'live', (0.05, 0.5), False),
    (AMCL, 'update_min_a'): ('double', 'live', (0.05, 0.5), False),
}
# Caps the controller, so it is only ever tuned together with it: element -> what it caps.
CAPS = {
    ('max_velocity', 0): {'max_vel_x', 'max_speed_xy', 'vx_max', 'desired_linear_vel',
                          'max_linear_vel'},
    ('max_velocity', 2): {'max_vel_theta', 'wz_max'},
    ('max_accel', 0): {'acc_lim_x', 'ax_max'},
    ('max_decel', 0): {'decel_lim_x'},
}


def load(name):
    """Return a whole study, or one that is a part's on top of a whole one."""
    if name in WHOLE:
        return load_study(name)
    return study_from_dict({'extends': ['nav2_mppi', name]})


@pytest.mark.parametrize('name', [*WHOLE, *PARTS])
def test_each_parameter_is_as_in_nav2(name):
    study = load(name)
    assert name in PARTS or study.name == name
    for parameter in study.space.parameters:
        plain = [target for target in parameter.targets if target.node != SMOOTHER]
        caps = [target for target in parameter.targets if target.node == SMOOTHER]
        assert plain, parameter.name
        for target in plain:
            kind, modes, values, log = TABLE[target.node, target.name]
            assert (parameter.type, target.index, target.plain) == (kind, None, True)
            assert log in (None, parameter.log), parameter.name
            if parameter.type == 'bool':
                pass
            elif parameter.choices is not None:
                assert parameter.choices == values
            else:
                assert (parameter.low, parameter.high) == values, parameter.name
            for distribution in DISTRIBUTIONS:
                mode = modes if isinstance(modes, str) else modes[distribution]
                assert target.mode(distribution) == mode, (parameter.name, distribution)
        for target in caps:
            capped = {other.name.removeprefix('FollowPath.') for other in plain}
            assert capped <= CAPS[target.name, target.index]
            assert target.mode('jazzy') == target.mode('lyrical') == 'live'
            sign = -1 if target.name == 'max_decel' else 1
            assert min(sign * parameter.low, sign * parameter.high) >= 0


@pytest.mark.parametrize('name', WHOLE)
def test_a_whole_study_is_complete(name):
    study = load_study(name)
    assert study.source.options['bringup'] and 'bringup' not in study.target.options
    speeds = [p.name for p in study.space.parameters
              if any(t.name == 'max_velocity' and t.index == 0 for t in p.targets)]
    assert len(speeds) == 1
    assert 'nodes' not in study.source.options['simulator']
    # What is configured anew has to be among the nodes that are looked after.
    lifecycle = study.source.options['lifecycle_nodes']
    for parameter in study.space.parameters:
        for target in parameter.targets:
            assert target.node in lifecycle
    # A container's nodes could not be told apart.
    assert 'use_composition:=False' in study.source.options['bringup'][0]['command']
    assert study.mission.action == 'navigate_to_pose' and study.mission.settle > 0


def test_a_part_for_modern_gazebo():
    study = study_from_dict({'extends': ['nav2_mppi', 'nav2/modern_gazebo']})
    assert study.source.options['simulator'] == {
        'node': 'gzserver', 'interface': 'simulation_interfaces', 'entity': 'turtlebot3_waffle',
        'pause_for': 'reset',
    }
    assert study.source.identity['physics'] == 'gazebo'
    assert 'gzserver' in study.source.options['bringup'][0]['nodes']


def test_a_period_of_mppi_is_not_longer_than_its_step():
    study = load_study('nav2_mppi')
    for configuration in study.space.sample(64, seed=1):
        assert 1 / configuration['controller_frequency'] <= configuration['model_dt']
    with pytest.raises(InputError, match='1 / controller_frequency <= model_dt'):
        study.space.validate({**study.space.default(), 'controller_frequency': 15.0})


def test_pure_pursuit_looks_ahead_by_one_of_two():
    space = load_study('nav2_rpp').space
    for configuration in space.sample(32, seed=1):
        by_time = configuration['velocity_scaled_lookahead']
        unused = 'lookahead_dist' if by_time else 'lookahead_time'
        assert configuration[unused] == space[unused].default


@pytest.mark.parametrize('name', [*WHOLE, *PARTS, 'nav2/base', 'nav2/modern_gazebo'])
def test_what_was_never_run_on_nav2_says_so(name):
    text = ' '.join(shipped_file(f'{name}.yaml').read_text().replace('\n#', ' ').split())
    assert re.search(r'[Nn]ever (run )?on Nav2 itself', text)


def test_the_bridge_is_one_for_ros_gz_bridge():
    path = shipped_file('ros_gz_bridge.yaml')
    entries = yaml.safe_load(path.read_text())
    assert {entry['ros_topic_name'] for entry in entries} == {
        'clock', 'ground_truth', 'contacts', 'battery_state',
    }
    types = {(entry['ros_type_name'], entry['gz_type_name']) for entry in entries}
    assert types == {
        ('rosgraph_msgs/msg/Clock', 'gz.msgs.Clock'),
        ('nav_msgs/msg/Odometry', 'gz.msgs.Odometry'),
        ('ros_gz_interfaces/msg/Contacts', 'gz.msgs.Contacts'),
        ('sensor_msgs/msg/BatteryState', 'gz.msgs.BatteryState'),
    }
    for entry in entries:
        assert set(entry) == {
            'ros_topic_name', 'gz_topic_name', 'ros_type_name', 'gz_type_name', 'direction',
        }
        assert entry['direction'] == 'GZ_TO_ROS'
    # The metrics in its comments are metrics.
    base = yaml.safe_load(shipped_file('nav2_dwb.yaml').read_text())
    found = re.findall(r'^#   (\w+): (\{.*\})$', path.read_text(), re.M)
    metrics = {name: yaml.safe_load(text) for name, text in found}
    assert len(metrics) == 3
    study = study_from_dict({**base, 'extends': 'nav2/base.yaml', 'metrics': metrics}, path)
    assert set(metrics) <= set(study.metrics)
