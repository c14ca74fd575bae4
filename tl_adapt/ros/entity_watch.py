# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for watching a simulated robot's true state while a mission runs."""

from __future__ import annotations

import math
import threading

from tl_adapt.errors import MeasurementError, SimulatorFailedError
from tl_adapt.ros.simulator_control.base import SimulatorControl
from tl_adapt.simulators.base import EntityState, finite
from tl_adapt.simulators.rotations import tilt_of

_JOIN = 5.0  # s
_PERIOD = 0.5  # s of wall time between two looks
_FALLEN = math.radians(60)  # tilt from which a robot on wheels does not come up again
_FAR = 1000.0  # m; nothing that a mission is about is so far away


def ailment(name: str, state: EntityState) -> str:
    """Return why an entity in this state is lost, empty if it is well."""
    if not finite((*state.position, *state.orientation, *state.linear, *state.angular)):
        return f'the physics diverged: {name} has a NaN pose'
    if max(map(abs, state.position)) > _FAR:
        where = [round(value, 1) for value in state.position]
        return f'the physics diverged: {name} is at {where} m'
    tilt = tilt_of(state.orientation)
    if tilt > _FALLEN:
        return f'{name} has fallen over: tilted by {math.degrees(tilt):.0f} deg'
    return ''


class EntityWatch:
    """Ask the simulator for an entity's state again and again, in a thread of its own."""

    def __init__(self, control: SimulatorControl, name: str) -> None:
        """Begin; the control's calls have deadlines, so the thread ends soon after `stop`."""
        self._control = control
        self._name = name
        self._problem = ''
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name='entity-watch', daemon=True)
        self._thread.start()

    def look(self) -> None:
        """Raise SimulatorFailedError if the entity is lost, or its state can't be had."""
        if self._problem:
            raise SimulatorFailedError(self._problem)

    def stop(self) -> None:
        """End the thread; one that still waits for an answer gets a moment."""
        self._stop.set()
        self._thread.join(_JOIN)

    def _run(self) -> None:
        while not self._problem and not self._stop.wait(_PERIOD):
            try:
                problem = ailment(self._name, self._control.state(self._name))
            except MeasurementError as error:
                problem = error.reason
            except Exception as error:  # a watch must not end in silence
                problem = f'{self._name} can not be watched: {type(error).__name__}: {error}'
            if not self._stop.is_set():
                self._problem = problem
