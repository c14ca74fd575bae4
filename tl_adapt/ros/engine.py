# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the adapter's thread: it feeds the policy, and does what the policy decides.

Everything that blocks is done here, one thing after the other, so that a change is either made as
a whole or not at all; callbacks of the node only put events into its queue.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tl_adapt.adaptation.events import (
    AdviceTaken,
    ApplyResult,
    Event,
    ForeignChange,
    Level,
    NodeRestarted,
    Resumed,
    RulesChanged,
    Start,
    State,
    Window,
)
from tl_adapt.adaptation.records import ADAPTER, OPERATOR, Journal, Record, record_of
from tl_adapt.errors import TlAdaptError
from tl_adapt.memory_journal import NullJournal
from tl_adapt.policy import Policy
from tl_adapt.ros.advising import Advising
from tl_adapt.ros.apply import Applier, Obstacle
from tl_adapt.ros.connection import Connection
from tl_adapt.ros.enduring import Repeats, one_line
from tl_adapt.ros.execution import Execution, Logger, NoWatch, StoreWaitError, Watch
from tl_adapt.ros.monitor import Monitor
from tl_adapt.ros.obstruction import Obstruction
from tl_adapt.ros.parameters import ParameterError
from tl_adapt.ros.report import Report
from tl_adapt.ros.requests import Request, Requests
from tl_adapt.ros.settings import Settings, SettingsChanged

_REST = 0.1  # s of rest after a fault


