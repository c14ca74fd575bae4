# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Keep the parameters of a running robot adapted, with a model that was transferred before.

With `bringup_demo:=true` the demo's robot is started beside it, and drives missions. A robot of
Nav2 is brought up by its own launch files: `study:=nav2_dwb` or another study names its nodes.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import FindExecutable, LaunchConfiguration
from launch_ros.actions import LifecycleNode
from launch_ros.parameter_descriptions import ParameterValue

from tl_adapt.errors import InputError, TlAdaptError
from tl_adapt.own_namespace import namespace_in
from tl_adapt.study import load_study

PARAMETERS = {
    'study': ('demo', 'study file, or the name of one that the package ships', str),
    'model': ('output/model', 'folder with the transferred model and choice.json', str),
    'environment': ('', "environment that is adapted; empty: the study's choice", str),
    'store': (
        '', "the journal's SQLite file or URL; empty: <study>.sqlite beside the model; none: "
        'no journal', str,
    ),
    'autostart': ('true', 'false: a lifecycle manager configures and activates the adapter', bool),
    'dry_run': ('false', 'only advise: nothing is sent while this is true', bool),
    'diagnostics': ('true', 'publish the status on /diagnostics, too', bool),
    'publish_rate': ('1.0', 'rate of the status while nothing changes [Hz]', float),
    'deadline': ('30.0', 's that the robot may be missing before the status is an error', float),
}
# What the study says, unless it is given.
OF_STUDY = {
    'explore': ('configurations that may be tried out after a change; 0: none', int),
    'minimum_gain': ('predicted relative gain below which nothing is changed', float),
    'dwell': ('windows to wait after a change before the next one may count', int),
    'false_alarms': ('how often, per window, a change may be seen where there is none', float),
}
NAMES = {bool: 'true or false', int: 'an integer', float: 'a number'}


def namespace(context):
    """Return the namespace that was given, or that of the environment."""
    given = LaunchConfiguration('namespace').perform(context)
    if given:
        return given
    study = LaunchConfiguration('study').perform(context)
    environment = LaunchConfiguration('environment').perform(context)
    try:
        return namespace_in(load_study(study), environment)
    except TlAdaptError:
        return ''  # the adapter says what is wrong


def parameter(context, name, kind):
    """Return what the node gets; raises InputError, for launch does not say which one is wrong."""
    given = LaunchConfiguration(name)
    try:
        ParameterValue(given, value_type=kind).evaluate(context)
    except ValueError as error:
        raise InputError(f'must be {NAMES[kind]}', key=name, value=given.perform(context)) \
            from error
    return ParameterValue(given, value_type=kind)


def start_adapter(context):
    """Return the adapter's node, with the parameters that were given."""
    given = {
        name: kind for name, (_, kind) in OF_STUDY.items()
        if LaunchConfiguration(name).perform(context)
    }
    kinds = {**{name: kind for name, (_, _, kind) in PARAMETERS.items()}, **given}
    return [LifecycleNode(
        package='tl_adapt', executable='adapter', name='adapter', output='screen',
        namespace=namespace(context),
        parameters=[{name: parameter(context, name, kind) for name, kind in kinds.items()}],
    )]


def generate_launch_description():
    return LaunchDescription([
        *(
            DeclareLaunchArgument(name, default_value=default, description=text)
            for name, (default, text, _) in PARAMETERS.items()
        ),
        *(
            DeclareLaunchArgument(
                name, default_value='', description=f'{text}; empty: as the study says'
            )
            for name, (text, _) in OF_STUDY.items()
        ),
        DeclareLaunchArgument(
            'namespace', default_value='', description='namespace of the adapter and the robot; '
            "empty: the environment's own; /: the root"
        ),
        DeclareLaunchArgument(
            'bringup_demo', default_value='false',
            description="start the demo's robot, too, which drives missions",
        ),
        DeclareLaunchArgument(
            'change_after', default_value='5',
            description="missions after which the demo's robot changes; 0: never",
        ),
        ExecuteProcess(
            cmd=[
                FindExecutable(name='ros2'), 'run', 'tl_adapt', 'demo_robot',
                LaunchConfiguration('study'),
                '--change-after', LaunchConfiguration('change_after'),
            ],
            condition=IfCondition(LaunchConfiguration('bringup_demo')),
            output='screen', name='demo_robot', sigterm_timeout='30', sigkill_timeout='30',
        ),
        OpaqueFunction(function=start_adapter),
    ])
