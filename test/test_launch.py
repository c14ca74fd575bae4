# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import argparse
import importlib.util
import re
from pathlib import Path

import pytest

from tl_adapt.verbs import campaign

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
