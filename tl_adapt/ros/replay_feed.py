# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the pace of a replay: how fast the software gets what was recorded.

In lock-step each message waits until the software has done with the one before: until its answer
is there, or until all of its threads sleep. So nothing is lost in a queue, and a slow
configuration takes longer instead of missing its input. At a rate, messages come when they came.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable

from tl_adapt.cdr import header_stamp
from tl_adapt.errors import MeasurementError
from tl_adapt.ros.idleness import Idleness
from tl_adapt.ros.replay_player import Player

LOCK_STEP = 'lock_step'
_BURST = 4  # messages that may be under way, fewer than the queue of any subscription that counts
_ALIVE = 0.1  # s between two looks whether the software is
_SHORTEST, _LONGEST = 0.0001, 0.001  # s between two looks for an answer


@dataclasses.dataclass(frozen=True)
class Pace:
    """
    Say how a replay goes on: `input` asks, and `timeout` bounds each wait [s].

    Without `input`, and where `ratio` is below 1, the software need not answer each time: that
    its threads sleep shows that it has done. With `any_order` it does not matter which of two
    topics' messages comes first. `rate` is in times real time, None in lock-step.
    """

    input: str | None = None
    ratio: float = 1.0
    timeout: float = 10.0
    wall_timeout: float = 3600.0
    rate: float | None = None
    any_order: bool = False


class LostError(MeasurementError):
    """Say that messages were lost, or their answers were."""


class Feed:
    """Send the messages of one mission at a pace, and count what is answered."""

    def __init__(
        self,
        player: Player,
        pace: Pace,
        newest: Callable[[], int],
        software: Idleness,
        alive: Callable[[], None],
    ) -> None:
        """
        Send through `player`.

        `newest` takes what has come in and returns the newest answer's stamp, 0 without one;
        `software` looks at its processes; `alive` raises MeasurementError if one has died.
        """
        self._player = player
        self._pace = pace
        self._newest = newest
        self._software = software
        self._alive = alive
        self.asked: list[int] = []  # stamps of what should be answered
        self.answered = 0
        self._under_way = 0
        self._last = ''
        self._end = self._looked = 0.0

    def run(self, messages: Iterable[tuple[str, int, bytes]]) -> None:
        """Send all messages; raises MeasurementError if the software dies or answers no more."""
        begin = time.monotonic()
        self._end = begin + self._pace.wall_timeout
        self._looked = begin
        first: int | None = None
        for topic, time_ns, raw in messages:
            first = time_ns if first is None else first
            self._look(time.monotonic())
            if self._pace.rate is not None:
                self._wait_for(begin + (time_ns - first) * 1e-9 / self._pace.rate)
            elif self._under_way and topic != self._last and not self._pace.any_order:
                # Only messages of one topic arrive in the order in which they were sent.
                self.rest()
            self._last = topic
            self._player.tick(time_ns)
            self._player.send(topic, time_ns, raw)
            if topic == self._pace.input:
                self.asked.append(header_stamp(raw))
            if self._pace.rate is None:
                self._step(topic)
        self._player.settle()
        if self._pace.rate is not None or self._pace.input is None or self._pace.ratio < 1.0:
            self.rest()

    def rest(self, *, at_most: float | None = None) -> None:
        """
        Wait until the software has nothing left to do.

        With `at_most` [s] no longer than that; otherwise raises MeasurementError if it has still.
        """
        seconds = self._pace.timeout if at_most is None else at_most
        if not self._software.wait(seconds, self._alive) and at_most is None:
            self._alive()
            raise MeasurementError(
                f'the software does not come to rest within {seconds:g} s: what is never at rest '
                'can be replayed where it answers each message (answer, any_order: true), or at '
                'a rate'
            )
        self._under_way = 0

    def check(self, answers: Iterable[int]) -> float:
        """
        Count which of the questions have an answer (by its stamp); return their share.

        Raises LostError if they are too few.
        """
        if self._pace.input is None:
            return 1.0
        asked = set(self.asked)
        self.answered = len(asked.intersection(answers))
        share = self.answered / len(asked) if asked else 0.0
        if not asked:
            raise LostError(f'no message on input topic {self._pace.input} was recorded')
        if share < self._pace.ratio:
            raise LostError(
                f'the software answered {self.answered} of {len(asked)} messages on topic '
                f'{self._pace.input}, fewer than {self._pace.ratio:g} of them'
            )
        return share

    def _step(self, topic: str) -> None:
        """Let the software do what there is to do, before the next message goes out."""
        if topic == self._pace.input and self._pace.ratio == 1.0:
            self._wait_for_answer(self.asked[-1])
            self._under_way = 0
            return
        self._under_way += 1
        if topic == self._pace.input or self._pace.input is None or self._under_way >= _BURST:
            self.rest()

    def _wait_for_answer(self, stamp: int) -> None:
        end = time.monotonic() + self._pace.timeout
        pause = _SHORTEST
        while self._newest() != stamp:
            now = time.monotonic()
            if now > end:
                self._alive()
                number = len(self.asked)
                raise LostError(
                    f'no answer to message {number} on topic {self._pace.input} (stamp '
                    f'{stamp * 1e-9:.3f} s) within {self._pace.timeout:g} s'
                )
            self._look(now)
            time.sleep(pause)
            pause = min(pause * 1.2, _LONGEST)

    def _wait_for(self, when: float) -> None:
        while (left := when - (now := time.monotonic())) > 0.0:
            self._newest()
            self._look(now)
            time.sleep(min(left, _LONGEST))

    def _look(self, now: float) -> None:
        """Raise, if it is time to look again, where the software has died or takes too long."""
        if now - self._looked <= _ALIVE:
            return
        self._looked = now
        self._alive()
        if now > self._end:
            raise MeasurementError(
                f'wall time-out: the replay is not done within {self._pace.wall_timeout:g} s'
            )
