# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for reading single fields out of serialised messages, from a description of their type.

To build a whole message takes some 50 to 200 us, most of it for fields that nobody reads; to walk
over them to the one that is wanted takes a few. Source: CDR (OMG DDSI-RTPS 2.3, chapter 10): a
value is aligned to its size, counted from the end of the four bytes that a message begins with;
strings and sequences begin with their length.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from tl_adapt.trace import POSITION, POSITION_PATHS

#: What a message begins with: little and big endian, without extensions.
LITTLE, BIG = b'\x00\x01', b'\x00\x00'
HEAD = 4  # bytes before the content
_MOST = 1000  # messages in an array of fixed size

#: Letters of `struct` by the names of types in ROS interfaces and in IDL.
FORMATS = {
    'boolean': '?', 'bool': '?', 'octet': 'B', 'byte': 'B', 'char': 'B', 'uint8': 'B', 'int8': 'b',
    'uint16': 'H', 'int16': 'h', 'uint32': 'I', 'int32': 'i', 'uint64': 'Q', 'int64': 'q',
    'float': 'f', 'float32': 'f', 'double': 'd', 'float64': 'd',
}


class UnreadableError(Exception):
    """Say that a field needs the whole message."""


@dataclasses.dataclass(frozen=True)
class Plain:
    """Describe a number or truth value by its letter of `struct`."""

    format: str

    @property
    def size(self) -> int:
        """Return the size in bytes, which is the alignment too."""
        return struct.calcsize('<' + self.format)


@dataclasses.dataclass(frozen=True)
class Text:
    """Describe a string of bytes."""


@dataclasses.dataclass(frozen=True)
class Struct:
    """Describe a message; `fields` gives the names and descriptions when they are needed."""

    name: str
    fields: Callable[[], list[tuple[str, Any]]]


@dataclasses.dataclass(frozen=True)
class Array:
    """Describe a number of values, or any number (None) of them."""

    of: Any
    number: int | None = None


@dataclasses.dataclass(frozen=True)
class Other:
    """Name what no walk can go over."""

    name: str


Kind = Plain | Text | Struct | Array | Other

# From the message and an offset in its content to another offset, or to a value.
Skip = Callable[[bytes, int], int]
Read = Callable[[bytes, int], Any]
# The same as Skip, but notes where in the message a length was found.
Trace = Callable[[bytes, int, list[int]], int]


@dataclasses.dataclass(frozen=True)
class Step:
    """Go over values: `number` plain ones of `size` bytes, or as `skip` and `trace` do."""

    size: int = 0
    number: int = 0
    skip: Skip | None = None
    trace: Trace | None = None


@dataclasses.dataclass(frozen=True)
class Place:
    """
    Say where a message holds a value: `number` (None: a single one) of `dtype` at `offset`.

    `time` means that the value is a time or duration of two numbers.
    """

    offset: int
    dtype: np.dtype[Any]
    number: int | None = None
    time: bool = False


@dataclasses.dataclass(frozen=True)
class Field:
    """Read one field: `read` its value, `locate` where it is, given a list for the lengths."""

    read: Callable[[bytes], Any]
    locate: Callable[[bytes, list[int]], list[Place]] | None


def position_of(kind: Struct) -> str:
    """Return the path of a type's position; raises AttributeError if it has none."""
    for path in POSITION_PATHS:
        found: Any = kind
        for name in path.split('.'):
            found = dict(found.fields()).get(name) if isinstance(found, Struct) else None
        if isinstance(found, Struct) and 'x' in dict(found.fields()):
            return path
    raise AttributeError(f'{kind.name} holds no position')


