# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for watching a robot's metrics while it drives, without taking part.

Messages are taken by a thread of the monitor's own; `poll`, called from the adapter's thread,
finds out whether a window has ended and reduces it with the same metrics as a measurement.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from rclpy.node import Node

from tl_adapt.adaptation.events import Configuration, Event, Window
from tl_adapt.adaptation.watched import watched_metrics
from tl_adapt.errors import MeasurementError
from tl_adapt.judging import SUCCEEDED
from tl_adapt.metrics import evaluate, needed_fields
from tl_adapt.ros.enduring import one_line
from tl_adapt.ros.inbox import Inbox
from tl_adapt.ros.mission_watch import Ending, MissionWatch
from tl_adapt.ros.process_watch import Pids, ProcessWatch
from tl_adapt.ros.rolling_recorder import RollingRecorder
from tl_adapt.ros.sim_windows import Due, SimWindows
from tl_adapt.ros.situation import Situation
from tl_adapt.ros.topic_watch import TopicWatch
from tl_adapt.ros.watched_clock import WatchedClock
from tl_adapt.study import Limit, Metric, Study
from tl_adapt.trace import Trace

# A simulation may be many times faster than real time.
_LOOK, _LOOK_SIMULATED = 0.2, 0.1  # s of wall time between two looks into the queues
# Of the clock's past, this much is kept [ns, wall].
_KEPT = 10 * 1_000_000_000
# What only gets worse until the mission ends, by the limit's operator.
_FINAL = {
    '<=': ('max', 'count', 'path_length', 'time_to_goal', 'memory'),
    '>=': ('min',),
}
_NEVER = ('given', 'last', 'success')  # says nothing before the mission ends


