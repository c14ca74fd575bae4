# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the journal's own connection to a store, which its thread uses.

The lock of the store's one writer of measurements is not taken, as a campaign holds it for hours:
each transaction here is short, and the database's own locks keep the two apart.
"""

from __future__ import annotations

import os
import pathlib
import time
from typing import Any

import sqlalchemy as sa

from tl_adapt.adaptation.records import Intent
from tl_adapt.database import file_size, parse, server_engine, sqlite_engine
from tl_adapt.errors import StoreError
from tl_adapt.journal_table import (
    BEGIN,
    ROWS,
    has_table,
    make_table,
    reason_of,
    tolerant,
    unfinished_change,
)
from tl_adapt.store import check_tables, make_tables

KEPT = 1_000  # newest rows that are never deleted: a clock may be wrong
_ANSWER = 2  # s that a server has to take a connection
_ADVISORY_LOCK = 1_953_261_923  # any number that nobody else uses in this database


class UnreachableError(StoreError):
    """Say that a store can't be used now: locked, full, or a server that does not answer."""


class UnwritableError(Exception):
    """Say that the rows themselves can't be written, whatever the state of the store."""


class JournalDatabase:
    """
    Write and read the journal of one store, from one thread.

    A `deadline` is a time of `time.monotonic` by which the database gives up waiting for others.
    Methods raise UnreachableError if another try may do, and StoreError if it will not.
    """

    def __init__(self, store: str | os.PathLike[str]) -> None:
        """Keep the name; raises StoreError if it is none."""
        self.path, self.name, self._url = parse(store)
        self._engine: sa.engine.Engine | None = None
        self._inode: tuple[int, int] | None = None

    def write(self, rows: list[dict[str, Any]], deadline: float) -> None:
        """
        Insert rows in one transaction, which is on the disk when this returns.

        Raises UnwritableError if the fault is the rows'.
        """
        engine = self.connect(deadline)
        try:
            with engine.begin() as connection:
                _begin(connection, deadline)
                if rows:
                    connection.execute(ROWS.insert(), rows)
        except (sa.exc.DataError, sa.exc.IntegrityError, OverflowError) as error:
            raise UnwritableError(reason_of(error)) from error
        except Exception as error:
            raise self._failed(error) from error

    def unfinished(
        self, deadline: float, *, study: str, environment: str, run: str
    ) -> tuple[Intent, str] | None:
        """
        Return the last change, with its token, if it has no end and is not of this run.

        Raises DamagedEntryError if there is one that can't be read.
        """
        engine = self.connect(deadline)
        try:
            with engine.begin() as connection:
                _wait(connection, deadline)
                return unfinished_change(
                    connection, self.name, study=study, environment=environment, but=run
                )
        except StoreError:
            raise
        except Exception as error:
            raise self._failed(error) from error

    def forget(self, deadline: float, *, study: str, environment: str, before: str) -> int:
        """
        Delete what was noted before a time, and return how many rows that were.

        The newest are kept whatever the clock says, and the last change that was begun.
        """
        engine = self.connect(deadline)
        ours = (ROWS.c.study == study, ROWS.c.environment == environment)
        newest = sa.select(ROWS.c.id).where(*ours).order_by(ROWS.c.id.desc())
        begun = sa.select(sa.func.max(ROWS.c.id)).where(*ours, ROWS.c.kind == BEGIN)
        try:
            with engine.begin() as connection:
                _begin(connection, deadline)
                last = connection.execute(newest.offset(KEPT - 1).limit(1)).scalar()
                if last is None:
                    return 0
                last = min(last, connection.execute(begun).scalar() or last)
                old = ROWS.delete().where(*ours, ROWS.c.time < before, ROWS.c.id < last)
                return int(connection.execute(old).rowcount)
        except Exception as error:
            raise self._failed(error) from error

    def connect(self, deadline: float) -> sa.engine.Engine:
        """Return the engine; open the store, and make what is missing in it, if need be."""
        if self._engine is not None and self._inode != self._present():
            self.dispose()  # removed or replaced: what is written there would be lost
        if self._engine is None:
            try:
                self._engine = self._open(deadline)
            except StoreError:
                self.dispose()
                raise
            except Exception as error:
                raise self._failed(error) from error
        return self._engine

    def dispose(self) -> None:
        """Let go of the store."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _failed(self, error: Exception) -> StoreError:
        """Return what to raise for a failure of the database, or of its driver."""
        reason = reason_of(error)
        # A connection after any other failure is not to be trusted.
        if not reason.endswith((' is locked', ' is full')):
            self.dispose()
        passing = isinstance(error, (sa.exc.OperationalError, sa.exc.InterfaceError))
        return (UnreachableError if passing else StoreError)(f'{self.name}: {reason}')

    def _present(self) -> tuple[int, int] | None:
        """Return which file is there now; None if there is none, or no file is used."""
        if self.path is None:
            return None
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _open(self, deadline: float) -> sa.engine.Engine:
        left = max(0.001, deadline - time.monotonic())
        if self.path is not None:
            present = file_size(self.path) > 0
            # Before anything is written beside the file: is it one of ours?
            version, journal = self._look(self.path, left) if present else (None, False)
            if version is None and self._inode is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            engine = tolerant(sqlite_engine(self.path, read_only=False, busy=left))
            self._engine = engine
            if version is None:
                # As `Store` does: readers and writers don't wait for each other then.
                with engine.begin() as connection:
                    connection.exec_driver_sql('PRAGMA journal_mode = WAL')
        elif self._url is not None:
            engine = self._engine = server_engine(self._url, self.name, _timeouts(self._url))
            with engine.begin() as connection:
                _wait(connection, deadline)
                version, journal = self._found(connection)
        else:
            raise StoreError(f'{self.name}: neither a file nor a URL')
        if version is None or not journal:
            self._make(engine, deadline)
        self._inode = self._present()
        return engine

    def _look(self, path: pathlib.Path, seconds: float) -> tuple[int | None, bool]:
        engine = sqlite_engine(path, read_only=True, busy=seconds)
        try:
            with engine.begin() as connection:
                return self._found(connection)
        finally:
            engine.dispose()

    def _found(self, connection: sa.engine.Connection) -> tuple[int | None, bool]:
        """Return the store's version, None if it is empty, and whether it has a journal."""
        version = check_tables(connection, self.name, file=self.path is not None)
        return version, has_table(connection)

    def _make(self, engine: sa.engine.Engine, deadline: float) -> None:
        with engine.begin() as connection:
            _begin(connection, deadline)
            if check_tables(connection, self.name, file=self.path is not None) is None:
                make_tables(connection)
            make_table(connection)