def field_of(kind: Struct, path: str, order: str = '<') -> Field:
    """
    Return what reads one field (dotted path, or POSITION) of messages in an order of bytes.

    Raises AttributeError if the type has no such field, UnreadableError if it needs the whole
    message. Reading raises struct.error or ValueError where a message is cut off.
    """
    if path == POSITION:
        position = position_of(kind)
        x, y = (field_of(kind, f'{position}.{axis}', order) for axis in 'xy')
        if x.locate is None or y.locate is None:
            raise UnreadableError(position)
        at_x, at_y = x.locate, y.locate
        return Field(
            lambda raw: (x.read(raw), y.read(raw)),
            lambda raw, marks: [*at_x(raw, marks), *at_y(raw, marks)],
        )
    steps, target = _find(kind, path.split('.'), order)
    skips = [step.skip for step in merged(steps) if step.skip is not None]
    traces = [step.trace for step in merged(steps) if step.trace is not None]
    read = _reader(target, order)
    place = _placer(target, order)

    def walk(raw: bytes) -> Any:
        at = 0
        for skip in skips:
            at = skip(raw, at)
        return read(raw, at)

    def locate(raw: bytes, marks: list[int]) -> list[Place]:
        at = 0
        for trace in traces:
            at = trace(raw, at, marks)
        return [place(raw, at, marks)] if place is not None else []

    return Field(walk, None if place is None else locate)


def merged(steps: list[Step]) -> list[Step]:
    """Join neighbours of one size; all have `skip` and `trace` afterwards."""
    found: list[Step] = []
    size, number = 0, 0
    for step in [*steps, Step()]:
        if step.skip is None and step.size == size:
            number += step.number
            continue
        if number:
            found.append(_skip_plain(size, number))
        size, number = (step.size, step.number) if step.skip is None else (0, 0)
        if step.skip is not None:
            found.append(step)
    return found


def over(kind: Kind, order: str = '<') -> list[Step]:
    """Return the steps over a value of a type; raises UnreadableError."""
    if isinstance(kind, Plain):
        return [Step(kind.size, 1)]
    if isinstance(kind, Text):
        return [_skip_string(order)]
    if isinstance(kind, Struct):
        return [step for _, part in kind.fields() for step in over(part, order)] or [Step(1, 1)]
    if isinstance(kind, Array):
        if kind.number is not None and isinstance(kind.of, Plain):
            return [Step(kind.of.size, kind.number)]
        if kind.number is not None:
            if kind.number > _MOST:
                raise UnreadableError(f'an array of {kind.number} messages')
            return over(kind.of, order) * kind.number
        return [_skip_sequence(kind.of, order)]
    raise UnreadableError(kind.name)


def _find(kind: Kind, names: list[str], order: str) -> tuple[list[Step], Kind]:
    """Return the steps to a field and its type; raises AttributeError."""
    if not isinstance(kind, Struct):
        raise AttributeError(f'{type(kind).__name__} has no field {names[0]}')
    steps: list[Step] = []
    for name, part in kind.fields():
        if name != names[0]:
            steps += over(part, order)
            continue
        if len(names) == 1:
            return steps, part
        inner, target = _find(part, names[1:], order)
        return [*steps, *inner], target
    raise AttributeError(f'{kind.name} has no field {names[0]}')


def _is_time(kind: Kind) -> bool:
    """Tell whether a type is a time or duration: it becomes one number in s."""
    return isinstance(kind, Struct) and kind.fields() == [
        ('sec', Plain('i')), ('nanosec', Plain('I'))
    ]


def _reader(kind: Kind, order: str) -> Read:
    """Return what reads a value of a type; raises UnreadableError."""
    if isinstance(kind, Plain):
        unpack, size = struct.Struct(order + kind.format).unpack_from, kind.size
        return lambda raw, at: unpack(raw, HEAD + (at + size - 1 & -size))[0]
    if isinstance(kind, Text):
        length = _length(order)

        def read_string(raw: bytes, at: int) -> str:
            number, at = length(raw, at)
            return raw[HEAD + at : HEAD + at + max(number - 1, 0)].decode(errors='replace')

        return read_string
    if _is_time(kind):
        unpack = struct.Struct(order + 'iI').unpack_from

        def read_time(raw: bytes, at: int) -> float:
            seconds, nanoseconds = unpack(raw, HEAD + (at + 3 & -4))
            return float(seconds + nanoseconds * 1e-9)

        return read_time
    if isinstance(kind, Array) and isinstance(kind.of, Plain):
        dtype, size, fixed = np.dtype(order + kind.of.format), kind.of.size, kind.number
        length = _length(order)

        def read_array(raw: bytes, at: int) -> Any:
            number = fixed
            if number is None:
                number, at = length(raw, at)
            if not number:
                return np.empty(0, dtype)
            return np.frombuffer(raw, dtype, number, HEAD + (at + size - 1 & -size)).copy()

        return read_array
    raise UnreadableError(type(kind).__name__)


