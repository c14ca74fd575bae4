# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for a dry run: nothing is sent, and who is only advised may set what he likes."""

from __future__ import annotations

import dataclasses

from tl_adapt.adaptation.events import Configuration, Paused, Resumed, State
from tl_adapt.adaptation.records import ADAPTER, Record
from tl_adapt.policy import Policy
from tl_adapt.ros.apply import Applier
from tl_adapt.ros.execution import Logger
from tl_adapt.ros.monitor import Monitor
from tl_adapt.ros.parameters import ParameterError

ADVICE = 'advice'  # what a record is called that a dry run makes of a change


class Advising:
    """Let the policy go on from what the robot has, whoever set it."""

    def __init__(self, policy: Policy, applier: Applier, monitor: Monitor, log: Logger) -> None:
        """Keep the parts; everything is called from the adapter's thread."""
        self._policy = policy
        self._applier = applier
        self._monitor = monitor
        self._log = log
        self._advised: Configuration | None = None
        self._found: Configuration | None = None

    def begin(self, advised: Configuration, found: Configuration) -> Record | None:
        """Return the record of the first advice, with what was found on the robot."""
        self._found = dict(found)
        return self.record(Record(
            ADAPTER, 'change', 'chosen by the model', configuration=advised, before=found
        ))

    def record(self, record: Record) -> Record | None:
        """
        Return a record as it is to be written in a dry run, None for what did not happen.

        The same advice is written once, not with each window that gives it again.
        """
        found = _as_advice(record)
        if found is None or found.what != ADVICE:
            return found
        if found.configuration == self._advised:
            return None
        if found.before is None and found.configuration == self._found:
            return None  # it is there
        self._advised = found.configuration
        return found

    def follow(self) -> None:
        """Advise from what is there now, and drop what was wanted."""
        self._advised = None
        paused = self._policy.state is State.PAUSED
        self._policy.handle(Paused('only advises'))
        self.note_present()
        if not paused:
            self._policy.handle(Resumed())

    def note_present(self) -> None:
        """Let what the robot has be what it is meant to have."""
        found = self._read()
        self._monitor.in_force(found)
        if found is not None and self._policy.memory.contains(found):
            self._policy.desired = dict(found)


    def present(self) -> Configuration | None:
        """Return what the robot has, which is watched from now on; None if that is not known."""
        found = self._read()
        if found is not None:
            self._monitor.in_force(found)
        return found

    def _read(self) -> Configuration | None:
        try:
            return self._applier.read()
        except ParameterError as error:
            self._log.error(str(error))
            return None


def _as_advice(record: Record) -> Record | None:
    if record.what == 'change failed':
        return None
    if record.what not in ('change', 'rollback'):
        return record
    if record.configuration == record.before:
        return None
    return dataclasses.replace(record, what=ADVICE, change=None)
