# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Measure a study's configuration space in one environment, in parallel and resumable."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess
from launch.substitutions import FindExecutable, LaunchConfiguration


def generate_launch_description():
    arguments = {
        'study': ('demo', 'study file, or the name of one that the package ships'),
        'environment': ('', "environment to measure in; empty: the study's source"),
        'configurations': ('0', "number of configurations; 0: the study's source budget"),
        'workers': ('2', 'environments that run side by side'),
        'store': ('', 'SQLite file or database URL; empty: output/<study>.sqlite'),
    }
    return LaunchDescription([
        *(
            DeclareLaunchArgument(name, default_value=default, description=text)
            for name, (default, text) in arguments.items()
        ),
        ExecuteProcess(
            cmd=[
                FindExecutable(name='ros2'), 'run', 'tl_adapt', 'tl_adapt', 'campaign',
                LaunchConfiguration('study'),
                '--environment', LaunchConfiguration('environment'),
                '--configurations', LaunchConfiguration('configurations'),
                '--workers', LaunchConfiguration('workers'),
                '--store', LaunchConfiguration('store'),
            ],
            output='screen', name='campaign', sigterm_timeout='30', sigkill_timeout='30',
        ),
    ])
