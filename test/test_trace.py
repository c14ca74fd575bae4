# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for tl_adapt.trace."""

from types import SimpleNamespace as Message

import numpy as np
import pytest

from tl_adapt.errors import StoreError
from tl_adapt.trace import POSITION, Trace, extract, make_topic


def some_trace():
    return Trace(
        {
            'scan': make_topic(
                [10, 20, 30], [11, 21, 31], {'ranges': [[1.0, 2.0], [3.0, np.inf], [5.0, 6.0]]}
            ),
            'status': make_topic([15, 25], [15, 25], {'text': ['a', 'bc']}),
            'process/driver': make_topic([10, 40], [10, 40], {'cpu_time': [0.5, 1.5]}),
        },
        {'outcome': 'succeeded', 'start_ns': 10, 'end_ns': 30},
    )


def test_save_and_load_give_the_same_trace(tmp_path):
    trace = some_trace()
    path = tmp_path / 'folder' / 'trace.npz'
    trace.save(path)
    loaded = Trace.load(path)
    assert loaded.meta == trace.meta
    assert set(loaded.topics) == set(trace.topics)
    for name, topic in trace.topics.items():
        np.testing.assert_array_equal(loaded.topics[name].stamp_ns, topic.stamp_ns)
        np.testing.assert_array_equal(loaded.topics[name].received_ns, topic.received_ns)
        for field, values in topic.fields.items():
            np.testing.assert_array_equal(loaded.topics[name].fields[field], values)
    assert [item.name for item in path.parent.iterdir()] == ['trace.npz']


@pytest.mark.parametrize('content', [b'', b'no trace', b'PK\x03\x04 broken'])
def test_load_refuses_anything_else(tmp_path, content):
    path = tmp_path / 'other.npz'
    path.write_bytes(content)
    with pytest.raises(StoreError, match='not a trace'):
        Trace.load(path)
    with pytest.raises(StoreError, match='not a trace'):
        Trace.load(tmp_path / 'missing.npz')


def test_load_refuses_pickles(tmp_path):
    path = tmp_path / 'pickle.npz'
    np.savez(path, head=np.array([object()], dtype=object))
    with pytest.raises(StoreError):
        Trace.load(path)


def test_clip_keeps_both_ends_and_whole_process_topics():
    clipped = some_trace().clip(10, 20)
    assert clipped.topics['scan'].stamp_ns.tolist() == [10, 20]
    assert clipped.topics['scan'].fields['ranges'].shape == (2, 2)
    assert clipped.topics['status'].fields['text'].tolist() == ['a']
    assert len(clipped.topics['process/driver']) == 2
    assert clipped.meta['end_ns'] == 20
    assert clipped.duration == pytest.approx(10e-9)


def test_messages_are_sorted_by_stamp_and_arrays_padded():
    topic = make_topic([30, 10], [1, 2], {'ranges': [[1.0], [2.0, 3.0]], 'x': [7, 8]})
    assert topic.stamp_ns.tolist() == [10, 30]
    assert topic.fields['x'].tolist() == [8, 7]
    np.testing.assert_array_equal(topic.fields['ranges'], [[2.0, 3.0], [1.0, np.nan]])


def test_extract():
    point = Message(x=1.0, y=2.0, z=3.0)
    odometry = Message(pose=Message(pose=Message(position=point)))
    assert extract(odometry, 'pose.pose.position.x') == 1.0
    assert extract(odometry, POSITION) == (1.0, 2.0)
    assert extract(Message(pose=Message(position=point)), POSITION) == (1.0, 2.0)
    assert extract(Message(time_ref=Message(sec=2, nanosec=500_000_000)), 'time_ref') == 2.5
    with pytest.raises(AttributeError):
        extract(odometry, 'pose.velocity')
    with pytest.raises(AttributeError, match='no position'):
        extract(Message(data=1), POSITION)
