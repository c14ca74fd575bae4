# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of the verb `journal`."""

import contextlib
import json
import math
import os
import signal
import sqlite3
import subprocess
import sys
import threading

import pytest
from small_journal import written
from small_study import SMALL

from tl_adapt import cli
from tl_adapt.adaptation.records import Intent, Record
from tl_adapt.journal import StoreJournal
from tl_adapt.report.journal_lines import journal_table
from tl_adapt.store import Store

DEFAULT = {'v': 0.5, 'n': 3, 'mode': 'slow'}
SLOWER = {**DEFAULT, 'v': 0.25}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'study.yaml').write_text(SMALL)
    return tmp_path


@contextlib.contextmanager
def adapter(store='output/small.sqlite', environment='robot', **options):
    journal = StoreJournal(store, study='small', environment=environment, **options)
    yield journal
    journal.close()
    assert journal.trouble == ''


def changes(journal):
    """Note a change that went well and one that was cut short."""
    first = Intent(1, 'saves 12 %', {}, {}, SLOWER, DEFAULT)
    journal.add(Record('adapter', 'start', 'found on the robot', configuration=DEFAULT))
    journal.begin(first)
    journal.end(first, ok=True)
    journal.add(Record('adapter', 'effect', '', 1, effect='as predicted'))
    second = Intent(2, 'broke gap >= 0.1', {}, {}, DEFAULT, SLOWER)
    journal.begin(second)


def shown(capsys, *arguments, code=0):
    assert cli.main(['journal', *arguments]) == code
    captured = capsys.readouterr()
    return captured.out if code == 0 else captured.err


def cells(line):
    return [cell for cell in (cell.strip() for cell in line.split('  ')) if cell]


def test_it_tells_who_what_why_and_the_effect(capsys):
    with adapter() as journal:
        changes(journal)
    lines = shown(capsys, 'study.yaml').splitlines()
    assert cells(lines[0]) == [
        'time (UTC)', 'change', 'who', 'what', 'why', 'effect', 'configuration'
    ]
    assert [cells(line)[1:] for line in lines[2:]] == [
        ['adapter', 'start', 'found on the robot', 'v 0.5, n 3, mode slow'],
        ['1', 'adapter', 'change', 'saves 12 %', 'applied', 'v 0.5 -> 0.25'],
        ['1', 'adapter', 'effect', 'as predicted'],
        ['2', 'adapter', 'change', 'broke gap >= 0.1', 'no end yet', 'v 0.25 -> 0.5'],
    ]
    assert shown(capsys, 'output/small.sqlite').splitlines() == lines
    assert shown(capsys, 'study.yaml', '--store', 'output/small.sqlite').splitlines() == lines


def test_a_change_that_failed_is_shown_with_the_reason(capsys):
    with adapter() as journal:
        changes(journal)
    with adapter() as journal:
        journal.end(journal.unfinished(), ok=False, reason='cut short')
        never = Intent(1, 'saves 3 %', {}, {}, SLOWER)
        journal.end(never, ok=False, reason='never begun')
    lines = shown(capsys, 'study.yaml').splitlines()
    assert cells(lines[-2])[1:] == [
        '2', 'adapter', 'change', 'broke gap >= 0.1', 'failed: cut short', 'v 0.25 -> 0.5'
    ]
    assert cells(lines[-1])[1:] == ['1', 'adapter', 'change', 'failed: never begun']


def test_a_change_that_could_not_be_noted_in_time_is_one_line(capsys):
    with adapter() as journal:
        late = Intent(1, 'broke gap >= 0.1', {}, {}, SLOWER, DEFAULT)
        journal.begin(late)
        journal.end(late, ok=False, reason='noted too late')
        journal.add(Record('adapter', 'rollback', late.why, 1, SLOWER, DEFAULT, 'applied'))
    lines = shown(capsys, 'study.yaml').splitlines()
    assert [cells(line)[1:] for line in lines[2:]] == [
        ['1', 'adapter', 'rollback', late.why, 'applied', 'v 0.5 -> 0.25']
    ]


