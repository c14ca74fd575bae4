# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for the verb `adapt`."""

import argparse
import json
import types

import pytest
import yaml

from tl_adapt import cli
from tl_adapt.errors import InputError
from tl_adapt.own_namespace import with_namespace
from tl_adapt.study import load_study
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


def test_a_chosen_value_without_end_is_one_line(tmp_path, capsys):
    study = load_study('demo')
    configuration = {**study.space.default(), 'max_vel_x': 10**400}
    (tmp_path / 'choice.json').write_text(json.dumps({'configuration': configuration}))
    assert cli.main(['adapt', 'demo', '--model', str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert 'choice.json: ' in error and 'max_vel_x: is far too large, got' in error
    assert error.count('\n') == 1


@pytest.mark.parametrize('loader', [
    yaml.SafeLoader, pytest.param(getattr(yaml, 'CSafeLoader', yaml.SafeLoader), id='libyaml'),
])
@pytest.mark.parametrize('name', [
    'm\U0001f600', 'a "b" \\ud83d \\', 'grün', '\x7f\x85\x9f\u2028\ufffe\n\t',
    "it's: {a} # b", '12',
])
def test_any_name_of_a_file_reaches_the_node(name, loader):
    word, = (word for word in arguments('--model', name) if word.startswith('model:='))
    assert word.isascii() and word.isprintable()
    assert yaml.load(word.removeprefix('model:='), loader) == name


def test_a_name_that_is_no_text_is_refused():
    with pytest.raises(InputError, match=r"--model: must be UTF-8, got 'm\\udcff'"):
        arguments('--model', 'm\udcff')


def namespaced(folder):
    path = folder / 'study.yaml'
    path.write_text('extends: demo\nname: ours\nenvironments: {robot: {namespace: /r1}}\n')
    return str(path)


@pytest.fixture
def node(monkeypatch, tmp_path):
    """Let `adapt` pass its checks and return what the node gets; False: nothing yet."""
    got = []
    monkeypatch.setattr(adapt, 'load_choice', lambda *_: None)
    monkeypatch.setattr(adapt.ModelSet, 'load', lambda *_: None)
    monkeypatch.setattr(adapt, 'import_ros', lambda *_: types.SimpleNamespace(
        main=lambda words: got.append(words) or 0))
    monkeypatch.chdir(tmp_path)
    return got


@pytest.mark.parametrize('words, namespace', [
    ([], '/r1'), (['--namespace', 'r2'], '/r2'), (['--namespace', '/'], '/'),
    (['--environment', 'simulation'], '/'),
])
def test_the_namespace_is_the_environments_unless_one_is_given(words, namespace, node, tmp_path):
    assert cli.main(['adapt', namespaced(tmp_path), *words]) == 0
    (got,) = node
    assert [word for word in got if '__ns' in word] == [f'__ns:={namespace}']
    assert with_namespace(got) == got


def test_ros_arguments_reach_the_node_after_those_of_the_options(node, tmp_path):
    study = namespaced(tmp_path)
    rest = ['--enclave', '/tl_adapt/adapter', '-p', 'dry_run:=true', '-r', '__ns:=/r3']
    assert cli.main(['adapt', study, '--ros-args', *rest]) == 0
    assert cli.main(['adapt', study, '--namespace', 'r2', '--ros-args', *rest]) == 0
    first, second = node
    assert first[-8:] == [*rest, '-r', '__ns:=/r1'], 'of rules for names the first counts'
    assert second[-8:] == ['-r', '__ns:=/r2', *rest]
    for words in node:
        assert words[0] == '--ros-args'
        assert words.index('dry_run:=false') < words.index('dry_run:=true')


@pytest.mark.parametrize('words, namespace', [
    (['-p', 'study:={}'], '/r1'), (['--param', 'adapter:study:="{}"'], '/r1'),
    (['-p', 'study:={}', '-p', 'environment:=simulation'], ''),
    (['-p', 'study:={}', '-p', 'environment:=nowhere'], ''),
    (['-p', 'study:={}', '-r', '__ns:=/'], '/'), (['-p', 'study:={}', '-r', 'a:__ns:=/x'], '/x'),
    (['-p', 'study:=no_such_study'], ''), (['-p', 'study:={{}}:['], ''), ([], ''), (['-p'], ''),
])
def test_a_node_alone_is_in_the_namespace_of_its_environment(words, namespace, tmp_path):
    path = namespaced(tmp_path)
    found = with_namespace(['adapter', '--ros-args', *(word.format(path) for word in words)])
    rules = [word.partition('__ns:=')[2] for word in found if '__ns:=' in word]
    assert rules == ([namespace] if namespace else [])
    assert not rules or found[-2:] in (['-r', f'__ns:={rules[0]}'], ['-r', f'a:__ns:={rules[0]}'])


@pytest.mark.parametrize('words, told', [
    (['--explore', '-1'], 'error: --explore: must lie in [0, 100000], got -1'),
    (['--explore', '100001'], 'error: --explore: must lie in [0, 100000], got 100001'),
    (['--minimum-gain', 'nan'], 'error: --minimum-gain: must lie in [0, 1000], got nan'),
    (['--minimum-gain', '1001'], 'error: --minimum-gain: must lie in [0, 1000], got 1001'),
    (['--dwell', '-3'], 'error: --dwell: must lie in [0, 100000], got -3'),
    (['--dwell', '9' * 30], 'error: --dwell: must lie in [0, 100000], got 9999'),
    (['--false-alarms', '0'], 'error: --false-alarms: must lie in [1e-12, 0.1], got 0'),
    (['--false-alarms', '0.5'], 'error: --false-alarms: must lie in [1e-12, 0.1], got 0.5'),
    (['--store', '.'], 'error: --store: .: a folder, not a store'),
    (['--store', '/dev/null'], 'error: --store: /dev/null: no regular file'),
    (['--store', '://'], 'error: --store: the store must be a file or a URL'),
    (['--store', __file__], '.py: file is not a database'),
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
