# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Measure how fast large bags are evaluated, beside a bare reading of them, and the memory."""

from __future__ import annotations

import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from bars import bar
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
from rosbags.rosbag2 import Reader, StoragePlugin, Writer

from tl_adapt.bags import recorded
from tl_adapt.bags.evaluation import BagEvaluator
from tl_adapt.bags.reading import Bag
from tl_adapt.report.tables import format_table
from tl_adapt.study import Study, load_study

_SECOND = 1_000_000_000
_START = 1_700_000_000 * _SECOND
_STATUS = '/navigate_to_pose/_action/status'
_LARGE = 2_000_000_000  # bytes
#: Topic with a stamp at its begin: type, and messages per second.
_RATES = {
    '/clock': ('rosgraph_msgs/msg/Clock', 50),
    '/odom': ('nav_msgs/msg/Odometry', 50),
    '/ground_truth': ('nav_msgs/msg/Odometry', 50),
    '/pose': ('geometry_msgs/msg/PoseWithCovarianceStamped', 10),
    '/battery_state': ('sensor_msgs/msg/BatteryState', 10),
    '/scan': ('sensor_msgs/msg/LaserScan', 20),
}
Message = tuple[str, str, int, bytes]


def fill(kind: str, **given):
    """Return a message of zeros but for what is given."""
    store = recorded.typestore()
    values = {}
    for name, (_, what) in store.get_msgdef(kind).fields:
        values[name] = given[name] if name in given else _zero(what)
    return store.types[kind](**values)


def _zero(what):
    if isinstance(what, str):
        return fill(what)
    if isinstance(what[0], str):
        return '' if what[0] == 'string' else 0 if 'int' in what[0] else 0.0
    (inner, count) = what[0], what[1]
    return np.zeros(count or 0, inner[1][0].replace('octet', 'uint8'))


def templates(beams: int) -> dict[str, bytes]:
    """Return a serialised message of each topic; its stamp is in bytes 4 to 12."""
    rng = np.random.default_rng(0)
    found = {}
    for topic, (kind, _) in _RATES.items():
        given = {}
        if topic == '/scan':
            given['ranges'] = rng.uniform(0.3, 4.0, beams).astype(np.float32)
            given['intensities'] = rng.uniform(0.0, 1.0, beams).astype(np.float32)
        if topic == '/battery_state':
            given.update(voltage=12.0, current=-1.5)
        found[topic] = bytes(recorded.typestore().serialize_cdr(fill(kind, **given), kind))
    return found


def drive(missions: int, seconds: int, beams: int) -> Iterator[Message]:
    """Yield the messages of missions of the demo's robot on a robot without simulation."""
    study = load_study('demo')
    nodes: dict[str, dict] = {}
    for parameter in study.space.parameters:
        target = parameter.targets[0]
        nodes.setdefault(f'/{target.node}', {})[target.name] = target.to_ros(parameter.default)
    for node, values in nodes.items():
        raw = recorded.encode_parameters(node, values, _START)
        yield recorded.PARAMETERS, recorded.TYPES[recorded.PARAMETERS], _START, raw
    bodies = templates(beams)
    now = _START + _SECOND
    for number in range(1, missions + 1):
        yield status(number, 2, now)
        begin = now
        ticks = sorted(
            (begin + round(i * _SECOND / rate) + 1000 * order, topic, kind)
            for order, (topic, (kind, rate)) in enumerate(_RATES.items())
            for i in range(1, seconds * rate)
        )
        for at, topic, kind in ticks:
            body = bodies[topic]
            stamp = struct.pack('<iI', *divmod(at - _START, _SECOND))
            yield topic, kind, at, body[:4] + stamp + body[12:]
        now = begin + seconds * _SECOND
        kind = 'std_msgs/msg/Header'
        header = fill(kind, frame_id='succeeded')
        header.stamp.sec, header.stamp.nanosec = divmod(now - _START, _SECOND)
        raw = bytes(recorded.typestore().serialize_cdr(header, kind))
        yield '/navigator/result', kind, now, raw
        yield status(number, 4, now + 1000)
        now += 2 * _SECOND


def status(goal: int, state: int, at: int) -> Message:
    """Return a message with the state of a goal."""
    kind = 'action_msgs/msg/GoalStatusArray'
    one = fill('action_msgs/msg/GoalStatus', status=state)
    one.goal_info.goal_id.uuid[:4] = np.frombuffer(struct.pack('<I', goal), np.uint8)
    raw = bytes(recorded.typestore().serialize_cdr(fill(kind, status_list=[one]), kind))
    return _STATUS, kind, at, raw


