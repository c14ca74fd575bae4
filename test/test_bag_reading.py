# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests that bags are read in all forms, and that of damaged ones is read what there is."""

import os
import sqlite3
import struct

import numpy as np
import pytest

pytest.importorskip('rosbags')
pytest.importorskip('mcap')

from bag_files import (  # noqa: E402
    FORMS,
    SECOND,
    Item,
    header,
    items,
    latched,
    number,
    pose,
    split,
    write_bag,
    write_mcap,
)
from bag_files import TYPES as TYPES_  # noqa: E402

from tl_adapt.bags.mcap_file import McapFile  # noqa: E402
from tl_adapt.bags.reading import Bag  # noqa: E402
from tl_adapt.errors import InputError, TlAdaptError  # noqa: E402

MESSAGES = items()
WANTED = [(m.topic, m.time, m.raw) for m in sorted(MESSAGES, key=lambda m: m.time)]
TYPES = {'/pose': 'geometry_msgs/msg/PoseStamped', '/value': 'std_msgs/msg/Float64',
         '/scan': 'sensor_msgs/msg/LaserScan'}


def read(path, topics=None, **options):
    with Bag(path) as bag:
        return list(bag.messages(topics, **options))


@pytest.mark.parametrize('form', FORMS)
def test_all_forms_give_the_same_messages(tmp_path, form):
    folder = write_bag(tmp_path / 'bag', MESSAGES, form)
    with Bag(folder) as bag:
        assert list(bag.messages()) == WANTED
        assert bag.topics == TYPES
        assert bag.counts == {'/pose': 20, '/value': 20, '/scan': 7}
        assert (bag.start_ns, bag.end_ns) == (WANTED[0][1], WANTED[-1][1])
        assert bag.complete


@pytest.mark.parametrize('form', FORMS)
def test_metadata_may_be_missing_or_damaged(tmp_path, form):
    folder = write_bag(tmp_path / 'bag', MESSAGES, form)
    (folder / 'metadata.yaml').write_text('rosbag2_bagfile_information: [nothing')
    assert read(folder) == WANTED
    (folder / 'metadata.yaml').unlink()
    assert read(folder) == WANTED
    (file,) = folder.iterdir()
    assert read(file) == WANTED
    assert read(str(file)) == WANTED


@pytest.mark.parametrize('compression', ['', 'lz4', 'zstd'])
@pytest.mark.parametrize('options', [
    {}, {'use_chunking': False}, {'use_statistics': False}, {'repeat_channels': False},
    {'use_summary_offsets': False}, {'repeat_schemas': False}, {'chunk_size': 1},
], ids=str)
def test_the_own_writer_of_mcap(tmp_path, compression, options):
    path = write_mcap(tmp_path / 'x.mcap', MESSAGES, compression=compression, **options)
    with Bag(path) as bag:
        assert list(bag.messages()) == WANTED
        assert bag.topics == TYPES
        assert bag.counts == {'/pose': 20, '/value': 20, '/scan': 7}
        assert bag.complete


@pytest.mark.parametrize('form', ['mcap', 'sqlite3'])
def test_topics_and_times_can_be_chosen(tmp_path, form):
    folder = write_bag(tmp_path / 'bag', MESSAGES, form)
    assert read(folder, ['/pose']) == [m for m in WANTED if m[0] == '/pose']
    assert read(folder, ['/nothing']) == []
    start, end = WANTED[10][1], WANTED[20][1]
    assert read(folder, start_ns=start, end_ns=end) == WANTED[10:20]
    assert read(folder, ['/value'], start_ns=start, end_ns=end) == [
        m for m in WANTED[10:20] if m[0] == '/value'
    ]


def test_messages_that_were_written_late_come_in_the_order_of_time(tmp_path):
    """Chunks overlap where several threads write."""
    late = MESSAGES[:]
    for i in range(0, len(late) - 6, 5):
        late[i], late[i + 5] = late[i + 5], late[i]
    path = write_mcap(tmp_path / 'x.mcap', late, chunk_size=100)
    assert sorted(read(path)) == sorted(WANTED)
    times = [m[1] for m in read(path)]
    assert times == sorted(times)


