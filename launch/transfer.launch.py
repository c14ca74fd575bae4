# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Spend a handful of measurements on the target, one by one, and choose a configuration."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess
from launch.substitutions import FindExecutable, LaunchConfiguration


def generate_launch_description():
    arguments = {
        'study': ('demo', 'study file, or the name of one that the package ships'),
        'budget': ('0', "number of target measurements; 0: the study's target budget"),
        'store': ('', 'SQLite file or database URL; empty: output/<study>.sqlite'),
        'output': ('output', 'folder for the model and the parameter file'),
    }
    return LaunchDescription([
        *(
            DeclareLaunchArgument(name, default_value=default, description=text)
            for name, (default, text) in arguments.items()
        ),
        ExecuteProcess(
            cmd=[
                FindExecutable(name='ros2'), 'run', 'tl_adapt', 'tl_adapt', 'transfer',
                LaunchConfiguration('study'),
                '--budget', LaunchConfiguration('budget'),
                '--store', LaunchConfiguration('store'),
                '--output', LaunchConfiguration('output'),
            ],
            output='screen', name='transfer', sigterm_timeout='30', sigkill_timeout='30',
        ),
    ])
