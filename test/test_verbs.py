# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import sys

import pytest

from tl_adapt import cli
from tl_adapt.errors import TlAdaptError
from tl_adapt.verbs import adapt, transfer


def test_the_adapter_without_ros_is_one_clear_error(monkeypatch, capsys):
    monkeypatch.setattr(adapt, 'load_choice', lambda *_: None)
    monkeypatch.setattr(adapt.ModelSet, 'load', lambda *_: None)
    monkeypatch.setitem(sys.modules, 'tl_adapt.ros.nodes.adapter', None)
    assert cli.main(['adapt', 'demo']) == 2
    error = capsys.readouterr().err
    assert error.startswith('tl_adapt: error: the adapter needs ROS 2')
    assert error.count('\n') == 1


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
