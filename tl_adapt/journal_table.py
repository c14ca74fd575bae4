# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the journal's table in a store, and for reading it.

Rows are added and never changed. A change is two rows: one from before anything was sent (`begin`)
and one that tells how it ended (`end`); a begin without an end is a change that was cut short.
Stores from before there was a journal have no such table; it is made when it is first written to,
and those who do not know it do not mind it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import math
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeGuard

import sqlalchemy as sa

from tl_adapt.adaptation.records import ADAPTER, Intent, Record
from tl_adapt.database import file_size, parse, row_number, server_engine, sqlite_engine
from tl_adapt.errors import StoreError
from tl_adapt.exact_json import from_text, to_text
from tl_adapt.store import MissingStoreError, check_tables, storable

FORMAT = 1  # of a row; readers refuse what is newer
RECORD, BEGIN, END = 'record', 'begin', 'end'

_TABLES = sa.MetaData()
ROWS = sa.Table(
    'adaptation_journal',
    _TABLES,
    row_number(),
    sa.Column('format', sa.Integer, nullable=False),
    sa.Column('kind', sa.String(16), nullable=False),
    sa.Column('time', sa.String(40), nullable=False, index=True),
    sa.Column('sim_time', sa.Float(53)),
    sa.Column('study', sa.String(255), nullable=False),
    sa.Column('environment', sa.String(255), nullable=False),
    # One run of an adapter: its changes are counted anew in each.
    sa.Column('run', sa.String(32), nullable=False),
    sa.Column('who', sa.String(64), nullable=False),
    sa.Column('what', sa.Text, nullable=False),
    sa.Column('why', sa.Text, nullable=False),
    sa.Column('effect', sa.Text, nullable=False),
    sa.Column('context', sa.Text, nullable=False),
    sa.Column('change', sa.BigInteger),
    sa.Column('configuration', sa.Text),
    sa.Column('before', sa.Text),
    # What `begin` and `end` have in common, and what the nodes had and were to get.
    sa.Column('intent', sa.String(32), index=True),
    sa.Column('node_values', sa.Text),
    sa.Column('ok', sa.Boolean(create_constraint=False)),
)
_NAMES = tuple(column.name for column in ROWS.columns)
_JSON = ('configuration', 'before', 'node_values')
_TEXTS = ('kind', 'time', 'study', 'environment', 'run', 'who', 'what', 'why', 'effect', 'context')


class NoJournalError(StoreError):
    """Say that there is no journal in a store."""


class DamagedEntryError(StoreError):
    """Say that a row of a journal, by its `id`, can not be read, and for what `reason`."""

    def __init__(self, name: str, row: Mapping[str, Any], reason: object) -> None:
        """Keep what can be read of the row: the `change` and the `intent` that it belongs to."""
        self.id = row['id']
        self.reason = f'entry {self.id} of the journal is damaged: {reason}'
        self.change = row['change'] if isinstance(row['change'], int) else None
        self.intent = row['intent'] if isinstance(row['intent'], str) else None
        super().__init__(f'{name}: {self.reason}')


#: Gets the number of a row that can not be read, and why.
Damaged = Callable[[int, str], object]


@dataclasses.dataclass(frozen=True)
class Entry:
    """
    Hold one row of a journal.

    `kind` is RECORD, BEGIN or END; `time` is in UTC. `ok` is of an END, `node_values` (`before`
    and `after`) of a BEGIN; `intent` joins the two.
    """

    id: int
    kind: str
    time: datetime.datetime
    sim_time: float | None
    study: str
    environment: str
    run: str
    who: str
    what: str
    why: str
    effect: str
    context: str
    change: int | None
    configuration: dict[str, Any] | None
    before: dict[str, Any] | None
    intent: str | None
    node_values: dict[str, Any] | None
    ok: bool | None

    def to_intent(self) -> Intent:
        """Return the change that a BEGIN tells of; raises ValueError if it lacks a part."""
        values = self.node_values or {}
        before, after = values.get('before'), values.get('after')
        if self.change is None or self.configuration is None or self.intent is None:
            raise ValueError('a change without values')
        if not (_of_nodes(before) and _of_nodes(after)):
            raise ValueError('node_values must have before and after, by node and parameter')
        return Intent(
            self.change, self.why, before, after, self.configuration, self.before
        )


