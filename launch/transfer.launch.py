# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Spend a handful of measurements on the target, one by one, and choose a configuration.

Before each run it waits until an operator calls one of the services /transfer/confirm,
/transfer/skip and /transfer/abort; the topic /transfer/proposal says for what. `confirm:=none`
lets all run unattended. Ended in any way, the same command goes on where it ended.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess
from launch.conditions import IfCondition, UnlessCondition
from launch.substitutions import FindExecutable, LaunchConfiguration


def generate_launch_description():
    arguments = {
        'study': ('demo', 'study file, or the name of one that the package ships'),
        'budget': ('0', "number of target measurements; 0: the study's target budget"),
        'cost': ('0', "cost units to spend; 0: the study's budget"),
        'time': ('0', "wall time to spend [s]; 0: the study's budget"),
        'method': ('transfer', 'how target measurements are chosen'),
        'seed': ('', "seed of the choices; empty: the study's"),
        'store': ('', 'SQLite file or database URL; empty: <study>.sqlite in the output folder'),
        'output': ('output', 'folder for the model, the history and the parameter file'),
        'confirm': ('service', 'who agrees to each run: service, or none'),
        'confirm_timeout': ('0', 'time to wait for the operator [s]; 0: for ever'),
        'reuse': ('false', 'whether to learn also from runs chosen for another aim'),
        'namespace': ('', "namespace of the node that the operator answers; empty: the target's"),
    }
    words = [
        word for name in arguments if name not in ('study', 'reuse')
        for word in ('--' + name.replace('_', '-'), LaunchConfiguration(name))
    ]

    def transfer(condition, *more):
        return ExecuteProcess(
            cmd=[
                FindExecutable(name='ros2'), 'run', 'tl_adapt', 'tl_adapt', 'transfer',
                LaunchConfiguration('study'), *words, *more,
            ],
            condition=condition, output='screen', name='transfer', sigterm_timeout='30',
            sigkill_timeout='30',
        )

    return LaunchDescription([
        *(
            DeclareLaunchArgument(name, default_value=default, description=text)
            for name, (default, text) in arguments.items()
        ),
        transfer(UnlessCondition(LaunchConfiguration('reuse'))),
        transfer(IfCondition(LaunchConfiguration('reuse')), '--reuse'),
    ])
