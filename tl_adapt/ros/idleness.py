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

_BUSY = 'RDT'  # runs or could run, waits for the disk, was stopped
_BETWEEN = 0.001  # s between two looks

# Thread -> state and count of its turns.
_Look = dict[tuple[int, int], tuple[str, str]]


def look(pids: Iterable[int]) -> _Look:
    """Return state and turns of every thread of the processes; those that ended are left out."""
    found: _Look = {}
    for pid in pids:
        try:
            threads = os.listdir(f'/proc/{pid}/task')
        except OSError:
            continue
        for thread in threads:
            with contextlib.suppress(OSError, IndexError, ValueError):
                where = f'/proc/{pid}/task/{thread}'
                with open(f'{where}/stat', encoding='ascii', errors='replace') as file:
                    state = file.read().rpartition(')')[2].split()[0]
                with open(f'{where}/schedstat', encoding='ascii') as file:
                    turns = file.read().split()[2]
                found[pid, int(thread)] = (state, turns)
    return found


def wait_until_idle(
    pids: Iterable[int], deadline: float, alive: Callable[[], None] = lambda: None
) -> bool:
    """
    Wait until all threads of the processes sleep; return False if they don't within `deadline` s.

    `alive` may raise to end that. What has been sent to them before has to have arrived.
    """
    numbers = list(pids)
    end = time.monotonic() + deadline
    before = look(numbers)
    while True:
        time.sleep(_BETWEEN)
        now = look(numbers)
        # Awake between the looks, be it for a moment, means that there may be more to come.
        if now == before and not any(state in _BUSY for state, _ in now.values()):
            return True
        if time.monotonic() > end:
            return False
        alive()
        before = now
