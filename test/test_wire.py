# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of the messages that go to and fro between us and the plugin in gzserver."""

import math
import socket
import struct
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tl_adapt.errors import TlAdaptError
from tl_adapt.simulators.gazebo import wire

HEADER = struct.Struct('<IHHI')


def message(kind, payload, *, magic=wire.MAGIC, version=wire.VERSION, length=None):
    size = len(payload) if length is None else length
    return HEADER.pack(magic, version, kind, size) + payload


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    connection = wire.Connection(ours)
    yield connection, theirs
    connection.close()
    theirs.close()


def receive(connection, answer, seconds=1.0):
    return connection.receive(answer, end=time.monotonic() + seconds, seconds=seconds)


@given(steps=st.integers(0, 20), beams=st.integers(0, 30), numbers=st.data())
def test_a_state_is_read_as_it_was_sent(steps, beams, numbers):
    floats = st.floats(allow_nan=False, width=64)
    head = numbers.draw(st.lists(floats, min_size=13, max_size=13))
    size = steps * wire.COLUMNS + beams
    body = numbers.draw(st.lists(floats, min_size=size, max_size=size))
    payload = struct.pack(f'<II{13 + size}d', steps, beams, *head, *body)
    state = wire.read_state(payload)
    assert [*state.position, *state.orientation, *state.linear, *state.angular] == head
    assert state.rows.shape == (steps, wire.COLUMNS) and state.ranges.shape == (beams,)
    assert [*state.rows.ravel(), *state.ranges] == body


@given(st.binary(max_size=300))
def test_no_bytes_are_taken_for_a_state_by_chance(payload):
    try:
        state = wire.read_state(payload)
    except wire.WireError:
        return
    expected = 8 + 8 * (13 + state.rows.size + state.ranges.size)
    assert len(payload) == expected


@given(st.binary(min_size=HEADER.size, max_size=200))
def test_noise_on_the_wire_is_an_error_and_no_hang(noise):
    ours, theirs = socket.socketpair()
    connection = wire.Connection(ours)
    with theirs:
        theirs.sendall(noise)
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(TlAdaptError):
            receive(connection, wire.Type.STATE)
    connection.close()


@pytest.mark.parametrize(
    ('data', 'error', 'text'),
    [
        (message(20, b'', magic=7), wire.WireError, 'magic number must be'),
        (message(20, b'', version=2), wire.WireError, 'version 2 of the protocol, 1 is needed'),
        (message(20, b'', length=1 << 30), wire.WireError, 'at most 16777216 bytes'),
        (message(21, b''), wire.WireError, 'must be STATE, got type 21'),
        (message(99, b'exists: it is there'), wire.RefusedError, 'it is there'),
    ],
)
def test_what_breaks_the_protocol_is_refused(ends, data, error, text):
    connection, theirs = ends
    theirs.sendall(data)
    with pytest.raises(error, match=text):
        receive(connection, wire.Type.STATE)


def test_a_refusal_has_a_code():
    error = wire.RefusedError('exists: it is there')
    assert (error.code, error.reason) == ('exists', 'it is there')


def test_silence_has_a_deadline(ends):
    connection, _ = ends
    with pytest.raises(wire.SilentError, match='no answer within 0.05 s'):
        connection.request(wire.Type.PING, b'', wire.Type.DONE, seconds=0.05)


def test_a_peer_that_goes_is_noticed(ends):
    connection, theirs = ends
    theirs.close()
    with pytest.raises(wire.ClosedError):
        connection.request(wire.Type.PING, b'', wire.Type.DONE, seconds=5.0)


def test_a_large_answer_comes_in_parts(ends):
    connection, theirs = ends
    payload = bytes(range(256)) * 8192
    sender = threading.Thread(target=theirs.sendall, args=(message(22, payload),))
    sender.start()
    assert receive(connection, wire.Type.NAMES, 10.0) == payload
    sender.join(10.0)


def test_too_large_a_request_is_not_sent(ends):
    connection, _ = ends
    with pytest.raises(wire.RefusedError, match='at most'):
        connection.request(wire.Type.SPAWN, bytes(wire.LARGEST + 1), wire.Type.DONE, seconds=1.0)


def test_requests_are_packed_as_the_plugin_reads_them():
    assert wire.step_payload(50, [(0, 1.0, 2.0)]) == struct.pack('<IIIdd', 50, 1, 0, 1.0, 2.0)
    assert wire.reset_payload(2**40, (1.0, 2.0, 0.0, 0.5), 100) == struct.pack(
        '<QddddI', 2**40, 1.0, 2.0, 0.0, 0.5, 100
    )
    request = wire.PhysicsRequest(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)
    assert request.packed() == struct.pack('<7d', *range(1, 8))
    assert wire.text_payload('a', 'ü') == b'\x01\x00\x00\x00a\x02\x00\x00\x00\xc3\xbc'
    assert wire.read_hello(struct.pack('<IdI', 7, 0.002, 360) + b'11.1') == wire.Hello(
        7, 0.002, 360, '11.1'
    )
    state = tuple(float(n) for n in range(13))
    assert wire.read_entity(wire.state_payload(state)) == state
    assert not any(math.isnan(v) for v in np.array(state))