@pytest.mark.parametrize('form', FORMS)
def test_splits(tmp_path, form):
    folder = split(tmp_path / 'bag', MESSAGES, 3, form)
    assert read(folder) == WANTED
    files = sorted(folder.glob('bag_*'))
    assert read(files[::-1]) == WANTED, 'several files may be named instead, in any order'
    (folder / 'metadata.yaml').unlink()
    assert read(folder) == WANTED


def test_splits_that_overlap_are_merged(tmp_path):
    one = write_mcap(tmp_path / 'one.mcap', MESSAGES[::2])
    other = write_mcap(tmp_path / 'other.mcap', MESSAGES[1::2])
    assert read([one, other]) == WANTED


def test_a_file_that_was_compressed_by_hand(tmp_path):
    folder = write_bag(tmp_path / 'bag', MESSAGES)
    from tl_adapt.bags.storage import zstd

    (file,) = folder.glob('*.mcap')
    (folder / (file.name + '.zstd')).write_bytes(zstd().compress(file.read_bytes()))
    file.unlink()
    assert read(folder) == WANTED


@pytest.mark.parametrize('how', ['listed', 'no metadata', 'not listed', 'empty', 'no bag'])
def test_a_missing_split_is_a_loss_between_its_neighbours(tmp_path, how):
    folder = split(tmp_path / 'bag', MESSAGES, 4)
    with Bag(folder / 'bag_1.mcap') as bag:
        start, end = bag.start_ns, bag.end_ns
    if how == 'not listed':
        metadata = folder / 'metadata.yaml'
        metadata.write_text(metadata.read_text().replace('  - bag_1.mcap\n', ''))
    elif how in ('empty', 'no bag'):
        (folder / 'bag_1.mcap').write_text('' if how == 'empty' else 'nothing of the kind')
    else:
        (folder / 'bag_1.mcap').unlink()
    if how == 'no metadata':
        (folder / 'metadata.yaml').unlink()
    with Bag(folder) as bag:
        (loss,) = bag.losses
        assert 'bag_1.mcap' in loss.text
        assert start - 2 * SECOND < loss.start_ns < start and end < loss.end_ns < end + 2 * SECOND
        found = list(bag.messages())
    assert found == [m for m in WANTED if m in found]
    assert len(WANTED) // 2 < len(found) < len(WANTED)
    for m in WANTED:
        assert (m in found) or loss.start_ns < m[1] < loss.end_ns


def test_files_that_are_not_numbered_one_by_one_are_no_split(tmp_path):
    folder = split(tmp_path / 'bag', MESSAGES, 2)
    (folder / 'metadata.yaml').unlink()
    (folder / 'bag_1.mcap').rename(folder / 'bag_20261127.mcap')
    with Bag(folder) as bag:
        assert bag.complete
        assert list(bag.messages()) == WANTED


