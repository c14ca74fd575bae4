# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import argparse
import importlib.util
import re
import runpy
import sys
import types
from pathlib import Path

import pytest

from tl_adapt.verbs import campaign, transfer

FILES = sorted((Path(__file__).resolve().parents[1] / 'launch').glob('*.launch.py'))


def test_all_launch_files_are_there():
    names = {path.name.split('.')[0] for path in FILES}
    assert names == {'demo', 'campaign', 'transfer', 'adapt'}


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
        assert set(given) == set(parsed)
    assert given['reuse'] == 'false'


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