def _of_nodes(values: Any) -> TypeGuard[Mapping[str, Mapping[str, Any]]]:
    """Tell whether these are values of parameters by the names of nodes."""
    return _named(values) and all(
        _named(found) and not any(isinstance(value, dict) for value in found.values())
        for found in values.values()
    )


def _named(values: Any) -> bool:
    return isinstance(values, dict) and all(isinstance(key, str) for key in values)


def record_row(record: Record) -> dict[str, Any]:
    """Return the columns of a record; what can't be kept exactly is kept as its `repr`."""
    return {
        'kind': RECORD, 'who': storable(record.who)[:64], 'what': storable(record.what),
        'why': storable(record.why), 'effect': storable(record.effect),
        'context': storable(record.context), 'change': record.change,
        'configuration': _optional(record.configuration, strict=False),
        'before': _optional(record.before, strict=False),
    }


def begin_row(intent: Intent, token: str) -> dict[str, Any]:
    """Return the columns of a change's begin; raises TypeError for what would not come back."""
    return {
        'kind': BEGIN, 'who': ADAPTER, 'what': 'change', 'why': storable(intent.why),
        'change': intent.change, 'intent': token,
        'configuration': to_text(intent.configuration), 'before': _optional(intent.previous),
        'node_values': to_text({'before': intent.before, 'after': intent.after}),
    }


def end_row(change: int | None, token: str, *, ok: bool, reason: str) -> dict[str, Any]:
    """Return the columns of a change's end."""
    return {
        'kind': END, 'who': ADAPTER, 'what': 'change',
        'effect': 'applied' if ok else 'failed',
        'why': storable(reason), 'change': change, 'intent': token, 'ok': ok,
    }


