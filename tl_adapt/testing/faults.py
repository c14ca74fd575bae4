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
            alive = servers()
            if not alive:
                continue
            victim, hang = self._rng.choice(alive), self._rng.random() < self._hang
            with contextlib.suppress(psutil.Error):
                victim.send_signal(signal.SIGSTOP if hang else signal.SIGKILL)
                self.stopped += hang
                self.killed += not hang
