# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for reading the SQLite files of rosbag2, whole or damaged.

Source of the tables: rosbag2_storage_sqlite3, schemas 1 to 4 (only 4 has definitions of types).
"""

from __future__ import annotations

import contextlib
import functools
import os
import urllib.parse
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import apsw

from tl_adapt.bags.storage import FOREVER, Loss, Losses, Message, TopicInfo, plain
from tl_adapt.errors import InputError

_BUNCH = 1000  # messages that are given at once, at most
_BYTES = 1 << 20  # the same for their size
_MAGIC = b'SQLite format 3\x00'
_JUMPS = 200  # damaged places that are jumped over at most
_SYSTEMS: dict[str, Any] = {}
# What a damaged file may hold besides what SQLite itself finds wrong.
_BAD = (apsw.Error, TypeError, ValueError, OverflowError)


def _whole_pages(page: int) -> str:
    """Return the name of a file system in which files end with a whole page of that many bytes."""
    name = f'tl_adapt-{page}'

    class File(apsw.VFSFile):
        def xFileSize(self) -> int:
            return int(super().xFileSize() // page * page)

    class System(apsw.VFS):
        def __init__(self) -> None:
            super().__init__(name, '')

        def xOpen(self, path: Any, flags: list[int]) -> Any:
            return File('', path, flags)

    if name not in _SYSTEMS:
        # SQLite knows it only as long as it is kept.
        _SYSTEMS[name] = System()
    return name


class SqliteFile:
    """Read one SQLite file."""

    def __init__(self, path: Path, label: str) -> None:
        """
        Open the file; `label` names it in errors.

        Raises InputError if it is no SQLite file of rosbag2, or too damaged to say its topics.
        """
        self.losses = Losses()
        self.topics: dict[str, TopicInfo] = {}
        self._label = label
        self._ids: dict[int, str] = {}
        self._cut = ''  # how much of the file is missing
        self._damaged = False
        self._rows: list[tuple[int, int, int]] = []  # row, time, topic; if it is damaged
        with path.open('rb') as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise InputError('is not an SQLite file', file=label)
        self._check_size(path)
        # What was not yet written back to the file itself lies beside it.
        log = path.with_name(path.name + '-wal')
        immutable = not (log.is_file() and os.path.getsize(log))
        options = 'mode=ro' + '&immutable=1' * immutable
        try:
            self._connection = apsw.Connection(
                f'file:{urllib.parse.quote(str(path.absolute()))}?{options}',
                flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI,
                vfs=_whole_pages(self._page) if self._cut else None,
            )
        except apsw.Error as error:
            raise InputError(f'can not be opened ({error})', file=label) from None
        try:
            if self._cut:
                # Else SQLite reads nothing of a file that is shorter than its head says.
                self._connection.execute('PRAGMA writable_schema = ON')
            self._read_topics()
        except _BAD as error:
            self.close()
            raise InputError(
                f'is not a bag, or too damaged to be read ({error})', file=label
            ) from None
        self.start_ns, self.end_ns = self._limits()

    @functools.cached_property
    def counts(self) -> dict[str, int]:
        """Return the number of messages by topic."""
        counts: dict[str, int] = {}
        query = 'SELECT topic_id, COUNT(*) FROM messages GROUP BY topic_id'
        try:
            found = [] if self._damaged else list(self._connection.execute(query))
        except _BAD as error:
            self._survey(f'is damaged ({error})')
        if self._damaged:
            found = list(Counter(number for _, _, number in self._rows).items())
        for number, count in found:
            if topic := self._ids.get(number):
                counts[topic] = counts.get(topic, 0) + int(count)
        return counts

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._connection.close()

    def bunches(
        self, topics: Collection[str], start_ns: int = 0, end_ns: int = FOREVER
    ) -> Iterator[list[Message]]:
        """Return messages in the order of their times, some at once."""
        ids = {number: topic for number, topic in self._ids.items() if topic in topics}
        if not ids:
            return
        if self._damaged:
            yield from self._rest(ids, start_ns, end_ns, 0)
            return
        # Each condition that holds for all messages would cost a third of the time.
        conditions: list[str] = []
        values: list[int] = []
        if len(ids) < len(self._ids):
            conditions.append(f'topic_id IN ({",".join("?" * len(ids))})')
            values += ids
        for bound, sign in ((start_ns, '>='), (end_ns, '<')):
            if 0 < bound < FOREVER:
                conditions.append(f'timestamp {sign} ?')
                values.append(bound)
        where = f'WHERE {" AND ".join(conditions)} ' if conditions else ''
        query = f'SELECT topic_id, timestamp, data FROM messages {where}ORDER BY timestamp, id'
        given = 0
        try:
            for bunch in self._bunches(self._connection.execute(query, values), ids):
                yield bunch
                given += len(bunch)
        except _BAD as error:
            self._survey(f'is damaged ({error})')
            yield from self._rest(ids, start_ns, end_ns, given)

    def _bunches(self, rows: Iterable[Any], ids: dict[int, str]) -> Iterator[list[Message]]:
        """Return rows (topic, time, message) as messages, in lists of some size."""
        found: list[Message] = []
        size = 0
        for number, time, raw in rows:
            if type(raw) is not bytes or type(time) is not int or number not in ids:
                self._lose(f'has a message that is none, at {time}')
                continue
            if raw and raw[0] == 0x28:
                try:
                    raw = plain(raw)
                except ValueError as error:
                    self._lose(f'has a message that can not be decompressed ({error})')
                    continue
            found.append((ids[number], time, raw))
            size += len(raw)
            if size > _BYTES or len(found) >= _BUNCH:
                yield found
                found, size = [], 0
        if found:
            yield found

    def _rest(
        self, ids: dict[int, str], start_ns: int, end_ns: int, given: int
    ) -> Iterator[list[Message]]:
        """Return what can be found without the index of times, but for the first `given`."""
        rows = sorted(
            (time, row, number) for row, time, number in self._rows
            if number in ids and start_ns <= time < end_ns
        )
        yield from self._bunches(self._fetched(rows[given:]), ids)

    def _fetched(self, rows: list[tuple[int, int, int]]) -> Iterator[Any]:
        """Return topic, time and message of rows, as far as they can be read."""
        query = 'SELECT data FROM messages WHERE id = ?'
        for time, row, number in rows:
            try:
                for (data,) in self._connection.execute(query, (row,)):
                    yield number, time, data
            except _BAD:
                self._lose('has messages that are cut off', time - 1, time + 1)

    def _survey(self, problem: str) -> None:
        """Find the messages of a damaged file, row by row, and between which some are lost."""
        self._damaged = True
        rows, to_the_end = self._index()
        ids = set(self._ids)
        self._rows = [row for row in rows if row[2] in ids]
        before: tuple[int, int] = (0, 0)
        for row, time, _ in rows:
            # They are numbered one by one.
            if row > before[0] + 1:
                self._lose(problem, before[1], time)
            before = (row, time)
        if not to_the_end:
            self._lose(problem, before[1], FOREVER)

    def _index(self) -> tuple[list[tuple[int, int, int]], bool]:
        """Return (row, time, topic) of all messages that can be found, and whether to the end."""
        found: list[tuple[int, int, int]] = []
        query = 'SELECT id, timestamp, topic_id FROM messages WHERE id > ? ORDER BY id'
        last, jump = 0, 1
        for _ in range(_JUMPS):
            try:
                for row, time, number in self._connection.execute(query, (last,)):
                    last, jump = row, 1
                    if type(time) is int and 0 <= time < FOREVER:
                        found.append((row, time, number))
                return found, not self._cut
            except _BAD:
                last += jump
                jump *= 2
                if last >= FOREVER:
                    break
        return found, False

    def _check_size(self, path: Path) -> None:
        """Note a loss if the file is shorter than its head says."""
        with path.open('rb') as file:
            head = file.read(100)
        if len(head) < 100:
            raise InputError('is cut off before its first table', file=self._label)
        page = int.from_bytes(head[16:18], 'big')
        self._page = 65536 if page == 1 else page
        wanted = self._page * int.from_bytes(head[28:32], 'big')
        # The size in the head counts only if whoever wrote it last knew of it.
        if head[24:28] == head[92:96] and (size := path.stat().st_size) < wanted:
            self._cut = f'is cut off: it has {size} of {wanted} bytes'

    def _lose(self, problem: str, start_ns: int = 0, end_ns: int = FOREVER) -> None:
        self.losses.note(Loss(f'{self._label}: the file {problem}', start_ns, end_ns))

    def _read_topics(self) -> None:
        execute = self._connection.execute
        columns = {row[1] for row in execute('PRAGMA table_info(topics)')}
        if not {'id', 'name', 'type'} <= columns:
            raise ValueError('it has no table of topics')
        definitions: dict[str, tuple[str, str]] = {}
        if list(execute('PRAGMA table_info(message_definitions)')):
            with contextlib.suppress(apsw.Error):
                for kind, language, text in execute(
                    'SELECT topic_type, encoding, encoded_message_definition '
                    'FROM message_definitions'
                ):
                    if text:
                        definitions[str(kind)] = (str(text), str(language))
        wanted = ['id', 'name', 'type', 'serialization_format', 'offered_qos_profiles']
        query = ', '.join(name if name in columns else "''" for name in wanted)
        for number, name, kind, encoding, qos in execute(f'SELECT {query} FROM topics'):
            text, language = definitions.get(str(kind), ('', ''))
            self._ids[int(number)] = str(name)
            self.topics.setdefault(str(name), TopicInfo(
                str(kind), text, language, str(encoding or 'cdr'), str(qos or '')
            ))

    def _limits(self) -> tuple[int, int]:
        """Return the times of the first and the last message, 0 and 0 without any."""
        if self._cut:
            self._survey(self._cut)
        try:
            if not self._damaged:
                query = 'SELECT MIN(timestamp), MAX(timestamp) FROM messages'
                ((first, last),) = self._connection.execute(query)
                return (0, 0) if first is None else (int(first), int(last))
        except _BAD as error:
            self._survey(f'is damaged ({error})')
        times = [time for _, time, _ in self._rows]
        return min(times, default=0), max(times, default=0)