class Monitor:
    """
    Watch whole missions, or windows of sim time.

    The study's `adaptation.window` is 'mission' or a length in s; each `adaptation.stride` s the
    limits are looked at. `pids` gives the processes of the nodes that are known, by the name of
    their topic in a trace. `post` gets events about the context and exploration. `wake` is called
    from callbacks when `poll` may have something new.
    """

    def __init__(
        self,
        node: Node,
        study: Study,
        *,
        wake: Callable[[], None] = lambda: None,
        pids: Pids = dict,
        post: Callable[[Event], None] = lambda event: None,
    ) -> None:
        """Subscribe on `node`, which another thread spins."""
        self._node = node
        self._study = study
        self._wake = wake
        self._post = post
        window = study.adaptation.get('window', 'mission')
        if window == 'mission' and study.mission is None:
            raise MeasurementError('adaptation.window is mission, but the study has no mission')
        self._sliding: SimWindows | None = None
        stride = study.adaptation.get('stride')
        self._stride = 0 if stride is None else round(float(stride) * 1e9)
        if window != 'mission':
            length = round(float(window) * 1e9)
            self._stride = self._stride or length // 4
            self._sliding = SimWindows(length, min(self._stride, length))
        self._metrics = watched_metrics(study)
        self._limits: list[tuple[Limit, Metric]] = [
            (limit, study.metrics[limit.metric]) for limit in study.limits
            if study.metrics[limit.metric] in self._metrics
            and study.metrics[limit.metric].reduction not in _NEVER
        ]
        self._inbox = Inbox(node)
        self.clock = WatchedClock(node, self._inbox)
        self._recorder = RollingRecorder(
            node, needed_fields(self._metrics), self.clock, self._inbox
        )
        self._topics = TopicWatch(self._recorder, self._metrics)
        self._processes = ProcessWatch(pids, self.clock.now)
        self._situation = Situation(node, study, self.clock, self._inbox)
        self._missions: MissionWatch | None = None
        if study.mission is not None:
            self._missions = MissionWatch(
                node, study.mission, self.clock, self._inbox, wake=wake,
                begin=self._on_begin if self._sliding is None else None,
            )
        self._lock = threading.Lock()
        self._open = False  # a window of sim time
        self._base: tuple[int, bool] = (0, False)  # what its times belong to
        self._fresh = False  # a mission has begun and poll has not seen it
        self._next_part = 0  # when the next look at the limits in mid-mission is due [ns]
        self._in_force: Configuration | None = None
        self._certain = True  # the nodes that have it are there
        self._whole = self._uniform = False  # of one configuration; and of one context
        self._unpublished: tuple[str, ...] = ()
        self._misfit: MeasurementError | None = None
        self._stop = threading.Event()
        self._taker: threading.Thread | None = None
        self._mishap = ''

    # --- what the adapter's thread calls -----------------------------------------------------

    @property
    def goal_active(self) -> bool:
        """Tell whether a mission runs, see `MissionWatch`."""
        return self._missions is not None and self._missions.goal_active

    @property
    def pace(self) -> float:
        """Return how often to look for what comes without a call [s of wall time]."""
        return _LOOK_SIMULATED if self.clock.running else _LOOK

    @property
    def doubts(self) -> Mapping[str, str]:
        """
        Return by the topic why the context can not be told, or whether to explore.

        A topic that sends what can not be read is among them.
        """
        found = self._recorder.damaged
        if self.clock.damage.text:
            found['/clock'] = self.clock.damage.text
        # Of a topic that is in both this tells more.
        return found | self._situation.doubts

    def prepare(self) -> tuple[str, ...]:
        """
        Connect to topics that have got a publisher since, but not while a mission is watched.

        Cheap, to be called now and then. Returns the topics that are silent: nobody publishes
        them, or their messages have stopped, and since when [s, sim time]. Raises
        MeasurementError for a topic that can not be connected to; others may be by then. What
        went wrong in the monitor's own thread is raised here, too.
        """
        if self._taker is None:
            self._taker = threading.Thread(target=self._take, name='monitor', daemon=True)
            self._taker.start()
        self.clock.forget_before(time.time_ns() - _KEPT)
        if self._missions is None or not self._missions.open:
            if self._missions is not None:
                self._missions.connect()
            self._situation.connect()
            self._unpublished = self._find_unpublished()
            try:
                self._recorder.prepare(deadline=0.0)
                self._misfit = None
            except MeasurementError as error:
                self._misfit = error
        if self._sliding is not None and self._open:
            self._processes.refresh()
        if self._misfit is not None:
            raise self._misfit  # also while a mission is watched, in which nobody looks
        mishap, self._mishap, self._recorder.mishap = (
            self._mishap or self._recorder.mishap, '', ''
        )
        if mishap:
            raise MeasurementError(mishap)
        return (*self._unpublished, *self._stopped())

    def changing(self) -> None:
        """Note that parameters are about to change: the open window is no longer of one kind."""
        with self._lock:
            self._whole = False
            self._in_force = None

    def in_force(self, configuration: Configuration | None) -> None:
        """Note what is in force from now on; a mission that is open stays of no kind."""
        with self._lock:
            self._in_force = None if configuration is None else dict(configuration)
            self._open = False  # a new window of sim time begins with the new parameters
        self._topics.forget()

    def certain(self, known: bool) -> None:
        """Note whether the nodes are there that have what is in force."""
        with self._lock:
            if known is self._certain:
                return
            self._certain, self._whole = known, False
            self._open = False  # a new window of sim time begins

    def poll(self) -> Window | None:
        """Return the window that has just ended, or None; raises TlAdaptError."""
        events = self._situation.update()
        for event in events:
            self._post(event)
        if self._situation.moved:
            with self._lock:
                self._uniform = False
        window = self._poll_missions() if self._sliding is None else self._poll_time(self._sliding)
        if window is None and self._missions is not None:
            lost = self._missions.lost()
            window = None if lost is None else self._window({}, lost)
        if window is not None:
            self._wake()  # there may be more
        return window

    def close(self) -> None:
        """End all subscriptions and sampling."""
        self._stop.set()
        if self._taker is not None:
            self._taker.join()
        self._processes.stop()
        if self._missions is not None:
            self._missions.destroy()
        self._recorder.close()
        self._inbox.close()

    # --- windows of sim time ------------------------------------------------------------------

    def _poll_time(self, sliding: SimWindows) -> Window | None:
        now = self.clock.now()
        base = (self.clock.jumped, self.clock.running)
        with self._lock:
            fresh = not self._open
            self._open = True
        if fresh or base != self._base:
            jump = None if fresh else self.clock.jump_after(self._base[0])
            self._base = base
            self._restart(sliding, now)
            return None if jump is None else self._window({}, jump.text)
        if self._situation.moved:
            # What is known of the limits holds in any context.
            sliding.restart(now, keep=True)
            with self._lock:
                self._uniform = True
        due = sliding.due(now)
        if due is None:
            return None
        window = self._reduce(due)
        self._recorder.forget_before(sliding.needed_since)
        self._processes.forget_before(sliding.needed_since)
        return window

    def _restart(self, sliding: SimWindows, now: int) -> None:
        self._recorder.start()
        self._processes.start()
        sliding.restart(now)
        with self._lock:
            self._whole = self._certain and self._in_force is not None
            self._uniform = True

    def _reduce(self, due: Due) -> Window | None:
        """Return what a window of sim time gave; None if there is no limit to look at."""
        if due.overlapping and not self._limits:
            return None
        metrics = [metric for _, metric in self._limits] if due.overlapping else self._metrics
        if not due.overlapping:
            self._recorder.drain(due.end)
        values = self._evaluate(metrics, due.start, due.end, SUCCEEDED)
        outcome = ''
        if self._missions is not None and not due.overlapping:
            outcome = self._missions.failure(due.start, due.end)
        return self._window(
            values, outcome, due.end - due.start, overlapping=due.overlapping, ours=True
        )

    # --- missions -----------------------------------------------------------------------------

    def _poll_missions(self) -> Window | None:
        missions = self._missions
        if missions is None or not missions.open:
            return None
        # Before its first time the clock may still tell that of before a reset.
        began = missions.started() is not None
        with self._lock:
            fresh = self._fresh and began
            self._fresh = self._fresh and not began
        if fresh:
            self._processes.start()
            self._next_part = 0
        ending = missions.poll()
        if ending is None:
            start = missions.started()
            return self._part(start) if start is not None and self._stride else None
        window = self._finish(ending)
        self._recorder.stop()
        # Only now: a callback that opens the next window must find this one closed.
        missions.close()
        return window

    def _finish(self, ending: Ending) -> Window:
        self._recorder.drain(ending.end)
        failed = '' if ending.outcome == SUCCEEDED else ending.outcome
        end = max(ending.end, ending.start)
        try:
            values = self._evaluate(
                self._metrics, ending.start, end, ending.outcome, until=ending.until
            )
        except MeasurementError as error:
            values, failed = {}, f'could not be measured: {error.reason}'
        self._processes.stop()
        return self._window(values, failed, end - ending.start, ours=True)

    def _part(self, start: int) -> Window | None:
        """
        Look at the limits in mid-mission, each `stride`.

        What can only get worse is taken over the mission so far. An average may still be
        mended: it counts with the better of what it is over the mission so far and over the last
        stride, so that neither a bad begin nor a short spell breaks a limit.
        """
        now = self.clock.now()
        if not self._next_part:
            self._next_part = start + self._stride
        if now < self._next_part:
            return None
        passed = (now - start) // self._stride
        end = start + passed * self._stride
        self._next_part = end + self._stride
        final = [m for limit, m in self._limits if _final(limit, m)]
        others = [(limit, m) for limit, m in self._limits if m not in final] * (passed > 1)
        if not final and not others:
            return None
        averages = [metric for _, metric in others]
        values = self._evaluate(final + averages, start, end, SUCCEEDED)
        last = self._evaluate(averages, end - self._stride, end, SUCCEEDED)
        for limit, metric in others:
            both = [found[metric.name] for found in (values, last) if metric.name in found]
            values.pop(metric.name, None)
            if len(both) == 2:
                values[metric.name] = min(both) if limit.op == '<=' else max(both)
        if not values:
            return None
        return self._window(values, '', end - start, overlapping=True, ours=True)

    # --- both ---------------------------------------------------------------------------------

    def _evaluate(
        self, metrics: Sequence[Metric], start: int, end: int, outcome: str,
        *, until: int | None = None,
    ) -> dict[str, float]:
        """Return the metrics that can be had and whose topics did not stop; times in ns."""
        if not metrics:
            return {}
        wanted: Collection[str] = needed_fields(metrics)
        trace: Trace = self._recorder.trace(start, end, topics=wanted, until=until)
        trace.topics.update(self._processes.topics(start, end))
        trace.meta['outcome'] = outcome
        return evaluate(self._topics.fit(metrics, trace), trace, strict=False)

    def _window(
        self, metrics: dict[str, float], outcome: str, length: int = 0,
        *, overlapping: bool = False, ours: bool = False,
    ) -> Window:
        with self._lock:
            known = self._whole and ours
            mixed = not (overlapping or self._uniform)
            unplaced = not (overlapping or self._situation.steady)
            configuration = self._in_force if known else None
        return Window(
            metrics, outcome, length * 1e-9, configuration, self._situation.context, overlapping,
            unplaced, mixed,
        )

    def _find_unpublished(self) -> tuple[str, ...]:
        topics = {*self._topics.needed, *self._situation.topics}
        if self._missions is not None:
            topics.update(self._missions.topics)
        return tuple(
            topic for topic in sorted(topics) if not self._node.count_publishers(topic)
        )

    def _stopped(self) -> list[str]:
        """Return topics whose messages have stopped, and since when."""
        start: int | None = None
        if self._sliding is not None and self._open:
            start = self._sliding.needed_since
        elif self._sliding is None and self._missions is not None:
            start = self._missions.started()
        if start is None:
            return []
        damaged = self._recorder.damaged
        return [
            f'{text}: {damaged[topic]}' if topic in damaged else text
            for topic, text in self._topics.stopped(start, self.clock.now())
            if topic not in self._unpublished
        ]

    # --- callbacks and the thread -------------------------------------------------------------

    def _on_begin(self) -> None:
        """Open the window of a mission."""
        self._recorder.start()
        with self._lock:
            self._fresh = True
            self._whole = self._certain and self._in_force is not None
            self._uniform = True

    def _take(self) -> None:
        while not self._stop.wait(self.pace):
            try:
                self.clock.check()
                self._recorder.take()
            except Exception as error:  # told by `prepare`: the windows go on
                self._mishap = one_line(error)


def _final(limit: Limit, metric: Metric) -> bool:
    """Tell whether a limit that is broken in mid-mission stays so."""
    op = limit.op if metric.factor > 0 else {'<=': '>=', '>=': '<='}[limit.op]
    return metric.reduction in _FINAL[op]
