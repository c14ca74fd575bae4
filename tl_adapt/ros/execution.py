# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for making a change: it is noted before anything is sent, and what came of it afterwards.

An adapter that is killed in between leaves a note that the next one finds: that one puts back
what the nodes had.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from tl_adapt.adaptation.events import Apply, ApplyResult, Configuration, Event, Rollback
from tl_adapt.adaptation.records import ADAPTER, Intent, Journal, NodeValues, Record
from tl_adapt.errors import StoreError
from tl_adapt.memory_journal import NullJournal
from tl_adapt.ros.apply import Applier, Change, Obstacle, Outcome
from tl_adapt.ros.monitor import Monitor
from tl_adapt.ros.values import Snapshot

_NONE: NodeValues = MappingProxyType({})
_AGAIN = (0.2, 10.0)  # s between attempts to reach nodes that gave no answer: first and longest


class Logger(Protocol):
    """Take messages for people, as a node's logger does."""

    def info(self, message: str) -> Any:
        """Tell what was done."""

    def error(self, message: str) -> Any:
        """Tell what went wrong."""


class Watch(Protocol):
    """See what others do with the parameters; see `tl_adapt.ros.parameter_watch`."""

    @property
    def unsettled(self) -> tuple[str, ...]:
        """Return the nodes that are not there, not yet up, or give no answer."""

    def in_force(
        self, values: Snapshot, *, restarted: tuple[str, ...] = (), foreign: NodeValues = _NONE
    ) -> None:
        """Take note of what the nodes have after a change of ours."""

    def poll(self) -> list[Event]:
        """Return what happened since the last time."""


class NoWatch:
    """See nothing."""

    unsettled: tuple[str, ...] = ()

    def in_force(
        self, values: Snapshot, *, restarted: tuple[str, ...] = (), foreign: NodeValues = _NONE
    ) -> None:
        """Do nothing."""

    def poll(self) -> list[Event]:
        """Return nothing."""
        return []


@dataclasses.dataclass
class _Open:
    """Hold a change that failed, and could not be undone on all nodes yet."""

    intent: Intent
    noted: bool
    outcome: Outcome
    wait: float = _AGAIN[0]
    next_try: float = 0.0
    restarted: set[str] = dataclasses.field(default_factory=set)
    refused: dict[str, str] = dataclasses.field(default_factory=dict)


class StoreWaitError(StoreError):
    """Say that a change was put off, as it could not be noted."""


def fate(journal: Journal) -> str:
    """Return what becomes of a change that is cut short, by where it was noted."""
    if type(journal) is NullJournal:
        return 'nobody puts it back'
    return 'it is put back at the next start'


