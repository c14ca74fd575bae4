# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""A small recorded drive, written by a library of others, and a study that replays it."""

import numpy as np
import yaml
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

STORE = get_typestore(Stores.ROS2_HUMBLE)
START = 1_000_000_000_000
SPEED = 0.5  # m/s
PYTHON = ['{python}', '-m', 'tl_adapt.testing.replayed']
TYPES = {
    '/odom': 'nav_msgs/msg/Odometry', '/ground_truth': 'nav_msgs/msg/Odometry',
    '/scan': 'sensor_msgs/msg/LaserScan', '/cmd_vel': 'geometry_msgs/msg/TwistStamped',
}


def make(kind, **fields):
    return STORE.types[kind](**fields)


def header(stamp):
    time = make('builtin_interfaces/msg/Time', sec=stamp // 10**9, nanosec=stamp % 10**9)
    return make('std_msgs/msg/Header', stamp=time, frame_id='map')


def vector(x=0.0):
    return make('geometry_msgs/msg/Vector3', x=x, y=0.0, z=0.0)


def twist():
    return make('geometry_msgs/msg/Twist', linear=vector(), angular=vector())


def odometry(stamp, x):
    pose = make(
        'geometry_msgs/msg/Pose', position=make('geometry_msgs/msg/Point', x=x, y=0.0, z=0.0),
        orientation=make('geometry_msgs/msg/Quaternion', x=0.0, y=0.0, z=0.0, w=1.0),
    )
    return make(
        'nav_msgs/msg/Odometry', header=header(stamp), child_frame_id='base',
        pose=make('geometry_msgs/msg/PoseWithCovariance', pose=pose, covariance=np.zeros(36)),
        twist=make(
            'geometry_msgs/msg/TwistWithCovariance', twist=twist(), covariance=np.zeros(36)
        ),
    )


def scan(stamp):
    return make(
        'sensor_msgs/msg/LaserScan', header=header(stamp), angle_min=0.0, angle_max=1.0,
        angle_increment=0.1, time_increment=0.0, scan_time=0.1, range_min=0.1, range_max=8.0,
        ranges=np.ones(11, np.float32), intensities=np.zeros(0, np.float32),
    )


def write_bag(path, *, seconds=2.0, without=(), renamed=None, plugin=StoragePlugin.MCAP):
    """Write odometry and the truth at 20 Hz, the scan at 10 Hz; recorded 1 ms after its stamp."""
    names = renamed or {}
    with Writer(path, version=8, storage_plugin=plugin) as writer:
        connections = {
            topic: writer.add_connection(names.get(topic, topic), kind, typestore=STORE)
            for topic, kind in TYPES.items() if topic not in without
        }
        for step in range(int(seconds * 20) + 1):
            stamp = START + step * 50_000_000
            x = SPEED * step * 0.05
            messages = {'/odom': odometry(stamp, x), '/ground_truth': odometry(stamp, x)}
            if not step % 2:
                messages['/scan'] = scan(stamp)
                messages['/cmd_vel'] = make(
                    'geometry_msgs/msg/TwistStamped', header=header(stamp), twist=twist()
                )
            for topic, message in messages.items():
                if topic in connections:
                    raw = STORE.serialize_cdr(message, TYPES[topic])
                    writer.write(connections[topic], stamp + 1_000_000, raw)
    return path


def replay_study(bag):
    """Return the content of a study that replays a bag through the small localizer."""
    return {
        'version': 1,
        'name': 'small_replay',
        'parameters': {
            'bias': {
                'type': 'double', 'range': [0.0, 1.0], 'default': 0.1, 'unit': 'm',
                'targets': [{'node': 'localizer', 'apply': 'live'}],
            },
            'work': {
                'type': 'double', 'range': [0.0, 0.5], 'default': 0.0, 'unit': 's',
                'targets': [{'node': 'localizer', 'apply': 'live'}],
            },
            'model': {
                'type': 'int', 'range': [1, 3], 'default': 1,
                'targets': [{'node': 'localizer', 'apply': 'restart'}],
            },
            'behaviour': {
                'type': 'string', 'default': 'answer',
                'choices': ['answer', 'die', 'mute', 'half', 'hang'],
                'targets': [{'node': 'localizer', 'apply': 'live'}],
            },
        },
        'metrics': {
            'error': {
                'reduction': 'pose_error', 'topic': 'pose', 'reference': 'ground_truth',
                'unit': 'm', 'direction': 'minimize',
            },
            'latency': {
                'reduction': 'latency', 'topic': 'pose', 'reference': 'scan', 'percentile': 50,
                'unit': 's', 'direction': 'minimize',
            },
            'cpu': {
                'reduction': 'cpu', 'nodes': ['localizer'], 'unit': 's/s',
                'direction': 'minimize',
            },
        },
        'objectives': [{'metric': 'error'}],
        'mission': {
            'start': [0.0, 0.0, 0.0], 'goals': [[2.0, 0.0, 0.0]], 'timeout': 30.0,
            'initialpose_topic': 'initialpose',
            'seed_targets': [{'node': 'localizer', 'name': 'seed'}],
        },
        'environments': {
            'drive': {
                'kind': 'replay', 'role': 'source', 'cost': 1.0, 'bag': str(bag),
                'bringup': [
                    {'name': 'localizer', 'command': [*PYTHON, 'localizer'],
                     'nodes': ['localizer']},
                ],
                'inputs': ['odom', 'scan'], 'outputs': ['pose'],
                'answer': {'input': 'scan', 'output': 'pose'}, 'answer_timeout': 2.0,
                'fresh_start': False,
            },
        },
    }


def small_replay(folder, change=lambda content: None, **options):
    """Write bag and study into a folder and return the study; `change` edits its content."""
    from tl_adapt.study import load_study

    bag = folder / 'drive'
    if not bag.exists():
        write_bag(bag, **options)
    content = replay_study(bag)
    change(content)
    path = folder / 'small_replay.yaml'
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return load_study(path)
