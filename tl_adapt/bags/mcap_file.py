# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for reading MCAP files, whole or damaged.

The index at the end of a file is used if it is there and complete, else one is made by going
through the records. Messages are taken out of chunks here, as that is where the time goes; all
other records are read by the `mcap` package. Source of the format: mcap.dev/spec.
"""

from __future__ import annotations

import bisect
import dataclasses
import os
import struct
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from io import BytesIO
from operator import itemgetter
from pathlib import Path
from typing import Any

from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, ChunkIndex, Schema, Statistics

from tl_adapt.bags.storage import FOREVER, Loss, Losses, Message, TopicInfo, inflate, plain
from tl_adapt.errors import InputError

_MAGIC = b'\x89MCAP0\r\n'
_FOOTER = 8 + 1 + 8 + 20  # bytes from the footer on
_CRC = 1 + 8 + 16  # bytes of the footer before its checksum
_SPAN = 4 << 20  # bytes of messages outside of chunks that are read at once
_LARGEST = 2 << 30  # bytes of a chunk, or of what it holds
_HEAD = struct.Struct('<BQ')
_MESSAGE = struct.Struct('<BQHIQ')  # up to the time of recording
_CHUNK = struct.Struct('<QQQII')
_BAD = (McapError, struct.error, ValueError, IndexError, KeyError, EOFError, OverflowError)


@dataclasses.dataclass
class _Span:
    """Describe a part of the file with messages: a chunk, or records outside of chunks."""

    start_ns: int
    end_ns: int
    offset: int
    length: int
    chunk: bool = True
    torn: bool = False
    channels: frozenset[int] | None = None  # None: unknown


class McapFile:
    """Read one MCAP file."""

    def __init__(self, path: Path, label: str) -> None:
        """
        Open the file and find or make its index; `label` names it in errors.

        Raises InputError if it is no MCAP file.
        """
        self.losses = Losses()
        self.topics: dict[str, TopicInfo] = {}
        self._label = label
        self._spans: list[_Span] = []
        self._channels: dict[int, Channel] = {}
        self._schemas: dict[int, Schema] = {}
        self._counts: Counter[int] = Counter()
        self._file = path.open('rb')
        try:
            self._size = os.fstat(self._file.fileno()).st_size
            if self._file.read(len(_MAGIC)) != _MAGIC:
                raise InputError('is not an MCAP file', file=label)
            if not self._read_summary():
                self._scan()
        except BaseException:
            self.close()
            raise
        for channel in self._channels.values():
            schema = self._schemas.get(channel.schema_id)
            self.topics.setdefault(channel.topic, TopicInfo(
                '' if schema is None else schema.name,
                '' if schema is None else schema.data.decode(errors='replace'),
                '' if schema is None else {'omgidl': 'ros2idl'}.get(
                    schema.encoding, schema.encoding
                ),
                channel.message_encoding,
                channel.metadata.get('offered_qos_profiles', ''),
            ))
        self._spans = [span for span in self._spans if span.start_ns <= span.end_ns]
        self._spans.sort(key=lambda span: span.start_ns)
        self.start_ns = min((span.start_ns for span in self._spans), default=0)
        self.end_ns = max((span.end_ns for span in self._spans), default=0)

    @property
    def counts(self) -> dict[str, int]:
        """Return the number of messages by topic."""
        counts: Counter[str] = Counter()
        for channel, number in self._counts.items():
            if channel in self._channels:
                counts[self._channels[channel].topic] += number
        return dict(counts)

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._file.close()

    def bunches(
        self, topics: Collection[str], start_ns: int = 0, end_ns: int = FOREVER
    ) -> Iterator[list[Message]]:
        """Return messages in the order of their times, as many as a chunk holds at once."""
        wanted = {n: c.topic for n, c in self._channels.items() if c.topic in topics}
        spans = [
            span for span in self._spans
            if span.end_ns >= start_ns and span.start_ns < end_ns
            and (span.channels is None or not span.channels.isdisjoint(wanted))
        ]
        held: list[Message] = []
        time_of = itemgetter(1)
        for number, span in enumerate(spans):
            held += self._messages(span, wanted)
            held.sort(key=time_of)
            # What a later chunk may still come before has to wait.
            until = spans[number + 1].start_ns if number + 1 < len(spans) else FOREVER
            count = bisect.bisect_left(held, until, key=time_of)
            if until == FOREVER:
                count = len(held)
            ready, held = held[:count], held[count:]
            if ready and (ready[0][1] < start_ns or ready[-1][1] >= end_ns):
                ready = [message for message in ready if start_ns <= message[1] < end_ns]
            if ready:
                yield ready

    # --- the index ------------------------------------------------------------------------------

    def _read_summary(self) -> bool:
        """Read the index at the end of the file; return False if there is none to rely on."""
        if self._size < len(_MAGIC) + _FOOTER:
            return False
        footer = self._at(self._size - _FOOTER, _FOOTER)
        opcode, length, start, _, crc = struct.unpack_from('<BQQQI', footer)
        if footer[-8:] != _MAGIC or opcode != Opcode.FOOTER or length != 20:
            return False
        end = self._size - _FOOTER
        if not len(_MAGIC) <= start < end:
            return False
        summary = self._at(start, end - start)
        # A wrong bit in it may hide a chunk that is whole; 0 says that there is no checksum.
        if crc and zlib.crc32(footer[:_CRC], zlib.crc32(summary)) != crc:
            return False
        statistics: Statistics | None = None
        indexes: list[ChunkIndex] = []
        try:
            for opcode, content in _records(summary):
                if opcode == Opcode.STATISTICS:
                    statistics = Statistics.read(content)
                elif opcode == Opcode.CHUNK_INDEX:
                    indexes.append(ChunkIndex.read(content))
                else:
                    self._define(opcode, content)
        except _BAD:
            statistics = None
        if (
            statistics is None
            or statistics.chunk_count != len(indexes)
            or statistics.channel_count != len(self._channels)
            or (statistics.message_count and not indexes)
            or any(c.schema_id and c.schema_id not in self._schemas
                   for c in self._channels.values())
            or any(index.chunk_start_offset + index.chunk_length > self._size
                   or index.chunk_length > _LARGEST for index in indexes)
        ):
            self._channels.clear()
            self._schemas.clear()
            return False
        self._counts.update(statistics.channel_message_counts)
        for index in indexes:
            self._spans.append(_Span(
                index.message_start_time, index.message_end_time, index.chunk_start_offset,
                index.chunk_length, channels=frozenset(index.message_index_offsets) or None,
            ))
        return True

    def _define(self, opcode: int, content: ReadDataStream) -> None:
        """Take a record that says what channels and types there are."""
        if opcode == Opcode.SCHEMA:
            schema = Schema.read(content)
            self._schemas.setdefault(schema.id, schema)
        elif opcode == Opcode.CHANNEL:
            channel = Channel.read(content)
            self._channels.setdefault(channel.id, channel)

    def _scan(self) -> None:
        """Make the index by going through the file; what it lacks is a loss."""
        at = len(_MAGIC)
        ended = False
        while at + _HEAD.size <= self._size:
            opcode, length = _HEAD.unpack(self._at(at, _HEAD.size))
            end = at + _HEAD.size + length
            # A chunk that is cut off may be larger than all that there is.
            if not opcode or length > (_LARGEST if opcode == Opcode.CHUNK else self._size):
                break
            if opcode in (Opcode.DATA_END, Opcode.FOOTER):
                ended = True
                break
            try:
                if opcode == Opcode.CHUNK:
                    self._scan_chunk(at, min(end, self._size), torn=end > self._size)
                elif end > self._size:
                    break
                elif opcode == Opcode.MESSAGE:
                    self._scan_message(at, end)
                elif opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
                    self._define(opcode, _stream(self._at(at + _HEAD.size, length)))
            except _BAD as error:
                self._lose(at, f'a record can not be read ({error})')
            at = end
        if not ended:
            self._lose(min(at, self._size), 'the file is cut off or damaged')

    def _lose(self, at: int, what: str) -> None:
        """Note that what comes from an offset on is lost."""
        last = max((span.end_ns for span in self._spans), default=0)
        self.losses.note(Loss(
            f'{self._label}: {what}; read up to byte {at} of {self._size}', last, FOREVER
        ))

    def _scan_chunk(self, at: int, end: int, *, torn: bool) -> None:
        head = self._at(at + _HEAD.size, _CHUNK.size)
        start_ns, end_ns, _, _, _ = _CHUNK.unpack(head)
        span = _Span(start_ns, end_ns, at, end - at, torn=torn)
        # Channels may be defined nowhere else than in chunks.
        content = self._content(span)
        channels: set[int] = set()
        times: list[int] = []
        for opcode, begin, finish in _walk(content):
            if opcode == Opcode.MESSAGE:
                (channel,) = struct.unpack_from('<H', content, begin)
                channels.add(channel)
                times.append(struct.unpack_from('<Q', content, begin + 6)[0])
                self._counts[channel] += 1
            elif opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
                self._define(opcode, _stream(content[begin:finish]))
        span.channels = frozenset(channels)
        if times:
            # A chunk that is cut off ends earlier than it says.
            span.start_ns, span.end_ns = min(times), max(times)
            self._spans.append(span)

    def _scan_message(self, at: int, end: int) -> None:
        _, _, channel, _, time = _MESSAGE.unpack(self._at(at, _MESSAGE.size))
        self._counts[channel] += 1
        last = self._spans[-1] if self._spans else None
        if (
            last is not None and not last.chunk and last.offset + last.length == at
            and end - last.offset <= _SPAN
        ):
            last.length = end - last.offset
            last.start_ns, last.end_ns = min(last.start_ns, time), max(last.end_ns, time)
            last.channels = (last.channels or frozenset()) | {channel}
        else:
            self._spans.append(
                _Span(time, time, at, end - at, chunk=False, channels=frozenset((channel,)))
            )

    # --- messages -------------------------------------------------------------------------------

    def _messages(self, span: _Span, wanted: dict[int, str]) -> list[Message]:
        """Return the messages of a span in the order of the file."""
        content = self._content(span)
        found: list[Message] = []
        compressed = False
        at, size = 0, len(content)
        unpack = _MESSAGE.unpack_from
        torn = span.torn
        while at < size:
            try:
                opcode, length, channel, _, time = unpack(content, at)
            except struct.error:
                # A record that is shorter than a message's head, or the end of a torn chunk.
                if size - at < _HEAD.size:
                    torn = True
                    break
                opcode, length = _HEAD.unpack_from(content, at)
            begin, at = at + 31, at + 9 + length
            if at > size:
                torn = True
                break
            if opcode == 5:
                topic = wanted.get(channel)
                if topic is not None and length >= 22:
                    raw = content[begin:at]
                    found.append((topic, time, raw))
                    compressed |= raw[:1] == b'\x28'
        if torn and not span.torn:
            self._lost(span, 'ends in the middle of a record')
        if compressed:
            found = self._plain(span, found)
        return found

    def _plain(self, span: _Span, messages: list[Message]) -> list[Message]:
        """Return messages without the compression that each may have."""
        found = []
        for topic, time, raw in messages:
            try:
                found.append((topic, time, plain(raw)))
            except ValueError as error:
                self._lost(span, f'has a message that can not be decompressed ({error})')
        return found

    def _lost(self, span: _Span, problem: str) -> None:
        what = f'{self._label}: the chunk at byte {span.offset} {problem}'
        topics = None if span.channels is None else frozenset(
            self._channels[number].topic for number in span.channels if number in self._channels
        )
        self.losses.note(Loss(what, span.start_ns - 1, span.end_ns + 1, topics))

    def _content(self, span: _Span) -> bytes:
        """Return the records of a span; those of a damaged chunk are lost."""
        data = self._at(span.offset, span.length)
        if not span.chunk:
            return data
        try:
            _, _, size, crc, length = _CHUNK.unpack_from(data, _HEAD.size)
            at = _HEAD.size + _CHUNK.size + length
            compression = data[_HEAD.size + _CHUNK.size : at].decode()
            (stored,) = struct.unpack_from('<Q', data, at)
        except (struct.error, UnicodeDecodeError):
            self._lost(span, 'has no head')
            return b''
        if size > _LARGEST:
            self._lost(span, f'says that it holds {size} bytes')
            return b''
        content, problem = inflate(data[at + 8 : at + 8 + stored], compression, size)
        if span.torn:
            return content
        if not problem and len(content) != size:
            problem = f'has {len(content)} of {size} bytes'
        if not problem and crc and zlib.crc32(content) != crc:
            problem = 'has a wrong checksum'
        if problem:
            self._lost(span, problem)
            return b''
        return content

    def _at(self, offset: int, length: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(length)


def _stream(content: bytes) -> ReadDataStream:
    return ReadDataStream(BytesIO(content))


def _walk(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Return the records: opcode, where the content begins, where it ends."""
    at = 0
    while at + _HEAD.size <= len(content):
        opcode, length = _HEAD.unpack_from(content, at)
        begin, at = at + _HEAD.size, at + _HEAD.size + length
        if at > len(content):
            return
        yield opcode, begin, at


def _records(content: bytes) -> Iterator[tuple[int, Any]]:
    for opcode, begin, end in _walk(content):
        yield opcode, _stream(content[begin:end])
