# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Write small bags in all forms that tests read."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

STORE = get_typestore(Stores.ROS2_KILTED)
TYPES = STORE.types
SECOND = 1_000_000_000

FORMS = ['mcap', 'sqlite3', 'mcap chunks', 'mcap file', 'mcap message', 'sqlite3 file',
         'sqlite3 message']
_MODES = {'chunks': CompressionMode.STORAGE, 'file': CompressionMode.FILE,
          'message': CompressionMode.MESSAGE}


@dataclasses.dataclass(frozen=True)
class Item:
    """A message of a bag: its topic, when it was recorded [ns], the message of rosbags."""

    topic: str
    time: int
    message: object

    @property
    def type(self):
        return self.message.__msgtype__

    @property
    def raw(self):
        return bytes(STORE.serialize_cdr(self.message, self.type))


def header(time_ns, frame=''):
    stamp = TYPES['builtin_interfaces/msg/Time'](*divmod(time_ns, SECOND))
    return TYPES['std_msgs/msg/Header'](stamp, frame)


def pose(time_ns, x, y, frame='map'):
    point = TYPES['geometry_msgs/msg/Point'](x, y, 0.0)
    rotation = TYPES['geometry_msgs/msg/Quaternion'](0.0, 0.0, 0.0, 1.0)
    return TYPES['geometry_msgs/msg/PoseStamped'](
        header(time_ns, frame), TYPES['geometry_msgs/msg/Pose'](point, rotation)
    )


def scan(time_ns, ranges):
    return TYPES['sensor_msgs/msg/LaserScan'](
        header(time_ns, 'laser'), 0.0, 1.0, 0.1, 0.0, 0.1, 0.1, 10.0,
        np.asarray(ranges, np.float32), np.zeros(0, np.float32),
    )


def number(value):
    return TYPES['std_msgs/msg/Float64'](float(value))


def items(count=20, start=SECOND):
    """Return messages of three topics, in the order of time."""
    found = []
    for i in range(count):
        time = start + i * SECOND // 10
        found.append(Item('/pose', time, pose(time - 5, i * 0.5, -i * 0.25)))
        found.append(Item('/value', time + 7, number(i)))
        if i % 3 == 0:
            found.append(Item('/scan', time + 9, scan(time, [i, 1.0, np.inf][: 1 + i % 3])))
    return found


def write_bag(folder, messages, form='mcap', *, qos=None):
    """Write messages with the writer of rosbags; `form` is the storage and what is compressed."""
    storage, _, mode = form.partition(' ')
    plugin = StoragePlugin.MCAP if storage == 'mcap' else StoragePlugin.SQLITE3
    writer = Writer(folder, version=9, storage_plugin=plugin)
    if mode:
        writer.set_compression(_MODES[mode], CompressionFormat.ZSTD)
    with writer:
        connections = {}
        for item in messages:
            if item.topic not in connections:
                connections[item.topic] = writer.add_connection(
                    item.topic, item.type, typestore=STORE,
                    offered_qos_profiles=qos.get(item.topic, ()) if qos else (),
                )
            writer.write(connections[item.topic], item.time, item.raw)
    return Path(folder)


def latched():
    time = QosTime(0, 0)
    return Qos(QosHistory.KEEP_LAST, 1, QosReliability.RELIABLE, QosDurability.TRANSIENT_LOCAL,
               time, time, QosLiveliness.AUTOMATIC, time, False)


def write_mcap(
    path, messages, *, compression='zstd', chunk_size=1000, finish=True, definitions=None,
    **options,
):
    """
    Write messages with MCAP's own writer; without `finish` as after a crash of the machine.

    `definitions` (text, language) replace those of the types of some topics.
    """
    from mcap.writer import CompressionType, Writer

    kind = {'zstd': CompressionType.ZSTD, 'lz4': CompressionType.LZ4, '': CompressionType.NONE}
    with Path(path).open('wb') as file:
        writer = Writer(file, compression=kind[compression], chunk_size=chunk_size, **options)
        writer.start(profile='ros2', library='test')
        channels, schemas = {}, {}
        for number, item in enumerate(messages):
            given = (definitions or {}).get(item.topic)
            name = (item.type, given)
            if name not in schemas:
                text, language = given or (STORE.generate_msgdef(item.type)[0].encode(), 'ros2msg')
                schemas[name] = writer.register_schema(item.type, language, text)
            if item.topic not in channels:
                channels[item.topic] = writer.register_channel(item.topic, 'cdr', schemas[name])
            writer.add_message(channels[item.topic], item.time, item.raw, item.time, number)
        if finish:
            writer.finish()
    return Path(path)


def split(folder, messages, parts, form='mcap'):
    """Write one bag of several files, as rosbag2 does when a file has become large."""
    import yaml

    folder = Path(folder)
    folder.mkdir()
    size = -(-len(messages) // parts)
    heads = []
    for part in range(parts):
        one = write_bag(folder / f'part{part}', messages[part * size : (part + 1) * size], form)
        heads.append(yaml.safe_load((one / 'metadata.yaml').read_text()))
        name = heads[-1]['rosbag2_bagfile_information']['relative_file_paths'][0]
        suffixes = name[len(f'part{part}'):]
        (one / name).rename(folder / f'bag_{part}{suffixes}')
        shutil.rmtree(one)
    info = heads[0]['rosbag2_bagfile_information']
    info['relative_file_paths'] = [f'bag_{part}{suffixes}' for part in range(parts)]
    info['message_count'] = len(messages)
    (folder / 'metadata.yaml').write_text(yaml.safe_dump(heads[0]))
    return folder
