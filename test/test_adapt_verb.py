# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for the verb `adapt`."""

import argparse

import pytest

from tl_adapt import cli
from tl_adapt.verbs import adapt


def arguments(*words):
    parser = argparse.ArgumentParser()
    adapt.add_arguments(parser)
    return adapt.node_arguments(parser.parse_args(['demo', *words]))


def test_the_study_says_what_is_not_given():
    words = arguments()
    assert not any('explore' in word or 'minimum_gain' in word for word in words)
    assert 'diagnostics:=true' in words


def test_options_become_parameters_of_their_types():
    words = arguments('--explore', '0', '--minimum-gain', '1', '--dwell', '2', '--false-alarms',
                      '1e-5', '--dry-run', '--store', 'none', '--no-diagnostics',
                      '--namespace', '/r1/')
    for word in ('explore:=0', 'minimum_gain:=1.0', 'dwell:=2', 'false_alarms:=1e-05',
                 'dry_run:=true', 'store:="none"', 'diagnostics:=false', '__ns:=/r1'):
        assert word in words


@pytest.mark.parametrize('words, told', [
    (['--explore', '-1'], '--explore: must be >= 0, got -1'),
    (['--minimum-gain', 'nan'], '--minimum-gain: must be >= 0, got nan'),
    (['--dwell', '-3'], '--dwell: must be >= 0'),
    (['--false-alarms', '0'], '--false-alarms: 0 < false_alarms <= 0.1 must hold, got 0'),
    (['--deadline', '0'], '--deadline: must be positive'),
    (['--deadline', 'inf'], '--deadline: must be positive'),
    (['--namespace', 'a b'], '--namespace: must be names'),
    (['--namespace', 'r1//x'], '--namespace: must be names'),
    (['--environment', 'nowhere'], 'unknown environment'),
    (['--model', 'nowhere'], 'nowhere'),
])
def test_bad_input_is_one_line(words, told, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(['adapt', 'demo', *words]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count('\n') == 1
    assert not list(tmp_path.iterdir())
