# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Measure a study's configuration space in one environment, in parallel and resumable.

What is brought up for it, by any command or launch file, and how each mission begins, is in the
study: `environments.*.bringup` and `mission`.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess
from launch.substitutions import FindExecutable, LaunchConfiguration


def generate_launch_description():
    arguments = {
        'study': ('demo', 'study file, or the name of one that the package ships'),
        'environment': ('', "environment to measure in; empty: the study's source"),
        'configurations': ('0', "number of configurations; 0: the study's source budget"),
        'repeats': ('0', "runs of each configuration; 0: the study's repeats, or 1"),
        'workers': ('2', 'environments that run side by side, each with its own bringup'),
        'store': ('', 'SQLite file or database URL; empty: <study>.sqlite in the output folder'),
        'output': ('output', 'folder for the store and the traces'),
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
                '--repeats', LaunchConfiguration('repeats'),
                '--workers', LaunchConfiguration('workers'),
                '--store', LaunchConfiguration('store'),
                '--output', LaunchConfiguration('output'),
            ],
            output='screen', name='campaign', sigterm_timeout='30', sigkill_timeout='30',
        ),
    ])
