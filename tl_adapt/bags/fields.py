# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for reading the wanted fields of many messages at once.

Messages of one topic mostly differ in their numbers alone: where one keeps a field, all of one
length do whose strings and sequences are as long. So the walk is made for one of them, and the
fields of all are taken out together.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tl_adapt import cdr
from tl_adapt.bags.types import BagTypes
from tl_adapt.trace import extract

_KINDS = 16  # layouts that are tried before messages are read one by one
_HEADER = 'std_msgs/msg/Header'
_NAMES = 1, 2, 3, 4  # of rosbags' nodes: a base type, a name, an array, a sequence
# What a walk over a damaged message may raise.
_BAD = (struct.error, ValueError, IndexError, OverflowError, TypeError)

Array = NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Columns:
    """
    Hold what was read of n messages.

    `kept` (m,) are the indices of those that could be read, in their order; `stamps` (m,) the
    header stamps in ns, None without headers; each field is (m,), (m, k), or a list of arrays
    where their lengths differ.
    """

    kept: NDArray[np.int64]
    stamps: NDArray[np.int64] | None
    fields: dict[str, Array | list[Any]]


def describe(types: BagTypes, name: str) -> cdr.Struct:
    """Return the description of a type; its fields raise LookupError if they aren't known."""
    def fields() -> list[tuple[str, Any]]:
        return [(field, _kind(types, given)) for field, given in types.fields(name)]

    return cdr.Struct(name, fields)


def _kind(types: BagTypes, given: Any) -> cdr.Kind:
    """Return the description of what rosbags has parsed."""
    node, what = int(given[0]), given[1]
    if node == _NAMES[0]:
        base = str(what[0])
        if base == 'string':
            return cdr.Text()
        return cdr.Plain(cdr.FORMATS[base]) if base in cdr.FORMATS else cdr.Other(base)
    if node == _NAMES[1]:
        return describe(types, str(what))
    return cdr.Array(_kind(types, what[0]), int(what[1]) if node == _NAMES[2] else None)


def _check(kind: Any) -> None:
    """Raise LookupError if a part of a type is not known."""
    if isinstance(kind, cdr.Array):
        _check(kind.of)
    elif isinstance(kind, cdr.Struct):
        for _, part in kind.fields():
            _check(part)


class ColumnReader:
    """Read the wanted fields of messages of one type."""

    def __init__(self, types: BagTypes, name: str, fields: Iterable[str]) -> None:
        """
        Prepare for messages of the type `name`.

        Raises AttributeError if it lacks a field, LookupError if it or a part of it is unknown.
        """
        self._types, self._name = types, name
        self._fields = sorted(fields)
        self._walks: dict[bytes, dict[str, cdr.Field]] = {}
        kind = describe(types, name)
        try:
            parts = kind.fields()
            _check(kind)
            first = parts[0] if parts else ('', None)
            self.has_header = first[0] == 'header' and getattr(first[1], 'name', '') == _HEADER
            try:
                for head, order in ((cdr.LITTLE, '<'), (cdr.BIG, '>')):
                    self._walks[head] = {
                        field: cdr.field_of(kind, field, order) for field in self._fields
                    }
            except cdr.UnreadableError:
                self._walks.clear()
                self._whole()  # raises if the type can't be had
        except RecursionError:
            raise LookupError(f'type {name} holds itself') from None

    def read(self, raws: Sequence[bytes]) -> Columns:
        """Return the fields of the messages; those that can't be read are left out."""
        pieces: list[Columns] = []
        if not self._walks:
            pieces.append(self._one_by_one(raws, range(len(raws))))
        else:
            lengths = set(map(len, raws))
            by_length: dict[int, Sequence[int]]
            if len(lengths) == 1:
                by_length = {lengths.pop(): range(len(raws))}
            else:
                parted: dict[int, list[int]] = {length: [] for length in lengths}
                for index, raw in enumerate(raws):
                    parted[len(raw)].append(index)
                by_length = {**parted}
            for length, rows in by_length.items():
                self._read_alike(raws, rows, length, pieces)
        return _joined(pieces, self._fields, self.has_header)

    def _read_alike(
        self, raws: Sequence[bytes], rows: Sequence[int], length: int, pieces: list[Columns]
    ) -> None:
        """Read messages of one length."""
        if length < cdr.HEAD + 8 * self.has_header:
            return
        part_of = raws if len(rows) == len(raws) else [raws[row] for row in rows]
        content = np.frombuffer(b''.join(part_of), np.uint8)
        content = content.reshape(len(rows), length)
        index = np.arange(len(rows)) if isinstance(rows, range) else np.asarray(rows)
        left = np.arange(len(rows))
        for _ in range(_KINDS):
            if not len(left):
                return
            marks: list[int] = []
            try:
                walks = self._walks[raws[rows[left[0]]][:2]]
                places = {
                    field: None if walk.locate is None
                    else walk.locate(raws[rows[left[0]]], marks)
                    for field, walk in walks.items()
                }
            except (KeyError, *_BAD):
                left = left[1:]
                continue
            columns = np.array([0, 1, *(at + i for at in sorted(set(marks)) for i in range(4))])
            columns = columns[columns < length]
            part = content if len(left) == len(rows) else content[left]
            same = (part[:, columns] == part[0, columns]).all(axis=1)
            alike = part if same.all() else part[same]
            found = left[same]
            left = left[~same]
            try:
                fields: dict[str, Any] = {
                    field: _taken(alike, place) if place is not None
                    else [walks[field].read(raws[rows[row]]) for row in found]
                    for field, place in places.items()
                }
            except _BAD:
                continue
            order = '<' if alike[0, 1] else '>'
            stamps = _nanoseconds(alike, order) if self.has_header else None
            pieces.append(Columns(index[found], stamps, fields))
        if len(left):
            pieces.append(self._one_by_one(raws, index[left]))

    def _one_by_one(self, raws: Sequence[bytes], rows: Iterable[int]) -> Columns:
        """Read messages that have little in common, or fields that need the whole message."""
        kept, stamps = [], []
        lists: dict[str, list[Any]] = {field: [] for field in self._fields}
        for row in rows:
            raw = raws[row]
            try:
                values = self._values(raw)
                stamp = 0
                if self.has_header:
                    seconds, nanoseconds = struct.unpack_from('<iI' if raw[1] else '>iI', raw, 4)
                    stamp = seconds * 1_000_000_000 + nanoseconds
            except (KeyError, *_BAD):
                continue
            kept.append(row)
            stamps.append(stamp)
            for field, value in values.items():
                lists[field].append(value)
        return Columns(
            np.asarray(kept, np.int64),
            np.asarray(stamps, np.int64) if self.has_header else None, dict(lists),
        )

    def _values(self, raw: bytes) -> dict[str, Any]:
        if self._walks:
            return {field: walk.read(raw) for field, walk in self._walks[raw[:2]].items()}
        store = self._whole()
        try:
            message = store.deserialize_cdr(raw, self._name)
        except Exception as error:  # it raises whatever broken bytes lead it to
            raise ValueError(str(error)) from error
        return {field: extract(message, field) for field in self._fields}

    def _whole(self) -> Any:
        """Return a typestore that knows the type; raises LookupError."""
        store = self._types.store
        if self._name not in store.types:
            raise LookupError(f'type {self._name} can not be used')
        return store