def write(path: Path, messages: Iterator[Message], *, sqlite: bool, least: int = 0) -> int:
    """Write messages until the bag has `least` bytes, or all; return its size."""
    store = recorded.typestore()
    known: dict = {}
    size = 0
    if sqlite:
        with Writer(path, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
            for topic, kind, at, raw in messages:
                if topic not in known:
                    known[topic] = writer.add_connection(topic, kind, typestore=store)
                writer.write(known[topic], at, raw)
        return sum(file.stat().st_size for file in path.iterdir())
    path.mkdir()
    with (path / 'bag_0.mcap').open('wb') as file:
        writer = McapWriter(file, compression=CompressionType.NONE)
        writer.start('ros2', 'benchmark')
        for topic, kind, at, raw in messages:
            if topic not in known:
                text, _ = store.generate_msgdef(kind, ros_version=2)
                schema = writer.register_schema(kind, 'ros2msg', text.encode())
                known[topic] = writer.register_channel(topic, 'cdr', schema)
            writer.add_message(known[topic], at, raw, at)
            size += len(raw)
            if least and size > least and topic == _STATUS:
                break
        writer.finish()
    return (path / 'bag_0.mcap').stat().st_size


def bare(path: Path, topics: set[str]) -> tuple[float, int]:
    """Return the CPU time in which rosbags reads the topics, and the number of messages."""
    begun, number = time.process_time(), 0
    file = next(iter(path.glob('*.mcap')), path)
    with Reader(file) as reader:
        wanted = [one for one in reader.connections if one.topic in topics]
        for _ in reader.messages(wanted):
            number += 1
    return time.process_time() - begun, number


def ours(path: Path, study: Study) -> tuple[float, set[str]]:
    """Return the CPU time of the evaluation, and the topics that it reads."""
    begun = time.process_time()
    with Bag(path) as bag:
        evaluator = BagEvaluator(study, bag, study.target)
        found = list(evaluator.run())
        topics = set(evaluator._readers) | set(evaluator._handlers) | {'/clock'}
    seconds = time.process_time() - begun
    if not found or any(one.refused for one in found):
        raise RuntimeError(f'missions must count: {[one.refused for one in found]}')
    return seconds, topics & {*bag.topics}


def speed(seeds: int) -> dict:
    """Print how fast bags are evaluated beside a bare reading, and return it with bars."""
    study = load_study('demo')
    rows = [['bag', 'MB', 'messages', 'bare [s]', 'evaluated [s]', 'speed / bare']]
    result = []
    with tempfile.TemporaryDirectory(prefix='tl_adapt-speed-') as name:
        for label, sqlite, beams in (
            ('mcap, 360 beams', False, 360), ('sqlite3, 360 beams', True, 360),
            ('mcap, 1500 beams', False, 1500), ('sqlite3, 1500 beams', True, 1500),
        ):
            path = Path(name) / 'bag'
            size = write(path, drive(12, 60, beams), sqlite=sqlite)
            pairs = []
            _, topics = ours(path, study)  # once, to have all in the page cache
            for _ in range(max(seeds, 3)):
                seconds, number = bare(path, topics)
                pairs.append((seconds, ours(path, study)[0]))
            ratio = statistics.median(one / other for one, other in pairs)
            result.append({'bag': label, 'size': size, 'messages': number, 'ratio': ratio,
                           'seconds': pairs})
            middle = [statistics.median(column) for column in zip(*pairs)]
            rows.append([label, f'{size / 1e6:.0f}', str(number), f'{middle[0]:.2f}',
                         f'{middle[1]:.2f}', f'{ratio:.2f}'])
            shutil.rmtree(path)
    print('\nEvaluation beside a bare reading of the same topics by rosbags (CPU time, medians)')
    print(format_table(rows))
    return {'rows': result, 'bars': [
        bar('evaluation: speed against a bare reading, worst bag',
            min(row['ratio'] for row in result), 0.5, least=True),
    ]}


def memory() -> dict:
    """Print the memory of `tl_adapt evaluate` on a large bag, and return it with bars."""
    with tempfile.TemporaryDirectory(prefix='tl_adapt-memory-') as name:
        path = Path(name) / 'bag'
        print('writing a bag of 2 GB ...', file=sys.stderr)
        size = write(path, drive(10_000, 55, 2000), sqlite=False, least=_LARGE)
        command = [sys.executable, '-m', 'tl_adapt', 'evaluate', 'demo', str(path), '--store',
                   str(Path(name) / 'store.sqlite')]
        begun = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                   text=True)
        output = process.stdout.read()
        _, code, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(code)
        seconds = time.perf_counter() - begun
        if process.returncode:
            raise RuntimeError(output)
    peak = usage.ru_maxrss / 1024
    print(f'\nA bag of {size / 1e9:.2f} GB: evaluated in {seconds:.0f} s, peak memory '
          f'{peak:.0f} MiB')
    print(output.strip().splitlines()[-2])
    return {'size': size, 'seconds': seconds, 'peak_mib': peak, 'bars': [
        bar('evaluation of a bag of 2 GB: peak memory', peak, 500.0, ' MiB '),
    ]}
