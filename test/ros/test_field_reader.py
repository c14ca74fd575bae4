# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests that fields are read out of serialised messages as whole messages have them."""

import array
import math
import random

import numpy as np
import pytest

pytestmark = pytest.mark.ros
pytest.importorskip('rclpy')

from action_msgs.msg import GoalStatusArray  # noqa: E402
from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped, TransformStamped  # noqa: E402
from nav_msgs.msg import Odometry, Path  # noqa: E402
from rclpy.serialization import deserialize_message, serialize_message  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402
from sensor_msgs.msg import BatteryState, Image, Imu, JointState, LaserScan, PointCloud2  # noqa: E402
from std_msgs.msg import Bool, Byte, ByteMultiArray, Float64, Int8, String  # noqa: E402

from tl_adapt import cdr  # noqa: E402
from tl_adapt.ros import field_reader  # noqa: E402
from tl_adapt.ros.damage import DamagedError  # noqa: E402
from tl_adapt.ros.field_reader import FieldReader, _same  # noqa: E402
from tl_adapt.trace import POSITION, extract  # noqa: E402

RANDOM = random.Random(0)
WANTED = [
    (LaserScan, ['ranges', 'intensities', 'range_max', 'header.stamp']),
    (Odometry, [POSITION, 'twist.twist.linear.x', 'pose.covariance', 'child_frame_id']),
    (BatteryState, ['voltage', 'current', 'present', 'cell_voltage', 'serial_number',
                    'power_supply_status']),
    (PoseStamped, [POSITION, 'header.frame_id']),
    (PoseWithCovarianceStamped, [POSITION, 'pose.covariance']),
    (TransformStamped, [POSITION, 'transform.rotation.w']),
    (Imu, ['linear_acceleration.x', 'orientation_covariance']),
    (JointState, ['position', 'velocity', 'effort']),
    (Image, ['width', 'step', 'data']),
    (PointCloud2, ['width', 'is_dense', 'data']),
    (Clock, ['clock']),
    (Float64, ['data']), (Bool, ['data']), (Int8, ['data']), (String, ['data']),
]


def text():
    return ''.join(RANDOM.choice('abcdé') for _ in range(RANDOM.randrange(9)))


def replaced(message, make):
    """Put what `make` gives for its type and value into every field."""
    types = message.get_fields_and_field_types()
    for name, slot in zip(types, message.SLOT_TYPES):
        setattr(message, name, make(slot, getattr(message, name)))
    return message


def fill(message):
    """Put something into every field, with lengths that shift what comes after them."""
    return replaced(message, made)


def made(slot, present):
    what = type(slot).__name__
    if what == 'BasicType':
        if slot.typename == 'boolean':
            return RANDOM.random() < 0.5
        if slot.typename in ('float', 'double'):
            return RANDOM.choice([math.inf, math.nan, RANDOM.randrange(1000) / 8])
        return RANDOM.randrange(100)
    if what.endswith('String'):
        return text()
    if what == 'NamespacedType':
        return fill(type(present)())
    if what == 'Array':
        return np.array([made(slot.value_type, None) for _ in range(slot.size)])
    n = RANDOM.randrange(5)
    if isinstance(present, array.array):
        return array.array(present.typecode, [made(slot.value_type, None) for _ in range(n)])
    if type(slot.value_type).__name__ == 'NamespacedType':
        kind = field_reader._class(slot.value_type)
        return [fill(kind()) for _ in range(n)]
    return [made(slot.value_type, None) for _ in range(n)]


@pytest.mark.parametrize(('kind', 'fields'), WANTED, ids=lambda value: getattr(
    value, '__name__', ''))
def test_a_field_is_what_the_whole_message_has(kind, fields, monkeypatch):
    reader = FieldReader(kind, fields)
    assert reader.fast
    for _ in range(field_reader._CHECKS):
        reader.read(serialize_message(fill(kind())))
    assert reader.fast, 'what was read is not what the message has'
    raws = [serialize_message(fill(kind())) for _ in range(50)]
    messages = [deserialize_message(raw, kind) for raw in raws]
    monkeypatch.setattr(field_reader, 'deserialize_message', None)  # not needed any more
    for raw, message in zip(raws, messages):
        for field, value in reader.read(raw).items():
            assert _same(value, extract(message, field)), field


@pytest.mark.parametrize('kind, empty, full', [
    (ByteMultiArray, ByteMultiArray(), ByteMultiArray(data=[b'\1', b'\0'])),
    (Byte, Byte(), Byte(data=b'\2')),
])
def test_bytes_are_bytes_whatever_the_first_messages_had(kind, empty, full):
    reader = FieldReader(kind, ['data'])
    for _ in range(field_reader._CHECKS + 2):
        assert reader.read(serialize_message(empty)) == {'data': empty.data}
    for _ in range(3):
        assert reader.read(serialize_message(full)) == {'data': full.data}


