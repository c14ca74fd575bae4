# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import argparse
import importlib.util
import re
import runpy
import sys
import types
from pathlib import Path
from typing import NamedTuple

import pytest

from tl_adapt.errors import InputError
from tl_adapt.verbs import campaign, transfer

FILES = sorted((Path(__file__).resolve().parents[1] / 'launch').glob('*.launch.py'))


def test_all_launch_files_are_there():
    names = {path.name.split('.')[0] for path in FILES}
    assert names == {'demo', 'campaign', 'transfer', 'adapt', 'replay'}


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.name)
def test_launch_files_compile(path):
    compile(path.read_text(), str(path), 'exec')


def test_the_campaign_takes_what_the_verb_takes():
    text = next(path for path in FILES if path.name.startswith('campaign')).read_text()
    parser = argparse.ArgumentParser()
    campaign.add_arguments(parser)
    given = set(re.findall(r"'--([a-z]+)'", text))
    assert given == {'environment', 'configurations', 'repeats', 'workers', 'store', 'output'}
    assert all(f'--{name}' in parser.format_help() for name in given)
    assert all(f"LaunchConfiguration('{name}')" in text for name in given | {'study'})


def test_the_transfer_takes_what_the_verb_takes(monkeypatch):
    given = {}

    def declare(name, *, default_value, description):
        given[name] = default_value

    def stand_in(name, **parts):
        monkeypatch.setitem(sys.modules, name, types.SimpleNamespace(**parts))

    stand_in('launch', LaunchDescription=list)
    stand_in('launch.actions', DeclareLaunchArgument=declare,
             ExecuteProcess=lambda cmd, *, condition, **_: (condition, cmd))
    stand_in('launch.conditions', IfCondition=lambda part: ('if', *part),
             UnlessCondition=lambda part: ('unless', *part))
    stand_in('launch.substitutions', FindExecutable=lambda name: name,
             LaunchConfiguration=lambda name: (name,))
    module = runpy.run_path(str(FILES[0].with_name('transfer.launch.py')))
    processes = dict(module['generate_launch_description']()[-2:])
    assert set(processes) == {('if', 'reuse'), ('unless', 'reuse')}
    parser = argparse.ArgumentParser()
    transfer.add_arguments(parser)
    for (word, _), parts in processes.items():
        words = [given[part[0]] if isinstance(part, tuple) else part for part in parts]
        assert words[:5] == ['ros2', 'run', 'tl_adapt', 'tl_adapt', 'transfer']
        parsed = vars(parser.parse_args(words[5:]))
        assert parsed['study'] == 'demo'
        assert parsed['confirm'] == 'service'
        assert parsed['seed'] is None
        assert parsed['reuse'] is (word == 'if')
        # What was refused is taken back once, by hand.
        assert set(given) == set(parsed) - {'forget_refused'}
    assert given['reuse'] == 'false'


class Typed(NamedTuple):
    """Stand in for a parameter's value."""

    part: object
    value_type: type

    def evaluate(self, context):
        text = self.part.perform(context)
        if self.value_type is bool and text not in ('true', 'false'):
            raise ValueError(f'no truth value: {text}')
        return text == 'true' if self.value_type is bool else self.value_type(text)


def launched(monkeypatch, **given):
    """Return what adapt.launch.py declares and starts, with stand-ins for launch."""
    def stand_in(name, **parts):
        monkeypatch.setitem(sys.modules, name, types.SimpleNamespace(**parts))

    arguments, found = {}, []

    def declare(name, *, default_value, description):
        assert description
        arguments[name] = given.get(name, default_value)

    class Configuration:
        def __init__(self, name):
            assert name in arguments, 'only what is declared can be used'
            self.name = name

        def perform(self, _):
            return arguments[self.name]

    def act(*, function):
        found.extend(function(None))

    stand_in('launch', LaunchDescription=list)
    stand_in('launch.actions', DeclareLaunchArgument=declare, OpaqueFunction=act,
             ExecuteProcess=lambda cmd, *, condition, **_: found.append((cmd, condition)))
    stand_in('launch.conditions', IfCondition=lambda part: part.perform(None))
    stand_in('launch.substitutions', FindExecutable=lambda name: name,
             LaunchConfiguration=Configuration)
    stand_in('launch_ros')
    stand_in('launch_ros.actions', LifecycleNode=lambda **options: options)
    stand_in('launch_ros.parameter_descriptions', ParameterValue=Typed)
    module = runpy.run_path(str(FILES[0].with_name('adapt.launch.py')))
    module['generate_launch_description']()
    return arguments, found


def test_the_adapter_gets_what_is_given_and_the_study_says_the_rest(monkeypatch):
    arguments, (_, adapter) = launched(monkeypatch, explore='0')
    (parameters,) = adapter['parameters']
    assert (parameters['explore'].evaluate(None), parameters['explore'].value_type) == (0, int)
    assert parameters['dry_run'].evaluate(None) is False
    assert not {'minimum_gain', 'dwell', 'false_alarms'} & set(parameters)
    assert {'minimum_gain', 'dwell', 'false_alarms', 'namespace'} < set(arguments)


@pytest.mark.parametrize(('name', 'value', 'rule'), [
    ('explore', 'many', 'an integer'), ('dwell', '1.5', 'an integer'),
    ('publish_rate', 'fast', 'a number'), ('dry_run', 'maybe', 'true or false'),
])
def test_a_wrong_value_names_its_argument(monkeypatch, name, value, rule):
    with pytest.raises(InputError, match=f'{name}: must be {rule}, got {value!r}'):
        launched(monkeypatch, **{name: value})


def test_the_adapter_is_in_the_namespace_of_its_environment(monkeypatch, tmp_path):
    study = tmp_path / 'study.yaml'
    study.write_text('extends: demo\nname: ours\nenvironments: {robot: {namespace: /r1}}\n')
    for given, namespace in (
        ({}, '/r1'), ({'namespace': '/'}, '/'), ({'namespace': 'r2'}, 'r2'),
        ({'environment': 'simulation'}, ''), ({'environment': 'nowhere'}, ''),
    ):
        _, (_, adapter) = launched(monkeypatch, study=str(study), **given)
        assert adapter['namespace'] == namespace


def test_a_robot_is_started_if_it_is_asked_for(monkeypatch):
    for asked in ('false', 'true'):
        arguments, ((command, condition), _) = launched(monkeypatch, bringup_demo=asked)
        assert condition == asked
        assert command[:4] == ['ros2', 'run', 'tl_adapt', 'demo_robot']
    pytest.importorskip('rclpy')
    from tl_adapt.demo.robot_run import parser
    words = [part if isinstance(part, str) else part.perform(None) for part in command[4:]]
    parsed = parser().parse_args(words)
    assert (parsed.study, parsed.change_after) == ('demo', 5)


@pytest.mark.launch
@pytest.mark.parametrize('path', FILES, ids=lambda path: path.name)
def test_every_argument_is_described(path):
    # The folder of that name in a checkout is a namespace package, so ask for a part of it.
    pytest.importorskip('launch.actions', reason='launch is not installed: no full ROS 2')
    spec = importlib.util.spec_from_file_location(path.stem.replace('.', '_'), path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    arguments = module.generate_launch_description().get_launch_arguments()
    assert arguments
    assert all(argument.description for argument in arguments)
