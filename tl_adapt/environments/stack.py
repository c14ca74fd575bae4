# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for live stacks, simulated or real: a worker process of its own measures on each."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from tl_adapt.apparatus import RETRIES
from tl_adapt.environments.base import Measurement
from tl_adapt.errors import (
    ApparatusError,
    InputError,
    MeasurementError,
    SimulatorFailedError,
    TlAdaptError,
)
from tl_adapt.ros.isolation import Domain, child_environment, hold_domain, spawn
from tl_adapt.ros.processes import kill_session

if TYPE_CHECKING:
    from tl_adapt.study import Study

_PREFIX = 'tl_adapt-worker-'
_STARTUP = 60.0
_MARGIN = 60.0  # s that a worker gets beyond the stack's start and the mission
_END = 8.0  # s that a worker gets to end its stack
_KINDS: dict[str, type[TlAdaptError]] = {
    'apparatus': ApparatusError,
    'simulator': SimulatorFailedError,
    'measurement': MeasurementError,
}
_CLOSED = 'the environment was closed'


class StackEnvironment:
    """
    Measure on a live ROS graph through a worker process, in a ROS domain of its own.

    The stack stays up between measurements. After a crash the next measurement gets a new one.
    Nothing here imports rclpy.
    """

    def __init__(
        self, study: Study, name: str, *, worker: int = 0, traces: Path | str | None = None
    ) -> None:
        """
        Prepare only; the first measurement, or `start`, brings the stack up.

        Traces are kept in the folder `traces` if there is one. Raises InputError if the study
        has no mission.
        """
        if study.mission is None:
            raise InputError('a stack needs a mission', file=study.path, key='mission')
        self.name = name
        self.traces = None if traces is None else Path(traces)
        self._study = study
        self._spec = study.environment(name)
        self.retries = int(self._spec.options.get('retries', RETRIES))
        self._number = worker
        self._worker: _WorkerProcess | None = None
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
                answer = self._ready_worker().ask(request, self._deadline())
                result = Measurement.from_dict(answer['measurement'])
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

    def _deadline(self, *, mission: bool = True) -> float:
        """Return how long one request may take, in s."""
        seconds = float(self._spec.options.get('startup_timeout', _STARTUP))
        if 'lifecycle_nodes' in self._spec.options:
            # To be there, to be taken down, to be brought up, to be active: each may take as long.
            seconds *= 4
        seconds += _MARGIN
        if mission and self._study.mission is not None:
            seconds += self._study.mission.wall_timeout
        return seconds

    def _ready_worker(self) -> _WorkerProcess:
        """Return a worker that lives; raises MeasurementError if the environment is closed."""
        if self._closed:
            raise MeasurementError(_CLOSED)
        if self._worker is not None and not self._worker.alive:
            self._discard()
        if self._worker is None:
            self._worker = _WorkerProcess(self._spec.options)
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
                self._worker.ask(head, _STARTUP)
            except TlAdaptError:
                self._discard()
                raise
        return self._worker

    def _discard(self) -> None:
        """End the worker, if there is one, and all that it started."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.close(gently=False)


class _WorkerProcess:
    """Hold one worker process, its domain and its log folder."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        _sweep()
        self.folder = Path(tempfile.mkdtemp(prefix=f'{_PREFIX}{os.getpid()}-'))
        self._domain: Domain | None = None
        self.variables: dict[str, str] = {}
        # Nodes that somebody else brought up are where their owner's settings say.
        if 'domain_id' in options:
            self.variables = {'ROS_DOMAIN_ID': str(options['domain_id'])}
        elif options.get('bringup'):
            self._domain = hold_domain()
            self.variables = self._domain.environment()
            self.variables['ROS_LOG_DIR'] = str(self.folder / 'ros')
            # What a simulator leaves when it is killed goes with the folder.
            self.variables['TMPDIR'] = str(self.folder)
        self._sessions: list[int] = []
        self._answers: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._close_lock = threading.Lock()
        with (self.folder / 'worker.log').open('wb') as log:
            self._process: subprocess.Popen[str] = spawn(
                [sys.executable, '-m', 'tl_adapt.ros.worker'],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=child_environment(self.variables),
            )
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def alive(self) -> bool:
        """Say whether the process runs."""
        return self._process.poll() is None

    def ask(self, request: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """
        Send one request and return its answer.

        Raises ApparatusError if the worker dies, does not answer in time or could not measure;
        MeasurementError with the reason that it gives; TlAdaptError if it refuses the request.
        """
        with contextlib.suppress(OSError, ValueError):  # it has died; the answer will tell
            _stream(self._process.stdin).write(json.dumps(request) + '\n')
            _stream(self._process.stdin).flush()
        try:
            answer = self._answers.get(timeout=seconds)
        except queue.Empty:
            raise ApparatusError(
                f'wall time-out: the worker gave no answer within {seconds:g} s'
            ) from None
        if answer is None:
            raise ApparatusError(f'the worker died ({self._end_of_life()})')
        if 'error' in answer:
            raise _KINDS.get(str(answer.get('kind')), TlAdaptError)(answer['error'])
        return answer

    def close(self, *, gently: bool) -> None:
        """End the worker and what it started; `gently` lets the stack's nodes shut down."""
        with self._close_lock:
            with contextlib.suppress(OSError):
                _stream(self._process.stdin).close()
            if self.alive and not gently:
                self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_END)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            for session in self._sessions:
                kill_session(session)
            self._sessions = []
            if self._domain is not None:
                self._domain.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _read(self) -> None:
        """Take the worker's lines; None says that there will be no more."""
        for line in _stream(self._process.stdout):
            with contextlib.suppress(ValueError):
                answer = json.loads(line)
                if 'sessions' in answer:
                    self._sessions = answer['sessions']
                else:
                    self._answers.put(answer)
        self._answers.put(None)

    def _end_of_life(self) -> str:
        """Return how the process ended, with the last line that it wrote."""
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return 'it closed its output'
        if code < 0:
            return signal.Signals(-code).name
        lines: list[str] = []
        with contextlib.suppress(OSError):
            lines = (self.folder / 'worker.log').read_text(errors='replace').strip().splitlines()
        return f'exit code {code}' + (f': {lines[-1][:300]}' if lines else '')


def _sweep() -> None:
    """Remove the folders of workers whose process was killed before it could do that."""
    for folder in Path(tempfile.gettempdir()).glob(f'{_PREFIX}*-*'):
        owner = folder.name[len(_PREFIX):].split('-')[0]
        with contextlib.suppress(OSError):
            gone = owner.isdigit() and not psutil.pid_exists(int(owner))
            if gone and folder.stat().st_uid == os.getuid():
                shutil.rmtree(folder, ignore_errors=True)


def _stream(stream: Any) -> Any:
    """Return the stream of a child; raises OSError if it has none."""
    if stream is None:
        raise OSError('the stream is not there')
    return stream