def _taken(content: NDArray[np.uint8], places: list[cdr.Place]) -> Array:
    """Return what messages of one layout hold at a place; raises ValueError if it is outside."""
    columns = [_column(content, place) for place in places]
    return columns[0] if len(columns) == 1 else np.stack(columns, axis=1)


def _column(content: NDArray[np.uint8], place: cdr.Place) -> Array:
    rows, length = content.shape
    dtype = np.dtype(np.uint8) if place.dtype.kind == 'b' else place.dtype
    number = 2 if place.time else 1 if place.number is None else place.number
    if place.offset + number * dtype.itemsize > length and number:
        raise ValueError('the message is cut off')
    if not number:
        return np.empty((rows, 0), place.dtype)
    begin, end = place.offset, place.offset + number * dtype.itemsize
    values = np.ascontiguousarray(content[:, begin:end]).view(dtype)
    if place.time:
        unsigned = values[:, 1].view(dtype.str.replace('i', 'u'))
        return np.asarray(values[:, 0] + unsigned * 1e-9)
    if place.dtype.kind == 'b':
        values = values != 0
    return values[:, 0].copy() if place.number is None else values


def _nanoseconds(content: NDArray[np.uint8], order: str) -> NDArray[np.int64]:
    """Return the time at the beginning of each message in ns."""
    values = np.ascontiguousarray(content[:, 4:12])
    seconds = values.view(order + 'i4')[:, 0].astype(np.int64)
    nanoseconds = values.view(order + 'u4')[:, 1].astype(np.int64)
    return np.asarray(seconds * 1_000_000_000 + nanoseconds)


def _joined(pieces: list[Columns], fields: list[str], has_header: bool) -> Columns:
    """Return what was read in pieces as one, in the order of the messages."""
    pieces = [piece for piece in pieces if len(piece.kept)]
    if len(pieces) == 1 and not any(isinstance(c, list) for c in pieces[0].fields.values()):
        return pieces[0]
    if not pieces:
        none = np.empty(0, np.int64)
        return Columns(none, none if has_header else None, {name: [] for name in fields})
    kept = np.concatenate([piece.kept for piece in pieces])
    order = np.argsort(kept)
    stamps = None
    if has_header:
        stamps = np.concatenate([p.stamps for p in pieces if p.stamps is not None])[order]
    return Columns(
        kept[order], stamps,
        {name: _in_order([p.fields[name] for p in pieces], order) for name in fields},
    )


def _in_order(parts: list[Any], order: NDArray[np.int64]) -> Array | list[Any]:
    if all(isinstance(part, np.ndarray) for part in parts) and len(
        {(part.shape[1:], part.dtype) for part in parts}
    ) == 1:
        return np.asarray(np.concatenate(parts)[order])
    rows = [row for part in parts for row in part]
    return [rows[i] for i in order]
