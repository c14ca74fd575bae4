# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for watching the missions that someone else sends a robot on."""

from __future__ import annotations

import dataclasses
import functools
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from action_msgs.msg import GoalStatusArray
from rclpy.node import Node
from std_msgs.msg import Header

from tl_adapt.errors import InputError
from tl_adapt.judging import ACTIVE, ENDED, SUCCEEDED, applies, first_event
from tl_adapt.ros.goals import LATCHED
from tl_adapt.ros.inbox import Inbox
from tl_adapt.ros.message_info import with_info
from tl_adapt.ros.recorder import matching_qos, message_type, sent_ns, stamp_of
from tl_adapt.ros.watched_clock import Jump, WatchedClock
from tl_adapt.study import FailRule, Mission

# A terminal status and the result that belongs to it may come in any order, this far apart [s].
_RESULT_GRACE = 0.3
_KEPT = 1000  # results and failures


@dataclasses.dataclass(frozen=True)
class Ending:
    """
    Say how a mission ended, times in ns of sim time.

    What was sent at or after `until` belongs to another time; None if there is no such thing.
    """

    start: int
    end: int
    outcome: str
    until: int | None = None


@dataclasses.dataclass
class _Goals:
    """Hold what the topics said about goals since the mission began."""

    goal: bytes = b''
    begun: int = 0  # when the first goal was taken, in ns of sending time
    start: int | None = None  # the same in sim time, once that is known
    ticked: int = 0  # when the first time of the mission was sent
    ended: tuple[int, str] | None = None  # (sent, outcome) of the present goal
    ended_at: float = 0.0  # wall time at which we heard
    done: int = 0  # goals before the present one
    jumped: int = 0  # the clock's count of jumps at the begin


