# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the other side of a worker: its process, its domain, its folder."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from tl_adapt.errors import (
    ApparatusError,
    MeasurementError,
    SimulatorFailedError,
    TlAdaptError,
)
from tl_adapt.ros.isolation import Domain, child_environment, hold_domain, spawn
from tl_adapt.ros.processes import kill_session

_PREFIX = 'tl_adapt-worker-'
_END = 8.0  # s that a worker gets to end its stack
_KINDS: dict[str, type[TlAdaptError]] = {
    'apparatus': ApparatusError,
    'simulator': SimulatorFailedError,
    'measurement': MeasurementError,
}


class WorkerProcess:
    """Hold one worker process, its domain and its log folder."""

    def __init__(self, options: Mapping[str, Any], domain: Domain | None = None) -> None:
        """Start it; what is brought up is on `domain`, which goes with it, or on a free one."""
        _sweep()
        self.folder = Path(tempfile.mkdtemp(prefix=f'{_PREFIX}{os.getpid()}-'))
        self._domain: Domain | None = None
        self.variables: dict[str, str] = {}
        # Nodes that somebody else brought up are where their owner's settings say.
        if 'domain_id' in options:
            self.variables = {'ROS_DOMAIN_ID': str(options['domain_id'])}
        elif options.get('bringup'):
            self._domain = domain or hold_domain()
            self.variables = self._domain.environment()
            self.variables['ROS_LOG_DIR'] = str(self.folder / 'ros')
            # What a simulator leaves when it is killed goes with the folder.
            self.variables['TMPDIR'] = str(self.folder)
        self._sessions: list[int] = []
        self._answers: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._close_lock = threading.Lock()
        with (self.folder / 'worker.log').open('wb') as log:
            self._process: subprocess.Popen[str] = spawn(
                [sys.executable, '-X', 'faulthandler', '-m', 'tl_adapt.ros.worker'],
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

    def keep_domain(self) -> Domain | None:
        """Return the domain that this process holds; from now on it is for the caller to close."""
        domain, self._domain = self._domain, None
        return domain

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
        lines: list[str] = []
        with contextlib.suppress(OSError):
            lines = (self.folder / 'worker.log').read_text(errors='replace').strip().splitlines()
        if code < 0:
            return signal.Signals(-code).name + _place(lines)
        return f'exit code {code}' + (f': {lines[-1][:300]}' if lines else '')


def _sweep() -> None:
    """Remove the folders of workers whose process was killed before it could do that."""
    for folder in Path(tempfile.gettempdir()).glob(f'{_PREFIX}*-*'):
        owner = folder.name[len(_PREFIX):].split('-')[0]
        with contextlib.suppress(OSError):
            gone = owner.isdigit() and not psutil.pid_exists(int(owner))
            if gone and folder.stat().st_uid == os.getuid():
                shutil.rmtree(folder, ignore_errors=True)


def _place(lines: Sequence[str]) -> str:
    """Return where a crash was, as the fault handler wrote it; '' if it did not."""
    if not any(line.startswith('Fatal Python error') for line in lines):
        return ''
    crash = [n for n, line in enumerate(lines) if line.startswith('Current thread')]
    if not crash:
        return ': in a thread that runs no Python'
    return f': {lines[crash[-1] + 1].strip()[:300]}' if lines[crash[-1] + 1:] else ''


def _stream(stream: Any) -> Any:
    """Return the stream of a child; raises OSError if it has none."""
    if stream is None:
        raise OSError('the stream is not there')
    return stream
