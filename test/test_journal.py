# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of the adapter's journal in a store: what comes back, and who else is there."""

import contextlib
import dataclasses
import math
import os
import signal
import sqlite3
import subprocess
import sys
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_journal import INTENT, entries, opened, written

from tl_adapt.adaptation.records import Intent, Record
from tl_adapt.environments.base import Measurement
from tl_adapt.errors import StoreError
from tl_adapt.journal_table import BEGIN, END, RECORD, NoJournalError, open_journal
from tl_adapt.store import MissingStoreError, Store


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'store.sqlite'


# --- round trips -------------------------------------------------------------------------------

SCALARS = (
    st.booleans() | st.integers(-(2**63), 2**64) | st.floats() | st.text() | st.binary(max_size=8)
)
VALUES = st.none() | SCALARS | st.lists(SCALARS, max_size=4) | st.tuples(SCALARS, st.text())
CONFIGURATIONS = st.dictionaries(st.text() | st.just('$'), VALUES, max_size=4)
NODES = st.dictionaries(st.text(), st.dictionaries(st.text(), VALUES, max_size=3), max_size=3)
WORDS = st.text(st.characters(codec='utf-8', exclude_characters='\0'), max_size=20)
RECORDS = st.builds(
    Record, who=WORDS, what=WORDS, why=WORDS, effect=WORDS, context=WORDS,
    change=st.none() | st.integers(-(2**63), 2**63 - 1),
    configuration=st.none() | CONFIGURATIONS, before=st.none() | CONFIGURATIONS,
)


def complete(intent):
    """Return a change that tells what all it sets was before."""
    before = {
        node: {**each, **intent.before.get(node, {})} for node, each in intent.after.items()
    }
    return dataclasses.replace(intent, before={**intent.before, **before})


INTENTS = st.builds(
    Intent, change=st.integers(0, 2**63 - 1), why=WORDS, before=NODES, after=NODES,
    configuration=CONFIGURATIONS, previous=st.none() | CONFIGURATIONS,
).map(complete)


def typed(value):
    """Return the value with all types named, as 1 == 1.0 == True and nan != nan."""
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [typed(item) for item in value]
    if isinstance(value, float):
        return 'float', 'nan' if math.isnan(value) else value.hex()
    return type(value).__name__, value


def test_what_is_noted_comes_back(path):
    with opened(path, sim_time=lambda: 12.5) as journal, open_journal(path) as reader:

        @settings(max_examples=40, deadline=None)
        @given(records=st.lists(RECORDS, max_size=4), intent=INTENTS)
        def check(records, intent):
            before = len(reader.entries())
            for record in records:
                journal.add(record)
            journal.begin(intent)
            journal.end(intent, ok=False, reason='refused')
            assert written(journal)
            rows = reader.entries()[before:]
            assert [row.kind for row in rows] == [RECORD] * len(records) + [BEGIN, END]
            for row, record in zip(rows, records):
                assert {name: typed(getattr(row, name)) for name in vars(record)} == {
                    name: typed(value) for name, value in vars(record).items()
                }
                assert row.sim_time == 12.5
            assert typed(vars(rows[-2].to_intent())) == typed(vars(intent))
            assert (rows[-1].ok, rows[-1].why, rows[-1].change) == (
                False, 'refused', intent.change
            )

        check()


def test_numpy_values_become_plain_ones(path):
    np = pytest.importorskip('numpy')
    with opened(path) as journal:
        journal.add(Record('adapter', 'change', '', configuration={
            'v': np.float64(0.1), 'n': np.int64(3), 'a': np.array([1, 2]), 'b': np.bool_(True),
        }))
    (row,) = entries(path)
    assert typed(row.configuration) == typed({'v': 0.1, 'n': 3, 'a': [1, 2], 'b': True})


def test_what_can_not_be_kept_exactly(path):
    with opened(path) as journal:
        journal.add(Record('adapter', 'change', 'a\0b\ud800', configuration={'v': {1, 2}}))
        with pytest.raises(StoreError, match='set can not be kept'):
            journal.begin(Intent(1, '', {}, {'/driver': {'v': {1}}}, {}))
        journal.add(None)
        assert written(journal)
    rows = entries(path)
    assert rows[0].why == 'a\\x00b\\ud800'
    assert rows[0].configuration == {'v': '{1, 2}'}
    assert [row.what for row in rows] == ['change', 'lost record']


def test_a_clock_that_fails_costs_no_record(path):
    with opened(path, sim_time=lambda: 1 / 0) as journal:
        journal.add(Record('adapter', 'pause', 'asked'))
    with opened(path, sim_time=lambda: math.nan) as journal:
        journal.add(Record('adapter', 'resume', 'asked'))
    assert [(row.what, row.sim_time) for row in entries(path)] == [
        ('pause', None), ('resume', None)
    ]


