# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for reading fields of messages that are laid out as the one before.

Where a message holds a field depends on the lengths of strings and sequences before it alone, and
those seldom change from one message of a topic to the next. So lengths and fields are taken
together, by one call, and the fields count if the lengths are as they were.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

import numpy as np

from tl_adapt.cdr import LITTLE, Field, Place
from tl_adapt.trace import POSITION

# Lengths beyond which walking over them is no slower.
_MOST = 50
# Letters of `struct` by kind and size of numbers.
_LETTERS = {
    'b1': '?', 'i1': 'b', 'u1': 'B', 'i2': 'h', 'u2': 'H', 'i4': 'i', 'u4': 'I', 'i8': 'q',
    'u8': 'Q', 'f4': 'f', 'f8': 'd',
}


class Layout:
    """Read the fields of messages whose lengths are those of a first one; little endian."""

    def __init__(self, raw: bytes, fields: Mapping[str, Field]) -> None:
        """
        Look where a message has its fields.

        Raises ValueError or struct.error if one is no number, time, position or array of numbers,
        if the message is cut off, or if it has very many lengths.
        """
        marks: list[int] = []
        found: dict[str, list[Place]] = {}
        parts: list[tuple[int, str, str]] = []  # offset, letter, field
        for name, field in fields.items():
            places = found[name] = [] if field.locate is None else field.locate(raw, marks)
            if len(places) != (2 if name == POSITION else 1):
                raise ValueError(f'{name} has no place of its own')
            for place in places:
                parts += [(offset, letter, name) for offset, letter in _letters(place)]
        parts += [(offset, 'I', '') for offset in set(marks)]
        if len(parts) > _MOST or raw[:2] != LITTLE:
            raise ValueError('the layout is not worth it')
        # What two fields share is read once.
        whole = sorted({(offset, letter) for offset, letter, _ in parts})
        at, text = 0, '<'
        for offset, letter in whole:
            if offset < at:
                raise ValueError('a length is a field, too')
            text += f'{offset - at}x{letter}'
            at = offset + struct.calcsize(f'<{letter}')
        at = max([at, *map(_end, (place for places in found.values() for place in places))])
        if at > len(raw):
            raise ValueError('the message is cut off')
        index = {part: number for number, part in enumerate(whole)}
        self._size = at
        self._unpack = struct.Struct(text).unpack_from
        lengths = [index[offset, letter] for offset, letter, name in parts if not name]
        self._lengths_of: Callable[[tuple[Any, ...]], Any] = _getter(lengths)
        self._lengths = self._lengths_of(self._unpack(raw))
        self._fields = [
            (name, _value(places[0], [index[o, letter] for o, letter, n in parts if n == name]))
            for name, places in found.items()
        ]

    def read(self, raw: bytes) -> dict[str, Any] | None:
        """Return the values by field, None if the message is laid out in another way."""
        if len(raw) < self._size or raw[:2] != LITTLE:
            return None
        values = self._unpack(raw)
        if self._lengths_of(values) != self._lengths:
            return None
        return {name: value(values, raw) for name, value in self._fields}


def _end(place: Place) -> int:
    """Return where a value ends."""
    number = 1 if place.number is None else place.number
    return place.offset + place.dtype.itemsize * number * (2 if place.time else 1)


def _letters(place: Place) -> list[tuple[int, str]]:
    """Return offsets and letters of a number, or of the two of a time; none for an array."""
    if place.number is not None:
        return []
    if place.time:
        return [(place.offset, 'i'), (place.offset + 4, 'I')]
    return [(place.offset, _LETTERS[f'{place.dtype.kind}{place.dtype.itemsize}'])]


def _getter(indices: list[int]) -> Callable[[tuple[Any, ...]], Any]:
    """Return what picks some of the values; nothing out of none."""
    return itemgetter(*indices) if indices else lambda values: None


def _value(place: Place, indices: list[int]) -> Callable[[tuple[Any, ...], bytes], Any]:
    """Return what makes a field of the values at its indices, as `cdr.Field.read` does."""
    if place.number is not None:
        dtype, number, offset = place.dtype, place.number, place.offset
        if not number:
            return lambda values, raw: np.empty(0, dtype)
        return lambda values, raw: np.frombuffer(raw, dtype, number, offset).copy()
    if place.time:
        first, second = indices
        return lambda values, raw: float(values[first] + values[second] * 1e-9)
    get = itemgetter(*indices)
    return lambda values, raw: get(values)
