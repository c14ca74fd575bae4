# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for following a sim time that someone else pauses and resets."""

from __future__ import annotations

import bisect
import dataclasses
import time
from typing import Any

from rclpy.node import Node

from tl_adapt.ros.inbox import Inbox
from tl_adapt.ros.recorder import SimClock, sent_ns

# A simulation whose clock stands still this long [s, wall] is paused.
_STANDSTILL = 0.5
# Steps of the clock that are no mere delay or jitter [ns].
_BACK = 100_000_000
_LEAP = 2_000_000_000
_SET = 1_000_000_000  # of the system's clock
_REMEMBERED = 20


@dataclasses.dataclass(frozen=True)
class Jump:
    """
    Hold a step of the clock after which nothing compares with what was before.

    `sent` is the sending time [ns] of the first message after it; where the system's clock
    itself was set (`system`), sending times do not compare either.
    """

    sent: int
    text: str
    system: bool = False


class WatchedClock(SimClock):
    """
    Follow the sim time of a graph that someone else pauses and resets.

    `jumped` counts the jumps: back, as when a simulation is reset, or forward. Where there is no
    `/clock`, the system's clock may be set, or stop while the machine sleeps.
    """

    def __init__(self, node: Node, inbox: Inbox | None = None) -> None:
        """Subscribe on `node`, which another thread spins, or through an inbox of it."""
        self.jumped = 0
        self._jumps: list[Jump] = []
        self._offset = time.time_ns() - time.monotonic_ns()
        super().__init__(node, inbox)

    def jump_after(self, jumped: int, sent: int = 0) -> Jump | None:
        """
        Return the first jump since `jumped` was as given; None if there was none.

        One that came later but was sent before `sent` [ns] does not count.
        """
        with self._lock:
            missed = self.jumped - jumped
            found = self._jumps[-missed:] if missed > 0 else []
        return next((jump for jump in found if jump.system or jump.sent >= sent), None)

    def check(self) -> None:
        """Find out whether the system's clock was set; to be called now and then."""
        now = time.time_ns()
        offset = now - time.monotonic_ns()
        step, self._offset = offset - self._offset, offset
        if abs(step) < _SET:
            return
        with self._lock:
            # What was sent before has times that no longer compare.
            del self._sent[:-1], self._time[:-1]
            self._sent[-1:] = [now] if self._sent else []
        self._note(Jump(now, f"the system's clock was set by {step * 1e-9:+.1f} s", True))

    def first_since(self, sent: int) -> tuple[int, int] | None:
        """
        Return when the first message at or after `sent` was sent, and its time.

        None if there is none yet; all in ns.
        """
        with self._lock:
            index = bisect.bisect_left(self._sent, sent)
            return (self._sent[index], self._time[index]) if index < len(self._sent) else None

    def forget_before(self, sent: int) -> None:
        """Drop what was sent before `sent`, but for the newest."""
        with self._lock:
            index = min(bisect.bisect_left(self._sent, sent), max(len(self._sent) - 1, 0))
            del self._sent[:index], self._time[:index]

    @property
    def newest_sent(self) -> int:
        """Return when the newest clock message was sent [ns], 0 if there was none."""
        with self._lock:
            return self._sent[-1] if self._sent else 0

    @property
    def stands_still(self) -> bool:
        """Tell whether there is a clock which has not moved for a while."""
        with self._lock:
            return bool(self._sent) and (
                (time.time_ns() - self._sent[-1]) * 1e-9 > _STANDSTILL
            )

    def _on_clock(self, message: bytes, info: Any) -> None:
        before = self._time[-1] if self._time else None
        super()._on_clock(message, info)
        step = 0 if before is None else self._time[-1] - before
        if step < -_BACK or step > _LEAP:
            way = 'back' if step < 0 else 'forward'
            self._note(Jump(
                sent_ns(info), f'the clock went {way} by {abs(step) * 1e-9:.1f} s'
            ))

    def _note(self, jump: Jump) -> None:
        with self._lock:
            self.jumped += 1
            self._jumps = [*self._jumps, jump][-_REMEMBERED:]
