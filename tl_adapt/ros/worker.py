# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the worker, a process that measures on one live stack: JSON lines in, JSON lines out.

The first line is {"study", "environment", "digest", "folder"}, each further one a measurement,
{"configuration", "seed", "trace"}, or {"start": true} to bring the stack up only. Every line is
answered by one with "measurement", "started" or "error"; a measurement's "spent" says that the
worker has to be replaced. Lines with "sessions" in between name the process sessions that have
been started. At the end of the input the worker ends all of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import sys
import threading
from pathlib import Path
from typing import IO, Any

import psutil

from tl_adapt.errors import (
    ApparatusError,
    MeasurementError,
    SimulatorFailedError,
    TlAdaptError,
    import_ros,
)
from tl_adapt.ros.isolation import adopt_orphans, die_with_parent
from tl_adapt.ros.processes import kill_session
from tl_adapt.study import load_study

_STACKS = {
    'stack': ('tl_adapt.ros.live_stack', 'LiveStack'),
    'replay': ('tl_adapt.ros.replay_stack', 'ReplayStack'),
}


class Worker:
    """Serve requests until the input ends."""

    def __init__(self, requests: IO[str], answers: IO[str]) -> None:
        """Read from and write to the two streams, a line each."""
        self._requests = requests
        self._answers = answers
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._busy = threading.Event()
        self._stack: Any = None  # a LiveStack

    def run(self) -> int:
        """Serve; return the exit code."""
        threading.Thread(target=self._read, daemon=True).start()
        while True:
            line = self._lines.get()
            if line is None:
                break
            self._busy.set()
            try:
                answer = self._serve(json.loads(line))
            except SimulatorFailedError as error:
                answer = {'error': error.reason, 'kind': 'simulator'}
            except ApparatusError as error:
                answer = {'error': error.reason, 'kind': 'apparatus'}
            except MeasurementError as error:
                answer = {'error': error.reason, 'kind': 'measurement'}
            except TlAdaptError as error:
                answer = {'error': str(error), 'kind': 'input'}
            finally:
                self._busy.clear()
            answer['spent'] = self._stack is not None and self._stack.spent
            self._say(answer)
            if self._stack is not None and self._stack.broken and not self._stack.spent:
                # Nothing of it may be in the next one's way, so there is no need to be gentle.
                self._stack.stop(gently=False)
        if self._stack is not None:
            self._stack.stop()
        self.kill_children()
        return 0

    def kill_children(self) -> None:
        """Kill everything that has been started, at once."""
        if self._stack is not None:
            for session in self._stack.bringup.sessions:
                kill_session(session)
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()

    def _read(self) -> None:
        """Pass lines on; when the input ends in mid-measurement, nobody waits for its result."""
        for line in self._requests:
            self._lines.put(line)
        if self._busy.is_set():
            self.kill_children()
            os._exit(1)
        self._lines.put(None)

    def _serve(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what one line asks for, and return the answer."""
        if self._stack is None:
            study = load_study(request['study'])
            if request.get('digest') not in (None, study.digest):
                raise TlAdaptError(f'{study.path} was changed while it was in use')
            # Not before: without ROS there has to be an answer, too.
            module, cls = _STACKS[study.environment(request['environment']).kind]
            live = import_ros(module, f'environment {request["environment"]}')
            self._stack = getattr(live, cls)(
                study, request['environment'], Path(request['folder'])
            )
            self._stack.bringup.on_change = self._tell_sessions
            return {'started': False}
        if request.get('start'):
            self._stack.start()
            return {'started': True}
        configuration = request['configuration']
        if configuration is not None:
            configuration = self._stack.study.space.validate(configuration)
        measurement = self._stack.measure(
            configuration, int(request['seed']), request.get('trace')
        )
        return {'measurement': measurement.to_dict()}

    def _tell_sessions(self) -> None:
        """Tell which sessions the other side has to end if this process can't."""
        if self._stack is not None:
            self._say({'sessions': self._stack.bringup.sessions})

    def _say(self, answer: dict[str, Any]) -> None:
        self._answers.write(json.dumps(answer) + '\n')
        self._answers.flush()


def main() -> int:
    """Run the worker on standard input and output."""
    # Whatever a library prints must not get between the answers.
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)
    adopt_orphans()
    worker = Worker(sys.stdin, answers)

    def give_up(*_: object) -> None:
        worker.kill_children()
        os._exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, give_up)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent(signal.SIGTERM)
    return worker.run()


if __name__ == '__main__':
    sys.exit(main())
