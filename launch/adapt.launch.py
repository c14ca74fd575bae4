# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Keep the parameters of a running robot adapted, with a model that was transferred before."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode
from launch_ros.parameter_descriptions import ParameterValue


def generate_launch_description():
    arguments = {
        'study': ('demo', 'study file, or the name of one that the package ships', str),
        'model': ('output/model', 'folder with the transferred model and choice.json', str),
        'environment': ('', "environment that is adapted; empty: the study's choice", str),
        'store': ('', "the journal's SQLite file or URL; empty: beside the model", str),
        'autostart': ('true', 'configure and activate without a lifecycle manager', bool),
        'dry_run': ('false', 'only advise: nothing is ever sent', bool),
        'deadline': ('30.0', 'time after which a missing node is an error [s]', float),
    }
    return LaunchDescription([
        *(
            DeclareLaunchArgument(name, default_value=default, description=text)
            for name, (default, text, _) in arguments.items()
        ),
        DeclareLaunchArgument(
            'namespace', default_value='', description='namespace of the adapter and the robot'
        ),
        LifecycleNode(
            package='tl_adapt', executable='adapter', name='adapter', output='screen',
            namespace=LaunchConfiguration('namespace'),
            parameters=[{
                name: ParameterValue(LaunchConfiguration(name), value_type=kind)
                for name, (_, _, kind) in arguments.items()
            }],
        ),
    ])