class Execution:
    """Make changes, one at a time; everything is called from the adapter's thread."""

    def __init__(
        self,
        applier: Applier,
        monitor: Monitor,
        watch: Watch,
        journal: Journal,
        *,
        applied: Callable[[Mapping[str, Mapping[str, Any]]], None],
        log: Logger,
        dry_run: bool = False,
    ) -> None:
        """Keep the parts; `applied` gets all values of each node after a change."""
        self._applier = applier
        self._monitor = monitor
        self._watch = watch
        self._journal = journal
        self._applied = applied
        self._log = log
        self.dry_run = dry_run  # whether to advise only, from now on
        self._open: _Open | None = None
        self._looked = False
        self._stuck = False  # whether nodes refused what they had before
        self._unfinished: Intent | None = None
        self.changing = False  # whether parameters are being set right now
        self.advice = ''

    @property
    def open(self) -> bool:
        """Tell whether some nodes of the last change have yet to be restored."""
        return self._open is not None

    # --- a change -----------------------------------------------------------------------------

    def make(
        self, action: Apply, previous: Configuration | None, may_send: Callable[[], bool]
    ) -> Outcome | None:
        """
        Make a change; return None if `may_send` says, at the last moment, that nothing may be.

        Raises ParameterError if a node does not answer yet, and StoreWaitError if the change
        can't be noted; a rollback does not wait for that.
        While some nodes could not be restored the outcome is for `settle` to tell.
        """
        if self.dry_run:
            return self._advise(action.configuration)
        change = self._applier.plan(action.configuration)
        if isinstance(change, Outcome):
            self._tell(action, change)
            return change
        intent = Intent(
            action.change, action.why, change.present, change.wanted, change.configuration,
            previous,
        )
        rollback = isinstance(action, Rollback)
        noted = bool(change.after) and self._note(intent, rollback)
        if not may_send():
            if noted:
                self._journal.end(intent, ok=False, reason='nothing was sent: it was called off')
            return None
        outcome = self._send(change)
        if outcome.open:
            self._open = _Open(intent, noted, outcome)
            self._log.error(f'change {action.change} is open: {outcome.reason}')
            return outcome
        if noted:
            self._journal.end(intent, ok=outcome.ok, reason=outcome.reason)
        elif change.after:
            self._journal.add(Record(
                ADAPTER, 'rollback' if rollback else 'change', action.why, action.change,
                dict(action.configuration), previous,
                f'{"applied" if outcome.ok else outcome.reason}; it could not be noted before',
            ))
        self._tell(action, outcome)
        return outcome

    def settle(self) -> ApplyResult | Obstacle:
        """Restore what is still to be restored of the last change, or say what that waits for."""
        open_change = self._open
        if open_change is None:
            return Obstacle('')
        nodes = ', '.join(open_change.outcome.open)
        obstacle = Obstacle(f'{open_change.outcome.reason}; waits for an answer of {nodes}')
        if time.monotonic() < open_change.next_try:
            return obstacle
        open_change.restarted.update(self._applier.restarting(open_change.outcome.open))
        with self._setting():
            left, refused = self._applier.reopen(open_change.outcome.open)
        open_change.refused |= refused
        open_change.wait = min(2.0 * open_change.wait, _AGAIN[1])
        open_change.next_try = time.monotonic() + open_change.wait
        open_change.outcome = dataclasses.replace(open_change.outcome, open=left)
        if left:
            return obstacle
        values = self._applier.read_values()
        self._open = None
        # What is half undone was chosen by nobody: something that is known has to be set.
        configuration = None if open_change.refused else self._applier.decode(values)
        self._watch.in_force(values, restarted=tuple(open_change.restarted))
        self._monitor.in_force(configuration)
        intent, outcome = open_change.intent, open_change.outcome
        reason = '; '.join([outcome.reason, *open_change.refused.values()])
        if open_change.noted:
            end = reason if open_change.refused else f'{reason}; restored later'
            self._journal.end(intent, ok=False, reason=end)
        where = 'where it could be' if open_change.refused else 'on all nodes'
        self._log.info(f'change {intent.change} was undone {where}: {reason}')
        return ApplyResult(intent.change, False, reason, configuration, outcome.refused)

    def leave(self) -> None:
        """Say what is left half done as the adapter ends."""
        if self._open is None:
            return
        change, nodes = self._open.intent.change, ', '.join(self._open.outcome.open)
        what = fate(self._journal if self._open.noted else NullJournal())
        self._log.error(
            f'change {change} was cut short on {nodes}, as the adapter ends; {what}'
        )

    @contextlib.contextmanager
    def _setting(self) -> Iterator[None]:
        """Tell, as long as the block runs, that parameters are being set."""
        self.changing = True
        try:
            yield
        finally:
            self.changing = False

    def _send(self, change: Change) -> Outcome:
        self._monitor.changing()
        with self._setting():
            outcome = self._applier.carry_out(change)
        self._watch.in_force(
            outcome.values, restarted=change.restarting, foreign=outcome.foreign
        )
        self._monitor.in_force(outcome.configuration)
        return outcome

    def _note(self, intent: Intent, rollback: bool) -> bool:
        if rollback and self._journal.trouble:
            return False  # trying would take its time
        try:
            self._journal.begin(intent)
        except StoreError as error:
            if rollback:
                # The robot's safety comes before the books.
                return False
            raise StoreWaitError(f'waits for the store: {error}') from error
        return True

    def _tell(self, action: Apply, outcome: Outcome) -> None:
        kind = 'rollback' if isinstance(action, Rollback) else 'change'
        if outcome.ok:
            self._log.info(f'{kind} {action.change} applied: {action.why}')
            self._applied(outcome.values)
        else:
            self._log.error(f'{kind} {action.change} failed: {outcome.reason}')

    def _advise(self, configuration: Configuration) -> Outcome:
        """Say what would be set; what is there already counts as set."""
        found = self._applier.read()
        if found == dict(configuration):
            if self.advice == f'{found}':
                self.advice = ''  # somebody took it
            return Outcome(True, configuration=found)
        self.advice = f'{dict(configuration)}'
        self._log.info(f'dry run, advises: {self.advice}')
        return Outcome(False, 'dry run, nothing was sent', found)

    # --- before the first change --------------------------------------------------------------

    @property
    def half_made(self) -> bool:
        """Tell whether a change was cut short that is not put back yet, as in a dry run."""
        return self._unfinished is not None

    @property
    def whole(self) -> bool:
        """Tell whether what the robot has is not what a change that was cut short left."""
        return self._unfinished is None and not self._stuck

    def cut_short(self) -> Obstacle | None:
        """
        Look for a change that an adapter before this one was killed in.

        Return what putting it back waits for; None if there is none, or nothing in its way.
        """
        if not self._looked:
            try:
                self._unfinished = self._journal.unfinished()
            except StoreError as error:
                return Obstacle(f'waits for the store: {error}')
            self._looked = True
        intent = self._unfinished
        if intent is None or self.dry_run:
            return None
        if self._monitor.goal_active and self._applier.disturbs_mission(
            intent.before, intent.after
        ):
            return Obstacle('waits until no mission runs, to undo a change that was cut short')
        self._applier.start_gone(intent.before, intent.after)
        return None

    def recover(self) -> None:
        """Put back what `cut_short` found; raises ParameterError if a node does not answer."""
        intent = self._unfinished
        if intent is None or self.dry_run:
            return
        with self._setting():
            outcome = self._applier.put_back(intent.before, intent.after)
        self._unfinished = None
        self._stuck = not outcome.ok
        self._watch.in_force(outcome.values)
        self._monitor.in_force(outcome.configuration)
        self._log.info(f'change {intent.change} had been cut short: {outcome.reason}')
        self._journal.end(intent, ok=False, reason=f'cut short; {outcome.reason}')
        self._journal.add(Record(
            ADAPTER, 'recovery', f'the adapter ended in the middle of a change ({intent.why})',
            intent.change, outcome.configuration, dict(intent.configuration), outcome.reason,
        ))