def test_only_what_is_asked_for_is_shown(folder, capsys):
    with adapter() as journal:
        changes(journal)
        for i in range(40):
            journal.add(Record('operator', 'pause', f'asked {i}', context='hall'))
    with adapter(environment='sim') as journal:
        journal.add(Record('adapter', 'start', 'elsewhere'))
    assert len(shown(capsys, 'study.yaml').splitlines()) == 2 + 30
    assert len(shown(capsys, 'study.yaml', '--last', '0').splitlines()) == 2 + 45
    last = shown(capsys, 'study.yaml', '--last', '2').splitlines()
    assert cells(last[2])[1:] == ['small/robot', 'hall', 'operator', 'pause', 'asked 39']
    assert cells(last[3])[1:] == ['small/sim', 'adapter', 'start', 'elsewhere']
    only = shown(capsys, 'study.yaml', '--environment', 'sim').splitlines()
    assert [cells(line)[1:] for line in only[2:]] == [['adapter', 'start', 'elsewhere']]
    only = shown(capsys, 'study.yaml', '--change', '1').splitlines()
    assert [cells(line)[1:3] for line in only[2:]] == [['1', 'adapter']] * 2
    everything = shown(capsys, 'study.yaml', '--json', '--last', '0').splitlines()
    time = json.loads(everything[-1])['time']
    for text in (time, time.replace('+00:00', 'Z'), time.replace('+00:00', '')):
        assert len(shown(capsys, 'study.yaml', '--since', text).splitlines()) == 2 + 1
    none = shown(capsys, 'study.yaml', '--since', '2999-01-01')
    assert none == 'output/small.sqlite: no entries of that kind\n'
    (folder / 'other.yaml').write_text(SMALL.replace('name: small', 'name: other'))
    assert shown(capsys, 'other.yaml', '--store', 'output/small.sqlite').endswith(
        ': no entries of that kind\n'
    )


def test_a_change_of_each_run_is_shown_with_what_was_before_it_there(capsys):
    with adapter(environment='yard') as journal:
        journal.add(Record('adapter', 'start', '', configuration={**DEFAULT, 'n': 9}))
    with adapter() as journal:
        changes(journal)
    once = shown(capsys, 'study.yaml', '--environment', 'robot', '--change', '1').splitlines()
    assert cells(once[0])[:2] == ['time (UTC)', 'change']
    faster = {**DEFAULT, 'v': 0.75}
    with adapter() as journal:
        journal.add(Record('adapter', 'start', '', configuration=faster))
        journal.add(Record('adapter', 'change', 'chosen', 1, DEFAULT))
        start = json.loads(shown(capsys, 'study.yaml', '--json').splitlines()[-2])['time']
    lines = shown(capsys, 'study.yaml', '--change', '1').splitlines()
    assert cells(lines[0])[:3] == ['time (UTC)', 'adapter since', 'change']
    found = [cells(line)[1:] for line in lines[2:]]
    assert len({row[0] for row in found}) in (1, 2), 'two runs, maybe in one second'
    assert [row[1:] for row in found] == [
        ['1', 'adapter', 'change', 'saves 12 %', 'applied', 'v 0.5 -> 0.25'],
        ['1', 'adapter', 'effect', 'as predicted'],
        ['1', 'adapter', 'change', 'chosen', 'v 0.75 -> 0.5'],
    ]
    assert found[-1][0] == start[:19].replace('T', ' ')
    last = shown(capsys, 'study.yaml', '--change', '1', '--since', start).splitlines()
    assert [cells(line)[1:] for line in last[2:]] == [
        ['1', 'adapter', 'change', 'chosen', 'v 0.75 -> 0.5']]


def test_json_has_everything(capsys):
    values = {'v': math.inf, 'n': 3, 'b': b'\x01'}
    with adapter(sim_time=lambda: 1.5) as journal:
        journal.add(Record('node', 'restart', 'came up anew', 4, values, context='hall'))
        journal.begin(Intent(5, 'why', {'/driver': {'v': 0.5}}, {'/driver': {'v': 0.25}}, SLOWER))
    record, begin = map(json.loads, shown(capsys, 'study.yaml', '--json').splitlines())
    assert record['configuration'] == {
        'v': {'$': 'float', 'value': 'inf'}, 'n': 3, 'b': {'$': 'bytes', 'value': '01'}
    }
    assert (record['who'], record['what'], record['why'], record['change']) == (
        'node', 'restart', 'came up anew', 4
    )
    assert (record['sim_time'], record['context'], record['study']) == (1.5, 'hall', 'small')
    assert begin['node_values'] == {
        'before': {'/driver': {'v': 0.5}}, 'after': {'/driver': {'v': 0.25}}
    }


def test_text_of_others_does_nothing_to_the_terminal(capsys):
    with adapter() as journal:
        journal.add(Record('node', 'foreign change', 'name is \x1b[2J\nnext'))
    lines = shown(capsys, 'study.yaml').splitlines()
    assert len(lines) == 3
    assert r'name is \x1b[2J\nnext' in lines[2]


