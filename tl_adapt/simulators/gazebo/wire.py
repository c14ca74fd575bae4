# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the messages between us and the world plugin in gzserver (lockstep.cc).

A message is a header (magic, version, type, length of the payload) and a payload, little-endian
and packed. The plugin greets with HELLO; after that each request has exactly one answer. Texts are
their length and UTF-8 bytes; a state is position, orientation (x, y, z, w), linear and angular
velocity as 13 doubles, in the world frame.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import socket
import struct
import time
from collections.abc import Iterator, Sequence

import numpy as np

from tl_adapt.errors import TlAdaptError

MAGIC = 0x5A474C54  # the bytes TLGZ
VERSION = 1
LARGEST = 16 << 20  # bytes of a payload
COLUMNS = 5  # of a step's row: torques left and right [N m], speeds [rad/s], hull touching

_HEADER = struct.Struct('<IHHI')
_HELLO = struct.Struct('<IdI')
_STEP = struct.Struct('<II')
_ORDER = struct.Struct('<Idd')
_RESET = struct.Struct('<QddddI')
_PHYSICS = struct.Struct('<7d')
_STATE = struct.Struct('<13d')
_SAMPLE = struct.Struct('<II13d')


class Type(enum.IntEnum):
    """Name the types of messages."""

    HELLO = 1
    STEP = 2
    RESET = 3
    PHYSICS = 4
    SPAWN = 5
    DELETE = 6
    LIST = 7
    GET = 8
    SET = 9
    PING = 10
    STATE = 20
    DONE = 21
    NAMES = 22
    ENTITY = 23
    ERROR = 99


class WireError(TlAdaptError):
    """Report a message that breaks the protocol, or an end that speaks another version."""


class RefusedError(TlAdaptError):
    """Report a request that the plugin refused; `code` is the word before the colon."""

    def __init__(self, text: str) -> None:
        """Take the plugin's text, `code: reason`."""
        self.code, _, self.reason = text.partition(': ')
        super().__init__(self.reason or text)


class ClosedError(TlAdaptError):
    """Report that the other end has closed the socket: its process has ended."""


class SilentError(TlAdaptError):
    """Report that no answer came in time: the other end hangs."""


@dataclasses.dataclass(frozen=True)
class Hello:
    """Hold what the plugin says of itself; step: of the physics [s]."""

    pid: int
    step: float
    beams: int
    gazebo: str


@dataclasses.dataclass(frozen=True)
class State:
    """
    Hold the robot's state after some steps.

    position [m], orientation (x, y, z, w), linear [m/s]: world frame. angular [rad/s]: the body's
    frame. rows: (steps, COLUMNS). ranges: (beams,) [m], inf where nothing is hit.
    """

    position: np.ndarray
    orientation: np.ndarray
    linear: np.ndarray
    angular: np.ndarray
    rows: np.ndarray
    ranges: np.ndarray


def step_payload(steps: int, orders: Sequence[tuple[int, float, float]]) -> bytes:
    """Return the payload of STEP: orders are (step, left, right) with wheel speeds [rad/s]."""
    return _STEP.pack(steps, len(orders)) + b''.join(_ORDER.pack(*order) for order in orders)


def reset_payload(seed: int, place: Sequence[float], settle: int) -> bytes:
    """Return the payload of RESET: place is x, y, z [m], yaw [rad]; settle: steps to rest in."""
    return _RESET.pack(seed, *place, settle)


@dataclasses.dataclass(frozen=True)
class PhysicsRequest:
    """
    Hold the payload of PHYSICS, in the order of the wire.

    payload [kg] and its inertia [kg m^2]; friction of the wheels; lag [s], torque [N m], deadband
    [rad/s] and slope of the motors: a wheel turns at (wanted - deadband) * slope.
    """

    payload: float
    inertia: float
    friction: float
    lag: float
    torque: float
    deadband: float
    slope: float

    def packed(self) -> bytes:
        """Return the bytes."""
        return _PHYSICS.pack(*dataclasses.astuple(self))


def text_payload(*texts: str) -> bytes:
    """Return texts, each behind its length."""
    encoded = [text.encode() for text in texts]
    return b''.join(struct.pack('<I', len(text)) + text for text in encoded)


def state_payload(values: Sequence[float]) -> bytes:
    """Return the 13 numbers of an entity's state."""
    return _STATE.pack(*values)


