# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for traces: what the topics said during one mission, as arrays over time."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tl_adapt.errors import StoreError

# Name of the field that holds a message's position, wherever its type keeps it; (n, 2) in m.
POSITION = '@position'

# Topics below this name come from the operating system, not from ROS.
PROCESS_PREFIX = 'process/'

# Where the types of messages keep a position; the first that is there counts.
POSITION_PATHS = (
    'pose.pose.position',
    'pose.position',
    'transform.translation',
    'position',
    'point',
    'translation',
)
_FORMAT = 1


@dataclasses.dataclass
class Topic:
    """
    Hold the messages of one topic, in the order of their stamps.

    `stamp_ns` (n,) are the header stamps, or the times of reception where the type has no header;
    `received_ns` (n,) are the times of reception on the same clock; each field is (n,) or (n, k).
    """

    stamp_ns: NDArray[np.int64]
    received_ns: NDArray[np.int64]
    fields: dict[str, NDArray[Any]] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of messages."""
        return len(self.stamp_ns)

    def select(self, keep: NDArray[Any]) -> Topic:
        """Return the messages that the mask or the indices `keep` name."""
        return Topic(
            self.stamp_ns[keep],
            self.received_ns[keep],
            {name: values[keep] for name, values in self.fields.items()},
        )


@dataclasses.dataclass
class Trace:
    """
    Hold the topics of one mission and what is known about it.

    `meta` holds only what JSON can; metrics read `start_ns`, `end_ns` and `outcome` ('succeeded'
    or why the mission failed) from it.
    """

    topics: dict[str, Topic] = dataclasses.field(default_factory=dict)
    meta: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def duration(self) -> float:
        """Return the mission's length in s."""
        return float(self.meta['end_ns'] - self.meta['start_ns']) * 1e-9

    def clip(self, start_ns: int, end_ns: int) -> Trace:
        """
        Return the part from `start_ns` to `end_ns`, both included, by the header stamps.

        What was sampled from processes is kept whole: its first and last sample frame the
        mission.
        """
        topics = {
            name: topic
            if name.startswith(PROCESS_PREFIX)
            else topic.select((topic.stamp_ns >= start_ns) & (topic.stamp_ns <= end_ns))
            for name, topic in self.topics.items()
        }
        return Trace(topics, {**self.meta, 'start_ns': int(start_ns), 'end_ns': int(end_ns)})

    def save(self, path: Path | str) -> None:
        """Write the trace to one .npz file, whole or not at all."""
        target = Path(path)
        arrays: dict[str, NDArray[Any]] = {}
        index: dict[str, Any] = {}
        for name, topic in self.topics.items():
            entry: dict[str, Any] = {'fields': {}}
            for part in ('stamp_ns', 'received_ns'):
                entry[part] = _put(arrays, getattr(topic, part))
            for field, values in topic.fields.items():
                entry['fields'][field] = _put(arrays, values)
            index[name] = entry
        head = {'format': _FORMAT, 'topics': index, 'meta': self.meta}
        arrays['head'] = np.frombuffer(json.dumps(head).encode(), dtype=np.uint8)
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, suffix='.part')
        try:
            with os.fdopen(handle, 'wb') as file:
                np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
            os.replace(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise

    @classmethod
    def load(cls, path: Path | str) -> Trace:
        """Read what `save` wrote; raises StoreError if the file is anything else."""
        try:
            with np.load(Path(path), allow_pickle=False) as file:
                head = json.loads(file['head'].tobytes().decode())
                if head['format'] != _FORMAT:
                    raise StoreError(f'{path}: trace of format {head["format"]}, not {_FORMAT}')
                topics = {
                    name: Topic(
                        file[entry['stamp_ns']],
                        file[entry['received_ns']],
                        {field: file[key] for field, key in entry['fields'].items()},
                    )
                    for name, entry in head['topics'].items()
                }
                return cls(topics, head['meta'])
        except (
            OSError, EOFError, KeyError, ValueError, TypeError, RecursionError, zipfile.BadZipFile,
        ) as error:
            raise StoreError(f'{path}: not a trace ({error})') from error


def extract(message: Any, path: str) -> Any:
    """
    Return what the message holds at a dotted path, such as `pose.pose.position.x`.

    `POSITION` gives (x, y). Raises AttributeError if the type has no such field.
    """
    if path == POSITION:
        point = extract(message, position_path(message))
        return (point.x, point.y)
    value = message
    for name in path.split('.'):
        value = getattr(value, name)
    # Durations and times become one number in s.
    if hasattr(value, 'nanosec') and hasattr(value, 'sec'):
        return value.sec + value.nanosec * 1e-9
    return value


def position_path(message: Any) -> str:
    """Return the path of the message's position; raises AttributeError if it has none."""
    for path in POSITION_PATHS:
        value = message
        for name in path.split('.'):
            value = getattr(value, name, None)
        if value is not None and hasattr(value, 'x'):
            return path
    raise AttributeError(f'{type(message).__name__} holds no position')


def make_topic(
    stamps: Sequence[int], received: Sequence[int], columns: Mapping[str, Sequence[Any]]
) -> Topic:
    """
    Make a topic from one list per field, sorted by stamp (messages of one stamp keep their order).

    Arrays of unequal lengths are padded with NaN.
    """
    topic = Topic(
        np.asarray(stamps, dtype=np.int64),
        np.asarray(received, dtype=np.int64),
        {name: _column(values) for name, values in columns.items()},
    )
    return topic.select(np.argsort(topic.stamp_ns, kind='stable'))


def stacked(parts: Sequence[Any]) -> NDArray[Any]:
    """
    Return the rows of several parts as one array; a part is an array or a list of rows.

    Rows of unequal lengths are padded with NaN.
    """
    if all(isinstance(part, np.ndarray) for part in parts) and len(
        {(part.shape[1:], part.dtype) for part in parts}
    ) == 1:
        return np.concatenate(parts)
    return _column([row for part in parts for row in part])


def _column(values: Sequence[Any]) -> NDArray[Any]:
    """Return one row per message."""
    if values and hasattr(values[0], '__len__') and not isinstance(values[0], (str, bytes)):
        rows = [np.asarray(row) for row in values]
        width = max(len(row) for row in rows)
        if all(len(row) == width for row in rows):
            return np.stack(rows)
        padded = np.full((len(rows), width), np.nan)
        for row, source in zip(padded, rows):
            row[: len(source)] = source
        return padded
    return np.asarray(values)


def _put(arrays: dict[str, NDArray[Any]], values: NDArray[Any]) -> str:
    """Store an array under a new key and return the key."""
    key = f'a{len(arrays)}'
    arrays[key] = values
    return key
