# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for watching a robot's metrics while it drives, without taking part.

Callbacks only note what came; `poll`, called from the adapter's own thread, finds out whether a
window has ended and reduces it with the same metrics as a measurement.
"""

from __future__ import annotations

import dataclasses
import functools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from action_msgs.msg import GoalStatus, GoalStatusArray
from rclpy.node import Node
from std_msgs.msg import Header

from tl_adapt.adaptation.events import Configuration, Window
from tl_adapt.errors import InputError, MeasurementError
from tl_adapt.metrics import evaluate, needed_fields
from tl_adapt.ros.fail_rules import applies
from tl_adapt.ros.goals import ACTIVE, LATCHED, SUCCEEDED
from tl_adapt.ros.message_info import with_info
from tl_adapt.ros.processes import Sampler
from tl_adapt.ros.recorder import (
    Recorder,
    matching_qos,
    message_type,
    sent_ns,
    stamp_of,
)
from tl_adapt.ros.watched_clock import WatchedClock
from tl_adapt.study import FailRule, Mission, Study

_ENDED = {
    GoalStatus.STATUS_SUCCEEDED: SUCCEEDED,
    GoalStatus.STATUS_ABORTED: 'mission aborted',
    GoalStatus.STATUS_CANCELED: 'mission canceled',
}
# A terminal status and the result that belongs to it may come in any order, this far apart [s].
_RESULT_GRACE = 0.3
# Of the clock's past, this much is kept between windows [ns, wall].
_KEPT = 10 * 1_000_000_000

Pids = Callable[[], Mapping[str, Sequence[int]]]


@dataclasses.dataclass
class _Goals:
    """Hold what the topics said about goals since the window began."""

    goal: bytes = b''
    begun: int = 0  # when the first goal was taken, in ns of sending time
    ended: tuple[int, str] | None = None  # (sent, outcome) of the present goal
    ended_at: float = 0.0  # wall time at which we heard
    done: int = 0  # goals before the present one


class Monitor:
    """
    Watch whole missions, or windows of sim time one after the other.

    The study's `adaptation.window` is 'mission' or a length in s. `pids` gives the processes of
    the nodes that are known, by the name of their topic in a trace. `wake` is called from
    callbacks when `poll` may have something new.
    """

    def __init__(
        self,
        node: Node,
        study: Study,
        *,
        wake: Callable[[], None] = lambda: None,
        pids: Pids = dict,
    ) -> None:
        """Subscribe on `node`, which another thread spins."""
        self._node = node
        self._study = study
        self._mission: Mission | None = study.mission
        self._pids = pids
        self._wake = wake
        window = study.adaptation.get('window', 'mission')
        self._length = None if window == 'mission' else float(window)
        if self._length is None and self._mission is None:
            raise MeasurementError('adaptation.window is mission, but the study has no mission')
        self._metrics = [
            metric for metric in study.metrics.values()
            if metric.reduction != 'given' and (
                self._length is None or metric.reduction not in ('time_to_goal', 'success')
            )
        ]
        self.clock = WatchedClock(node)
        self.clock.changed = wake
        self._recorder = Recorder(node, needed_fields(self._metrics), self.clock)
        self._topics = sorted({
            *needed_fields(self._metrics),
            *(rule.topic for rule in (self._mission.fail_when if self._mission else ())),
        })
        self._silent: tuple[str, ...] = ()
        self._sampler: Sampler | None = None
        self._lock = threading.Lock()
        self._open = False
        self._start = 0  # of a window of sim time, in ns
        self._fresh = False  # a window was opened by a callback and poll has not seen it
        self._finishing = False  # a window has ended and is being reduced
        self._lost: list[str] = []  # why there is no window of a mission, for each of these
        self._goals = _Goals()
        self._active: set[bytes] = set()
        self._known: set[bytes] = set()
        self._over: set[bytes] = set()  # goals that a fail rule or a time-out ended for us
        self._results: list[tuple[int, int, str]] = []
        self._failures: list[tuple[int, str]] = []
        self._watched: dict[str, Any] = {}
        self._in_force: Configuration | None = None
        self._whole = False
        self._since = time.time_ns()
        self._subscriptions: list[Any] = []
        if self._mission is not None:
            self._subscriptions.append(node.create_subscription(
                GoalStatusArray, self._mission.outcome_topic, with_info(self._on_status),
                LATCHED
            ))
            if self._mission.result_topic:
                self._subscriptions.append(node.create_subscription(
                    Header, self._mission.result_topic, with_info(self._on_result), 10
                ))

    # --- what the adapter's thread calls -----------------------------------------------------

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
        return not (over and self.clock.stands_still)

    def prepare(self) -> tuple[str, ...]:
        """
        Connect to topics that have got a publisher since, but not while a mission is watched.

        Cheap, to be called now and then. Returns the topics that nobody publishes.
        """
        if self._open and self._length is None:
            return self._silent
        self.clock.forget_before(time.time_ns() - _KEPT)
        self._recorder.prepare(deadline=0.0)
        for rule in self._mission.fail_when if self._mission else ():
            self._watch(rule)
        self._silent = tuple(
            topic for topic in self._topics if not self._node.count_publishers(topic)
        )
        return self._silent

    def changing(self) -> None:
        """Note that parameters are about to change: the open window is no longer of one kind."""
        with self._lock:
            self._whole = False
            self._in_force = None

    def in_force(self, configuration: Configuration | None) -> None:
        """Note what is in force from now on; a window that is open stays of no kind."""
        with self._lock:
            self._in_force = None if configuration is None else dict(configuration)
            if self._length is not None:
                self._open = False  # a new window of sim time begins with the new parameters

    def poll(self) -> Window | None:
        """Return the window that has just ended, or None; raises MeasurementError."""
        with self._lock:
            if self._lost:
                return Window({}, self._lost.pop(0))
        if self._length is not None:
            return self._poll_length(self._length)
        return self._poll_mission()

    def close(self) -> None:
        """End all subscriptions and sampling."""
        if self._sampler is not None:
            self._sampler.stop()
        self._recorder.close()
        for subscription in [*self._subscriptions, *self._watched.values()]:
            self._node.destroy_subscription(subscription)
        self._subscriptions, self._watched = [], {}

    # --- windows ------------------------------------------------------------------------------

    def _poll_length(self, length: float) -> Window | None:
        now = self.clock.now()
        if not self._open:
            self._begin(time.time_ns())
            self._start_sampling()
            self._start = now
            return None
        if now < self._start:  # the simulation was reset
            self._open = False
            return None
        if (now - self._start) * 1e-9 < length:
            return None
        return self._finish(self._start, self._start + round(length * 1e9), '')

    def _poll_mission(self) -> Window | None:
        with self._lock:
            if not self._open:
                return None
            fresh, self._fresh = self._fresh, False
            goals = dataclasses.replace(self._goals)
            results, failures = list(self._results), list(self._failures)
        if fresh:
            self._start_sampling()
        running = self.clock.running
        start = self.clock.first_since(goals.begun) if running else goals.begun
        if start is None:
            return None
        found = self._ending(start, goals, results, failures)
        if found is None:
            return None
        end, outcome = found
        with self._lock:
            self._finishing = True
            if self._active:
                self._over |= self._active
        return self._finish(start, end, '' if outcome == SUCCEEDED else outcome)

    def _ending(
        self,
        start: int,
        goals: _Goals,
        results: list[tuple[int, int, str]],
        failures: list[tuple[int, str]],
    ) -> tuple[int, str] | None:
        """Return end and outcome of the mission, None if it goes on; the first event counts."""
        mission = self._mission
        if mission is None:
            return None
        now = self.clock.now()
        limit = start + round(mission.timeout * 1e9)
        count = len(mission.goals)
        events = [(at, 0, why) for at, why in failures if at >= start]
        ended = [(at, what) for sent, at, what in results if sent >= goals.begun and at >= start]
        bad = [(at, what) for at, what in ended if what != SUCCEEDED]
        if bad:
            events.append((bad[0][0], 1, f'mission {bad[0][1]}'))
        elif len(ended) >= count:
            events.append((ended[count - 1][0], 1, SUCCEEDED))
        elif goals.ended is not None:
            sent, what = goals.ended
            late = time.monotonic() - goals.ended_at > _RESULT_GRACE
            last = what != SUCCEEDED or goals.done + 1 >= count
            if last and (late or not mission.result_topic):
                events.append((max(self.clock.at(sent), start), 1, what))
        if now > limit:
            events.append((limit, 2, 'timeout'))
        if not events and now < start:
            events.append((start, 3, 'the clock went back'))
        if not events:
            return None
        end, _, outcome = min(events)
        return end, outcome

    def _finish(self, start: int, end: int, outcome: str) -> Window:
        """Reduce what was recorded from `start` to `end` (sim time in ns)."""
        self._recorder.drain(end)
        sampler, self._sampler = self._sampler, None
        if sampler is not None:
            sampler.stop()
        with self._lock:
            # Only now: a callback that opens the next window must find this one closed.
            self._open = self._finishing = False
            configuration = self._in_force if self._whole else None
        try:
            trace = self._recorder.stop()
        except MeasurementError as error:
            return Window({}, f'could not be measured: {error.reason}', (end - start) * 1e-9)
        if sampler is not None:
            trace.topics.update(sampler.topics(start))
        trace.meta['outcome'] = outcome or SUCCEEDED
        trace = trace.clip(start, max(end, start))
        metrics = evaluate(self._metrics, trace, strict=False)
        return Window(metrics, outcome, trace.duration, configuration)

    def _begin(self, sent: int) -> None:
        """Open a window; also called from callbacks."""
        self._recorder.start()
        with self._lock:
            self._open, self._fresh = True, True
            self._goals = _Goals(begun=sent)
            self._results, self._failures = [], []
            self._whole = self._in_force is not None

    def _start_sampling(self) -> None:
        if self._sampler is not None:
            self._sampler.stop()
        self._sampler = None
        pids = {topic: found for topic, found in self._pids().items() if found}
        if pids:
            self._sampler = Sampler(pids, self.clock.now)
            self._sampler.start()

    # --- callbacks ----------------------------------------------------------------------------

    def _on_status(self, message: GoalStatusArray, info: Any) -> None:
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
            if goal == self._goals.goal and status.status in _ENDED:
                with self._lock:
                    if self._goals.ended is None:
                        self._goals.ended = (sent, _ENDED[status.status])
                        self._goals.ended_at = time.monotonic()
        # A goal that was taken before we came is no whole mission.
        if new and sent >= self._since and self._length is None:
            self._on_goal(next(iter(new)), sent)
        self._wake()

    def _on_goal(self, goal: bytes, sent: int) -> None:
        count = len(self._mission.goals) if self._mission else 1
        with self._lock:
            ended = self._goals.ended
            goes_on = (
                self._open and ended is not None and ended[1] == SUCCEEDED
                and self._goals.done + 1 < count
            )
            if goes_on:
                self._goals.goal, self._goals.ended = goal, None
                self._goals.done += 1
                return
            if self._finishing or (self._open and self._succeeded(count)):
                # What was recorded of the last mission is still needed.
                self._lost.append('began before the last mission was evaluated')
                return
            if self._open:
                self._lost.append('another goal took its place')
        self._begin(sent)
        with self._lock:
            self._goals.goal = goal

    def _succeeded(self, count: int) -> bool:
        """Tell, with the lock held, whether the present mission of `count` goals is done."""
        goals = self._goals
        found = [what for sent, _, what in self._results if sent >= goals.begun]
        if len(found) >= count and all(what == SUCCEEDED for what in found):
            return True
        outcome = None if goals.ended is None else goals.ended[1]
        return outcome == SUCCEEDED and goals.done + 1 >= count

    def _on_result(self, message: Header, info: Any) -> None:
        with self._lock:
            self._results.append((sent_ns(info), stamp_of(message) or 0, message.frame_id))
            del self._results[:-100]
        self._wake()

    def _watch(self, rule: FailRule) -> None:
        """Subscribe to what may end the mission early, once its type is known."""
        if rule.topic in self._watched:
            return
        infos = self._node.get_publishers_info_by_topic(rule.topic)
        if not infos or self._mission is None:
            return
        rules = [other for other in self._mission.fail_when if other.topic == rule.topic]
        self._watched[rule.topic] = self._node.create_subscription(
            message_type(infos[0].topic_type),
            rule.topic,
            with_info(functools.partial(self._on_watched, rules)),
            matching_qos(self._node, rule.topic),
        )

    def _on_watched(self, rules: Sequence[FailRule], message: Any, info: Any) -> None:
        """Note the fail rules that a message meets."""
        sent = sent_ns(info)
        for rule in rules:
            if self._open and sent >= self._goals.begun and _meets(rule, message):
                stamp = stamp_of(message)
                at = self.clock.at(sent) if stamp is None else stamp
                with self._lock:
                    self._failures.append((at, rule.reason))
        self._wake()


def _meets(rule: FailRule, message: Any) -> bool:
    """Tell whether a message ends the mission; one that can't be judged does not."""
    try:
        return applies(rule, message)
    except (InputError, AttributeError, TypeError):
        return False