def full_row(row: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Return all columns but the id, so that rows of all kinds can be inserted together."""
    empty = dict.fromkeys(('why', 'effect', 'context'), '')
    given = {**empty, **row, **more, 'format': FORMAT}
    return {name: given.get(name) for name in _NAMES if name != 'id'}


def _optional(value: Mapping[str, Any] | None, *, strict: bool = True) -> str | None:
    return None if value is None else to_text(dict(value), strict=strict)


def now(*, ago: datetime.timedelta = datetime.timedelta()) -> str:
    """Return the time, or one some time `ago`, as the table has it."""
    return time_text(datetime.datetime.now(datetime.timezone.utc) - ago)


def time_text(time: datetime.datetime) -> str:
    """Return a time as the table has it: UTC, of one length, so that texts sort as times do."""
    return time.astimezone(datetime.timezone.utc).isoformat(timespec='microseconds')


def finite(value: float | None) -> float | None:
    """Return the number, or None where a database may not hold it."""
    return None if value is None or not math.isfinite(value) else float(value)


def make_table(connection: sa.engine.Connection) -> None:
    """Make the journal's table if it is missing."""
    _TABLES.create_all(connection)


def tolerant(engine: sa.engine.Engine) -> sa.engine.Engine:
    """Let a SQLite file's text that is no UTF-8 be the fault of its row, not of each query."""

    def connected(connection: Any, _: Any) -> None:
        connection.text_factory = lambda data: data.decode(errors='surrogateescape')

    sa.event.listen(engine, 'connect', connected)
    return engine


def has_table(connection: sa.engine.Connection) -> bool:
    """Return whether there is a journal."""
    return bool(sa.inspect(connection).has_table(ROWS.name))


def select(
    connection: sa.engine.Connection, name: str, query: sa.sql.Select[Any],
    damaged: Damaged | None = None,
) -> list[Entry]:
    """
    Return the rows that a query gives; `damaged` is told of those that can't be read.

    Without it such a row raises DamagedEntryError, with `name`. Raises StoreError for rows of a
    newer version.
    """
    found = []
    for row in connection.execute(query).mappings():
        try:
            found.append(_entry(dict(row), name))
        except DamagedEntryError as error:
            if damaged is None:
                raise
            damaged(error.id, error.reason)
    return found


def _entry(row: dict[str, Any], name: str) -> Entry:
    # SQLite holds whatever somebody writes into it, of any type.
    try:
        _check(row)
        if row['format'] > FORMAT:
            raise StoreError(f'{name}: the journal was written by a newer tl_adapt')
        time = datetime.datetime.fromisoformat(row['time'])
        values = {key: None if row[key] is None else from_text(row[key]) for key in _JSON}
        for key, value in values.items():
            if value is not None and not _named(value):
                raise ValueError(f'{key} must map names to values')
    except ValueError as error:
        raise DamagedEntryError(name, row, error) from error
    ok = None if row['ok'] is None else bool(row['ok'])
    row = {key: value for key, value in row.items() if key != 'format'}
    return Entry(**{**row, **values, 'time': time, 'ok': ok})


def _check(row: Mapping[str, Any]) -> None:
    """Raise ValueError if a value is not of its column's type."""
    for keys, kind, what in (
        (('format',), int, 'a whole number'), (_TEXTS, str, 'text'),
        (('change',), (int, type(None)), 'a whole number'),
        (('sim_time',), (int, float, type(None)), 'a number'),
        (('intent', *_JSON), (str, type(None)), 'text'),
    ):
        for key in keys:
            if not isinstance(row[key], kind):
                raise ValueError(f'{key} must be {what}, got {row[key]!r:.60}')
            if isinstance(row[key], str) and not _encodable(row[key]):
                raise ValueError(f'{key} must be UTF-8, got {row[key]!r:.60}')
    if row['sim_time'] is not None and not math.isfinite(row['sim_time']):
        raise ValueError(f'sim_time must be finite, got {row["sim_time"]}')


def _encodable(text: str) -> bool:
    return not any('\ud800' <= char <= '\udfff' for char in text)


def last_begin(
    connection: sa.engine.Connection, name: str, *, study: str, environment: str, but: str
) -> Entry | None:
    """
    Return the last change that was begun by any run but `but`, if it has no end.

    Raises DamagedEntryError if it has none and can't be read.
    """
    query = (
        sa.select(ROWS.c.id, ROWS.c.intent)
        .where(ROWS.c.kind == BEGIN, ROWS.c.study == study, ROWS.c.environment == environment,
               ROWS.c.run != but)
        .order_by(ROWS.c.id.desc()).limit(1)
    )
    found = connection.execute(query).first()
    if found is None:
        return None
    end = sa.select(ROWS.c.id).where(ROWS.c.kind == END, ROWS.c.intent == found.intent)
    if connection.execute(end.limit(1)).first():
        return None
    return select(connection, name, sa.select(ROWS).where(ROWS.c.id == found.id))[0]


def unfinished_change(
    connection: sa.engine.Connection, name: str, *, study: str, environment: str, but: str
) -> tuple[Intent, str] | None:
    """Return the change of `last_begin`, and its token; raises what that raises."""
    entry = last_begin(connection, name, study=study, environment=environment, but=but)
    if entry is None:
        return None
    try:
        return entry.to_intent(), str(entry.intent)
    except ValueError as error:
        raise DamagedEntryError(name, vars(entry), error) from error


@contextlib.contextmanager
def open_journal(store: str | os.PathLike[str]) -> Iterator[JournalReader]:
    """
    Give a reader of the journal in a store; it may be written at the same time.

    Raises MissingStoreError if there is no store, NoJournalError if it has no journal, and
    StoreError if it can't be read.
    """
    path, name, url = parse(store)
    engine = _reading_engine(path, name, url)
    try:
        with _told(name), engine.begin() as connection:
            if check_tables(connection, name, file=path is not None) is None:
                raise MissingStoreError(f'{name}: there is no store here')
            if not has_table(connection):
                raise NoJournalError(f'{name} has no journal')
        yield JournalReader(engine, name)
    finally:
        engine.dispose()


def _reading_engine(
    path: pathlib.Path | None, name: str, url: sa.engine.URL | None
) -> sa.engine.Engine:
    if path is not None:
        if file_size(path) == 0:
            raise MissingStoreError(f'{name}: there is no store here')
        return tolerant(sqlite_engine(path, read_only=True))
    if url is None:
        raise StoreError(f'{name}: the store must be a file or a URL of SQLAlchemy')
    return server_engine(url, name)


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    try:
        yield
    except (sa.exc.SQLAlchemyError, OSError) as error:
        raise StoreError(f'{name}: {reason_of(error)}') from error


def reason_of(error: BaseException) -> str:
    """Return what a database says of a failure, as one line."""
    text = str(getattr(error, 'orig', None) or error).strip()
    return ' '.join(text.split()) or type(error).__name__


class JournalReader:
    """Read a journal, see `open_journal`."""

    def __init__(self, engine: sa.engine.Engine, name: str) -> None:
        """Read through an engine that someone else disposes of."""
        self._engine = engine
        self.name = name

    def entries(
        self,
        *,
        study: str | None = None,
        environment: str | None = None,
        change: int | None = None,
        who: str | None = None,
        what: str | None = None,
        since: datetime.datetime | None = None,
        after: int = 0,
        last: int = 0,
        damaged: Damaged | None = None,
    ) -> list[Entry]:
        """
        Return what matches, in the order in which it was written, of that the `last` (0: all).

        `after` is the id after which it begins. `damaged` is told of rows that can't be read;
        without it they raise DamagedEntryError. Raises StoreError if the store can't be read.
        """
        query = sa.select(ROWS).where(ROWS.c.id > after).order_by(ROWS.c.id.desc())
        for column, value in (
            (ROWS.c.study, study), (ROWS.c.environment, environment), (ROWS.c.change, change),
            (ROWS.c.who, who), (ROWS.c.what, what),
        ):
            if value is not None:
                query = query.where(column == value)
        if since is not None:
            query = query.where(ROWS.c.time >= time_text(since))
        if last:
            query = query.limit(last)
        told: list[tuple[int, str]] = []
        collect = None if damaged is None else lambda row, why: told.append((row, why))
        with _told(self.name), self._engine.begin() as connection:
            found = select(connection, self.name, query, collect)[::-1]
        for row, why in reversed(told):
            if damaged is not None:
                damaged(row, why)
        return found

    def start_of(self, entry: Entry) -> datetime.datetime:
        """Return when the run of an adapter that an entry belongs to began [UTC]."""
        query = sa.select(ROWS.c.time).where(ROWS.c.run == entry.run).order_by(ROWS.c.id).limit(1)
        with _told(self.name), self._engine.begin() as connection:
            text = connection.execute(query).scalar()
        try:
            return datetime.datetime.fromisoformat(str(text))
        except ValueError:  # a damaged entry, of which `entries` tells
            return entry.time

    def had_before(self, entry: Entry) -> dict[str, Any] | None:
        """Return the last configuration that was noted before an entry, where it was."""
        query = (
            sa.select(ROWS)
            .where(ROWS.c.id < entry.id, ROWS.c.study == entry.study,
                   ROWS.c.environment == entry.environment, ROWS.c.configuration.is_not(None))
            .order_by(ROWS.c.id.desc()).limit(1)
        )
        with _told(self.name), self._engine.begin() as connection:
            found = select(connection, self.name, query, lambda row, reason: None)
        return found[0].configuration if found else None
