# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for writing a bag as `ros2 bag` has it: a folder with an MCAP file and metadata.yaml.

The library mcap writes the file. Chunks are closed in time, so that what is killed leaves a file
that can be read up to its last whole chunk; what can't be written on a full disk takes nothing
with it that was written before.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tl_adapt.errors import InputError, TlAdaptError, try_import

COMPRESSIONS = ('none', 'lz4', 'zstd')

_METADATA = 'metadata.yaml'
# The newest version that ROS 2 Humble reads, too: later ones have other texts for QoS.
_VERSION = 8
_CHUNK = 768 * 1024  # bytes after which a chunk is closed, as rosbag2 has it
_RESERVE = 4 * 1024 * 1024  # bytes kept free for the last chunk and the index
_FOREVER = {'sec': 9223372036, 'nsec': 854775807}


class FullDiskError(TlAdaptError):
    """Say that the bag could not be written any further; what was written is kept."""


@dataclasses.dataclass
class _Topic:
    """Hold what metadata.yaml says of a topic."""

    number: int  # of its channel
    type: str
    qos: Sequence[Mapping[str, Any]]
    type_hash: str
    count: int = 0


class BagWriter:
    """Write one bag; a bag that is not closed has no metadata.yaml, which tells."""

    def __init__(
        self, path: Path | str, *, compression: str = 'zstd', distribution: str = ''
    ) -> None:
        """
        Make the folder `path`, which must not be there yet.

        Raises InputError if it is there or can't be made, or for an unknown compression;
        TlAdaptError if the library mcap is not installed, or too old.
        """
        library = try_import('mcap.writer', 'bags')
        if not hasattr(library.Writer, 'flush'):
            raise TlAdaptError(
                "recording needs mcap 1.5 or newer; install it, for example with: "
                "pip install 'mcap>=1.5'"
            )
        if compression not in COMPRESSIONS:
            rule = f'must be one of {", ".join(COMPRESSIONS)}'
            raise InputError(rule, key='compression', value=compression)
        self.path = Path(path)
        self._distribution = distribution
        self._topics: dict[str, _Topic] = {}
        self._schemas: dict[str, int] = {}
        self._start, self._end, self.messages = 2**63 - 1, 0, 0
        self._kept = 0  # messages in chunks that are in the file
        self._closed = False
        self._reserve = self.path / '.reserve'
        try:
            self.path.mkdir(parents=True)
        except FileExistsError:
            raise InputError(
                'is there already; a bag is never overwritten', file=self.path
            ) from None
        except OSError as error:
            raise InputError(f'can not be made ({error.strerror})', file=self.path) from error
        try:
            self._keep_reserve()
            self._file = _File(self.path / f'{self.path.name}_0.mcap')
        except OSError as error:
            self._reserve.unlink(missing_ok=True)
            self.path.rmdir()
            raise InputError(
                f'a bag can not be begun ({error.strerror})', file=self.path
            ) from error
        self._writer = library.Writer(
            self._file, chunk_size=_CHUNK,
            compression=library.CompressionType[compression.upper()],
        )
        self._writer.start('ros2', 'tl_adapt')
        with self._guard():
            pass

    @property
    def size(self) -> int:
        """Return how many bytes are in the file."""
        return self._file.settled

    @property
    def counts(self) -> dict[str, int]:
        """Return the number of messages by topic."""
        return {name: topic.count for name, topic in self._topics.items()}

    def add_topic(
        self, name: str, kind: str, definition: str, *,
        qos: Sequence[Mapping[str, Any]] = (), type_hash: str = '',
    ) -> None:
        """
        Add a topic with messages of type `kind`, such as `sensor_msgs/msg/LaserScan`.

        `definition` is the text of its .msg file and of those that it needs; `qos` what its
        publishers offer, see `qos_profile`; `type_hash` its RIHS01 hash, if it is known.
        """
        if kind not in self._schemas:
            self._schemas[kind] = self._writer.register_schema(
                kind, 'ros2msg', definition.encode()
            )
        metadata = {'offered_qos_profiles': _qos_text(qos)}
        if type_hash:
            metadata['topic_type_hash'] = type_hash
        number = self._writer.register_channel(name, 'cdr', self._schemas[kind], metadata)
        self._topics[name] = _Topic(number, kind, list(qos), type_hash)

    def has_topic(self, name: str) -> bool:
        """Tell whether the topic was added."""
        return name in self._topics

    def write(
        self, name: str, data: bytes, time_ns: int, *, sent_ns: int | None = None,
        sequence: int = 0,
    ) -> None:
        """
        Write a serialised message with the bag's time and the time at which it was sent.

        Raises FullDiskError; the bag is closed then.
        """
        topic = self._topics[name]
        # MCAP has no times before 0.
        time_ns = max(time_ns, 0)
        sent = time_ns if sent_ns is None else max(sent_ns, 0)
        topic.count += 1
        self.messages += 1
        self._start, self._end = min(self._start, time_ns), max(self._end, time_ns)
        with self._guard():
            self._writer.add_message(topic.number, time_ns, data, sent, sequence % 2**32)

    def flush(self) -> None:
        """Close the present chunk: from now on a kill does not lose it. Raises FullDiskError."""
        with self._guard():
            self._writer.flush()

    def close(self) -> None:
        """Write the index and metadata.yaml; raises FullDiskError if that does not fit."""
        if self._closed:
            return
        with self._guard():
            self._finish()

    def _keep_reserve(self) -> None:
        """Take room on the disk that the end of the file is going to need."""
        with self._reserve.open('wb') as file:
            if hasattr(os, 'posix_fallocate'):
                os.posix_fallocate(file.fileno(), 0, _RESERVE)
            else:
                file.write(bytes(_RESERVE))

    @contextlib.contextmanager
    def _guard(self) -> Any:
        """Keep the file whole if something can't be written, and close the bag then."""
        if self._closed:
            raise FullDiskError(f'{self.path}: the bag is closed')
        try:
            yield
            self._settle()
        except OSError as error:
            self._reserve.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self._settle()
                self._finish()
            self._end_file()
            raise FullDiskError(
                f'{self.path}: {error.strerror}; kept is what was recorded until then, '
                f'{self._kept} messages'
            ) from error

    def _settle(self) -> None:
        if self._file.settle():
            self._kept = self.messages

    def _finish(self) -> None:
        """Write the end of the file, in the room that was kept for it, and the metadata."""
        self._reserve.unlink(missing_ok=True)
        self._writer.finish()
        self._settle()
        temporary = self.path / f'{_METADATA}.part'
        try:
            temporary.write_text(yaml.safe_dump(self._metadata(), sort_keys=False), 'utf-8')
            temporary.replace(self.path / _METADATA)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        self._end_file()

    def _end_file(self) -> None:
        self._closed = True
        self._file.close()
        self._reserve.unlink(missing_ok=True)

    def _metadata(self) -> dict[str, Any]:
        """Return the content of metadata.yaml."""
        start = self._start if self.messages else 0
        span = {
            'starting_time': {'nanoseconds_since_epoch': start},
            'duration': {'nanoseconds': max(self._end - start, 0)},
            'message_count': self.messages,
        }
        name = self._file.path.name
        return {'rosbag2_bagfile_information': {
            'version': _VERSION,
            'storage_identifier': 'mcap',
            **span,
            'topics_with_message_count': [
                {
                    'topic_metadata': {
                        'name': topic, 'type': known.type, 'serialization_format': 'cdr',
                        'offered_qos_profiles': _qos_text(known.qos),
                        'type_description_hash': known.type_hash,
                    },
                    'message_count': known.count,
                }
                for topic, known in self._topics.items()
            ],
            'compression_format': '',  # that of chunks is MCAP's own matter
            'compression_mode': '',
            'relative_file_paths': [name],
            'files': [{'path': name, **span}],
            'custom_data': None,
            'ros_distro': self._distribution,
        }}