class MissionWatch:
    """
    Follow goals from being taken to their end; one mission at a time.

    Callbacks only note what came; `poll` finds out whether a mission has ended. `begin` is called
    from a callback when a mission begins; without it missions are followed only to tell whether
    the robot is on one. `wake` is called when `poll` may have something new.
    """

    def __init__(
        self,
        node: Node,
        mission: Mission,
        clock: WatchedClock,
        inbox: Inbox,
        *,
        wake: Callable[[], None],
        begin: Callable[[], None] | None = None,
    ) -> None:
        """Subscribe on `node`, which another thread spins; what is frequent through `inbox`."""
        self._node = node
        self._mission = mission
        self._clock = clock
        self._inbox = inbox
        self._wake = wake
        self._begin = begin
        self._lock = threading.Lock()
        self.open = False
        self._finishing = False  # a mission has ended and is being reduced
        self._lost: list[str] = []  # why there is no window of a mission, for each of these
        self._goals = _Goals()
        self._active: set[bytes] = set()
        self._known: set[bytes] = set()
        self._over: set[bytes] = set()  # goals that a fail rule or a time-out ended for us
        self._results: list[tuple[int, int, str]] = []  # sent, sim time, outcome
        self._failures: list[tuple[int, int, str]] = []  # sent, sim time, reason
        self._since = time.time_ns()
        self._watched: set[str] = set()
        self._subscriptions = [node.create_subscription(
            GoalStatusArray, mission.outcome_topic, with_info(self.on_status), LATCHED
        )]
        if mission.result_topic:
            self._subscriptions.append(node.create_subscription(
                Header, mission.result_topic, with_info(self.on_result), 10
            ))

    # --- what the adapter's thread calls -----------------------------------------------------

    @property
    def topics(self) -> tuple[str, ...]:
        """Return the topics that the rules need which end a mission early."""
        return tuple(rule.topic for rule in self._mission.fail_when)

    @property
    def goal_active(self) -> bool:
        """
        Tell whether a mission runs.

        One that was judged to have failed counts until it really ends or the world stands still.
        """
        with self._lock:
            if not self._active:
                return False
            over = self._active <= self._over
        return not (over and self._clock.stands_still)

    def connect(self) -> None:
        """Subscribe to what may end a mission early, where its type is known by now."""
        for topic in self.topics:
            if topic not in self._watched:
                self._watch(topic)

    def started(self) -> int | None:
        """Return when the open mission began [ns, sim time], None if that is not known yet."""
        with self._lock:
            goals = self._goals
            if not self.open:
                return None
            if not self._clock.running:
                return goals.begun
            if goals.start is None:
                first = self._clock.first_since(goals.begun)
                if first is not None:
                    goals.ticked, goals.start = first
            return goals.start

    def lost(self) -> str | None:
        """Return why the next mission that was lost is no window, None if there is none."""
        with self._lock:
            return self._lost.pop(0) if self._lost else None

    def failure(self, start: int, end: int) -> str:
        """Return the first reason why a mission failed between two sim times, '' if none did."""
        with self._lock:
            found = [(at, why) for _, at, why in self._failures if start <= at < end]
        return min(found)[1] if found else ''

    def poll(self) -> Ending | None:
        """Return how the open mission ended, None if it goes on; `close` has to follow."""
        start = self.started()
        if start is None:
            return None
        with self._lock:
            goals = dataclasses.replace(self._goals)
            results, failures = list(self._results), list(self._failures)
        # A simulation that was reset while it was paused tells its new time when it runs on.
        jump = self._clock.jump_after(goals.jumped, max(goals.begun, goals.ticked + 1))
        found = self._ending(start, goals, results, failures, jump)
        with self._lock:
            if found is None:
                if jump is not None:
                    self.open = False
                    self._lost.append(jump.text)
                return None
            self._finishing = True
            self._over |= self._active
        return Ending(start, *found, None if jump is None else jump.sent)

    def close(self) -> None:
        """Say that the mission was evaluated: the next may begin."""
        with self._lock:
            self.open = self._finishing = False

    def destroy(self) -> None:
        """End the subscriptions that are not in the inbox."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    # --- the end of a mission -----------------------------------------------------------------

    def _ending(
        self,
        start: int,
        goals: _Goals,
        results: list[tuple[int, int, str]],
        failures: list[tuple[int, int, str]],
        jump: Jump | None,
    ) -> tuple[int, str] | None:
        """Return end and outcome of the mission, None if it goes on; the first event counts."""
        if jump is not None and jump.system:
            return None
        until = None if jump is None else jump.sent

        def ours(sent: int, at: int) -> bool:
            return goals.begun <= sent and at >= start and (until is None or sent < until)

        found = [(at, what) for sent, at, what in results if ours(sent, at)]
        status = None
        if goals.ended is not None:
            sent, what = goals.ended
            late = time.monotonic() - goals.ended_at > _RESULT_GRACE
            last = what != SUCCEEDED or goals.done + 1 >= len(self._mission.goals)
            if last and (until is None or sent < until) and (
                late or not self._mission.result_topic
            ):
                status = (self._clock.at(sent), what)
        return first_event(
            self._mission, start,
            failures=[(at, why) for sent, at, why in failures if ours(sent, at)],
            results=found, status=status, now=self._clock.now() if jump is None else None,
        )

    # --- callbacks ----------------------------------------------------------------------------

    def on_status(self, message: GoalStatusArray, info: Any) -> None:
        """Take note of the state of goals."""
        sent = sent_ns(info)
        active = {
            bytes(status.goal_info.goal_id.uuid)
            for status in message.status_list if status.status in ACTIVE
        }
        with self._lock:
            self._active = active
            self._over &= active
            new = active - self._known
            self._known |= active
            if len(self._known) > 1000:
                self._known = set(active)
        for status in message.status_list:
            goal = bytes(status.goal_info.goal_id.uuid)
            if goal == self._goals.goal and status.status in ENDED:
                with self._lock:
                    if self._goals.ended is None:
                        self._goals.ended = (sent, ENDED[status.status])
                        self._goals.ended_at = time.monotonic()
        # A goal that was taken before we came is no whole mission.
        if new and sent >= self._since and self._begin is not None:
            self._on_goal(next(iter(new)), sent)
        self._wake()

    def on_result(self, message: Header, info: Any) -> None:
        """Take note of how a mission ended."""
        with self._lock:
            self._results.append((sent_ns(info), stamp_of(message) or 0, message.frame_id))
            del self._results[:-_KEPT]
        self._wake()

    def _on_goal(self, goal: bytes, sent: int) -> None:
        count = len(self._mission.goals)
        with self._lock:
            ended = self._goals.ended
            goes_on = (
                self.open and ended is not None and ended[1] == SUCCEEDED
                and self._goals.done + 1 < count
            )
            if goes_on:
                self._goals.goal, self._goals.ended = goal, None
                self._goals.done += 1
                return
            if self._finishing or (self.open and self._succeeded(count)):
                # What was recorded of the last mission is still needed.
                self._lost.append('began before the last mission was evaluated')
                return
            if self.open:
                self._lost.append('another goal took its place')
        if self._begin is not None:
            self._begin()
        with self._lock:
            self.open = True
            self._goals = _Goals(goal=goal, begun=sent, jumped=self._clock.jumped)
            self._results, self._failures = [], []

    def _succeeded(self, count: int) -> bool:
        """Tell, with the lock held, whether the present mission of `count` goals is done."""
        goals = self._goals
        found = [what for sent, _, what in self._results if sent >= goals.begun]
        if len(found) >= count and all(what == SUCCEEDED for what in found):
            return True
        outcome = None if goals.ended is None else goals.ended[1]
        return outcome == SUCCEEDED and goals.done + 1 >= count

    def _watch(self, topic: str) -> None:
        infos = self._node.get_publishers_info_by_topic(topic)
        if not infos:
            return
        rules = [rule for rule in self._mission.fail_when if rule.topic == topic]
        self._watched.add(topic)
        self._inbox.subscribe(
            message_type(infos[0].topic_type),
            topic,
            functools.partial(self._on_watched, rules),
            matching_qos(self._node, topic),
        )

    def _on_watched(self, rules: Sequence[FailRule], message: Any, info: Any) -> None:
        """Note the fail rules that a message meets."""
        for rule in rules:
            if _meets(rule, message):
                sent, stamp = sent_ns(info), stamp_of(message)
                at = self._clock.at(sent) if stamp is None else stamp
                with self._lock:
                    self._failures.append((sent, at, rule.reason))
                    del self._failures[:-_KEPT]


def _meets(rule: FailRule, message: Any) -> bool:
    """Tell whether a message ends the mission; one that can't be judged does not."""
    try:
        return applies(rule, message)
    except (InputError, AttributeError, TypeError, ValueError):
        return False
