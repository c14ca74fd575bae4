# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of the adapter's journal where its store is locked, full, gone, or does not answer."""

import contextlib
import pathlib
import resource
import sqlite3
import subprocess
import sys
import tempfile
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_journal import INTENT, entries, locked, opened, seconds_of, written

from tl_adapt.adaptation.records import Intent, Record
from tl_adapt.errors import StoreError
from tl_adapt.journal import StoreJournal
from tl_adapt.journal_table import BEGIN, END, RECORD


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'store.sqlite'


def test_a_locked_store_is_an_error_for_a_change_and_none_for_records(path):
    with opened(path, deadline=0.6) as journal:
        with locked(path):
            took = []

            def begin():
                with pytest.raises(StoreError, match='database is locked'):
                    journal.begin(INTENT)

            took.append(seconds_of(begin))
            took.append(seconds_of(lambda: journal.add(Record('adapter', 'note', 'locked'))))
            took.append(seconds_of(lambda: journal.end(INTENT, ok=False, reason='never sent')))
            assert took[0] < 1.5
            assert max(took[1:]) < 0.2
            assert 'database is locked' in journal.trouble
            assert '2 records wait to be written' in journal.trouble
        assert written(journal)
        assert journal.trouble == ''
        journal.begin(INTENT)
    assert [(row.kind, row.why) for row in entries(path)] == [
        (RECORD, 'locked'), (END, 'never sent'), (BEGIN, INTENT.why)
    ]


def test_a_store_that_is_locked_at_the_start_is_used_later(path):
    with opened(path):
        pass
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute('DROP TABLE adaptation_journal')
    with locked(path):
        journal = StoreJournal(path, study='small', environment='field', deadline=0.5)
        journal.add(Record('adapter', 'start', 'asked'))
        assert 'locked' in journal.trouble
    assert written(journal)
    assert journal.trouble == ''
    journal.close()
    assert [row.what for row in entries(path)] == ['start']


def test_a_full_store_is_an_error_and_costs_nothing(path):
    with opened(path) as journal:
        journal.add(Record('adapter', 'start', 'asked'))
        assert written(journal)

        def limit(pages):
            with journal._database._engine.begin() as connection:
                return connection.exec_driver_sql(f'PRAGMA max_page_count = {pages}').scalar()

        limit(1)  # the least is what there is
        with pytest.raises(StoreError, match='database or disk is full'):
            journal.begin(Intent(1, 'x' * 100_000, {}, {}, {}))
        journal.add(Record('adapter', 'note', 'y' * 100_000))
        with journal._changed:
            assert journal._changed.wait_for(lambda: 'is full; 1 rec' in journal.trouble, 10.0)
        limit(1_000_000)
        assert written(journal)
    assert [(row.what, len(row.why)) for row in entries(path)] == [
        ('start', 5), ('note', 100_000)
    ]


def test_files_that_may_not_grow_are_an_error_and_cost_nothing(path):
    code = (
        'import resource\n'
        'from tl_adapt.adaptation.records import Intent, Record\n'
        'from tl_adapt.errors import StoreError\n'
        'from tl_adapt.journal import StoreJournal\n'
        f'journal = StoreJournal({str(path)!r}, study="small", environment="field")\n'
        'hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]\n'
        'resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))\n'
        'try:\n'
        "    journal.begin(Intent(1, 'x' * 100_000, {}, {}, {}))\n"
        'except StoreError as error:\n'
        "    print('refused')\n"
        "journal.add(Record('adapter', 'note', 'y'))\n"
        'with journal._changed:\n'
        "    print(journal._changed.wait_for(lambda: '1 rec' in journal.trouble, 10.0))\n"
        'resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))\n'
        'journal.close()\n'
        'print(repr(journal.trouble))\n'
    )
    assert hasattr(resource, 'RLIMIT_FSIZE')
    answer = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, timeout=60, check=False
    )
    assert answer.stdout.splitlines() == ['refused', 'True', "''"], answer.stderr
    assert [row.what for row in entries(path)] == ['note']


def test_a_store_that_is_removed_is_made_again(path):
    with opened(path) as journal:
        journal.add(Record('adapter', 'first', ''))
        assert written(journal)
        for file in path.parent.iterdir():
            file.unlink()
        journal.begin(INTENT)
    assert [row.kind for row in entries(path)] == [BEGIN]


def test_a_folder_that_is_gone_is_told_and_not_made_again(tmp_path):
    folder = tmp_path / 'stick'
    with opened(folder / 'store.sqlite', deadline=0.5) as journal:
        folder.rename(tmp_path / 'away')
        with pytest.raises(StoreError, match='unable to open database file'):
            journal.begin(INTENT)
        journal.add(Record('adapter', 'note', ''))
        with journal._changed:
            assert journal._changed.wait_for(lambda: '1 records wait' in journal.trouble, 10.0)
        assert not folder.exists()
        (tmp_path / 'away').rename(folder)
        assert written(journal)
    assert [row.what for row in entries(folder / 'store.sqlite')] == ['note']


