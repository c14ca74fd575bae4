# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for opening databases: their names, engines and the lock of the one writer."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import sqlite3
import stat
import urllib.parse
from collections.abc import Mapping
from types import MappingProxyType
from typing import IO, Any

import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

from tl_adapt.errors import StoreError

_BUSY_SECONDS = 30.0


def row_number() -> sa.Column[int]:
    """Return the column `id` of a table, by which the database counts rows."""
    # SQLite counts by its own INTEGER alone.
    kind = sa.BigInteger().with_variant(sa.Integer, 'sqlite')
    return sa.Column('id', kind, primary_key=True, autoincrement=True)


def parse(
    url_or_path: str | os.PathLike[str],
) -> tuple[pathlib.Path | None, str, sa.engine.URL | None]:
    """Return the SQLite file (or None), a name for messages without password, and the URL."""
    text = os.fspath(url_or_path)
    if '://' not in text:
        path = pathlib.Path(text)
        return path, str(path), None
    try:
        url = sa.engine.make_url(text)
    except (sa.exc.ArgumentError, ValueError) as error:
        raise StoreError('the store must be a file or a URL of SQLAlchemy') from error
    if url.drivername.startswith('sqlite') and url.database not in (None, '', ':memory:'):
        path = pathlib.Path(str(url.database))
        return path, str(path), None
    return None, url.render_as_string(hide_password=True), url


def file_size(path: pathlib.Path) -> int:
    """Return the size of the file, 0 if it is missing; raises StoreError for what is no file."""
    try:
        if path.is_dir():
            raise StoreError(f'{path}: a folder, not a store')
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise StoreError(f'{path}: no regular file, so not a store')
        return found.st_size
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise StoreError(f'{path}: {error.strerror}') from error


def is_sqlite(path: pathlib.Path) -> bool:
    """Return whether a file is a database of SQLite, as far as it can be read."""
    try:
        with path.open('rb') as file:
            return file.read(16) == b'SQLite format 3\0'
    except OSError:
        return False


def take_lock(
    path: pathlib.Path, *, held: str = 'another process writes to this store', name: str = ''
) -> IO[str]:
    """
    Take the writer's lock beside the file; raises StoreError, with `held` if somebody has it.

    `flock` belongs to the open file, not to the process as `lockf` does: a second writer in this
    process is refused too, and the kernel frees it when the holder is killed. It is beside the
    file itself, not beside a link to it: by whatever name a store is opened, there is one lock.
    `name` is the file's name for messages, if that is not its path.
    """
    lock_path = pathlib.Path(f'{os.path.realpath(path)}.lock')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = lock_path.open('a+', encoding='utf-8')
    except OSError as error:
        raise StoreError(f'{path}: the store can not be written: {error.strerror}') from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        holder = file.read(32).strip() or 'unknown'
        file.close()
        if isinstance(error, BlockingIOError):
            raise StoreError(
                f'{name or path}: {held} (pid {holder})'
            ) from error
        raise StoreError(f'{path}: the store can not be locked: {error.strerror}') from error
    file.seek(0)
    file.truncate()
    file.write(f'{os.getpid()}\n')
    file.flush()
    return file


def sqlite_engine(
    path: pathlib.Path, *, read_only: bool, busy: float = _BUSY_SECONDS
) -> sa.engine.Engine:
    """
    Make an engine with one connection that threads share under the store's lock.

    It waits `busy` seconds for the locks of other connections.
    """

    def connect() -> sqlite3.Connection:
        uri = 'file:' + urllib.parse.quote(str(path.absolute()))
        mode = '?mode=ro' if read_only else '?mode=rwc'
        try:
            return _connect(uri + mode, busy)
        except sqlite3.OperationalError:
            # A reader needs the -shm file, which can't be made in a read-only folder; without
            # a -wal file nobody is writing, and the file alone holds everything.
            if not read_only or path.with_name(path.name + '-wal').exists():
                raise
            return _connect(uri + mode + '&immutable=1', busy)

    engine = sa.create_engine('sqlite://', creator=connect, poolclass=StaticPool, future=True)
    if read_only and not path.with_name(path.name + '-wal').exists():
        sa.event.listen(engine, 'engine_disposed', lambda _: _tidy(path))
    return engine


def _tidy(path: pathlib.Path) -> None:
    """Remove the -wal and -shm files that a reader left, unless somebody has the file open."""
    if path.with_name(path.name + '-wal').exists():
        # The last one to close removes them, but a reader is not allowed to.
        uri = 'file:' + urllib.parse.quote(str(path.absolute())) + '?mode=rw'
        with contextlib.suppress(sqlite3.Error):
            _connect(uri, 0.0).close()


def _connect(uri: str, busy: float) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, timeout=busy, check_same_thread=False)
    try:
        connection.execute('PRAGMA synchronous = FULL')
        connection.execute('SELECT count(*) FROM sqlite_master').fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def server_engine(
    url: sa.engine.URL, name: str, connect_args: Mapping[str, Any] = MappingProxyType({})
) -> sa.engine.Engine:
    """Make an engine for a database that is no SQLite file; its driver gets `connect_args`."""
    try:
        if url.drivername.startswith('sqlite'):
            return sa.create_engine(
                url,
                future=True,
                poolclass=StaticPool,
                connect_args={'check_same_thread': False},
            )
        return sa.create_engine(
            url, future=True, pool_pre_ping=True, connect_args=dict(connect_args)
        )
    except (sa.exc.SQLAlchemyError, ImportError) as error:
        raise StoreError(f'{name}: {error}') from error
