# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Replay a recorded drive through software under test, one configuration after the other.

What is brought up, what of the bag it gets and what it answers is in the study, in an environment
of kind `replay`. Each worker has the software, the bag's messages and /clock in a ROS domain of
its own; nothing reaches the graph of this launch.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess
from launch.substitutions import FindExecutable, LaunchConfiguration


def generate_launch_description():
    arguments = {
        'study': ('demo_replay', 'study file, or the name of one that the package ships'),
        'bag': ('', "bag to replay: folder or file; empty: the study's"),
        'environment': ('', "environment of kind replay; empty: the study's only one"),
        'configurations': ('', "number, YAML file, or top:K; empty: the study's budget"),
        'repeats': ('0', "replays of each configuration; 0: the study's repeats, or 1"),
        'workers': ('1', 'replays that run side by side, each with its own bringup'),
        'store': ('', 'SQLite file or database URL; empty: <study>.sqlite in the output folder'),
        'output': ('output', 'folder for the store and the traces'),
    }
    words = [
        word for name in arguments if name != 'bag'
        for word in ('--' + name, LaunchConfiguration(name))
    ]
    return LaunchDescription([
        *(
            DeclareLaunchArgument(name, default_value=default, description=text)
            for name, (default, text) in arguments.items()
        ),
        ExecuteProcess(
            cmd=[
                FindExecutable(name='ros2'), 'run', 'tl_adapt', 'tl_adapt', 'replay',
                LaunchConfiguration('bag'), *words,
            ],
            output='screen', name='replay', sigterm_timeout='30', sigkill_timeout='30',
        ),
    ])
