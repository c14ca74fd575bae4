# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for noticing a simulation that comes to a standstill, or nearly so."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from tl_adapt.errors import InputError, SimulatorFailedError

STALL_TIMEOUT = 4.0  # s of wall time
MINIMUM = 0.01  # real-time factor; software that answers no scan still lets it be 0.05
_STRIDE = 0.1  # s of wall time between the samples that are kept


class ProgressWatch:
    """Watch the real-time factor over the last few seconds of wall time."""

    def __init__(
        self,
        now: Callable[[], int],
        *,
        stall_timeout: float = STALL_TIMEOUT,
        minimum: float = MINIMUM,
        wall: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Begin to watch; `now` gives the sim time [ns], `wall` the wall time [s].

        stall_timeout [s, wall]: the stretch over which the real-time factor is taken, which has
        to be at least `minimum`. A sim time that goes back (a reset) begins a new stretch.
        Raises InputError unless both are positive numbers.
        """
        for key, value in (('stall_timeout', stall_timeout), ('minimum', minimum)):
            if not 0 < value < float('inf'):
                raise InputError('must be a positive number', key=key, value=value)
        self._now = now
        self._wall = wall
        self._timeout = stall_timeout
        self._minimum = minimum
        self._lock = threading.Lock()
        self._samples: deque[tuple[float, int]] = deque()

    def stop(self) -> None:
        """End; nothing has to be done for that."""

    def look(self) -> None:
        """
        Raise SimulatorFailedError if the factor has been too low for the whole stretch.

        From any thread, as whoever waits for something looks.
        """
        with self._lock:
            self._look()

    def _look(self) -> None:
        wall, sim = self._wall(), self._now()
        samples = self._samples
        if samples and sim < samples[-1][1]:
            samples.clear()
        if not samples or wall - samples[-1][0] >= _STRIDE:
            samples.append((wall, sim))
        # The oldest sample that is kept is the newest one that covers the stretch.
        while len(samples) > 1 and samples[1][0] <= wall - self._timeout:
            samples.popleft()
        first_wall, first_sim = samples[0]
        passed = wall - first_wall
        if passed < self._timeout:
            return
        factor = (sim - first_sim) * 1e-9 / passed
        if factor < self._minimum:
            what = 'stands still' if sim == first_sim else f'runs at {factor:.2g} times real time'
            raise SimulatorFailedError(
                f'the simulation {what}: at least {self._minimum:g} times real time must hold '
                f'over {self._timeout:g} s of wall time'
            )
