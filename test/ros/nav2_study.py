# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""A study of the stand-in for Nav2."""

STAND_IN = ['{python}', '-m', 'tl_adapt.testing.nav2_stand_in']
LIFECYCLE_NODES = [
    'amcl', 'controller_server', 'planner_server', 'velocity_smoother', 'bt_navigator',
]


def target(node, name, apply='live', **more):
    return {'node': node, 'name': name, 'apply': apply, **more}


def nav2_study(*, namespace='', arguments=()):
    """Return the study's content; `arguments` go onto the servers' command line."""
    arguments = ['--ros-args', *arguments]
    if namespace:
        arguments += ['-r', f'__ns:={namespace}']
    environment = {
        'kind': 'stack',
        'role': 'source',
        'bringup': [
            {'name': 'robot', 'nodes': ['robot'], 'command': [*STAND_IN, 'robot', *arguments]},
            {'name': 'nav2', 'nodes': [*LIFECYCLE_NODES, 'lifecycle_manager_navigation'],
             'command': [*STAND_IN, 'servers', *arguments]},
        ],
        'lifecycle_nodes': LIFECYCLE_NODES,
        'simulator': {
            'node': 'robot', 'pause': 'pause_physics', 'unpause': 'unpause_physics',
            'reset': 'reset_world', 'pause_for': 'reset',
        },
        'startup_timeout': 20.0,
    }
    if namespace:
        environment['namespace'] = namespace
    return {
        'version': 1,
        'name': 'nav2_stand_in',
        'parameters': {
            'speed': {
                'type': 'double', 'range': [0.15, 0.6], 'default': 0.5, 'unit': 'm/s',
                'targets': [target('controller_server', 'FollowPath.vx_max')],
            },
            'model_dt': {
                'type': 'double', 'range': [0.05, 0.1], 'default': 0.05, 'unit': 's',
                'targets': [target('controller_server', 'FollowPath.model_dt', 'restart')],
            },
            'frequency': {
                'type': 'double', 'range': [10.0, 30.0], 'default': 20.0, 'unit': 'Hz',
                'targets': [target('controller_server', 'controller_frequency', 'idle')],
            },
            'radius': {
                'type': 'double', 'range': [0.25, 1.2], 'default': 0.7, 'unit': 'm',
                'targets': [
                    target('local_costmap/local_costmap', 'inflation_layer.inflation_radius')
                ],
            },
            'top_speed': {
                'type': 'double', 'range': [0.2, 0.6], 'default': 0.5, 'unit': 'm/s',
                'targets': [target('velocity_smoother', 'max_velocity', index=0)],
            },
        },
        'metrics': {
            'mission_time': {'reduction': 'time_to_goal', 'unit': 's', 'direction': 'minimize'},
            'way': {'reduction': 'path_length', 'topic': 'odom', 'direction': 'minimize'},
        },
        'objectives': [{'metric': 'mission_time'}],
        'mission': {
            'start': [0.0, 0.0, 0.0],
            'goals': [[2.0, 0.0, 0.0], [2.0, 1.0, 0.0]],
            'timeout': 40.0,
            'wall_timeout': 15.0,
            'initialpose_topic': 'initialpose',
            'prepare': [{
                'service': 'local_costmap/clear_entirely_local_costmap',
                'type': 'std_srvs/srv/Empty',
            }],
        },
        'environments': {'simulation': environment},
    }