def test_when_memory_is_full_the_oldest_records_are_lost_and_that_is_told(path):
    with opened(path, deadline=0.5, capacity=3) as journal:
        journal.begin(INTENT)
        with locked(path):
            journal.end(INTENT, ok=True)
            for i in range(5):
                journal.add(Record('adapter', f'note {i}', ''))
            with journal._changed:
                assert journal._changed.wait_for(lambda: journal._failure, 10.0)
            assert '3 are lost' in journal.trouble
        assert written(journal)
    rows = entries(path)
    assert sorted(row.what for row in rows[1:]) == ['change', 'note 3', 'note 4', 'records lost']
    (lost,) = [row for row in rows if row.what == 'records lost']
    assert lost.effect == '3 records were dropped'
    assert 'locked' in lost.why


def test_a_record_that_no_database_takes_costs_no_other(path):
    with opened(path) as journal:
        with locked(path):
            for change in (1, 2**70, 3):
                journal.add(Record('adapter', 'change', '', change=change))
        assert written(journal)
        assert journal.trouble == ''
    rows = entries(path)
    assert [row.change for row in rows if row.what == 'change'] == [1, 3]
    assert [row.effect for row in rows if row.what != 'change'] == ['1 records were dropped']


def test_a_store_that_does_not_answer_stops_nobody(path, monkeypatch):
    with opened(path, deadline=0.3) as journal:
        hung, go_on = threading.Event(), threading.Event()
        write = journal._database.write

        def hang(rows, deadline):
            hung.set()
            assert go_on.wait(20.0)
            write(rows, deadline)

        monkeypatch.setattr(journal._database, 'write', hang)
        with pytest.raises(StoreError, match=r'no answer within 0\.3 s'):
            journal.begin(INTENT)
        assert hung.is_set()
        assert seconds_of(lambda: journal.add(Record('adapter', 'note', ''))) < 0.2
        with journal._changed:
            journal._changed.wait_for(lambda: journal.trouble, 0.2)
        assert seconds_of(lambda: journal.unfinished) < 0.2
        with pytest.raises(StoreError, match='no answer'):
            journal.unfinished()
        assert 'no answer for ' in journal.trouble
        go_on.set()
        assert written(journal)
    with opened(path) as journal:
        # It was written after all, but its adapter was told that it was not, and sent nothing.
        assert journal.unfinished() is None
    assert [(row.kind, row.ok) for row in entries(path)] == [
        (BEGIN, None), (END, False), (RECORD, None)
    ]


def test_closing_takes_no_longer_than_its_deadline(path):
    journal = StoreJournal(path, study='small', environment='field', deadline=0.5)
    with locked(path):
        journal.add(Record('adapter', 'note', ''))
        assert seconds_of(journal.close) < 1.5
        assert 'locked' in journal.trouble
    journal.close()
    journal.add(Record('adapter', 'late', ''))
    assert 'the journal is closed' in journal.trouble
    with pytest.raises(StoreError, match='the journal is closed'):
        journal.begin(INTENT)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(st.sampled_from(['note', 'change', 'lock', 'unlock']), max_size=14))
def test_whenever_the_store_is_locked_all_is_written_once_and_in_order(tmp_path, steps):
    notes, done, refused = [], [], []
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        path = pathlib.Path(folder, 'store.sqlite')
        with opened(path, deadline=0.25) as journal, contextlib.ExitStack() as locks:
            for number, step in enumerate(steps):
                if step == 'note':
                    journal.add(Record('adapter', 'note', str(number)))
                    notes.append(str(number))
                elif step == 'lock':
                    locks.close()
                    locks.enter_context(locked(path, 'IMMEDIATE'))
                elif step == 'unlock':
                    locks.close()
                elif step == 'change':
                    intent = Intent(number, '', {}, {}, {})
                    try:
                        journal.begin(intent)
                    except StoreError:
                        refused.append(number)
                    else:
                        journal.end(intent, ok=True)
                        done.append(number)
            locks.close()
            assert written(journal)
            assert journal.trouble == ''
        rows = entries(path)
        with opened(path) as journal:
            assert journal.unfinished() is None
    assert [row.why for row in rows if row.kind == RECORD] == notes
    assert [row.change for row in rows if row.kind == BEGIN and row.change in done] == done
    assert [row.change for row in rows if row.ok] == done
    late = [row.change for row in rows if row.kind == BEGIN and row.change in refused]
    assert sorted(row.change for row in rows if row.ok is False) == sorted(late)
