# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for live stacks, simulated or real: a worker process of its own measures on each."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tl_adapt.apparatus import RETRIES
from tl_adapt.environments.base import Measurement
from tl_adapt.environments.worker_process import WorkerProcess
from tl_adapt.errors import (
    ApparatusError,
    InputError,
    MeasurementError,
    TlAdaptError,
)

if TYPE_CHECKING:
    from tl_adapt.ros.isolation import Domain
    from tl_adapt.study import Study

_STARTUP = 60.0
_MARGIN = 60.0  # s that a worker gets beyond the stack's start and the mission
_CLOSED = 'the environment was closed'


class StackEnvironment:
    """
    Measure on a live ROS graph through a worker process, in a ROS domain of its own.

    The stack stays up between measurements. After a crash the next measurement gets a new one.
    Nothing here imports rclpy.
    """

    needs_mission = True

    def __init__(
        self, study: Study, name: str, *, worker: int = 0, traces: Path | str | None = None
    ) -> None:
        """
        Prepare only; the first measurement, or `start`, brings the stack up.

        Traces are kept in the folder `traces` if there is one. Raises InputError if the study
        has no mission.
        """
        if study.mission is None and self.needs_mission:
            raise InputError('a stack needs a mission', file=study.path, key='mission')
        self.name = name
        self.traces = None if traces is None else Path(traces)
        self._study = study
        self._spec = study.environment(name)
        self.retries = int(self._spec.options.get('retries', RETRIES))
        self._number = worker
        self._worker: WorkerProcess | None = None
        self._domain: Domain | None = None  # of a worker that has to be replaced
        self._closed = False
        self._lock = threading.Lock()

    def environment(self) -> dict[str, str]:
        """
        Return the environment variables that processes need to join the stack's graph.

        They hold until the stack is brought up anew. Brings the stack up if it is down.
        """
        self.start()
        worker = self._worker
        return {} if worker is None else dict(worker.variables)

    def start(self) -> None:
        """Bring the stack up; raises ApparatusError if it does not come up."""
        with self._lock:
            worker = self._ready_worker()
            try:
                worker.ask({'start': True}, self._deadline(mission=False))
            except MeasurementError:
                self._discard()
                raise

    def measure(
        self,
        configuration: Mapping[str, Any] | None,
        seed: int,
        *,
        trace: Path | str | None = None,
    ) -> Measurement:
        """
        Run one mission with a configuration; None leaves the parameters as they are.

        Raises InputError if the configuration is outside of the study's space; ApparatusError if
        the worker dies, the stack does not come up or the simulator gives no answer. The next
        measurement gets a new stack then. A measurement that `close` ends is invalid.
        """
        if configuration is not None:
            configuration = self._study.space.validate(configuration)
        started = datetime.datetime.now(datetime.timezone.utc)
        if trace is None and self.traces is not None:
            trace = self.traces / f'{self.name}-{started:%Y%m%dT%H%M%S%f}-{seed}.npz'
        request = {
            'configuration': configuration,
            'seed': seed,
            'trace': None if trace is None else str(Path(trace).absolute()),
        }
        begun = time.monotonic()
        with self._lock:
            try:
                worker = self._ready_worker()
                answer = worker.ask(request, self._deadline())
                result = Measurement.from_dict(answer['measurement'])
                if answer['spent']:
                    # Who joined the graph is told that the stack is another, not left alone.
                    self._domain = worker.keep_domain()
                    self._discard()
            except MeasurementError as error:
                self._discard()
                if isinstance(error, ApparatusError) and not self._closed:
                    raise
                result = Measurement(
                    self.name,
                    dict(configuration or {}),
                    seed,
                    valid=False,
                    reason=_CLOSED if self._closed else error.reason,
                    cost=self._spec.cost,
                    started=started.isoformat(),
                    wall_time=time.monotonic() - begun,
                )
        result.provenance['worker'] = self._number
        return result

    def close(self) -> None:
        """End the stack, also in mid-measurement; a second call does nothing."""
        self._closed = True
        worker = self._worker
        if worker is not None:
            worker.close(gently=not self._lock.locked())
        # A measurement under way ends now, because its worker has.
        with self._lock:
            self._discard()
            if self._domain is not None:
                self._domain.close()

    def _deadline(self, *, mission: bool = True) -> float:
        """Return how long one request may take, in s."""
        seconds = float(self._spec.options.get('startup_timeout', _STARTUP))
        if 'lifecycle_nodes' in self._spec.options:
            # To be there, to be taken down, to be brought up, to be active: each may take as long.
            seconds *= 4
        return seconds + _MARGIN + (self._mission_time() if mission else 0.0)

    def _reading_time(self) -> float:
        """Return how long a worker may take to learn what it measures, in s."""
        return _STARTUP

    def _mission_time(self) -> float:
        """Return how long what is measured may take, in s of wall time."""
        return 0.0 if self._study.mission is None else self._study.mission.wall_timeout

    def _ready_worker(self) -> WorkerProcess:
        """Return a worker that lives; raises MeasurementError if the environment is closed."""
        if self._closed:
            raise MeasurementError(_CLOSED)
        if self._worker is not None and not self._worker.alive:
            self._discard()
        if self._worker is None:
            domain, self._domain = self._domain, None
            self._worker = WorkerProcess(self._spec.options, domain)
            if self._closed:
                # `close` came too early to see this worker.
                self._discard()
                raise MeasurementError(_CLOSED)
            head = {
                'study': str(Path(self._study.path).absolute()),
                'environment': self.name,
                'digest': self._study.digest,
                'folder': str(self._worker.folder),
            }
            try:
                self._worker.ask(head, self._reading_time())
            except TlAdaptError:
                self._discard()
                raise
        return self._worker

    def _discard(self) -> None:
        """End the worker, if there is one, and all that it started."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.close(gently=False)