def test_entries_are_found_by_what_they_belong_to(path):
    for environment in ('field', 'hall'):
        with opened(path, environment=environment) as journal:
            for change in range(3):
                journal.add(Record('adapter', 'change', environment, change=change))
    rows = entries(path)
    assert len(rows) == 6
    assert len({row.run for row in rows}) == 2
    assert [row.time for row in rows] == sorted(row.time for row in rows)
    assert {row.environment for row in entries(path, change=1)} == {'field', 'hall'}
    assert [row.change for row in entries(path, environment='hall', last=2)] == [1, 2]
    assert entries(path, since=rows[4].time) == rows[4:]
    assert entries(path, after=rows[3].id) == rows[4:]
    assert entries(path, study='other') == []


# --- changes that were cut short ---------------------------------------------------------------


def test_a_change_that_ended_is_not_unfinished(path):
    with opened(path) as journal:
        assert journal.unfinished() is None
        journal.begin(INTENT)
        journal.end(INTENT, ok=True)
    with opened(path) as journal:
        assert journal.unfinished() is None
    begin, end = entries(path)
    assert (begin.kind, end.kind, end.ok, end.change) == (BEGIN, END, True, 7)
    assert begin.intent == end.intent


def test_a_killed_adapter_leaves_its_change_behind(path):
    code = (
        'import os, signal\n'
        'from tl_adapt.adaptation.records import Intent\n'
        'from tl_adapt.journal import StoreJournal\n'
        f'journal = StoreJournal({str(path)!r}, study="small", environment="field")\n'
        "journal.begin(Intent(1, 'first', {}, {}, {'v': 0.1}))\n"
        "journal.end(Intent(1, 'first', {}, {}, {'v': 0.1}), ok=True)\n"
        f'journal.begin({INTENT!r})\n'
        'os.kill(os.getpid(), signal.SIGKILL)\n'
    )
    answer = subprocess.run([sys.executable, '-c', code], timeout=60, check=False)
    assert answer.returncode == -signal.SIGKILL
    with opened(path, environment='hall') as journal:
        assert journal.unfinished() is None
    with opened(path) as journal:
        found = journal.unfinished()
        assert found == INTENT
        assert typed(found.before) == typed(INTENT.before)
        journal.end(found, ok=False, reason='restored')
        assert journal.unfinished() is None
    with opened(path) as journal:
        assert journal.unfinished() is None


KILLED_OFTEN = '''
import os, random, select, signal, sqlite3, sys
from tl_adapt.adaptation.records import Intent
from tl_adapt.journal import StoreJournal

path, rounds = sys.argv[1], int(sys.argv[2])
chance = random.Random(int(sys.argv[3]))

def adapter(tell):
    journal = StoreJournal(path, study='small', environment='field')
    for change in range(10**6):
        intent = Intent(change, '', {}, {}, {})
        journal.begin(intent)
        os.write(tell, b'sent %d\\n' % change)
        journal.end(intent, ok=True)
        os.write(tell, b'ended %d\\n' % change)

open_changes = 0
for _ in range(rounds):
    hear, tell = os.pipe()
    child = os.fork()
    if child == 0:
        adapter(tell)
    os.close(tell)
    select.select([hear], [], [], 20.0)
    select.select([], [], [], chance.uniform(0.0, 0.03))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(hear) as told:
        what, change = told.read().splitlines()[-1].split()
    journal = StoreJournal(path, study='small', environment='field')
    found = journal.unfinished()
    if what == 'sent' and found is None:
        # It was killed between its end and saying so.
        with sqlite3.connect(path) as connection:
            rows = connection.execute(
                'SELECT kind, change, ok FROM adaptation_journal ORDER BY id DESC LIMIT 1')
            assert rows.fetchall() == [('end', int(change), 1)], change
    elif what == 'sent':
        assert found.change == int(change), (what, change, found)
    else:
        assert found is None or found.change - int(change) in (0, 1), (what, change, found)
    if found is not None:
        open_changes += 1
        journal.end(found, ok=False)
    assert journal.unfinished() is None
    journal.close()
    assert not journal.trouble
print(open_changes)
'''


