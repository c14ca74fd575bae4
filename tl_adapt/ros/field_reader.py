# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for reading single fields out of serialised messages.

To build a whole message takes rclpy some 50 to 200 us, most of it for fields that nobody reads; to
walk over them to the one that is wanted takes a few. The walk is made from the type's own
description and follows CDR (OMG DDSI-RTPS 2.3, chapter 10: a value is aligned to its size). What
it gives is held against the whole message a few times before it is believed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from rclpy.serialization import deserialize_message

from tl_adapt.trace import POSITION, extract, position_path

_PLAIN = (b'\x00\x01', 4)  # little endian, without extensions; where the content begins
_CHECKS = 3
_FORMATS = {
    'boolean': '?', 'octet': 'B', 'uint8': 'B', 'int8': 'b', 'uint16': 'H', 'int16': 'h',
    'uint32': 'I', 'int32': 'i', 'uint64': 'Q', 'int64': 'q', 'float': 'f', 'double': 'd',
}
_STRINGS = ('UnboundedString', 'BoundedString')
_SEQUENCES = ('UnboundedSequence', 'BoundedSequence')

# From the message and an offset in its content to another offset, or to a value.
Skip = Callable[[bytes, int], int]
Read = Callable[[bytes, int], Any]


class _Unreadable(Exception):
    """Say that a field needs the whole message."""


class FieldReader:
    """Read the fields (dotted paths) of serialised messages of one type."""

    def __init__(self, kind: Any, fields: Iterable[str]) -> None:
        """Prepare for messages of the class `kind`."""
        self._kind = kind
        self._fields = tuple(fields)
        self._walks: dict[str, Callable[[bytes], Any]] | None
        self._checked = 0
        try:
            self._walks = {field: _walk(kind, field) for field in self._fields}
        except (_Unreadable, AttributeError):
            self._walks = None

    @property
    def fast(self) -> bool:
        """Tell whether messages are read without being built."""
        return self._walks is not None

    def read(self, raw: bytes) -> dict[str, Any]:
        """Return the values by field; raises AttributeError if the type lacks one."""
        walks = self._walks
        if walks is not None and self._checked >= _CHECKS and raw[:2] == _PLAIN[0]:
            return {field: walk(raw) for field, walk in walks.items()}
        message = deserialize_message(raw, self._kind)
        values = {field: extract(message, field) for field in self._fields}
        if walks is not None and raw[:2] == _PLAIN[0]:
            try:
                same = all(_same(walk(raw), values[field]) for field, walk in walks.items())
            except (struct.error, ValueError):
                same = False
            self._checked += 1
            if not same:
                self._walks = None
        return values


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return bool(one == other)
    left, right = np.asarray(one), np.asarray(other)
    return left.shape == right.shape and bool(
        np.array_equal(left, right, equal_nan=left.dtype.kind == right.dtype.kind == 'f')
    )


def _walk(kind: Any, field: str) -> Callable[[bytes], Any]:
    """Return a function that reads one field of a serialised message."""
    if field == POSITION:
        path = position_path(kind())
        x, y = _walk(kind, f'{path}.x'), _walk(kind, f'{path}.y')
        return lambda raw: (x(raw), y(raw))
    skips, read = _find(kind, field.split('.'))
    steps = _merged(skips)

    def walk(raw: bytes) -> Any:
        at = 0
        for step in steps:
            at = step(raw, at)
        return read(raw, at)

    return walk


# A step over values is (size, number) for plain ones, so that rows of them can be merged.
Step = tuple[int, int] | Skip


def _find(kind: Any, names: list[str]) -> tuple[list[Step], Read]:
    """Return the steps to a field and what reads it there; raises AttributeError."""
    steps: list[Step] = []
    for name, slot in zip(kind.get_fields_and_field_types(), kind.SLOT_TYPES):
        if name != names[0]:
            steps += _over(slot)
            continue
        if len(names) == 1:
            return steps, _reader(slot)
        inner, read = _find(_class(slot), names[1:])
        return [*steps, *inner], read
    raise AttributeError(f'{kind.__name__} has no field {names[0]}')


