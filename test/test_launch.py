# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import importlib.util
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).resolve().parents[1] / 'launch').glob('*.launch.py'))


def test_all_launch_files_are_there():
    names = {path.name.split('.')[0] for path in FILES}
    assert names == {'demo', 'campaign', 'transfer', 'adapt'}


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.name)
def test_launch_files_compile(path):
    compile(path.read_text(), str(path), 'exec')


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
