# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the adapter's thread: it feeds the policy, and does what the policy decides.

Everything that blocks is done here, one thing after the other, so that a change is either made as
a whole or not at all; callbacks of the node only put events into its queue.
"""

from __future__ import annotations

import dataclasses
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from tl_adapt.adaptation.events import (
    ApplyResult,
    Event,
    Level,
    Paused,
    Rollback,
    Start,
    State,
    Status,
    Window,
)
from tl_adapt.errors import TlAdaptError
from tl_adapt.policy import Policy
from tl_adapt.ros.apply import Applier, Obstacle, Outcome
from tl_adapt.ros.monitor import Monitor
from tl_adapt.ros.parameters import ParameterError

_TICK = 0.05  # s between looks at what changes without a message
_PREPARE = 1.0  # s between looks for new topics
_PATIENCE = 3.0  # s that topics may come later than their nodes
_OBSTACLE = 0.2  # s between looks for nodes that are missing


class Logger(Protocol):
    """Take messages for people, as a node's logger does."""

    def info(self, message: str) -> Any:
        """Tell what was done."""

    def error(self, message: str) -> Any:
        """Tell what went wrong."""


@dataclasses.dataclass(frozen=True)
class Report:
    """
    Hold what the adapter says of itself: the policy's status and what the engine waits for.

    `settled`: no change is under way and every window that has ended was dealt with. `silent`
    are topics that metrics need and that nobody publishes, or that have stopped and since when.
    """

    status: Status
    level: Level
    message: str
    settled: bool
    waiting: str
    advice: str
    silent: tuple[str, ...]


@dataclasses.dataclass
class _Request:
    event: Event
    answer: Callable[[Report], None] | None = None


