# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Short ways to open a journal, to wait for it, to read it, and to get in its way."""

import contextlib
import sqlite3
import time

from tl_adapt.adaptation.records import Intent
from tl_adapt.journal import StoreJournal
from tl_adapt.journal_table import open_journal

INTENT = Intent(
    7, 'less is predicted', {'/driver': {'v': 0.5, 'count': 3}}, {'/driver': {'v': 0.25}},
    {'v': 0.25, 'n': 3}, {'v': 0.5, 'n': 3},
)


@contextlib.contextmanager
def opened(store, **options):
    options = {'study': 'small', 'environment': 'field', **options}
    journal = StoreJournal(store, **options)
    try:
        yield journal
    finally:
        journal.close()


def written(journal, seconds=10.0):
    """Wait until everything is in the store."""
    with journal._changed:
        return journal._changed.wait_for(
            lambda: not (journal._waits() or journal._writing or journal._busy_since), seconds
        )


def entries(store, **options):
    with open_journal(store) as reader:
        return reader.entries(**options)


@contextlib.contextmanager
def locked(path, mode='EXCLUSIVE'):
    """Hold SQLite's own lock of a file by another connection."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f'BEGIN {mode}')
        yield
        connection.execute('ROLLBACK')


def seconds_of(act):
    begin = time.monotonic()
    act()
    return time.monotonic() - begin
