# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of the adapter's journal in a PostgreSQL database."""

import math
import threading
import time

import pytest
import sqlalchemy as sa
from small_journal import entries, opened, written

from tl_adapt import cli
from tl_adapt.adaptation.records import Intent, Record
from tl_adapt.environments.base import Measurement
from tl_adapt.errors import StoreError
from tl_adapt.journal_table import BEGIN, END, RECORD, NoJournalError
from tl_adapt.store import MissingStoreError, Store

INTENT = Intent(
    7, 'less is predicted', {'/driver': {'v': 0.1 + 0.2, 'n': 2**60, 'b': b''}},
    {'/driver': {'v': math.inf, 'b': b'\0\1'}}, {'v': 0.25, 'n': 3},
)


@pytest.fixture
def url(postgresql):
    return postgresql.fresh()


def test_what_is_noted_comes_back(url, capsys):
    with pytest.raises(MissingStoreError):
        entries(url)
    with opened(url) as journal:
        journal.begin(INTENT)
        journal.add(Record('adapter', 'change', 'a\0b', 7, {'v': math.nan}, effect='ö'))
    with opened(url) as journal:
        found = journal.unfinished()
        assert found == INTENT
        journal.end(found, ok=True)
        assert journal.unfinished() is None
    with opened(url) as journal:
        assert journal.unfinished() is None
    rows = entries(url)
    assert [(row.kind, row.ok) for row in rows] == [(BEGIN, None), (RECORD, None), (END, True)]
    assert (rows[1].why, rows[1].effect) == ('a\\x00b', 'ö')
    assert math.isnan(rows[1].configuration['v'])
    assert cli.main(['journal', url]) == 0
    assert 'a\\x00b' in capsys.readouterr().out


def test_it_works_beside_the_writer_of_measurements(url):
    with Store(url) as store:
        store.add(Measurement('lab', {}, 1))
        with pytest.raises(NoJournalError):
            entries(url)
        with opened(url) as journal:
            journal.begin(INTENT)
            store.add(Measurement('lab', {}, 2))
        assert store.count() == 2


def test_two_that_begin_at_once_make_the_tables_once(url):
    barrier, troubles = threading.Barrier(3), []

    def work(name):
        barrier.wait(20.0)
        with opened(url, environment=name) as journal:
            for change in range(10):
                journal.begin(Intent(change, '', {}, {}, {}))
                journal.add(Record('adapter', 'change', '', change))
        troubles.append(journal.trouble)

    threads = [threading.Thread(target=work, args=(name,)) for name in ('a', 'b', 'c')]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60.0)
    assert troubles == ['', '', '']
    assert len(entries(url)) == 60


def test_a_locked_table_is_an_error_for_a_change_and_none_for_records(url):
    engine = sa.create_engine(url)
    with opened(url, deadline=0.6) as journal:
        with engine.begin() as connection:
            connection.exec_driver_sql('LOCK TABLE adaptation_journal IN EXCLUSIVE MODE')
            begin = time.monotonic()
            with pytest.raises(StoreError, match='statement timeout'):
                journal.begin(INTENT)
            assert time.monotonic() - begin < 1.5
            journal.add(Record('adapter', 'note', ''))
            assert 'statement timeout' in journal.trouble
        assert written(journal)
        assert journal.trouble == ''
    engine.dispose()
    assert [row.what for row in entries(url)] == ['note']


def test_a_server_that_hangs_stops_nobody(postgresql, url):
    with opened(url, deadline=0.5) as journal:
        with postgresql.hanging():
            begin = time.monotonic()
            with pytest.raises(StoreError, match=r'no answer within 0\.5 s'):
                journal.begin(INTENT)
            assert time.monotonic() - begin < 1.5
            journal.add(Record('adapter', 'note', ''))
        assert written(journal)
    with opened(url) as journal:
        assert journal.unfinished() is None
    assert 'note' in [row.what for row in entries(url)]


def test_a_server_that_is_gone_is_told_and_found_again(postgresql, url):
    with opened(url, deadline=1.0) as journal:
        postgresql.stop()
        try:
            with pytest.raises(StoreError):
                journal.begin(INTENT)
            journal.add(Record('adapter', 'note', ''))
            assert '1 records wait' in journal.trouble
            with opened(url, deadline=1.0) as late:
                assert late.trouble
                late.add(Record('adapter', 'late', ''))
                postgresql.start()
                assert written(late)
        finally:
            if not (postgresql.data / 'postmaster.pid').exists():
                postgresql.start()
        assert written(journal)
        journal.begin(INTENT)
    assert sorted(row.what for row in entries(url)) == ['change', 'late', 'note']