class Engine:
    """
    Run the policy against a robot.

    `report` gets a Report whenever something changed, `applied` the full values of each node
    after a change. With `dry_run` nothing is ever sent. Both are called from the engine's thread.
    """

    def __init__(
        self,
        policy: Policy,
        applier: Applier,
        monitor: Monitor,
        *,
        report: Callable[[Report], None],
        applied: Callable[[Mapping[str, Mapping[str, Any]]], None],
        log: Logger,
        prepare: Callable[[], None] = lambda: None,
        dry_run: bool = False,
        deadline: float = 30.0,
    ) -> None:
        """
        Keep the parts.

        `prepare` computes ahead what a plan will need, and is cheap where nothing is new. A node
        that is missing for `deadline` s is an error.
        """
        self._policy = policy
        self._applier = applier
        self._monitor = monitor
        self._report = report
        self._applied = applied
        self._log = log
        self._prepare = prepare
        self._dry_run = dry_run
        self._deadline = deadline
        self._queue: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._pauses = 0  # asked for and not handled yet
        self._thread: threading.Thread | None = None
        self._started = False
        self._busy = False
        self.changing = False  # whether parameters are being set right now
        self._waiting: Obstacle | None = None
        self._waited_since = 0.0
        self._next_prepare = self._next_obstacle = 0.0
        self._advice = ''
        self._silent: tuple[str, ...] = ()
        self._patience = 0.0  # until when a topic that nobody publishes is waited for
        self._error = ''
        self._said = ''

    # --- what callbacks call ------------------------------------------------------------------

    def post(self, event: Event, answer: Callable[[Report], None] | None = None) -> None:
        """Hand over an event; `answer` is called, in the engine's thread, once it is handled."""
        if isinstance(event, Paused):
            # Nothing may begin from here on, also before the event's turn comes.
            with self._lock:
                self._pauses += 1
        self._queue.put(_Request(event, answer))

    def wake(self) -> None:
        """Make the engine look at the monitor now."""
        if self._queue.empty():
            self._queue.put(None)

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name='adapter-engine', daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Tell whether events that are posted will be handled."""
        thread = self._thread
        return thread is not None and thread.is_alive() and not self._stop.is_set()

    def stop(self, deadline: float = 15.0) -> bool:
        """End the thread after what it is doing; return False if it does not end in time."""
        self._stop.set()
        self._queue.put(None)
        if self._thread is None:
            return True
        self._thread.join(deadline)
        return not self._thread.is_alive()

    def report(self) -> Report:
        """Return what is to be said now."""
        status = self._policy.status
        level, message = status.level, status.reason
        if self._silent and level is Level.OK and not self._connecting():
            level, message = Level.WARN, f'silent: {", ".join(self._silent)}'
        if self._waiting is not None:
            late = time.monotonic() - self._waited_since > self._deadline
            level = Level.ERROR if late or self._waiting.ambiguous else Level.WARN
            message = self._waiting.reason
        if self._error:
            level, message = Level.ERROR, self._error
        if self._dry_run:
            level = min(level, Level.WARN)
        return Report(
            status, Level(level), message,
            settled=status.settled and not self._busy and not self._connecting(),
            waiting=self._waiting.reason if self._waiting is not None else '',
            advice=self._advice,
            silent=self._silent,
        )

    # --- the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._turn()
            except TlAdaptError as error:
                self._fail(str(error))
            except Exception as error:  # the robot must not lose its adapter for one bad message
                self._fail(f'{type(error).__name__}: {error}')
                self._stop.wait(_TICK)
        while not self._queue.empty():
            request = self._queue.get()
            if request is not None and request.answer is not None:
                request.answer(self.report())

    def _turn(self) -> None:
        try:
            request = self._queue.get(timeout=_TICK)
        except queue.Empty:
            request = None
        if self._stop.is_set():
            return
        if request is not None:
            self._handle(request.event)
        if time.monotonic() >= self._next_prepare:
            self._connect()
        window = self._monitor.poll()
        if window is not None:
            self._take(window)
        self._advance()
        if request is not None and request.answer is not None:
            request.answer(self.report())

    def _connect(self) -> None:
        silent, self._silent = self._silent, self._monitor.prepare()
        soon = self._connecting()
        self._next_prepare = time.monotonic() + (_OBSTACLE if soon else _PREPARE)
        if silent != self._silent:
            self._tell()

    def _connecting(self) -> bool:
        """Tell whether topics may still turn up, as the robot was found only just now."""
        return bool(self._silent) and time.monotonic() < self._patience

    def _take(self, window: Window) -> None:
        self._busy = True
        try:
            self._handle(window, quiet=True)
            self._advance()
            if self._policy.pending is None:
                self._prepare()
        finally:
            self._busy = False
        self._tell()

    def _handle(self, event: Event, *, quiet: bool = False) -> None:
        self._error = ''
        self._policy.handle(event)
        if isinstance(event, Paused):
            with self._lock:
                self._pauses -= 1
        if not quiet:
            self._tell()

    def _advance(self) -> None:
        """Do what can be done now of what the policy wants; every result may want more."""
        try:
            while self._may_change() and self._step():
                pass
        except ParameterError as error:
            self._next_obstacle = time.monotonic() + _PREPARE
            self._wait_for(Obstacle(error.reason))

    def _may_change(self) -> bool:
        with self._lock:
            halted = self._pauses > 0
        return not (halted or self._stop.is_set() or self._policy.state is State.PAUSED)

    def _step(self) -> bool:
        """Take one step towards what the policy wants; return False if there is none now."""
        pending = self._policy.pending
        if self._started and pending is None:
            self._wait_for(None)
            return False
        now = time.monotonic()
        if self._waiting is not None and now < self._next_obstacle:
            return False
        self._next_obstacle = now + _OBSTACLE
        obstacle = self._applier.obstacle()
        if (
            obstacle is None and pending is not None and self._monitor.goal_active
            and self._applier.waits_for_idle(pending.configuration)
        ):
            obstacle = Obstacle('waits until no mission runs')
            self._next_obstacle = now
        self._wait_for(obstacle)
        if obstacle is not None:
            return False
        if not self._started:
            self._begin()
        elif pending is not None:
            self._execute()
        return True

    def _begin(self) -> None:
        found = self._applier.read()
        self._started = True
        self._patience = time.monotonic() + _PATIENCE
        self._connect()
        self._monitor.in_force(found)
        if self._dry_run and found is not None and self._policy.memory.contains(found):
            self._advice = f'{self._policy.desired}'
            self._policy.desired = dict(found)
        self._handle(Start(found))

    def _execute(self) -> None:
        """Make the change that the policy wants, and tell it how that ended."""
        change = self._policy.pending
        if change is None:
            return
        kind = 'rollback' if isinstance(change, Rollback) else 'change'
        if self._dry_run:
            outcome = self._advise(change.configuration)
        else:
            self._monitor.changing()
            self.changing = True
            try:
                outcome = self._applier.apply(change.configuration)
            finally:
                self.changing = False
        self._monitor.in_force(outcome.configuration)
        if outcome.ok:
            self._log.info(f'{kind} {change.change} applied: {change.why}')
            self._applied(outcome.values)
        elif not self._dry_run:
            self._log.error(f'{kind} {change.change} failed: {outcome.reason}')
        self._handle(ApplyResult(
            change.change, outcome.ok, outcome.reason, outcome.configuration, outcome.refused
        ), quiet=self._busy)

    def _advise(self, configuration: Mapping[str, Any]) -> Outcome:
        """Say what would be set; what is there already counts as set."""
        found = self._applier.read()
        if found == dict(configuration):
            return Outcome(True, configuration=found)
        self._advice = f'{dict(configuration)}'
        self._log.info(f'dry run, advises: {self._advice}')
        return Outcome(False, 'dry run, nothing was sent', found)

    def _wait_for(self, obstacle: Obstacle | None) -> None:
        if obstacle == self._waiting:
            return
        if obstacle is None or self._waiting is None:
            self._waited_since = time.monotonic()
        self._waiting = obstacle
        if not self._busy:
            self._tell()

    def _fail(self, reason: str) -> None:
        if not self._stop.is_set():
            self._error = reason
            self._log.error(reason)
            self._tell()

    def _tell(self) -> None:
        report = self.report()
        key = f'{report.level} {report.message}'
        if key != self._said:
            self._said = key
            text = f'{report.status.state.value}: {report.message}'
            # Not one call for both: rclpy's loggers want one severity in each place.
            if report.level is Level.ERROR:
                self._log.error(text)
            else:
                self._log.info(text)
        self._report(report)
