# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for injecting faults into the simulators of a campaign that runs in this process."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
from types import TracebackType

import psutil


def servers(root: int | None = None) -> list[psutil.Process]:
    """Return the gzservers that live below a process, this one if none is named."""
    found = []
    for process in psutil.Process(root).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if process.name() == 'gzserver' and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


_STARTED = 0.9  # s of CPU time that a gzserver has used once it simulates


def _used(process: psutil.Process) -> float:
    """Return the CPU time [s] that a process has used; 0 if it has ended."""
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


class ServerFaults:
    """
    Kill or stop gzservers below this process at random moments, while entered.

    `killed` and `stopped` count; a stopped one hangs until somebody ends it.
    """

    def __init__(self, seed: int, *, between: tuple[float, float], hang: float = 0.3) -> None:
        """Wait `between` seconds from fault to fault; `hang` is the share that is only stopped."""
        self._rng = random.Random(seed)
        self._between = between
        self._hang = hang
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.killed = self.stopped = 0

    def stop(self) -> None:
        """Inject no more."""
        self._stop.set()
        self._thread.join(10.0)

    def __enter__(self) -> ServerFaults:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End."""
        self.stop()

    def _run(self) -> None:
        while not self._stop.wait(self._rng.uniform(*self._between)):
            # One that just starts is spared, or a busy machine would never get beyond that.
            alive = [server for server in servers() if _used(server) > _STARTED]
            if not alive:
                continue
            victim, hang = self._rng.choice(alive), self._rng.random() < self._hang
            with contextlib.suppress(psutil.Error):
                victim.send_signal(signal.SIGSTOP if hang else signal.SIGKILL)
                self.stopped += hang
                self.killed += not hang