def _wait(connection: sa.engine.Connection, deadline: float) -> None:
    """Let the database wait for others no longer than the deadline."""
    left = max(1, int(1000.0 * (deadline - time.monotonic())))
    if connection.dialect.name == 'sqlite':
        connection.exec_driver_sql(f'PRAGMA busy_timeout = {left}')
    elif connection.dialect.name == 'postgresql':
        connection.exec_driver_sql(f'SET LOCAL statement_timeout = {left}')


def _begin(connection: sa.engine.Connection, deadline: float) -> None:
    """Begin a transaction that writes, and is durable once it is committed."""
    _wait(connection, deadline)
    if connection.dialect.name == 'sqlite':
        # Synchronous is FULL already, see `sqlite_engine`.
        connection.exec_driver_sql('BEGIN IMMEDIATE')
    elif connection.dialect.name == 'postgresql':
        connection.exec_driver_sql('SET LOCAL synchronous_commit = on')
        # One after the other: rows come to be seen in the order of their ids, and two that make
        # the tables at once don't fail.
        connection.exec_driver_sql(f'SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})')


def _timeouts(url: sa.engine.URL) -> dict[str, Any]:
    """Return what makes a driver notice a server that is gone, as far as we know the driver."""
    if url.get_driver_name() not in ('psycopg', 'psycopg2'):
        return {}
    options = {'connect_timeout': _ANSWER, 'tcp_user_timeout': 1000 * _ANSWER}
    return {name: value for name, value in options.items() if name not in url.query}
