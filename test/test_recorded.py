# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of what a recording holds beside the graph's topics."""

import math
import struct

import pytest

from tl_adapt.bags import recorded
from tl_adapt.errors import InputError

pytest.importorskip('rosbags', reason='bags need the library rosbags')

VALUES = {
    'switch': True, 'count': -3, 'gain': 0.1 + 0.2, 'name': 'é', 'unset': None,
    'bytes': [b'\x01', b'\xff'], 'switches': [True, False], 'counts': [1, -(2**40)],
    'gains': [1e-300, math.inf], 'names': ['a', ''], 'nothing': [],
}


def test_parameters_come_back_as_they_were():
    raw = recorded.encode_parameters('/a/controller', VALUES, 12_000_000_345)
    node, values, stamp = recorded.decode_parameters(raw)
    assert (node, stamp) == ('/a/controller', 12_000_000_345)
    assert values == VALUES
    assert [type(value) for value in values.values()] == [type(v) for v in VALUES.values()]


def test_a_value_that_no_parameter_has_is_named():
    with pytest.raises(InputError, match=r'gain: no ROS parameter .* got \{'):
        recorded.encode_parameters('/node', {'gain': {}}, 0)


def test_process_samples_come_back_under_the_names_of_a_trace():
    sample = recorded.ProcessSample(0.1 + 0.2, 2**33, 7, (12, 34))
    raw = recorded.encode_processes({'/a/localizer': sample}, 5_000_000_001, 'robot')
    assert recorded.decode_processes(raw) == (5_000_000_001, {'process/a/localizer': sample})


def test_a_description_comes_back_and_one_of_the_future_is_refused():
    raw = recorded.encode_recording({'study': 'büro', 'lost': {'/scan': 3}})
    assert recorded.decode_recording(raw)['lost'] == {'/scan': 3}
    with pytest.raises(InputError, match='format 1, got 2'):
        recorded.decode_recording(recorded.encode_recording({'format': 2}))


@pytest.mark.parametrize('decode', [
    recorded.decode_parameters, recorded.decode_processes, recorded.decode_recording,
])
@pytest.mark.parametrize('raw', [
    b'', b'\0\1\0\0', b'\0\1\0\0' + b'\xff' * 40,
    b'\0\1\0\0' + struct.pack('<I', 3) + b'[]\0',
])
def test_broken_bytes_are_one_clear_error(decode, raw):
    with pytest.raises(InputError, match='/tl_adapt/'):
        decode(raw)


def test_a_sample_that_lacks_a_value_is_named():
    sample = recorded.ProcessSample(1.0, 2, 3)
    raw = recorded.encode_processes({'/localizer': sample}, 0, '')
    with pytest.raises(InputError, match='/localizer'):
        recorded.decode_processes(raw.replace(b'rss\0', b'rsS\0'))