class Engine:
    """
    Run the policy against a robot.

    `report` gets a Report whenever something changed, `applied` the full values of each node
    after a change; both are called from the engine's thread. While the settings say `dry_run`
    nothing is sent.
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
        watch: Watch | None = None,
        journal: Journal | None = None,
        broken: Callable[[Mapping[str, float]], Sequence[str]] = lambda metrics: (),
        prepare: Callable[[], None] = lambda: None,
        settings: Settings | None = None,
        deadline: float = 30.0,
    ) -> None:
        """
        Keep the parts.

        `prepare` computes ahead what a plan will need, and returns at once. `broken` names the
        limits that metrics break. A node that is missing for `deadline` s is an error.
        """
        self._policy = policy
        self._applier = applier
        self._monitor = monitor
        self._report = report
        self._watch = watch or NoWatch()
        self._journal = journal or NullJournal()
        self._broken = broken
        self.settings = settings or Settings()  # those that are in force
        self._execution = Execution(
            applier, monitor, self._watch, self._journal, applied=applied, log=log,
            dry_run=self.settings.dry_run,
        )
        self._advising = Advising(policy, applier, monitor, log)
        self._log = log
        self._prepare = prepare
        self._requests = Requests()
        self._stop = threading.Event()
        self._windows: collections.deque[Window] = collections.deque()
        self._noticed: list[Event] = []
        self._thread: threading.Thread | None = None
        self._started = False
        self._busy = False
        self._obstruction = Obstruction(deadline)
        self._connection = Connection(monitor)
        self._error = ''
        self._said = ''
        self._repeats = Repeats()

    # --- what callbacks call ------------------------------------------------------------------

    def post(
        self, event: Event | SettingsChanged, answer: Callable[[Report], None] | None = None
    ) -> None:
        """Hand over an event; `answer` is called, in the engine's thread, once it is handled."""
        self._requests.post(Request(event, answer))

    def wake(self) -> None:
        """Make the engine look at the monitor now."""
        self._requests.wake()

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name='adapter-engine', daemon=True)
        self._thread.start()

    @property
    def changing(self) -> bool:
        """Tell whether parameters are being set right now."""
        return self._execution.changing

    def urgent(self) -> bool:
        """
        Tell whether something came that can't wait for a plan; for whoever makes one.

        To be called in the engine's thread, from within the policy: the policy gets what came
        here when it is done.
        """
        if self._stop.is_set() or self._requests.pressing:
            return True
        try:
            self._look()
        except TlAdaptError as error:
            if self._repeats.new(str(error)):
                self._log.error(str(error))
        return bool(self._noticed) or any(
            window.configuration is not None and self._broken(window.metrics)
            for window in self._windows
        )

    @property
    def running(self) -> bool:
        """Tell whether events that are posted will be handled."""
        thread = self._thread
        return thread is not None and thread.is_alive() and not self._stop.is_set()

    def stop(self, deadline: float = 15.0) -> bool:
        """End the thread after what it is doing; return False if it does not end in time."""
        self._stop.set()
        self._requests.wake(always=True)
        if self._thread is None:
            return True
        self._thread.join(deadline)
        return not self._thread.is_alive()

    def report(self) -> Report:
        """Return what is to be said now."""
        status = self._policy.status
        paused = status.state is State.PAUSED
        connection = self._connection
        return Report.of(
            status,
            waiting=self._obstruction.present if self._execution.open or not paused else None,
            late=self._obstruction.late,
            connecting=connection.settling,
            error=self._error,
            unfit=connection.unfit,
            settings=self.settings,
            settled=status.settled and not self._busy and not connection.settling,
            advice=self._execution.advice,
            silent=connection.silent,
            doubts=connection.doubts,
            trouble=self._journal.trouble,
            running=self.running,
        )

    # --- the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            request = self._requests.take(0.0 if self._windows else self._monitor.pace)
            try:
                if not self._stop.is_set():
                    self._turn(request)
            except TlAdaptError as error:
                self._fail(str(error))
            except Exception as error:  # the robot must not lose its adapter for one bad message
                self._fail(one_line(error))
                self._stop.wait(_REST)
            if request is not None:
                self._answer(request)
        self._execution.leave()
        if self._started:
            left = self._policy.pending
            if left is not None and not (self._execution.open or self.settings.dry_run):
                self._journal.add(Record(
                    ADAPTER, 'change called off', 'the adapter ends', left.change,
                    effect='nothing of it was sent',
                ))
            self._journal.add(Record(
                ADAPTER, 'stop', 'the adapter ends', configuration=self._policy.current
            ))
        for request in self._requests.left():
            self._answer(request)

    def _answer(self, request: Request) -> None:
        """Let whoever asked know how it ended, be it with an error."""
        if request.answer is None:
            return
        try:
            request.answer(self.report())
        except Exception as error:  # who asked may be gone
            self._log.error(f'nobody took an answer: {type(error).__name__}: {error}')

    def _turn(self, request: Request | None) -> None:
        if request is not None:
            try:
                self._handle(request.event)
            finally:
                self._requests.handled(request.event)
        if self._connection.look() or self._obstruction.is_late_now():
            self._tell()
        self._look()
        while self._noticed:
            self._handle(self._noticed.pop(0))
        if self._windows:
            self._take(self._windows.popleft())
        self._advance()

    def _look(self) -> None:
        """Collect what others did, and a window that has ended."""
        if self._started:
            self._noticed += self._watch.poll()
            self._monitor.certain(not self._watch.unsettled)
        window = self._monitor.poll()
        if window is not None:
            self._windows.append(window)

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

    def _handle(self, event: Event | SettingsChanged, *, quiet: bool = False) -> None:
        self._error = ''
        self._react(event)
        if not quiet:
            self._tell()

    def _react(self, event: Event | SettingsChanged) -> None:
        """Let the policy take an event, and have written down what came of it."""
        if isinstance(event, SettingsChanged):
            self._journal.add(Record(
                OPERATOR, 'setting', event.what, before=self._policy.current
            ))
            for each in self._set(event.settings):
                self._react(each)
            return
        own = record_of(event, self._policy.current, self._policy.state)
        if isinstance(event, (ForeignChange, NodeRestarted)):
            self._monitor.changing()
        written = []
        if self.settings.dry_run and isinstance(event, ForeignChange):
            self._advising.follow()
        else:
            if isinstance(event, Resumed) and self._started:
                if self.settings.dry_run:
                    self._advising.note_present()
                elif self._policy.current is None:
                    event = Resumed(self._advising.present())
            records = (getattr(action, 'record', None) for action in self._policy.handle(event))
            written = [record for record in records if isinstance(record, Record)]
            if self.settings.dry_run:
                written = [
                    record for each in written if (record := self._advising.record(each))
                ]
        if own is not None and (own.who, own.what) not in {(r.who, r.what) for r in written}:
            written.insert(0, own)
        for record in written:
            self._journal.add(record)

    def _set(self, settings: Settings) -> list[Event]:
        """Go by other settings from now on, and return what the policy has to know of that."""
        turned = settings.dry_run is not self.settings.dry_run
        self.settings = settings
        self._execution.dry_run = settings.dry_run
        if turned and settings.dry_run and self._started:
            self._advising.follow()
        rules = RulesChanged(settings.rules_in_force)
        if not turned or settings.dry_run:
            return [rules]
        self._execution.advice = ''
        if self._execution.half_made:
            self._policy.current = None  # it is put back first, to what the robot had before
        return [rules, AdviceTaken()]

    def _advance(self) -> None:
        """Do what can be done now of what the policy wants; every result may want more."""
        try:
            while self._may_change() and self._step():
                pass
        except (ParameterError, StoreWaitError) as error:
            self._say(self._obstruction.meet(str(error)))

    def _may_change(self) -> bool:
        return not (
            self._requests.halted or self._stop.is_set() or self._policy.state is State.PAUSED
        )

    def _step(self) -> bool:
        """Take one step towards what the policy wants; return False if there is none now."""
        if self._execution.open:
            if self.settings.dry_run:
                self._wait_for(Obstacle('a change is half undone, but a dry run sends nothing'))
                return False
            return self._settle()
        pending = self._policy.pending
        if self._started and pending is None:
            self._obstruction.met = None  # it was about a change that is gone
            missing = ', '.join(self._watch.unsettled)
            self._wait_for(Obstacle(f'waits for {missing} to be up') if missing else None)
            return False
        if not self._obstruction.due:
            return False
        self._obstruction.put_off()
        obstacle = self._execution.cut_short() or self._applier.obstacle()
        if (
            obstacle is None and pending is not None and self._monitor.goal_active
            and self._applier.waits_for_idle(pending.configuration)
        ):
            obstacle = Obstacle('waits until no mission runs')
            self._obstruction.hurry()
        self._wait_for(obstacle or self._obstruction.met)
        if obstacle is not None:
            return False
        if not self._started:
            self._begin()
            return True
        self._execution.recover()  # what had to wait for the end of a dry run
        return self._execute()

    def _begin(self) -> None:
        self._execution.recover()
        values = self._applier.read_values()
        found = self._applier.decode(values)
        self._say(self._obstruction.overcome())
        self._started = True
        if self._connection.begin():
            self._tell()
        self._watch.in_force(values)
        self._monitor.in_force(found)
        advice = None
        if self.settings.dry_run and found is not None and self._policy.memory.contains(found):
            advised = self._policy.desired
            self._execution.advice = f'{advised}'
            advice = self._advising.begin(advised, found)
            self._policy.desired = dict(found)
        self._journal.add(Record(ADAPTER, 'start', 'the robot can be set', configuration=found))
        if advice is not None:
            self._journal.add(advice)
        self._handle(Start(found, whole=self._execution.whole))

    def _execute(self) -> bool:
        """Make the change that the policy wants, and tell it how that ended."""
        change = self._policy.pending
        if change is None or not self._may_send():
            return False
        outcome = self._execution.make(change, self._policy.current, self._may_send)
        self._say(self._obstruction.overcome())
        if outcome is None:
            return False
        if not outcome.open:
            self._handle(ApplyResult(
                change.change, outcome.ok, outcome.reason, outcome.configuration, outcome.refused,
                advised=self._execution.dry_run and not outcome.ok,
            ), quiet=self._busy)
        return True

    def _may_send(self) -> bool:
        """Tell, just before a change is sent, whether nothing came that may call it off."""
        self._noticed += self._watch.poll()
        return self._may_change() and not self._noticed and not self._requests.pressing

    def _settle(self) -> bool:
        """Go on with a change that could not be undone everywhere."""
        found = self._execution.settle()
        if isinstance(found, Obstacle):
            self._wait_for(found)
            return False
        self._wait_for(None)
        self._handle(found, quiet=self._busy)
        return True

    def _wait_for(self, obstacle: Obstacle | None) -> None:
        self._say(self._obstruction.be(obstacle))

    def _say(self, news: bool) -> None:
        """Tell of what is in the way, if that is news."""
        if news and not self._busy:
            self._tell()

    def _fail(self, reason: str) -> None:
        if not self._stop.is_set():
            self._error = reason
            self._tell()

    def _tell(self) -> None:
        report = self.report()
        key = f'{report.level} {report.message}'
        fault = bool(self._error or self._connection.unfit)
        # A fault that comes again and again is one line, whatever is said in between.
        if key != self._said and (not fault or self._repeats.new(key)):
            self._said = key
            text = f'{report.status.state.value}: {report.message}'
            # Not one call for both: rclpy's loggers want one severity in each place.
            if fault or report.level is Level.ERROR:
                self._log.error(text)
            else:
                self._log.info(text)
        self._report(report)