def read_hello(payload: bytes) -> Hello:
    """Read HELLO; raises WireError if it is too short."""
    if len(payload) < _HELLO.size:
        raise WireError(f'HELLO must have at least {_HELLO.size} bytes, got {len(payload)}')
    pid, step, beams = _HELLO.unpack_from(payload)
    return Hello(pid, step, beams, payload[_HELLO.size:].decode(errors='replace'))


def read_state(payload: bytes) -> State:
    """Read STATE; raises WireError unless its length fits the counts in it."""
    if len(payload) < _SAMPLE.size:
        raise WireError(f'STATE must have at least {_SAMPLE.size} bytes, got {len(payload)}')
    steps, beams, *numbers = _SAMPLE.unpack_from(payload)
    expected = _SAMPLE.size + 8 * (steps * COLUMNS + beams)
    if len(payload) != expected:
        raise WireError(
            f'STATE of {steps} steps and {beams} beams must have {expected} bytes, '
            f'got {len(payload)}'
        )
    values = np.frombuffer(payload, dtype='<f8', offset=_SAMPLE.size)
    rows = values[: steps * COLUMNS].reshape(steps, COLUMNS)
    n = np.array(numbers)
    return State(n[0:3], n[3:7], n[7:10], n[10:13], rows, values[steps * COLUMNS:])


def read_entity(payload: bytes) -> tuple[float, ...]:
    """Read ENTITY: the 13 numbers of a state; raises WireError for another length."""
    if len(payload) != _STATE.size:
        raise WireError(f'ENTITY must have {_STATE.size} bytes, got {len(payload)}')
    return _STATE.unpack(payload)


class Connection:
    """Hold our end of the socket; every wait has a deadline."""

    def __init__(self, end: socket.socket) -> None:
        """Take over a connected stream socket."""
        self._socket = end
        self._received = bytearray()

    def close(self) -> None:
        """Close it; the other end notices."""
        self._socket.close()

    def request(self, kind: Type, payload: bytes, answer: Type, *, seconds: float) -> bytes:
        """
        Send one request and return the payload of its answer.

        Raises RefusedError with what the plugin says, ClosedError, SilentError after `seconds`,
        WireError for an answer that breaks the protocol.
        """
        if len(payload) > LARGEST:
            raise RefusedError(f'parse: must have at most {LARGEST} bytes, got {len(payload)}')
        end = time.monotonic() + seconds
        self._send(_HEADER.pack(MAGIC, VERSION, kind, len(payload)) + payload, end, seconds)
        return self.receive(answer, end=end, seconds=seconds)

    def receive(self, answer: Type, *, end: float, seconds: float) -> bytes:
        """Return the payload of the next message, which must be of the type `answer`."""
        head = self._read(_HEADER.size, end, seconds)
        magic, version, kind, length = _HEADER.unpack(head)
        if magic != MAGIC:
            raise WireError(f'the magic number must be {MAGIC:#x}, got {magic:#x}')
        if version != VERSION:
            raise WireError(
                f'the plugin speaks version {version} of the protocol, {VERSION} is needed: '
                'run make gazebo again'
            )
        if length > LARGEST:
            raise WireError(f'a message must have at most {LARGEST} bytes, got {length}')
        payload = self._read(length, end, seconds)
        if kind == Type.ERROR:
            raise RefusedError(payload.decode(errors='replace'))
        if kind != answer:
            raise WireError(f'the answer must be {answer.name}, got type {kind}')
        return payload

    def _send(self, data: bytes, end: float, seconds: float) -> None:
        with self._within(end, seconds):
            self._socket.sendall(data)

    def _read(self, size: int, end: float, seconds: float) -> bytes:
        # Mostly a message is there as a whole: one call of the kernel for all of it.
        while len(self._received) < size:
            with self._within(end, seconds):
                part = self._socket.recv(1 << 20)
            if not part:
                raise ClosedError('the connection was closed')
            self._received += part
        result = bytes(self._received[:size])
        del self._received[:size]
        return result

    @contextlib.contextmanager
    def _within(self, end: float, seconds: float) -> Iterator[None]:
        """Bound one call on the socket, and say what went wrong with it."""
        self._socket.settimeout(max(end - time.monotonic(), 1e-3))
        try:
            yield
        except TimeoutError:
            raise SilentError(f'no answer within {seconds:g} s') from None
        except OSError as error:
            raise ClosedError(f'the connection broke ({error.strerror or error})') from None