def test_adapters_that_are_killed_at_any_moment_leave_no_change_unknown(path):
    answer = subprocess.run(
        [sys.executable, '-c', KILLED_OFTEN, str(path), '20', '1'],
        capture_output=True, text=True, timeout=100, check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert int(answer.stdout) > 0


def test_a_change_of_ones_own_is_not_left_behind_by_another(path):
    with opened(path) as journal:
        journal.begin(INTENT)
        assert journal.unfinished() is None
        with opened(path) as other:
            assert other.unfinished() == INTENT


# --- what is old -------------------------------------------------------------------------------


def aged(path, days):
    """Make entries older than they are."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "UPDATE adaptation_journal SET time = strftime('%Y-%m-%dT%H:%M:%f000+00:00', time, ?)",
            [f'-{days} days'],
        )
        connection.commit()


@pytest.mark.parametrize(
    ('keep_days', 'left'),
    [(None, ['old', 'change', 'old', 'new', 'last']), (5.0, ['change', 'old', 'new', 'last'])],
)
def test_old_entries_are_deleted_but_for_the_newest(path, monkeypatch, keep_days, left):
    monkeypatch.setattr('tl_adapt.journal_database.KEPT', 2)
    with opened(path, environment='hall') as journal:
        journal.add(Record('adapter', 'of another', ''))
    with opened(path) as journal:
        journal.add(Record('adapter', 'old', ''))
        journal.begin(INTENT)
        journal.add(Record('adapter', 'old', ''))
    aged(path, 6)
    with opened(path, keep_days=keep_days) as journal:
        journal.add(Record('adapter', 'new', ''))
        assert written(journal)
        journal.add(Record('adapter', 'last', ''))
    rows = entries(path)
    assert [row.what for row in rows if row.environment == 'field'] == left
    assert [row.what for row in rows if row.environment == 'hall'] == ['of another']
    with opened(path) as journal:
        assert journal.unfinished() == INTENT


def test_a_wrong_clock_costs_no_new_entries(path):
    with opened(path) as journal:
        for i in range(20):
            journal.add(Record('adapter', 'note', str(i)))
    aged(path, 30_000)
    with opened(path, keep_days=1.0) as journal:
        journal.add(Record('adapter', 'note', ''))
    assert len(entries(path)) == 21


# --- beside others -----------------------------------------------------------------------------


def test_it_works_beside_the_writer_of_measurements(path):
    with Store(path) as store, opened(path) as journal:
        for seed in range(20):
            store.add(Measurement('lab', {}, seed))
            journal.add(Record('adapter', 'note', str(seed)))
            journal.begin(INTENT)
            journal.end(INTENT, ok=True)
        assert written(journal)
        assert store.count() == 20
    assert [row.why for row in entries(path) if row.kind == RECORD] == [*map(str, range(20))]
    # The other way round: the journal made the store.
    path = path.with_name('other.sqlite')
    with opened(path) as journal, Store(path) as store:
        store.add(Measurement('lab', {}, 1))
        journal.begin(INTENT)
        assert store.count() == 1


def test_what_is_begun_is_on_the_disk(path):
    with opened(path) as journal:
        journal.begin(INTENT)
        with journal._database._engine.begin() as connection:
            assert connection.exec_driver_sql('PRAGMA synchronous').scalar() == 2
            assert connection.exec_driver_sql('PRAGMA journal_mode').scalar() == 'wal'


def test_two_adapters_write_at_once(path):
    code = (
        'import sys\n'
        'from tl_adapt.adaptation.records import Intent, Record\n'
        'from tl_adapt.journal import StoreJournal\n'
        f'journal = StoreJournal({str(path)!r}, study="small", environment=sys.argv[1])\n'
        'for change in range(15):\n'
        "    intent = Intent(change, '', {}, {}, {})\n"
        '    journal.begin(intent)\n'
        "    journal.add(Record('adapter', 'change', '', change=change))\n"
        '    journal.end(intent, ok=True)\n'
        'journal.close()\n'
        'print(repr(journal.trouble))\n'
    )
    names = ('field', 'hall')
    processes = [
        subprocess.Popen(
            [sys.executable, '-c', code, name], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    for process in processes:
        output, error = process.communicate(timeout=60)
        assert output == "''\n", error
    for name in names:
        rows = entries(path, environment=name)
        assert [row.change for row in rows if row.kind == RECORD] == [*range(15)]
        assert sum(row.kind == END for row in rows) == 15


def test_a_store_from_before_there_was_a_journal(path):
    with Store(path) as store:
        store.add(Measurement('lab', {}, 1))
        with pytest.raises(NoJournalError, match='has no journal'):
            entries(path)
        with opened(path) as journal:
            assert journal.unfinished() is None
            journal.begin(INTENT)
        assert store.count() == 1
    with contextlib.closing(sqlite3.connect(path)) as connection:
        versions = connection.execute('SELECT schema_version FROM tl_adapt_store').fetchall()
    assert versions == [(1,)]  # those who know no journal read on
    with Store(path, write=False) as store:
        assert store.count() == 1


def test_what_is_no_store_is_left_alone(path):
    path.write_text('no database at all, but long enough to look like something\n' * 20)
    before = path.read_bytes()
    with pytest.raises(StoreError, match='file is not a database'), opened(path):
        pass
    with pytest.raises(StoreError, match='a folder, not a store'), opened(path.parent):
        pass
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute('CREATE TABLE of_others (a, b)')
        connection.commit()
    with pytest.raises(StoreError, match='not a store of tl_adapt'), opened(path):
        pass
    assert os.listdir(path.parent) == [path.name]
    with pytest.raises(MissingStoreError), open_journal(path.with_name('none.sqlite')):
        pass
    assert threading.active_count() < 10


def test_a_journal_of_a_newer_version_is_not_guessed_at(path):
    with opened(path) as journal:
        journal.begin(INTENT)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute('UPDATE adaptation_journal SET format = 2')
        connection.commit()
    with pytest.raises(StoreError, match='written by a newer tl_adapt'):
        entries(path)
    with opened(path) as journal, pytest.raises(StoreError, match='by a newer tl_adapt'):
        journal.unfinished()


def damage(path, change, *values):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f'UPDATE adaptation_journal SET {change}', values)
        connection.commit()


DAMAGE = (
    "configuration = '5'", "before = '[]'", "why = x'ff00'", "what = x'00'", "format = 'a'",
    "sim_time = 'zz'", 'sim_time = 1e999', "change = 'x'", "time = 'x'", 'time = 5',
    "node_values = '[1]'", "node_values = '{broken'", 'node_values = \'{"$": "bytes"}\'',
    'node_values = \'{"$": "rm", "value": 1}\'', "intent = x'05'",
    "before = CAST(x'ff41' AS TEXT)",
)


@pytest.mark.parametrize('change', DAMAGE)
def test_a_damaged_entry_is_named_and_the_others_are_read(path, change):
    with opened(path) as journal:
        journal.begin(INTENT)
        journal.add(Record('adapter', 'effect', '', 7))
    damage(path, f'{change} WHERE id = 1')
    with pytest.raises(StoreError, match='entry 1 of the journal is damaged'):
        entries(path)
    told = []
    rows = entries(path, damaged=lambda row, why: told.append((row, why)))
    assert [row.what for row in rows] == ['effect']
    ((row, why),) = told
    assert row == 1 and why.startswith('entry 1 of the journal is damaged: ')
    damage(path, change)
    told.clear()
    assert entries(path, damaged=lambda row, why: told.append(row)) == []
    assert told == [1, 2]


@pytest.mark.parametrize('change', [
    *DAMAGE, 'node_values = NULL', 'configuration = NULL', 'change = NULL',
    "node_values = '{}'", 'node_values = \'{"before": {}, "after": 5}\'',
    'node_values = \'{"before": {"/a": 5}, "after": {}}\'',
    'node_values = \'{"before": {}, "after": {"/a": {"v": {"w": 1}}}}\'',
    'node_values = \'{"before": {}, "after": {"/a": {"v": 1}}}\'',
    'node_values = \'{"before": {"/a": {"w": 1}}, "after": {"/a": {"v": 1}}}\'',
])
def test_a_damaged_change_that_was_cut_short_is_told_of_and_not_waited_for(path, change):
    with opened(path) as journal:
        journal.begin(INTENT)
    damage(path, f"{change} WHERE kind = 'begin'")
    told = []
    with opened(path, tell=told.append) as journal:
        assert journal.unfinished() is None
        assert written(journal)
        assert journal.trouble == ''
    (text,) = told
    assert 'a change that was cut short can not be read: entry 1 of the journal is dam' in text
    rows = entries(path, damaged=lambda row, why: None)
    assert (rows[-1].what, rows[-1].who) == ('recovery', 'adapter')
    assert rows[-1].why in text and 'nothing was put back' in rows[-1].effect
    # It is told of once, where that can be noted.
    again = []
    with opened(path, tell=again.append) as journal:
        assert journal.unfinished() is None
    assert again == (told if change.startswith('intent') else [])


def test_a_damaged_change_that_ended_is_no_trouble(path):
    with opened(path) as journal:
        journal.begin(INTENT)
        journal.end(INTENT, ok=True)
    damage(path, "node_values = '[1]' WHERE kind = 'begin'")
    told = []
    with opened(path, tell=told.append) as journal:
        assert journal.unfinished() is None
    assert told == []
