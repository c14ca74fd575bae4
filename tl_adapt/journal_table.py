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
from collections.abc import Iterator, Mapping
from typing import Any

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


class NoJournalError(StoreError):
    """Say that there is no journal in a store."""


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
        """Return the change that a BEGIN tells of; raises StoreError if it lacks a part."""
        values = self.node_values
        if not values or self.change is None or self.configuration is None:
            raise StoreError(f'entry {self.id} of the journal is damaged: a change without values')
        return Intent(
            self.change, self.why, values['before'], values['after'], self.configuration,
            self.before,
        )


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


def end_row(change: int, token: str, *, ok: bool, reason: str) -> dict[str, Any]:
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


def has_table(connection: sa.engine.Connection) -> bool:
    """Return whether there is a journal."""
    return bool(sa.inspect(connection).has_table(ROWS.name))


def select(connection: sa.engine.Connection, name: str, query: sa.sql.Select[Any]) -> list[Entry]:
    """Return the rows that a query gives; raises StoreError, with `name`, for what is damaged."""
    return [_entry(dict(row), name) for row in connection.execute(query).mappings()]


def _entry(row: dict[str, Any], name: str) -> Entry:
    if row.pop('format') > FORMAT:
        raise StoreError(f'{name}: the journal was written by a newer tl_adapt')
    try:
        row['time'] = datetime.datetime.fromisoformat(row['time'])
        for key in _JSON:
            row[key] = None if row[key] is None else from_text(row[key])
    except ValueError as error:
        raise StoreError(
            f'{name}: entry {row["id"]} of the journal is damaged: {error}'
        ) from error
    row['ok'] = None if row['ok'] is None else bool(row['ok'])
    return Entry(**row)


def last_begin(
    connection: sa.engine.Connection, name: str, *, study: str, environment: str, but: str
) -> Entry | None:
    """Return the last change that was begun by any run but `but`, if it has no end."""
    query = (
        sa.select(ROWS)
        .where(ROWS.c.kind == BEGIN, ROWS.c.study == study, ROWS.c.environment == environment,
               ROWS.c.run != but)
        .order_by(ROWS.c.id.desc()).limit(1)
    )
    found = select(connection, name, query)
    if not found:
        return None
    end = sa.select(ROWS.c.id).where(ROWS.c.kind == END, ROWS.c.intent == found[0].intent)
    return None if connection.execute(end.limit(1)).first() else found[0]


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
        return sqlite_engine(path, read_only=True)
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
    ) -> list[Entry]:
        """
        Return what matches, in the order in which it was written, of that the `last` (0: all).

        `after` is the id after which it begins. Raises StoreError if the store can't be read.
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
        with _told(self.name), self._engine.begin() as connection:
            return select(connection, self.name, query)[::-1]