def _merged(steps: list[Step]) -> list[Skip]:
    """Join neighbours of one size."""
    found: list[Skip] = []
    size, number = 0, 0
    for step in [*steps, (0, 0)]:
        if isinstance(step, tuple) and step[0] == size:
            number += step[1]
            continue
        if number:
            found.append(_skip_plain(size, number))
        size, number = step if isinstance(step, tuple) else (0, 0)
        if not isinstance(step, tuple):
            found.append(step)
    return found


def _over(slot: Any) -> list[Step]:
    """Return the steps over a value of a type."""
    what = type(slot).__name__
    if what == 'BasicType':
        return [(_size(slot), 1)]
    if what in _STRINGS:
        return [_skip_string]
    if what == 'NamespacedType':
        kind = _class(slot)
        return [step for part in kind.SLOT_TYPES for step in _over(part)] or [(1, 1)]
    if what == 'Array':
        return _over(slot.value_type) * slot.size
    if what in _SEQUENCES:
        return [_skip_sequence(_merged(_over(slot.value_type)), slot.value_type)]
    raise _Unreadable(what)


def _reader(slot: Any) -> Read:
    what = type(slot).__name__
    if what == 'BasicType':
        unpack, size = struct.Struct('<' + _format(slot)).unpack_from, _size(slot)
        return lambda raw, at: unpack(raw, 4 + (at + size - 1 & -size))[0]
    if what in _STRINGS:
        return _read_string
    if what == 'NamespacedType' and slot.name in ('Time', 'Duration'):
        unpack = struct.Struct('<iI').unpack_from

        def read_time(raw: bytes, at: int) -> float:
            seconds, nanoseconds = unpack(raw, 4 + (at + 3 & -4))
            return float(seconds + nanoseconds * 1e-9)

        return read_time
    if what in ('Array', *_SEQUENCES) and type(slot.value_type).__name__ == 'BasicType':
        kind, size = np.dtype('<' + _format(slot.value_type)), _size(slot.value_type)
        fixed = slot.size if what == 'Array' else None

        def read_array(raw: bytes, at: int) -> Any:
            number = fixed
            if number is None:
                number, at = _length(raw, at)
            if not number:
                return np.empty(0, kind)
            return np.frombuffer(raw, kind, number, 4 + (at + size - 1 & -size)).copy()

        return read_array
    raise _Unreadable(what)


def _class(slot: Any) -> Any:
    """Return the class of a message within a message."""
    if type(slot).__name__ != 'NamespacedType':
        raise AttributeError(f'{slot} has no fields')
    module = __import__('.'.join(slot.namespaces), fromlist=[slot.name])
    return getattr(module, slot.name)


def _format(slot: Any) -> str:
    if slot.typename not in _FORMATS:
        raise _Unreadable(slot.typename)
    return _FORMATS[slot.typename]


def _size(slot: Any) -> int:
    return struct.calcsize('<' + _format(slot))


def _skip_plain(size: int, number: int) -> Skip:
    length = size * number
    return lambda raw, at: (at + size - 1 & -size) + length


_unpack_length = struct.Struct('<I').unpack_from


def _length(raw: bytes, at: int) -> tuple[int, int]:
    """Return the number that a string or sequence begins with, and where it goes on."""
    at = at + 3 & -4
    return _unpack_length(raw, 4 + at)[0], at + 4


def _skip_string(raw: bytes, at: int) -> int:
    number, at = _length(raw, at)
    return at + number


def _read_string(raw: bytes, at: int) -> str:
    number, at = _length(raw, at)
    return raw[4 + at : 4 + at + max(number - 1, 0)].decode(errors='replace')


def _skip_sequence(steps: list[Skip], value: Any) -> Skip:
    if type(value).__name__ == 'BasicType':
        size = _size(value)

        def skip_plain(raw: bytes, at: int) -> int:
            number, at = _length(raw, at)
            return (at + size - 1 & -size) + size * number if number else at

        return skip_plain

    def skip(raw: bytes, at: int) -> int:
        number, at = _length(raw, at)
        for _ in range(number):
            for step in steps:
                at = step(raw, at)
        return at

    return skip
