# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of the command line."""

import argparse
import os
import pathlib
import re
import shlex
import subprocess
import sys
import types

import pytest

from tl_adapt import cli
from tl_adapt.errors import InputError
from tl_adapt.store import Store
from tl_adapt.study import load_study
from tl_adapt.verbs.ros_arguments import ignore, split

DATA = pathlib.Path(__file__).parent / 'data'
ROOT = DATA.parents[1]
TABLE = str(DATA / 'table_study.yaml')
PROGRAM = str(DATA / 'campaign_study.yaml')


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def verb(monkeypatch):
    """Put a verb `act` beside the real ones; what it does is up to the test."""
    module = types.ModuleType('tl_adapt.verbs.act')
    module.add_arguments = lambda parser: parser.add_argument('words', nargs='*')
    module.run = lambda args: 0
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(cli.VERBS, 'act', (module.__name__, 'act as told'))
    return module


# --- the frame ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('given', 'kept', 'ros'),
    [
        ('campaign demo', 'campaign demo', ''),
        ('campaign demo --ros-args -r __node:=x -p a:=1', 'campaign demo', '-r __node:=x -p a:=1'),
        ('campaign --ros-args -r __node:=x -- demo --workers 2', 'campaign demo --workers 2',
         '-r __node:=x'),
        ('act a -- b --ros-args --log-level info', 'act a -- b', '--log-level info'),
        ('act --ros-args -e /a -- b --ros-args -p c:=1', 'act b', '-e /a -p c:=1'),
        ('--ros-args', '', ''),
    ],
)
def test_ros_arguments_are_told_from_ours(given, kept, ros):
    assert split(shlex.split(given)) == (shlex.split(kept), shlex.split(ros))


@pytest.mark.parametrize('words, told', [
    ('-p a:=1 -r __node:=x', '-p a:=1'),
    ('-r __node:=x --enclave /e -r a:=b', '--enclave /e -r a:=b'),
    ('-r __node:=x', ''),
    ('', ''),
])
def test_ros_arguments_that_are_for_no_node_are_warned_of(words, told, verb, capsys):
    verb.run = lambda args: 7
    assert cli.main(['act', '--ros-args', *words.split()]) == 7
    error = capsys.readouterr().err
    assert error == (told and (
        f'tl_adapt: warning: --ros-args {told} is ignored: act runs no node that they could be '
        'for\n'))


def test_only_names_and_parameters_may_be_what_is_ignored(capsys):
    words = ['--enclave', '/e', '-r', 'a:=b', '--log-level', 'info']
    args = argparse.Namespace(ros_arguments=words)
    ignore(args, 'it has none', rules_only=True)
    assert capsys.readouterr().err == (
        'tl_adapt: warning: --ros-args -r a:=b is ignored: it has none\n')


def test_a_verb_gets_its_arguments_and_gives_the_exit_code(verb):
    verb.run = lambda args: 7 if args.words == ['a', 'b'] else 1
    assert cli.main(['act', 'a', 'b', '--ros-args', '-r', '__node:=campaign']) == 7


def test_errors_are_one_line_and_exit_2(verb, capsys):
    def run(args):
        raise InputError('low <= high must hold', file='s.yaml', key='v.range', value=[2, 1])

    verb.run = run
    assert cli.main(['act']) == 2
    captured = capsys.readouterr()
    expected = 'tl_adapt: error: s.yaml: v.range: low <= high must hold, got [2, 1]\n'
    assert (captured.out, captured.err) == ('', expected)


def test_ctrl_c_exits_130(verb, capsys):
    def run(args):
        raise KeyboardInterrupt

    verb.run = run
    assert cli.main(['act']) == 130
    assert 'Traceback' not in capsys.readouterr().err


def test_a_defect_keeps_its_traceback(verb):
    def run(args):
        raise ZeroDivisionError

    verb.run = run
    with pytest.raises(ZeroDivisionError):
        cli.main(['act'])


def test_only_the_module_of_the_verb_is_imported():
    code = (
        'import sys\n'
        'from tl_adapt.cli import make_parser\n'
        "make_parser().format_help()\n"
        "make_parser('report')\n"
        "assert 'tl_adapt.verbs.report' in sys.modules\n"
        "assert 'tl_adapt.verbs.campaign' not in sys.modules\n"
        "assert 'rclpy' not in sys.modules\n"
    )
    subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True, timeout=60)