def test_long_cells_go_on_below_in_a_narrow_terminal():
    rows = [
        ['change', 'what', 'why', 'effect'],
        ['1', 'change', 'a reason that is told in very many words', 'x' * 40],
        ['2', 'rollback', 'short', ''],
    ]
    lines = journal_table(rows, width=60).splitlines()
    assert max(map(len, lines)) <= 60
    assert ' '.join(line[18:36].strip() for line in lines[2:5]).startswith('a reason that is')
    assert len(journal_table(rows).splitlines()) == 4


@pytest.mark.parametrize('change', [
    "configuration = '5'", "before = '[]'", "why = x'ff00'", "what = x'0c'", "format = 'a'",
    "sim_time = 'zz'", 'sim_time = 1e999', "why = CAST(x'ff41' AS TEXT)", "study = x'61'",
    "environment = x'61'", "ok = 'maybe'",
])
def test_a_damaged_entry_is_told_of_by_its_number_and_the_rest_is_shown(capsys, change):
    with adapter() as journal:
        changes(journal)
    sound = shown(capsys, 'output/small.sqlite').splitlines()
    with contextlib.closing(sqlite3.connect('output/small.sqlite')) as connection:
        connection.execute(f"UPDATE adaptation_journal SET {change} WHERE what = 'effect'")
        connection.commit()
    for words in ([], ['--json'], ['--last', '0']):
        assert cli.main(['journal', 'output/small.sqlite', *words]) == 0
        captured = capsys.readouterr()
        if change.startswith('ok'):
            assert captured.err == ''
            continue
        (line,) = captured.err.splitlines()
        assert line.startswith('tl_adapt: warning: entry 4 of the journal is damaged: ')
        rows = [row for row in captured.out.splitlines() if row.startswith(('2', '{'))]
        assert len(rows) == (4 if '--json' in words else len(sound) - 2 - 1)


def test_it_is_read_while_an_adapter_writes_and_a_campaign_has_the_store(capsys):
    with Store('output/small.sqlite'), adapter() as journal:
        for i in range(3):
            journal.add(Record('adapter', 'effect', '', 1, effect=f'{i} windows as predicted'))
            assert written(journal)
            lines = shown(capsys, 'study.yaml').splitlines()
            assert len(lines) == 3 + i
            assert f'{i} windows' in lines[-1]


def test_it_follows(folder):
    with adapter() as journal:
        changes(journal)
        process = subprocess.Popen(
            [sys.executable, '-m', 'tl_adapt', 'journal', 'study.yaml', '--follow'],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
        )
        clock = threading.Timer(60.0, process.kill)
        clock.start()
        try:
            lines = [process.stdout.readline() for _ in range(6)]
            assert 'no end yet' in lines[-1]
            journal.add(Record('operator', 'pause', 'asked'))
            assert cells(process.stdout.readline())[1:] == ['operator', 'pause', 'asked']
            process.send_signal(signal.SIGINT)
            assert process.wait(30.0) == 130
        finally:
            clock.cancel()
            process.kill()
            process.communicate()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['study.yaml'], 'output/small.sqlite: there is no store here: an adapter writes it '
         'beside its model, or where its --store says'),
        (['none.sqlite'], 'none.sqlite: there is no store here'),
        (['old.sqlite'], 'old.sqlite has no journal: an adapter writes it'),
        (['no_such_study'], 'no study of that name'),
        (['study.yaml', '--store', 'study.yaml'], 'study.yaml: file is not a database'),
        (['old.sqlite', '--store', 'x'], "--store: has no meaning with a store, got 'x'"),
        (['study.yaml', '--last', '-1'], '--last: must be at least 0, got -1'),
        (['study.yaml', '--change', '-1'], '--change: must be at least 0, got -1'),
        (['study.yaml', '--since', 'noon'], "--since: must be a time in ISO 8601, got 'noon'"),
        (['study.yaml', '--since', '0001-01-01T00:00+14:00'], '--since: must be a time'),
        (['study.yaml', '--last', '9' * 30], '--last: must be at most'),
        (['study.yaml', '--change', '9' * 30], '--change: must be at most'),
        (['study.yaml', '--environment', 'moon'], "got 'moon'"),
        (['old.sqlite', '--environment', '\udcff'], r"--environment: must be UTF-8, got '\udcff'"),
        (['study.yaml', '--store', 'a\udcff'], '--store: must be UTF-8'),
        (['\udcff.sqlite'], 'STUDY|STORE: must be UTF-8'),
    ],
)
def test_what_can_not_be_shown_is_one_line(folder, capsys, arguments, message):
    Store('old.sqlite').close()
    error = shown(capsys, *arguments, code=2)
    assert error.startswith('tl_adapt: error: ')
    assert message in error
    assert error.count('\n') == 1
    assert {path.stem for path in folder.iterdir()} == {'study', 'old', 'old.sqlite'}
