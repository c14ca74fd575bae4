# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for telling from outside whether software has nothing left to do.

A process whose threads all sleep, and have not run between two looks, waits for something: what it
was sent before is done. The kernel tells both (Linux, `man 5 proc`: the state in `stat`, how often
a thread was given the processor in `schedstat`).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable

_BUSY = b'RDT'  # runs or could run, waits for the disk, was stopped
_BETWEEN = 0.001  # s between two looks
_LONGEST = 4096  # bytes

# Thread -> state and count of its turns.
_Look = dict[tuple[int, str], tuple[bytes, bytes]]


class Idleness:
    """Look at the threads of processes, again and again."""

    def __init__(self, pids: Iterable[int]) -> None:
        """Look at these processes, until `close`."""
        self._pids = list(pids)
        # To open a file takes longer than to read it.
        self._files: dict[tuple[int, str], tuple[int, int]] = {}

    def wait(self, deadline: float, alive: Callable[[], None] = lambda: None) -> bool:
        """
        Wait until all threads sleep; return False if they don't within `deadline` s.

        `alive` may raise to end that. What has been sent to the processes has to have arrived.
        """
        end = time.monotonic() + deadline
        before = self._look()
        while True:
            time.sleep(_BETWEEN)
            now = self._look()
            # Awake between the looks, be it for a moment, means that there may be more to come.
            if now == before and not any(state in _BUSY for state, _ in now.values()):
                return True
            if time.monotonic() > end:
                return False
            alive()
            before = now

    def close(self) -> None:
        """Forget the processes; a second call does nothing."""
        for key in list(self._files):
            self._forget(key)

    def _look(self) -> _Look:
        """Return state and turns of every thread; those that ended are left out."""
        found: _Look = {}
        for pid in self._pids:
            try:
                threads = os.listdir(f'/proc/{pid}/task')
            except OSError:
                continue
            for thread in threads:
                key = pid, thread
                try:
                    state, turns = self._files.get(key) or self._open(key)
                    found[key] = (
                        os.pread(state, _LONGEST, 0).rpartition(b')')[2].split()[0],
                        os.pread(turns, _LONGEST, 0).split()[2],
                    )
                except (OSError, IndexError):
                    self._forget(key)
        return found

    def _open(self, key: tuple[int, str]) -> tuple[int, int]:
        where = f'/proc/{key[0]}/task/{key[1]}'
        state = os.open(f'{where}/stat', os.O_RDONLY | os.O_CLOEXEC)
        try:
            turns = os.open(f'{where}/schedstat', os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            os.close(state)
            raise
        self._files[key] = state, turns
        return state, turns

    def _forget(self, key: tuple[int, str]) -> None:
        for number in self._files.pop(key, ()):
            with contextlib.suppress(OSError):
                os.close(number)
