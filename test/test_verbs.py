# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import os
import pathlib
import subprocess
import sys

import pytest

from tl_adapt import cli
from tl_adapt.errors import TlAdaptError
from tl_adapt.store import Store
from tl_adapt.study import load_study
from tl_adapt.verbs import adapt, transfer


def test_the_adapter_without_ros_is_one_clear_error(monkeypatch, capsys):
    monkeypatch.setattr(adapt, 'load_choice', lambda *_: None)
    monkeypatch.setattr(adapt.ModelSet, 'load', lambda *_: None)
    monkeypatch.setitem(sys.modules, 'tl_adapt.ros.nodes.adapter', None)
    assert cli.main(['adapt', 'demo']) == 2
    error = capsys.readouterr().err
    assert error.startswith('tl_adapt: error: the adapter needs ROS 2')
    assert error.count('\n') == 1


@pytest.mark.parametrize('verb', ['campaign demo', 'campaign demo --workers 2', 'demo'])
def test_measuring_without_ros_is_one_clear_error(verb, tmp_path):
    (tmp_path / 'rclpy.py').write_text("raise ImportError('no rclpy in this test')\n")
    path = os.pathsep.join([str(tmp_path), str(pathlib.Path(__file__).parents[1])])
    ended = subprocess.run(
        [sys.executable, '-m', 'tl_adapt', *verb.split(), '--output', 'output'],
        cwd=tmp_path, env={**os.environ, 'PYTHONPATH': path}, capture_output=True, text=True,
        timeout=60.0,
    )
    assert ended.returncode == 2
    last = ended.stderr.splitlines()[-1]
    assert last.startswith('tl_adapt: error: ')
    assert 'can not be imported (no rclpy in this test); ' in last
    assert 'Traceback' not in ended.stderr
    study = load_study('demo')
    for file in (tmp_path / 'output').glob('*.sqlite'):
        with Store(file, study=study, write=False) as store:
            assert store.count() == 0


def test_target_measurements_keep_their_traces(monkeypatch, tmp_path):
    given = {}

    def make(study, name, **options):
        given.update(options, name=name)
        raise TlAdaptError('enough')

    monkeypatch.setattr(transfer, 'make_environment', make)
    arguments = ['transfer', 'demo', '--method', 'target-only', '--output', str(tmp_path)]
    assert cli.main(arguments) == 2
    assert given == {'name': 'robot', 'traces': tmp_path / 'traces'}


@pytest.mark.parametrize('verb', ['adapt', 'transfer'])
def test_an_unknown_study_is_one_clear_error(verb, capsys):
    assert cli.main([verb, 'no_such_study']) == 2
    assert 'no study of that name' in capsys.readouterr().err