def change(message):
    """Put other values into every field; all lengths stay."""
    return replaced(message, changed)


def changed(slot, present):
    what = type(slot).__name__
    if what == 'BasicType':
        return made(slot, present)
    if what.endswith('String'):
        return present[::-1]
    if what == 'NamespacedType':
        return change(present)
    each = [changed(slot.value_type, one) for one in present]
    return np.array(each) if what == 'Array' else (
        array.array(present.typecode, each) if isinstance(present, array.array) else each)


@pytest.mark.parametrize(('kind', 'fields'), [
    (kind, [field for field in fields if field not in
            ('child_frame_id', 'serial_number', 'header.frame_id')])
    for kind, fields in WANTED if kind is not String
], ids=lambda value: getattr(value, '__name__', ''))
def test_messages_that_are_laid_out_as_the_one_before_are_not_walked_over(kind, fields):
    reader = FieldReader(kind, fields)
    message = fill(kind())
    for _ in range(field_reader._CHECKS + 1):
        reader.read(serialize_message(message))
    for _ in range(20):
        raw = serialize_message(change(message))
        values = reader._layout.read(raw)
        assert list(values) == fields
        for field, value in values.items():
            assert _same(value, extract(deserialize_message(raw, kind), field)), field
        assert type(values[fields[0]]) is type(reader._walks[fields[0]].read(raw))
    end = next(n for n in range(len(raw), 0, -1) if reader._layout.read(raw[:n]) is None)
    for n in (end, 4, 0):  # it is cut off
        assert reader._layout.read(raw[:n]) is None


def test_a_topic_whose_messages_are_never_laid_out_alike():
    reader = FieldReader(PoseStamped, [POSITION])
    for number in range(100):
        message = fill(PoseStamped())
        message.header.frame_id = number * 'a'
        raw = serialize_message(message)
        assert _same(reader.read(raw)[POSITION], extract(message, POSITION))
    assert reader._misses == field_reader._MISSES


def test_what_no_walk_can_read_is_read_from_the_whole_message():
    reader = FieldReader(Path, ['poses'])
    assert not reader.fast
    message = Path(poses=[PoseStamped()])
    assert reader.read(serialize_message(message))['poses'] == message.poses


@pytest.mark.parametrize('kind', [GoalStatusArray, DiagnosticArray])
def test_sequences_of_messages_are_walked_over(kind):
    """No field follows them in these types, so look where the walk ends."""
    for _ in range(20):
        raw = serialize_message(fill(kind()))
        at = 0
        for step in cdr.merged(cdr.over(field_reader.described(kind))):
            at = step.skip(raw, at)
        assert len(raw) - 4 - at in range(4), 'the end is padded to four bytes'


def test_a_field_that_the_type_lacks():
    for field in ('nothing', 'data.x', POSITION):
        reader = FieldReader(Float64, [field])
        with pytest.raises(AttributeError):
            reader.read(serialize_message(Float64()))


def test_a_walk_that_goes_wrong_is_not_believed(monkeypatch):
    wrong = cdr.Step(skip=lambda raw, at: at + 12, trace=lambda raw, at, marks: at + 12)
    monkeypatch.setattr(cdr, '_skip_string', lambda order: wrong)
    reader = FieldReader(PoseStamped, [POSITION])
    message = fill(PoseStamped())
    message.header.frame_id = 'a name of another length'
    raw = serialize_message(message)
    expected = extract(deserialize_message(raw, PoseStamped), POSITION)
    for _ in range(5):
        assert _same(reader.read(raw)[POSITION], expected)
    assert not reader.fast


@pytest.mark.parametrize('before', [0, 2, 3, 5])
def test_a_message_that_is_damaged_is_told_at_any_time(before):
    """Whether the whole message, the walk or the layout of the one before is read."""
    reader = FieldReader(LaserScan, ['header.frame_id', 'ranges'])
    good = serialize_message(LaserScan(ranges=[1.0, 2.0]))
    for _ in range(before):
        reader.read(good)
    for raw in (b'', good[:3], good[:4], good[:20], good[:4] + b'\xff' * 60):
        with pytest.raises(DamagedError, match=f'^{len(raw)} bytes that are no LaserScan$'):
            reader.read(raw)
    assert reader.read(good)['ranges'].tolist() == [1.0, 2.0]


def test_another_encoding_is_left_to_the_middleware():
    raw = serialize_message(Float64(data=2.5))
    reader = FieldReader(Float64, ['data'])
    for _ in range(4):
        assert reader.read(raw) == {'data': 2.5}
    big = b'\x00\x00' + raw[2:4] + raw[4:12][::-1]
    assert reader.read(big) == {'data': 2.5}
