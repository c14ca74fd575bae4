# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for tl_adapt.bags.writing, read with the readers of two libraries."""

import errno
import os
import resource
import subprocess
import sys

import pytest

from tl_adapt.bags import recorded, writing
from tl_adapt.bags.writing import BagWriter, FullDiskError, qos_profile
from tl_adapt.errors import InputError, TlAdaptError

pytest.importorskip('rosbags', reason='bags need the library rosbags')
pytest.importorskip('mcap', reason='bags need the library mcap')

from mcap.exceptions import McapError  # noqa: E402
from mcap.reader import NonSeekingReader, make_reader  # noqa: E402
from rosbags.interfaces import QosDurability, QosReliability  # noqa: E402
from rosbags.rosbag2 import Reader  # noqa: E402

TOPIC = recorded.RECORDING


def begin(path, **options):
    writer = BagWriter(path, **options)
    kind, text, type_hash = recorded.type_description(TOPIC)
    writer.add_topic(TOPIC, kind, text, qos=[writing.LATCHED], type_hash=type_hash)
    return writer


def message(number, size=0):
    return recorded.encode_recording({'number': number, 'filling': os.urandom(size // 2).hex()})


def numbers(path):
    """Return what mcap reads from a file that may have no end."""
    found = []
    with path.open('rb') as file:
        try:
            for _, _, one in NonSeekingReader(file).iter_messages(log_time_order=False):
                found.append(recorded.decode_recording(one.data)['number'])
        except McapError:
            pass
    return found


@pytest.mark.parametrize('compression', writing.COMPRESSIONS)
def test_both_libraries_read_what_was_written(tmp_path, compression):
    writer = begin(tmp_path / 'bag', compression=compression, distribution='kilted')
    sensor = qos_profile(reliability=2, durability=2, deadline_ns=1_500_000_000)
    kind, text, _ = recorded.type_description(recorded.PARAMETERS)
    writer.add_topic('/empty', kind, text, qos=[sensor, sensor])
    for number in range(100):
        writer.write(TOPIC, message(number), 10**9 + number, sent_ns=10**9 + number - 1)
    assert not (tmp_path / 'bag' / 'metadata.yaml').exists()
    writer.close()
    writer.close()

    with Reader(tmp_path / 'bag') as bag:
        assert (bag.message_count, bag.start_time, bag.end_time) == (100, 10**9, 10**9 + 100)
        assert bag.ros_distro == 'kilted'
        one = bag.topics[TOPIC].connections[0]
        assert one.digest == recorded.type_description(TOPIC)[2]
        assert one.ext.offered_qos_profiles[0].durability == QosDurability.TRANSIENT_LOCAL
        offered = bag.topics['/empty'].connections[0].ext.offered_qos_profiles
        assert [profile.reliability for profile in offered] == [QosReliability.BEST_EFFORT] * 2
        assert (offered[0].deadline.sec, offered[0].deadline.nsec) == (1, 500_000_000)
        got = [recorded.decode_recording(raw)['number'] for _, _, raw in bag.messages()]
        assert got == list(range(100))
    with (tmp_path / 'bag' / 'bag_0.mcap').open('rb') as file:
        reader = make_reader(file)
        assert reader.get_header().profile == 'ros2'
        assert reader.get_summary().statistics.message_count == 100
        times = [(m.log_time, m.publish_time) for _, _, m in reader.iter_messages()]
    assert times == [(10**9 + n, 10**9 + n - 1) for n in range(100)]
    assert sorted(p.name for p in (tmp_path / 'bag').iterdir()) == ['bag_0.mcap', 'metadata.yaml']


def test_a_bag_without_messages_can_be_read(tmp_path):
    begin(tmp_path / 'bag').close()
    with Reader(tmp_path / 'bag') as bag:
        assert bag.message_count == 0


def test_a_bag_is_never_overwritten_and_a_folder_that_can_not_be_is_named(tmp_path):
    begin(tmp_path / 'bag').close()
    with pytest.raises(InputError, match='bag: is there already'):
        BagWriter(tmp_path / 'bag')
    (tmp_path / 'file').touch()
    with pytest.raises(InputError, match='file/bag: can not be made'):
        BagWriter(tmp_path / 'file' / 'bag')
    with pytest.raises(InputError, match='compression: must be one of none, lz4, zstd'):
        BagWriter(tmp_path / 'other', compression='gzip')
    assert not (tmp_path / 'other').exists()


def test_a_library_that_can_not_close_chunks_in_time_is_named(tmp_path, monkeypatch):
    monkeypatch.delattr('mcap.writer.Writer.flush')
    with pytest.raises(TlAdaptError, match='mcap 1.5 or newer'):
        BagWriter(tmp_path / 'bag')
    assert not (tmp_path / 'bag').exists()


def test_what_was_flushed_survives_a_kill(tmp_path):
    program = (
        'import os, signal, sys; sys.path.insert(0, {folder!r})\n'
        'from test_bag_writing import begin, message, TOPIC\n'
        'writer = begin({path!r})\n'
        'for number in range(7):\n'
        '    writer.write(TOPIC, message(number), number)\n'
        '    if number == 4: writer.flush()\n'
        'os.kill(os.getpid(), signal.SIGKILL)\n'
    ).format(folder=os.path.dirname(__file__), path=str(tmp_path / 'bag'))
    assert subprocess.run([sys.executable, '-c', program]).returncode == -9
    assert not (tmp_path / 'bag' / 'metadata.yaml').exists()
    assert numbers(tmp_path / 'bag' / 'bag_0.mcap') == [0, 1, 2, 3, 4]


def fill(writer, size):
    """Write until the disk is full; return how many messages went in before."""
    for number in range(1000):
        try:
            writer.write(TOPIC, message(number, size), number)
        except FullDiskError as error:
            return number, str(error)
    raise AssertionError('the disk was not full')


def test_a_full_disk_takes_nothing_of_what_was_recorded(tmp_path, monkeypatch):
    """The room that was kept free takes the last chunk, the index and the metadata."""
    path, write, room = tmp_path / 'bag', os.write, 3_000_000

    def short(file, data):
        nonlocal room
        if not (path / '.reserve').exists():
            return write(file, data)
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done = write(file, data[:room])
        room -= done
        return done

    writer = begin(path, compression='none')
    monkeypatch.setattr(os, 'write', short)
    count, error = fill(writer, 100_000)
    assert 'No space left on device; kept is' in error
    assert f'{count + 1} messages' in error
    with Reader(path) as bag:
        got = [recorded.decode_recording(raw)['number'] for _, _, raw in bag.messages()]
        assert bag.message_count == len(got)
    assert got == list(range(count + 1))
    assert numbers(path / 'bag_0.mcap') == got
    with pytest.raises(FullDiskError, match='closed'):
        writer.write(TOPIC, message(0), 0)
    writer.close()


def test_a_disk_that_is_full_for_good_leaves_whole_chunks(tmp_path):
    """The kernel's limit of a file's size can't be got round by the room that was kept."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    writer = begin(tmp_path / 'bag', compression='none')
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_500_000, limit[1]))
    try:
        _, error = fill(writer, 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert 'File too large' in error
    assert sorted(p.name for p in (tmp_path / 'bag').iterdir()) == ['bag_0.mcap']
    got = numbers(tmp_path / 'bag' / 'bag_0.mcap')
    assert got == list(range(len(got)))
    assert 16 <= len(got) <= 24
    assert f'{len(got)} messages' in error
