# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the store of measurements: append-only, each committed, safe against kill -9."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

import sqlalchemy as sa

from tl_adapt import __version__
from tl_adapt.database import file_size, parse, row_number, server_engine, sqlite_engine, take_lock
from tl_adapt.digests import (
    digest,
    environment_digest,
    measurement_key,
    metrics_digest,
    plain,
    space_digest,
)
from tl_adapt.environments.base import Measurement
from tl_adapt.errors import StoreError
from tl_adapt.refusals import add_refusal, get_refusals, take_back
from tl_adapt.stored_row import JSON_FIELDS, check_configurations, measurement_of

if TYPE_CHECKING:
    from tl_adapt.study import Study

__all__ = ['SCHEMA_VERSION', 'MissingStoreError', 'Store', 'measurement_key']

SCHEMA_VERSION = 1
_BUSY_SECONDS = 30.0

_TABLES = sa.MetaData()
_ABOUT = sa.Table(
    'tl_adapt_store',
    _TABLES,
    sa.Column('schema_version', sa.Integer, nullable=False),
    sa.Column('made_by', sa.Text, nullable=False),
    sa.Column('created', sa.Text, nullable=False),
)
# 53 bits: a float of Python comes back exactly, also from servers whose FLOAT is single precision.
_ROWS = sa.Table(
    'measurements',
    _TABLES,
    row_number(),
    sa.Column('key', sa.String(255), nullable=False, unique=True),
    sa.Column('study', sa.Text, nullable=False),
    sa.Column('study_digest', sa.String(64), nullable=False),
    sa.Column('space_digest', sa.String(64), nullable=False, index=True),
    sa.Column('metric_digest', sa.String(64), nullable=False),
    sa.Column('environment_digest', sa.String(64), nullable=False),
    sa.Column('environment', sa.String(255), nullable=False, index=True),
    sa.Column('purpose', sa.String(255), nullable=False),
    sa.Column('configuration', sa.Text, nullable=False),
    sa.Column('seed', sa.BigInteger, nullable=False),
    sa.Column('metrics', sa.Text, nullable=False),
    sa.Column('valid', sa.Boolean(create_constraint=False), nullable=False),
    sa.Column('reason', sa.Text, nullable=False),
    sa.Column('cost', sa.Float(53), nullable=False),
    sa.Column('sim_time', sa.Float(53), nullable=False),
    sa.Column('wall_time', sa.Float(53), nullable=False),
    sa.Column('started', sa.Text, nullable=False),
    sa.Column('provenance', sa.Text, nullable=False),
)
_FIELDS = tuple(field.name for field in dataclasses.fields(Measurement))


def storable(value: str) -> str:
    """Return text that every database can hold (no NUL, no lone surrogate)."""
    return value.replace('\0', '\\x00').encode('utf-8', 'backslashreplace').decode('utf-8')


class MissingStoreError(StoreError):
    """Say that there is no store where one must not be made."""


class NoStoreError(StoreError):
    """Say that a database is none of our stores, or one of a newer version."""


def check_tables(connection: sa.engine.Connection, name: str, *, file: bool) -> int | None:
    """
    Return the schema version of a store; None if the database is empty.

    Raises NoStoreError if the database, which messages call `name`, is no store of ours or was
    made by a newer version. In one that is no `file` there may be tables of others.
    """
    tables = set(sa.inspect(connection).get_table_names())
    version = None
    if _ABOUT.name in tables:
        version = connection.execute(sa.select(_ABOUT.c.schema_version)).scalar()
    if version is not None and not isinstance(version, int):
        # SQLite holds whatever somebody writes into it, of any type.
        raise NoStoreError(
            f'{name}: schema_version of {_ABOUT.name} is damaged: must be a whole number, '
            f'got {version!r:.60}'
        )
    if version is not None and version > SCHEMA_VERSION:
        raise NoStoreError(
            f'{name}: made by a newer tl_adapt: schema {version}, '
            f'this one knows {SCHEMA_VERSION}'
        )
    foreign = file and tables and version is None
    if foreign or (version is not None and _ROWS.name not in tables):
        raise NoStoreError(f'{name}: a database, but not a store of tl_adapt')
    return version


def make_tables(connection: sa.engine.Connection) -> None:
    """Make the tables of a store that are missing."""
    _TABLES.create_all(connection)
    # An adapter's journal may have made them a moment ago.
    if connection.execute(sa.select(_ABOUT.c.schema_version)).first() is None:
        connection.execute(
            _ABOUT.insert().values(
                schema_version=SCHEMA_VERSION,
                made_by=f'tl_adapt {__version__}',
                created=datetime.datetime.now(datetime.timezone.utc).isoformat(),
            )
        )


