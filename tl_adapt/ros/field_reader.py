# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for reading single fields out of serialised messages.

The walk is made from the message class's own description (see `cdr`). What it gives is held
against the whole message a few times before it is believed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

import numpy as np
from rclpy.serialization import deserialize_message

from tl_adapt import cdr
from tl_adapt.cdr_layout import Layout
from tl_adapt.ros.damage import DamagedError
from tl_adapt.trace import extract

_CHECKS = 3
_MISSES = 20  # layouts that a topic may have
_STRINGS = ('UnboundedString', 'BoundedString')
_SEQUENCES = ('UnboundedSequence', 'BoundedSequence')


class FieldReader:
    """Read the fields (dotted paths) of serialised messages of one type."""

    def __init__(self, kind: Any, fields: Iterable[str]) -> None:
        """Prepare for messages of the class `kind`."""
        self._kind = kind
        self._fields = tuple(fields)
        self._walks: dict[str, cdr.Field] | None
        self._checked = 0
        self._layout: Layout | None = None
        self._misses = 0
        try:
            # As numbers those are not what a message has, and an empty array does not show it.
            self._walks = None if any(_octets(kind, field) for field in self._fields) else {
                field: cdr.field_of(described(kind), field) for field in self._fields
            }
        except (cdr.UnreadableError, AttributeError):
            self._walks = None

    @property
    def fast(self) -> bool:
        """Tell whether messages are read without being built."""
        return self._walks is not None

    def read(self, raw: bytes) -> dict[str, Any]:
        """
        Return the values by field.

        Raises AttributeError if the type lacks one, DamagedError if it is no such message.
        """
        try:
            return self._read(raw)
        except AttributeError:
            raise
        except Exception as error:  # what the middleware raises is its own affair
            raise DamagedError(raw, self._kind) from error

    def _read(self, raw: bytes) -> dict[str, Any]:
        if self._layout is not None:
            values = self._layout.read(raw)
            if values is not None:
                return values
        walks = self._walks
        if walks is not None and self._checked >= _CHECKS and raw[:2] == cdr.LITTLE:
            self._lay_out(raw, walks)
            return {field: walk.read(raw) for field, walk in walks.items()}
        message = deserialize_message(raw, self._kind)
        values = {field: extract(message, field) for field in self._fields}
        if walks is not None and raw[:2] == cdr.LITTLE:
            try:
                same = all(_same(walk.read(raw), values[field]) for field, walk in walks.items())
            except (struct.error, ValueError):
                same = False
            self._checked += 1
            if not same:
                self._walks = None
        return values

    def _lay_out(self, raw: bytes, walks: dict[str, cdr.Field]) -> None:
        """Expect the next messages to be laid out as this one; give up on those that never are."""
        if self._misses < _MISSES:
            self._misses += 1
            try:
                self._layout = Layout(raw, walks)
            except (ValueError, struct.error):
                self._layout, self._misses = None, _MISSES


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return bool(one == other)
    left, right = np.asarray(one), np.asarray(other)
    return left.shape == right.shape and bool(
        np.array_equal(left, right, equal_nan=left.dtype.kind == right.dtype.kind == 'f')
    )


def _octets(kind: Any, path: str) -> bool:
    """Tell whether a field is of the type `byte`, or an array of it: a message has `bytes`."""
    for name in path.split('.'):
        types = kind.get_fields_and_field_types()
        if name not in types:
            return False
        slot = kind.SLOT_TYPES[list(types).index(name)]
        if type(slot).__name__ != 'NamespacedType':
            return 'octet' in types[name]
        kind = _class(slot)
    return False


def described(kind: Any) -> cdr.Struct:
    """Return the description of a message class."""
    return cdr.Struct(kind.__name__, lambda: [
        (name, _described(slot))
        for name, slot in zip(kind.get_fields_and_field_types(), kind.SLOT_TYPES)
    ])


def _described(slot: Any) -> cdr.Kind:
    """Return the description of a field's type."""
    what = type(slot).__name__
    if what == 'BasicType' and slot.typename in cdr.FORMATS:
        return cdr.Plain(cdr.FORMATS[slot.typename])
    if what in _STRINGS:
        return cdr.Text()
    if what == 'NamespacedType':
        return described(_class(slot))
    if what == 'Array':
        return cdr.Array(_described(slot.value_type), slot.size)
    if what in _SEQUENCES:
        return cdr.Array(_described(slot.value_type))
    return cdr.Other(str(getattr(slot, 'typename', what)))


def _class(slot: Any) -> Any:
    """Return the class of a message within a message."""
    module = __import__('.'.join(slot.namespaces), fromlist=[slot.name])
    return getattr(module, slot.name)