class _File:
    """
    Write to a file in whole pieces: what can't be written leaves nothing of it.

    What is written waits until `settle`; after an error that can be tried again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        self._waiting = bytearray()
        self.settled = 0

    def write(self, data: bytes) -> int:
        """Take the data."""
        self._waiting += data
        return len(data)

    def tell(self) -> int:
        """Return how many bytes were taken."""
        return self.settled + len(self._waiting)

    def flush(self) -> None:
        """Do nothing: that is what `settle` is for."""

    def settle(self) -> bool:
        """Write what waits, return whether there was anything; raises OSError."""
        if not self._waiting:
            return False
        try:
            left = memoryview(bytes(self._waiting))
            while left:
                left = left[os.write(self._number, left):]
        except OSError:
            os.ftruncate(self._number, self.settled)
            os.lseek(self._number, self.settled, os.SEEK_SET)
            raise
        self.settled += len(self._waiting)
        self._waiting.clear()
        return True

    def close(self) -> None:
        """Close the file."""
        if self._number >= 0:
            os.close(self._number)
            self._number = -1


def qos_profile(
    *, reliability: int, durability: int, history: int = 3, depth: int = 0,
    deadline_ns: int | None = None, lifespan_ns: int | None = None, liveliness: int = 1,
    lease_ns: int | None = None, namespaces: bool = True,
) -> dict[str, Any]:
    """
    Return a profile as bags have it; numbers are those of rmw, None means endless.

    Reliability 1 is reliable, 2 best effort; durability 1 transient local, 2 volatile; history 1
    keeps the last `depth`, 2 all, 3 is not known, as discovery does not tell.
    """
    return {
        'history': history, 'depth': depth, 'reliability': reliability,
        'durability': durability, 'deadline': _span(deadline_ns), 'lifespan': _span(lifespan_ns),
        'liveliness': liveliness, 'liveliness_lease_duration': _span(lease_ns),
        'avoid_ros_namespace_conventions': not namespaces,
    }


def _span(nanoseconds: int | None) -> dict[str, int]:
    if nanoseconds is None:
        return dict(_FOREVER)
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return {'sec': seconds, 'nsec': rest}


def _qos_text(profiles: Sequence[Mapping[str, Any]]) -> str:
    """Return profiles as YAML within YAML, as bags up to version 8 have them."""
    return yaml.safe_dump([dict(p) for p in profiles], sort_keys=False).strip()


LATCHED = qos_profile(reliability=1, durability=1, history=1, depth=100)
