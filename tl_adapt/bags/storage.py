# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what the files of a bag have in common, whatever their format."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Protocol

#: A message: its topic, when it was recorded [ns], and the message in CDR.
Message = tuple[str, int, bytes]

#: Later than any message.
FOREVER = 2**63 - 1

ZSTD_MAGIC = b'\x28\xb5\x2f\xfd'
_STEP = 1 << 20


@dataclasses.dataclass(frozen=True)
class Loss:
    """
    Say what of a bag can't be read.

    Messages may be missing after `start_ns` and before `end_ns` (times of the recorder), of
    `topics` (None: of any).
    """

    text: str
    start_ns: int = 0
    end_ns: int = FOREVER
    topics: frozenset[str] | None = None


@dataclasses.dataclass(frozen=True)
class TopicInfo:
    """Hold what a file says of a topic: its type, that type's definition, offered QoS."""

    type: str
    definition: str = ''
    language: str = ''  # of the definition: 'ros2msg', 'ros2idl' or none
    encoding: str = 'cdr'
    qos: str = ''


class Losses(dict[Loss, None]):
    """Keep losses in their order, each once, however often the bag is read."""

    def note(self, loss: Loss) -> None:
        """Take note of a loss."""
        self.setdefault(loss)


class StorageFile(Protocol):
    """Read one file of a bag."""

    topics: dict[str, TopicInfo]
    start_ns: int
    end_ns: int
    losses: Losses

    @property
    def counts(self) -> dict[str, int]:
        """Return the number of messages by topic."""

    def bunches(
        self, topics: Collection[str], start_ns: int, end_ns: int
    ) -> Iterator[list[Message]]:
        """
        Return messages in the order of their times, some at once.

        Those from `start_ns` on and before `end_ns` [ns]. What can't be read is left out and
        put to the losses.
        """

    def close(self) -> None:
        """Close the file; a second call does nothing."""


@functools.cache
def zstd() -> Any:
    """Return the module of Zstandard: Python's own, else the one that rosbags brings."""
    if sys.version_info >= (3, 14):
        from compression import zstd as module
    else:
        from backports import zstd as module
    return module


def plain(raw: bytes) -> bytes:
    """
    Return a message, decompressed if it was compressed.

    Raises ValueError for a message that can't be decompressed.
    """
    if raw[:4] != ZSTD_MAGIC:
        return raw
    module = zstd()
    try:
        return bytes(module.decompress(raw))
    except module.ZstdError as error:
        raise ValueError(str(error)) from error


def inflate(data: bytes, compression: str, size: int) -> tuple[bytes, str]:
    """
    Decompress at most `size` bytes; return them, and what is wrong with the rest ('' if nothing).

    A stream that is cut off gives what it holds.
    """
    if not compression:
        return data, ''
    errors: tuple[type[BaseException], ...]
    if compression == 'zstd':
        module = zstd()
        decompressor, errors = module.ZstdDecompressor(), (module.ZstdError, EOFError)
    elif compression == 'lz4':
        import lz4.frame

        decompressor, errors = lz4.frame.LZ4FrameDecompressor(), (RuntimeError, EOFError)
    else:
        return b'', f'is compressed by {compression}, which is not supported'
    found: list[bytes] = []
    length = 0
    problem = ''
    # A little at a time, so that what comes before the damage is kept.
    for piece in _pieces(data):
        try:
            while length < size:
                part = decompressor.decompress(piece, size - length)
                found.append(part)
                length += len(part)
                piece = b''
                if decompressor.eof or decompressor.needs_input or not part:
                    break
        except errors as error:
            problem = f'can not be decompressed ({error})'
            break
        if decompressor.eof or length >= size:
            break
    content = b''.join(found)
    if not problem and length < size:
        problem = f'has {length} of {size} bytes'
    return content, problem


def _pieces(data: bytes) -> Iterable[bytes]:
    """Return the data at once, or in small parts if a whole would be large."""
    if len(data) <= _STEP:
        return (data,)
    return (data[at : at + _STEP] for at in range(0, len(data), _STEP))