@pytest.mark.parametrize('arguments', [[], ['no-such-verb'], ['campaign', '--no-such-option']])
def test_wrong_usage_exits_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert 'usage: tl_adapt' in capsys.readouterr().err


def test_help_names_every_verb(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(['--help'])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for name in ('check', 'campaign', 'transfer', 'adapt', 'report', 'demo'):
        assert re.search(rf'^ +{name} ', text, re.MULTILINE)


@pytest.mark.parametrize('name', list(cli.VERBS))
def test_every_verb_has_help(name, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main([name, '--help'])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert f'usage: tl_adapt {name}' in text
    assert name != 'security' or 'Write the SROS 2 policy' in text


def test_a_closed_pipe_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    try:
        answer = subprocess.run(
            [sys.executable, '-m', 'tl_adapt', 'check', TABLE],
            cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )
    finally:
        os.close(writing)
    assert answer.stderr == ''
    assert answer.returncode == 141


# --- check -------------------------------------------------------------------------------------


def test_check_passes_a_sound_study(capsys):
    assert cli.main(['check', TABLE]) == 0
    assert cli.main(['check', PROGRAM]) == 0


def test_check_knows_the_options_of_environments(folder, capsys):
    text = (DATA / 'table_study.yaml').read_text()
    (folder / 'study.yaml').write_text(text)
    assert cli.main(['check', 'study.yaml']) == 2
    error = capsys.readouterr().err
    assert error.startswith('tl_adapt: error: study.yaml: environments.lab.file: can not be read')
    assert error.endswith("got 'table.csv'\n")
    assert list(folder.iterdir()) == [folder / 'study.yaml']


# --- campaign ----------------------------------------------------------------------------------


def test_campaign_measures_and_resumes(folder, capsys):
    assert cli.main(['campaign', TABLE]) == 0
    output = capsys.readouterr().out
    assert re.match(r'recorded/lab: 4 measured in \d+ s, 0 were there already; ', output)
    assert 'store: output/recorded.sqlite' in output
    assert cli.main(['campaign', TABLE, '--configurations', '6']) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith('recorded/lab: 2 measured in ')
    assert '4 were there already; 4 of 6 are invalid' in captured.out
    assert '  1 x the rule time <= 0 holds' in captured.out
    assert 'recorded/lab: 6/6' in captured.err
    with Store('output/recorded.sqlite', study=load_study(TABLE), write=False) as store:
        assert store.count(environment='lab', purpose='campaign') == 6


def test_campaign_takes_its_options(folder, capsys):
    arguments = [
        'campaign', PROGRAM, '--environment', 'program', '--configurations', '2', '--workers',
        '2', '--store', 'runs.sqlite', '--seed', '9', '--repeats', '2', '--design', 'lhs',
    ]
    assert cli.main(arguments) == 0
    with Store('runs.sqlite', study=load_study(PROGRAM), write=False) as store:
        found = store.get(environment='program')
    assert len(found) == 4
    assert len({str(m.configuration) for m in found}) == 2
    assert not (folder / 'output').exists()


def test_empty_options_mean_the_defaults(folder, capsys):
    # A launch file always gives every option.
    arguments = ['--environment', '', '--configurations', '0', '--store', '']
    assert cli.main(['campaign', TABLE, *arguments, '--output', 'there']) == 0
    assert (folder / 'there' / 'recorded.sqlite').is_file()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['none.yaml'], 'none.yaml'),
        ([TABLE, '--environment', 'moon'], "known are lab, got 'moon'"),
        ([TABLE, '--workers', '0'], '--workers: must be at least 1, got 0'),
        ([TABLE, '--workers', '2000'], '--workers: must be at most 1000, got 2000'),
        ([TABLE, '--configurations', '1000000000'], '--configurations: must be at most 100000'),
        ([TABLE, '--repeats', '1000000000'], '--repeats: must be at most 1000'),
        ([TABLE, '--seed', '-1'], '--seed: must be at least 0, got -1'),
        ([TABLE, '--store', 'text.txt'], 'text.txt: file is not a database'),
        ([TABLE, '--store', '.'], '.: a folder, not a store'),
    ],
)
def test_campaign_refuses_bad_input(folder, capsys, arguments, message):
    (folder / 'text.txt').write_text('no database, but a text that is long enough\n' * 50)
    assert cli.main(['campaign', *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith('tl_adapt: error: ')
    assert message in error
    assert error.count('\n') == 1
    assert [path.name for path in folder.iterdir()] == ['text.txt']