@pytest.mark.parametrize('compression', ['', 'lz4', 'zstd'])
@pytest.mark.parametrize('share', [0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize('chunk_size', [500, 1 << 20])
def test_a_file_that_is_cut_off_gives_what_it_holds(tmp_path, compression, share, chunk_size):
    path = write_mcap(tmp_path / 'x.mcap', MESSAGES, compression=compression,
                      chunk_size=chunk_size)
    whole = path.stat().st_size
    os.truncate(path, int(whole * share))
    with Bag(path) as bag:
        found = list(bag.messages())
        assert found == WANTED[: len(found)]
        lost = bag.losses
    if len(found) < len(WANTED):  # else only the index is cut off
        assert 'x.mcap' in lost[0].text and 'byte' in lost[0].text
        last = found[-1][1] if found else 0
        assert any(loss.start_ns <= last and loss.end_ns > WANTED[-1][1] for loss in lost)
    if chunk_size == 500:
        assert len(found) >= len(WANTED) * share * 0.5, 'most of it is there'


def test_a_recorder_that_was_killed(tmp_path):
    path = write_mcap(tmp_path / 'x.mcap', MESSAGES, chunk_size=500, finish=False)
    with Bag(path) as bag:
        found = list(bag.messages())
        assert bag.topics == TYPES
    assert found == WANTED[: len(found)]
    assert len(found) > len(WANTED) // 2


@pytest.mark.parametrize('compression', ['', 'lz4', 'zstd'])
def test_a_damaged_chunk_is_lost_and_named(tmp_path, compression):
    path = write_mcap(tmp_path / 'x.mcap', MESSAGES, compression=compression, chunk_size=800)
    file = McapFile(path, '')
    damage = file._spans[1].offset + 100
    file.close()
    content = bytearray(path.read_bytes())
    content[damage : damage + 20] = bytes(20)
    path.write_bytes(content)
    with Bag(path) as bag:
        found = list(bag.messages())
        assert len(bag.losses) == 1
        loss = bag.losses[0]
        assert 'chunk' in loss.text
        list(bag.messages())
        assert len(bag.losses) == 1, 'it is told once'
    missing = [m for m in WANTED if m not in found]
    assert missing and all(loss.start_ns < m[1] < loss.end_ns for m in missing)
    assert found == [m for m in WANTED if m not in missing]


def test_an_index_with_a_wrong_bit_hides_nothing(tmp_path):
    whole = write_mcap(tmp_path / 'whole.mcap', MESSAGES).read_bytes()
    (summary,) = struct.unpack_from('<Q', whole, len(whole) - 28)
    path = tmp_path / 'flipped.mcap'
    for at in range(summary, len(whole) - 8):
        flipped = bytearray(whole)
        flipped[at] ^= 4
        path.write_bytes(flipped)
        assert read(path) == WANTED, at


@pytest.mark.parametrize('share', [0.2, 0.5, 0.9])
def test_a_torn_sqlite_file(tmp_path, share):
    many = items(600)
    folder = write_bag(tmp_path / 'bag', many, 'sqlite3')
    (path,) = folder.glob('*.db3')
    os.truncate(path, int(path.stat().st_size * share))
    wanted = {(m.topic, m.time, m.raw) for m in many}
    with Bag(folder) as bag:
        found = list(bag.messages())
        assert not bag.complete
        losses = bag.losses
        assert sum(bag.counts.values()) >= len(found)
    assert set(found) <= wanted
    assert [m[1] for m in found] == sorted(m[1] for m in found)
    assert len(found) > len(wanted) * (share - 0.3)
    missing = wanted - set(found)
    assert missing
    for _, time, _ in missing:
        assert any(loss.start_ns < time < loss.end_ns for loss in losses)
    spared = [m for m in found if not any(x.start_ns < m[1] < x.end_ns for x in losses)]
    assert len(spared) >= len(found) * 0.9, 'a loss says where it is'


def test_what_was_not_written_back_from_the_log_counts(tmp_path):
    """A recorder with SQLite's write-ahead log that was killed."""
    folder = write_bag(tmp_path / 'bag', MESSAGES, 'sqlite3')
    (path,) = folder.glob('*.db3')
    connection = sqlite3.connect(path)
    connection.execute('PRAGMA journal_mode=WAL')
    connection.execute('INSERT INTO messages (topic_id, timestamp, data) VALUES (2, ?, ?)',
                       (99 * SECOND, number(7).data.hex().encode()))
    connection.commit()
    assert len(read(folder)) == len(WANTED) + 1
    connection.close()


@pytest.mark.parametrize('form', FORMS)
def test_an_empty_bag(tmp_path, form):
    folder = write_bag(tmp_path / 'bag', [], form)
    with Bag(folder) as bag:
        assert list(bag.messages()) == []
        assert (bag.topics, bag.counts, bag.start_ns, bag.end_ns) == ({}, {}, 0, 0)
        assert bag.complete


@pytest.mark.parametrize(('content', 'rule'), [
    (b'', 'is empty'), (b'hello', 'must be an MCAP or SQLite file'),
    (b'\x89MCAP1\r\n', 'is not an MCAP file'), (b'SQLite format 3\x00', 'cut off'),
    (b'SQLite format 3\x00' + bytes(200), 'is not a bag'),
    (b'#ROSBAG V2.0\n', 'bag of ROS 1'), (b'\x28\xb5\x2f\xfdxx', 'is empty'),
])
def test_what_is_no_bag_is_refused(tmp_path, content, rule):
    path = tmp_path / 'x.mcap'
    path.write_bytes(content)
    with pytest.raises(InputError, match=rule) as caught:
        Bag(path)
    assert 'x.mcap' in str(caught.value)


def test_no_bag_at_all(tmp_path):
    with pytest.raises(InputError, match='there is no such bag'):
        Bag(tmp_path / 'nothing')
    with pytest.raises(InputError, match='must be a bag'):
        Bag(tmp_path)
    with pytest.raises(InputError, match='must name a bag'):
        Bag([])


def test_a_sqlite_file_that_is_no_bag(tmp_path):
    path = tmp_path / 'x.db3'
    connection = sqlite3.connect(path)
    connection.execute('CREATE TABLE other (id INTEGER)')
    connection.close()
    with pytest.raises(InputError, match='is not a bag'):
        Bag(path)


def test_two_types_on_one_topic_are_refused(tmp_path):
    one = write_mcap(tmp_path / 'one.mcap', [Item('/x', 1, number(1))])
    other = write_mcap(tmp_path / 'other.mcap', [Item('/x', 2, pose(1, 1.0, 1.0))])
    with pytest.raises(InputError, match='topic /x must have one type'):
        Bag([one, other])


def test_what_was_offered_is_told(tmp_path):
    for form in ('mcap', 'sqlite3'):
        folder = write_bag(tmp_path / form, MESSAGES, form, qos={'/value': [latched()]})
        with Bag(folder) as bag:
            assert 'durability' in bag.info('/value').qos
            assert bag.info('/pose').type == TYPES['/pose']


@pytest.mark.parametrize('form', ['mcap', 'sqlite3'])
def test_types_are_the_bag_s_own(tmp_path, form):
    folder = write_bag(tmp_path / 'bag', MESSAGES, form)
    with Bag(folder) as bag:
        names = [name for name, _ in bag.types.fields('sensor_msgs/msg/LaserScan')]
        assert names[0] == 'header' and 'ranges' in names
        raw = next(bag.messages(['/pose']))[2]
        message = bag.types.store.deserialize_cdr(raw, TYPES['/pose'])
        assert message.header.frame_id == 'map'
        with pytest.raises(LookupError, match='my_msgs/msg/X is defined neither'):
            bag.types.fields('my_msgs/msg/X')


def test_types_that_the_bag_does_not_define(tmp_path):
    """So are bags of sqlite3 from Humble."""
    folder = write_bag(tmp_path / 'bag', MESSAGES, 'sqlite3')
    (path,) = folder.glob('*.db3')
    with sqlite3.connect(path) as connection:
        connection.execute('DROP TABLE message_definitions')
    connection.close()
    with Bag(folder) as bag:
        assert [name for name, _ in bag.types.fields(TYPES['/value'])] == ['data']
        assert list(bag.messages()) == WANTED


def test_a_package_that_is_missing(tmp_path, monkeypatch):
    path = write_mcap(tmp_path / 'x.mcap', MESSAGES)
    import sys

    monkeypatch.setitem(sys.modules, 'tl_adapt.bags.mcap_file', None)
    with pytest.raises(TlAdaptError, match='pip install'):
        Bag(path)


@pytest.mark.parametrize('compression', ['', 'lz4', 'zstd'])
def test_large_chunks(tmp_path, compression):
    """What can't be compressed is taken apart a little at a time."""
    rng = np.random.default_rng(0)
    large = [
        Item('/image', i + 1, TYPES_['sensor_msgs/msg/CompressedImage'](
            header(i), 'png', rng.integers(0, 256, 700_000, np.uint8)
        )) for i in range(6)
    ]
    path = write_mcap(tmp_path / 'x.mcap', large, compression=compression, chunk_size=3 << 20)
    wanted = [(m.topic, m.time, m.raw) for m in large]
    assert read(path) == wanted
    os.truncate(path, 2_500_000)
    assert read(path) == wanted[:3], 'also of the chunk that is cut off'


def test_endless_compression_is_no_message(tmp_path):
    from tl_adapt.bags.storage import inflate, zstd

    content, problem = inflate(zstd().compress(bytes(1 << 24)), 'zstd', 1000)
    assert len(content) == 1000 and not problem
    assert inflate(b'', 'brotli', 7) == (b'', 'is compressed by brotli, which is not supported')
    assert 'has 0 of 7 bytes' in inflate(b'', 'zstd', 7)[1]