def _placer(kind: Kind, order: str) -> Callable[[bytes, int, list[int]], Place] | None:
    """Return what says where a value is; None for what is no number."""
    if isinstance(kind, Plain):
        dtype, size = np.dtype(order + kind.format), kind.size
        return lambda raw, at, marks: Place(HEAD + (at + size - 1 & -size), dtype)
    if _is_time(kind):
        times = np.dtype(order + 'i4')
        return lambda raw, at, marks: Place(HEAD + (at + 3 & -4), times, time=True)
    if isinstance(kind, Array) and isinstance(kind.of, Plain):
        dtype, size, fixed = np.dtype(order + kind.of.format), kind.of.size, kind.number
        length = _length(order)

        def place(raw: bytes, at: int, marks: list[int]) -> Place:
            number = fixed
            if number is None:
                marks.append(HEAD + (at + 3 & -4))
                number, at = length(raw, at)
            return Place(HEAD + (at + size - 1 & -size if number else at), dtype, number)

        return place
    return None


def _skip_plain(size: int, number: int) -> Step:
    length = size * number
    return Step(
        skip=lambda raw, at: (at + size - 1 & -size) + length,
        trace=lambda raw, at, marks: (at + size - 1 & -size) + length,
    )


def _length(order: str) -> Callable[[bytes, int], tuple[int, int]]:
    """Return what reads the number that a string or sequence begins with, and goes behind it."""
    unpack = struct.Struct(order + 'I').unpack_from

    def length(raw: bytes, at: int) -> tuple[int, int]:
        at = at + 3 & -4
        (number,) = unpack(raw, HEAD + at)
        # Nothing takes less than a byte: what is damaged must not be walked over for hours.
        if number > len(raw):
            raise ValueError(f'a length of {number} in a message of {len(raw)} bytes')
        return number, at + 4

    return length


def _skip_string(order: str) -> Step:
    length = _length(order)

    def skip(raw: bytes, at: int) -> int:
        number, at = length(raw, at)
        return at + number

    def trace(raw: bytes, at: int, marks: list[int]) -> int:
        marks.append(HEAD + (at + 3 & -4))
        return skip(raw, at)

    return Step(skip=skip, trace=trace)


def _skip_sequence(kind: Kind, order: str) -> Step:
    length = _length(order)
    if isinstance(kind, Plain):
        size = kind.size

        def skip_plain(raw: bytes, at: int) -> int:
            number, at = length(raw, at)
            return (at + size - 1 & -size) + size * number if number else at

        def trace_plain(raw: bytes, at: int, marks: list[int]) -> int:
            marks.append(HEAD + (at + 3 & -4))
            return skip_plain(raw, at)

        return Step(skip=skip_plain, trace=trace_plain)
    steps = merged(over(kind, order))
    skips = [step.skip for step in steps if step.skip is not None]
    traces = [step.trace for step in steps if step.trace is not None]

    def skip(raw: bytes, at: int) -> int:
        number, at = length(raw, at)
        for _ in range(number):
            for step in skips:
                at = step(raw, at)
            if at > len(raw):
                raise ValueError('the message is cut off')
        return at

    def trace(raw: bytes, at: int, marks: list[int]) -> int:
        marks.append(HEAD + (at + 3 & -4))
        number, at = length(raw, at)
        for _ in range(number):
            for step in traces:
                at = step(raw, at, marks)
            if at > len(raw):
                raise ValueError('the message is cut off')
        return at

    return Step(skip=skip, trace=trace)


def header_stamp(raw: bytes) -> int:
    """
    Return the time in ns at the beginning of a serialised message (CDR; byte 1: its order).

    Raises struct.error where the message is cut off.
    """
    if len(raw) < HEAD + 8:
        raise struct.error(f'no time in a message of {len(raw)} bytes')
    seconds, nanoseconds = struct.unpack_from('<iI' if raw[1] & 1 else '>iI', raw, 4)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)
