# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests that fields of many messages are read as whole messages have them."""

import random

import numpy as np
import pytest

pytest.importorskip('rosbags')

from bag_files import STORE, TYPES, header, scan  # noqa: E402

from tl_adapt.bags.fields import ColumnReader  # noqa: E402
from tl_adapt.bags.storage import TopicInfo  # noqa: E402
from tl_adapt.bags.types import BagTypes  # noqa: E402
from tl_adapt.trace import POSITION, extract  # noqa: E402

RANDOM = random.Random(0)
FIELDS = {
    'sensor_msgs/msg/LaserScan': ['ranges', 'range_max', 'header.frame_id', 'header.stamp'],
    'sensor_msgs/msg/BatteryState': ['voltage', 'present', 'cell_voltage', 'location'],
    'geometry_msgs/msg/PoseStamped': [POSITION, 'pose.orientation.w'],
    'std_msgs/msg/Float64': ['data'],
    'rosgraph_msgs/msg/Clock': ['clock'],
}


def text():
    return 'x' * RANDOM.randrange(6)


def made(kind, ragged):
    length = RANDOM.randrange(4) if ragged else 3
    time = RANDOM.randrange(10**12)
    if kind.endswith('LaserScan'):
        message = scan(time, [RANDOM.choice([np.inf, np.nan, 1.5]) for _ in range(length)])
        message.header.frame_id = text() if ragged else 'laser'
        return message
    if kind.endswith('BatteryState'):
        floats = np.asarray([RANDOM.random() for _ in range(length)], np.float32)
        return TYPES[kind](
            header(time, text() if ragged else 'base'), RANDOM.random(), 20.0, -1.0, 1.0, 1.0,
            1.0, 0.5, 0, 0, 0, RANDOM.random() < 0.5, floats, floats, text() if ragged else '', '',
        )
    if kind.endswith('PoseStamped'):
        point = TYPES['geometry_msgs/msg/Point'](RANDOM.random(), RANDOM.random(), 0.0)
        turn = TYPES['geometry_msgs/msg/Quaternion'](0.0, 0.0, 0.0, RANDOM.random())
        pose = TYPES['geometry_msgs/msg/Pose'](point, turn)
        return TYPES[kind](header(time, text() if ragged else 'map'), pose)
    if kind.endswith('Clock'):
        return TYPES[kind](TYPES['builtin_interfaces/msg/Time'](*divmod(time, 10**9)))
    return TYPES[kind](RANDOM.random())


def reader(kind, fields):
    definition, _ = STORE.generate_msgdef(kind)
    return ColumnReader(
        BagTypes({'/x': TopicInfo(kind, definition, 'ros2msg')}), kind, fields
    )


@pytest.mark.parametrize('kind', FIELDS)
@pytest.mark.parametrize('ragged', [False, True])
@pytest.mark.parametrize('orders', [[True], [False], [True, False]])
def test_fields_are_those_of_whole_messages(kind, ragged, orders):
    messages = [made(kind, ragged) for _ in range(60)]
    raws = [
        bytes(STORE.serialize_cdr(m, kind, little_endian=orders[i % len(orders)]))
        for i, m in enumerate(messages)
    ]
    columns = reader(kind, FIELDS[kind]).read(raws)
    assert columns.kept.tolist() == list(range(60))
    for index, raw in enumerate(raws):
        whole = STORE.deserialize_cdr(raw, kind)
        for field in FIELDS[kind]:
            got, wanted = columns.fields[field][index], extract(whole, field)
            if isinstance(wanted, str):
                assert got == wanted
            else:
                np.testing.assert_array_equal(np.asarray(got, float), np.asarray(wanted, float))
        if columns.stamps is not None:
            stamp = whole.header.stamp
            assert columns.stamps[index] == stamp.sec * 10**9 + stamp.nanosec


@pytest.mark.parametrize('ragged', [False, True])
def test_what_is_cut_off_is_left_out(ragged):
    kind = 'sensor_msgs/msg/LaserScan'
    raws = [bytes(STORE.serialize_cdr(made(kind, ragged), kind)) for _ in range(40)]
    broken = [raw if i % 5 else raw[: RANDOM.randrange(len(raw) - 20)]
              for i, raw in enumerate(raws)]
    columns = reader(kind, ['ranges', 'range_max']).read(broken)
    wanted = [i for i in range(40) if i % 5]
    assert set(wanted) <= set(columns.kept.tolist())
    assert len(columns.kept) < 40
    for place, index in enumerate(columns.kept.tolist()):
        if index % 5:
            whole = STORE.deserialize_cdr(raws[index], kind)
            np.testing.assert_array_equal(columns.fields['ranges'][place], whole.ranges)


def test_no_messages():
    columns = reader('std_msgs/msg/Float64', ['data']).read([])
    assert len(columns.kept) == 0 and columns.fields == {'data': []}


def test_what_a_type_lacks():
    with pytest.raises(AttributeError, match='has no field nothing'):
        reader('std_msgs/msg/Float64', ['nothing'])
    with pytest.raises(AttributeError, match='holds no position'):
        reader('std_msgs/msg/Float64', [POSITION])


def test_a_field_that_needs_the_whole_message():
    kind = 'geometry_msgs/msg/PoseArray'
    pose = made('geometry_msgs/msg/PoseStamped', False).pose
    message = TYPES[kind](header(5), [pose, pose])
    found = reader(kind, ['poses']).read([bytes(STORE.serialize_cdr(message, kind))])
    assert [len(poses) for poses in found.fields['poses']] == [2]


def test_a_type_that_holds_itself():
    types = BagTypes({'/x': TopicInfo('a/msg/B', 'a/B[3] b', 'ros2msg')})
    with pytest.raises(LookupError, match='a/msg/B'):
        ColumnReader(types, 'a/msg/B', ['b'])
