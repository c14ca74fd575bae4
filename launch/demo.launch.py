# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Run the whole demo: campaign, transfer, comparison and adaptation on a stand-in robot."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess
from launch.substitutions import FindExecutable, LaunchConfiguration


def generate_launch_description():
    return LaunchDescription([
        DeclareLaunchArgument(
            'output', default_value='output', description='folder for the store and the results'
        ),
        DeclareLaunchArgument(
            'workers', default_value='2', description='missions that run side by side'
        ),
        DeclareLaunchArgument(
            'simulator', default_value='mujoco', choices=['mujoco', 'gazebo'],
            description='what the simulation runs in',
        ),
        ExecuteProcess(
            cmd=[
                FindExecutable(name='ros2'), 'run', 'tl_adapt', 'tl_adapt', 'demo',
                '--output', LaunchConfiguration('output'),
                '--workers', LaunchConfiguration('workers'),
                '--simulator', LaunchConfiguration('simulator'),
            ],
            output='screen', name='demo', sigterm_timeout='30', sigkill_timeout='30',
        ),
    ])
