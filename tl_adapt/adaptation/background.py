# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for planning in a thread of its own, so that a plan never delays what is urgent.

A plan takes seconds, and the robot drives on. While it is made, somebody looks whether anything
has come that can't wait, such as a broken limit; then there is no plan this time, and the policy
goes on with a configuration that it knows.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from tl_adapt.adaptation.events import Band, Choice, Configuration, Outlook, Window
from tl_adapt.adaptation.planner import Planner
from tl_adapt.errors import TlAdaptError

T = TypeVar('T')

_LOOK = 0.05  # s between looks for what is urgent


class PlanAbandonedError(TlAdaptError):
    """Say that a plan was not waited for."""


class _Job:
    """Hold something to compute and what came of it."""

    def __init__(self, compute: Callable[[], Any]) -> None:
        self.compute = compute
        self.done = threading.Event()
        self.dropped = False
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            if not self.dropped:
                self.result = self.compute()
        except BaseException as error:  # it belongs to whoever waits
            self.error = error
        self.done.set()


class Worker:
    """
    Compute in another thread; `urgent` is asked, in the caller's, while the caller waits.

    What was abandoned is computed to its end, as nothing can stop it, and its result dropped.
    """

    def __init__(self) -> None:
        """Start the thread."""
        self.urgent: Callable[[], bool] = lambda: False
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name='planner', daemon=True).start()

    def begin(self, compute: Callable[[], Any]) -> _Job:
        """Have something computed; nobody waits for it."""
        job = _Job(compute)
        self._jobs.put(job)
        return job

    def wait(self, compute: Callable[[], T], *, patient: bool = False) -> T:
        """Have something computed and wait; raises PlanAbandonedError if something is urgent."""
        job = self.begin(compute)
        while not job.done.wait(_LOOK):
            if not patient and self.urgent():
                job.dropped = True
                raise PlanAbandonedError('something more urgent came while it was computed')
        if job.error is not None:
            raise job.error
        result: T = job.result
        return result

    def close(self) -> None:
        """End the thread after what it is doing."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.run()


class BackgroundPlanner:
    """Let a planner work in a worker's thread; planners that branch off share it."""

    def __init__(self, planner: Planner, worker: Worker) -> None:
        """Keep both."""
        self._planner = planner
        self._worker = worker
        self._preparing: _Job | None = None

    def bands(self, configuration: Configuration) -> Mapping[str, Band]:
        """Return what the present model predicts; that takes no time worth waiting for."""
        return self._planner.bands(configuration)

    def outlook(self, configuration: Configuration) -> Outlook:
        """Return what the present model predicts, which takes no time either."""
        return self._planner.outlook(configuration)

    def branch(self) -> BackgroundPlanner:
        """Return a planner of its own, which begins with the present model of this one."""
        return BackgroundPlanner(self._planner.branch(), self._worker)

    def prepare(self) -> None:
        """Compute ahead; returns at once, and raises what went wrong the last time."""
        last = self._preparing
        if last is not None and not last.done.is_set():
            return
        self._preparing = self._worker.begin(self._planner.prepare)
        if last is not None and last.error is not None:
            raise last.error

    def propose(
        self, evidence: Sequence[Window], avoid: Sequence[Configuration]
    ) -> Choice | None:
        """Return the planner's proposal; raises PlanAbandonedError if something is urgent."""
        windows, avoided = list(evidence), list(avoid)
        return self._worker.wait(lambda: self._planner.propose(windows, avoided))

    def best(
        self,
        evidence: Sequence[Window],
        anchor: Configuration,
        avoid: Sequence[Configuration],
    ) -> Choice | None:
        """Return the planner's choice; raises PlanAbandonedError if something is urgent."""
        windows, avoided = list(evidence), list(avoid)
        return self._worker.wait(lambda: self._planner.best(windows, anchor, avoided))

    def accept(self, evidence: Sequence[Window]) -> None:
        """Accept what was learnt; comes after `best`, so that little is left to compute."""
        windows = list(evidence)
        self._worker.wait(lambda: self._planner.accept(windows), patient=True)