class Store:
    """
    Keep measurements in a database: SQLite (one file) or any URL of SQLAlchemy.

    With a `study`, rows are marked with it, and only rows are given back that were measured over
    the same space, metrics and environments (see `digests`). A SQLite file has one writer at a
    time; readers (`write=False`) are free.
    """

    def __init__(
        self,
        url_or_path: str | os.PathLike[str],
        *,
        study: Study | None = None,
        create: bool = True,
        write: bool = True,
    ) -> None:
        """
        Open the store, and make it if it is missing and may be written.

        Raises StoreError if it can't be read or written, is no store, is held by another
        writer, or was made by a newer version; it is then left as it was. Raises
        MissingStoreError, a StoreError, if it is missing and not made.
        """
        self.study = study
        self.write = write
        self._lock = threading.RLock()
        self._lock_file: IO[str] | None = None
        self._engine: sa.engine.Engine | None = None
        self.path, self.name, url = parse(url_or_path)
        self._marks = _marks(study)
        self._environments: dict[str, str] = {}
        try:
            self._open(url, create and write)
        except BaseException:
            self.close()
            raise

    def _open(self, url: sa.engine.URL | None, create: bool) -> None:
        if self.path is not None:
            present = file_size(self.path) > 0
            if not present and not create:
                raise MissingStoreError(f'{self.name}: there is no store here')
            if present and self.write:
                # Before anything is written beside the file: is it one of ours?
                self._engine = sqlite_engine(self.path, read_only=True)
                self._check()
                self._dispose()
            if self.write:
                self._lock_file = take_lock(self.path)
            self._engine = sqlite_engine(self.path, read_only=not self.write)
        elif url is not None:
            self._engine = server_engine(url, self.name)
        version = self._check()
        if version is None and not create:
            raise MissingStoreError(f'{self.name}: there is no store here')
        if not self.write:
            return
        with self._transaction() as connection:
            if self.path is not None:
                # Fails at once on a read-only file, not only when the first run has ended.
                connection.exec_driver_sql('PRAGMA user_version = 0')
        if self.path is not None:
            with self._transaction() as connection:
                connection.exec_driver_sql('PRAGMA journal_mode = WAL')
        if version is None:
            with self._transaction() as connection:
                if self.path is not None:
                    # sqlite3 begins no transaction for CREATE TABLE by itself.
                    connection.exec_driver_sql('BEGIN IMMEDIATE')
                make_tables(connection)

    def _check(self) -> int | None:
        """Return the schema version; None if the database is empty."""
        with self._transaction() as connection:
            return check_tables(connection, self.name, file=self.path is not None)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sa.engine.Connection]:
        """Give a connection whose work is committed at the end; say what went wrong."""
        with self._lock:
            if self._engine is None:
                raise StoreError(f'{self.name}: the store is closed')
            try:
                with self._engine.begin() as connection:
                    yield connection
            except sa.exc.IntegrityError:
                raise
            except (sa.exc.SQLAlchemyError, sqlite3.Error, OSError) as error:
                cause = getattr(error, 'orig', None) or error
                raise StoreError(f'{self.name}: {str(cause).strip()}') from error

    def add(self, m: Measurement) -> bool:
        """
        Add a measurement and commit it; return False if its key is already there.

        An empty key is filled in. Raises StoreError if it can't be written, or if a number in
        it is not finite.
        """
        if not self.write:
            raise StoreError(f'{self.name}: opened for reading only')
        if not m.key:
            m.key = self._key(m)
        row: dict[str, Any] = {name: getattr(m, name) for name in _FIELDS}
        row['reason'] = storable(m.reason)
        for name in JSON_FIELDS:
            try:
                row[name] = json.dumps(row[name], allow_nan=False, default=plain)
            except (TypeError, ValueError) as error:
                raise StoreError(f'{self.name}: {name} must be JSON: {error}') from error
        row.update(self._marks, environment_digest=self._environment_digest(m.environment))
        if self.has(m.key):
            return False
        try:
            with self._transaction() as connection:
                connection.execute(_ROWS.insert().values(**row))
        except sa.exc.IntegrityError as error:
            # On a server another writer may have been faster.
            if self.has(m.key):
                return False
            raise StoreError(f'{self.name}: {error.orig}') from error
        return True

    def _key(self, m: Measurement) -> str:
        if self.study is not None:
            return measurement_key(self.study, m.environment, m.configuration, m.seed, m.purpose)
        return digest([m.environment, m.configuration, m.seed, m.purpose])

    def _environment_digest(self, environment: str) -> str:
        if environment not in self._environments:
            self._environments[environment] = (
                '' if self.study is None else environment_digest(self.study, environment)
            )
        return self._environments[environment]

    def _where(
        self, environment: str | None, purpose: str | None, valid: bool | None
    ) -> list[Any]:
        conditions: list[Any] = []
        if self.study is not None:
            conditions.append(_ROWS.c.space_digest == self._marks['space_digest'])
            conditions.append(_ROWS.c.metric_digest == self._marks['metric_digest'])
            known = {self._environment_digest(name) for name in self.study.environments}
            conditions.append(_ROWS.c.environment_digest.in_(sorted(known | {''})))
        if environment is not None:
            conditions.append(_ROWS.c.environment == environment)
        if purpose is not None:
            conditions.append(_ROWS.c.purpose == purpose)
        if valid is not None:
            conditions.append(_ROWS.c.valid == valid)
        return conditions

    def get(
        self,
        *,
        environment: str | None = None,
        purpose: str | None = None,
        valid: bool | None = None,
    ) -> list[Measurement]:
        """
        Return the measurements that match, in the order in which they were added.

        Raises StoreError, with its key, for one that is damaged.
        """
        query = sa.select(*(_ROWS.c[name] for name in _FIELDS)).order_by(_ROWS.c.id)
        for condition in self._where(environment, purpose, valid):
            query = query.where(condition)
        with self._transaction() as connection:
            rows = connection.execute(query).mappings().all()
        found = [measurement_of(dict(row), self.name) for row in rows]
        if self.study is not None:
            check_configurations(found, self.study.space, self.name)
        return found

    def has(self, key: str) -> bool:
        """Return whether a measurement of this key is there, of whatever study."""
        with self._transaction() as connection:
            query = sa.select(_ROWS.c.id).where(_ROWS.c.key == key)
            return connection.execute(query).first() is not None

    def count(
        self,
        *,
        environment: str | None = None,
        purpose: str | None = None,
        valid: bool | None = None,
    ) -> int:
        """Return the number of measurements that `get` would return."""
        query = sa.select(sa.func.count()).select_from(_ROWS)
        for condition in self._where(environment, purpose, valid):
            query = query.where(condition)
        with self._transaction() as connection:
            return int(connection.execute(query).scalar() or 0)

    def refuse(self, environment: str, configuration: dict[str, Any]) -> None:
        """
        Keep that a configuration must not be run in an environment of the study.

        Raises StoreError if it can't be written, InputError for one outside of the space.
        """
        study, mark = self._known(environment)
        with self._transaction() as connection:
            add_refusal(connection, mark, study.space, configuration)

    def refused(self, environment: str) -> list[dict[str, Any]]:
        """Return what was refused in an environment and can be had in the study's space."""
        study, mark = self._known(environment)
        with self._transaction() as connection:
            return get_refusals(connection, mark, study.space, self.name)

    def allow(self, environment: str) -> int:
        """Take back all that was refused in an environment; return how much that was."""
        _, mark = self._known(environment)
        with self._transaction() as connection:
            return take_back(connection, mark)

    def _known(self, environment: str) -> tuple[Study, str]:
        """Return the study and an environment's digest; raises StoreError without a study."""
        if self.study is None:
            raise StoreError(f'{self.name}: opened without a study')
        return self.study, self._environment_digest(environment)

    def left_out(self) -> int:
        """Return how many rows belong to other studies, metrics or environments than ours."""
        with self._transaction() as connection:
            total = connection.execute(sa.select(sa.func.count()).select_from(_ROWS)).scalar()
        return int(total or 0) - self.count()

    def _dispose(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def close(self) -> None:
        """Close the database and free the writer's lock; a second call does nothing."""
        with self._lock:
            self._dispose()
            if self._lock_file is not None:
                # The lock file stays: removing it would let two writers lock two files.
                self._lock_file.close()
                self._lock_file = None

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _marks(study: Study | None) -> dict[str, str]:
    """Return the columns that say to which study a row belongs."""
    if study is None:
        return {'study': '', 'study_digest': '', 'space_digest': '', 'metric_digest': ''}
    return {
        'study': study.name,
        'study_digest': study.digest,
        'space_digest': space_digest(study),
        'metric_digest': metrics_digest(study),
    }
