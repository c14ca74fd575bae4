# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Write the messages of a bag again, in every form of rosbag2, by the writers of two libraries."""

from __future__ import annotations

import dataclasses
import functools
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from mcap.reader import make_reader
from mcap.writer import CompressionType, IndexType
from mcap.writer import Writer as McapWriter
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer


@dataclasses.dataclass(frozen=True)
class Item:
    """Hold one message: topic, type and its definition, RIHS01 hash, time [ns], CDR."""

    topic: str
    type: str
    definition: str
    type_hash: str
    time: int
    raw: bytes


def read_items(path: Path) -> list[Item]:
    """Return the messages of an MCAP file, read by MCAP's own reader."""
    with path.open('rb') as file:
        return [
            Item(channel.topic, schema.name, schema.data.decode(),
                 channel.metadata.get('topic_type_hash', ''), message.log_time, message.data)
            for schema, channel, message in make_reader(file).iter_messages()
        ]


def as_recorded(bag: Path, items: Sequence[Item], path: Path, *, metadata: bool = True) -> Path:
    """Copy the recorder's own bag."""
    shutil.copytree(bag, path)
    if not metadata:
        (path / 'metadata.yaml').unlink()
    return path


def one_file(bag: Path, items: Sequence[Item], path: Path) -> Path:
    """Copy the recorder's file alone."""
    path.mkdir()
    return Path(shutil.copy(next(bag.glob('*.mcap')), path / 'file.mcap'))


def by_rosbags(
    bag: Path, items: Sequence[Item], path: Path, *, plugin: StoragePlugin,
    mode: CompressionMode | None = None,
) -> Path:
    """Write with the writer of rosbags."""
    writer = Writer(path, version=9, storage_plugin=plugin)
    if mode is not None:
        writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connections = {}
        for item in items:
            if item.topic not in connections:
                connections[item.topic] = writer.add_connection(
                    item.topic, item.type, msgdef=item.definition,
                    rihs01=item.type_hash or 'RIHS01_' + 64 * '0',
                )
            writer.write(connections[item.topic], item.time, item.raw)
    return path


def by_mcap(
    bag: Path, items: Sequence[Item], path: Path, *, parts: int = 1,
    compression: CompressionType = CompressionType.NONE, **options,
) -> Path:
    """Write with the writer of MCAP, in one or several files, without metadata.yaml."""
    path.mkdir()
    size = -(-len(items) // parts)
    for number in range(parts):
        with (path / f'bag_{number}.mcap').open('wb') as file:
            writer = McapWriter(file, compression=compression, **options)
            writer.start('ros2', 'another writer')
            schemas: dict[str, int] = {}
            channels: dict[str, int] = {}
            for item in items[number * size : (number + 1) * size]:
                if item.type not in schemas:
                    schemas[item.type] = writer.register_schema(
                        item.type, 'ros2msg', item.definition.encode()
                    )
                if item.topic not in channels:
                    channels[item.topic] = writer.register_channel(
                        item.topic, 'cdr', schemas[item.type]
                    )
                writer.add_message(channels[item.topic], item.time, item.raw, item.time)
            writer.finish()
    return path


def _rosbags() -> dict[str, Callable[..., Path]]:
    modes = {'': None, ', chunks': CompressionMode.STORAGE, ', messages': CompressionMode.MESSAGE,
             ', whole file': CompressionMode.FILE}
    return {
        f'rosbags: {plugin.name.lower()}{text}':
        functools.partial(by_rosbags, plugin=plugin, mode=mode)
        for plugin in (StoragePlugin.MCAP, StoragePlugin.SQLITE3)
        for text, mode in modes.items()
        if not (plugin == StoragePlugin.SQLITE3 and mode == CompressionMode.STORAGE)
    }


#: Form: what writes it, from the recorder's bag and its messages, to a folder that is not there.
FORMS: dict[str, Callable[..., Path]] = {
    'as recorded': as_recorded,
    'as recorded, without metadata': functools.partial(as_recorded, metadata=False),
    'as recorded, the file alone': one_file,
    **_rosbags(),
    'mcap: plain chunks': by_mcap,
    'mcap: lz4 chunks': functools.partial(by_mcap, compression=CompressionType.LZ4),
    'mcap: zstd chunks of 1 kB': functools.partial(
        by_mcap, compression=CompressionType.ZSTD, chunk_size=1000),
    'mcap: no chunks, no index': functools.partial(
        by_mcap, use_chunking=False, index_types=IndexType.NONE, use_statistics=False,
        repeat_channels=False, repeat_schemas=False, use_summary_offsets=False),
    'mcap: three splits': functools.partial(by_mcap, parts=3),
}
