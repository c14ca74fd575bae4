# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what every way to control a simulator has in common."""

from __future__ import annotations

from typing import Protocol

from tl_adapt.errors import ApparatusError
from tl_adapt.simulators.base import EntityState

FEATURES = (
    'pause',  # and resume
    'step',
    'reset',
    'spawn',
    'delete',
    'list',
    'get_state',
    'set_state',
)


class ControlError(ApparatusError):
    """
    Say why a simulator did not do what it was asked to.

    code: 'missing' (nobody offers the service, or its type is not installed here), 'ambiguous'
    (more than one simulator offers it), 'unsupported', 'unknown' (no such entity), 'exists' (the
    name is taken), 'parse' (the description can not be read), 'invalid' (a state or name that
    makes no sense), 'state' (not while the simulation runs, or not while it is paused), 'silent'
    (no answer in time) or 'failed'.
    """

    def __init__(self, reason: str, code: str = 'failed') -> None:
        """Store reason and code."""
        super().__init__(reason)
        self.code = code


class SimulatorControl(Protocol):
    """
    Control a simulator: its time, and what stands in its world.

    Each call waits for its answer, but no longer than a deadline, while another thread spins the
    node; raises ControlError, if the simulator refuses or gives no answer. Of a simulator that is
    not ours one thing is not known here: whether a reset leaves what was spawned where it is
    (Gazebo classic does) or removes it (the standard says so).
    """

    interface: str

    def features(self) -> frozenset[str]:
        """Return what this simulator can do, of FEATURES."""

    def pause(self) -> None:
        """Let time stand still; nothing happens if it does."""

    def resume(self) -> None:
        """Let time go on; nothing happens if it does."""

    def step(self, steps: int) -> None:
        """Simulate so many steps of the physics while paused."""

    def reset(self) -> None:
        """Put the simulation back to its start, time included where that can be done."""

    def spawn(self, name: str, sdf_xml: str, state: EntityState) -> str:
        """
        Add a model described in SDF, with no pose of its own, at a pose; return its name.

        Simulators differ in whether a pose in the description is added or replaced.
        """

    def delete(self, name: str) -> None:
        """Remove an entity."""

    def entities(self) -> list[str]:
        """Return the names of all entities."""

    def state(self, name: str) -> EntityState:
        """Return the true state of an entity in the world; for the robot the ground truth."""

    def set_state(self, name: str, state: EntityState) -> None:
        """Put an entity elsewhere at once."""

    def real_time_factor(self, window: float = 1.0) -> float:
        """Return simulated s per wall s of the next `window` [s], 0 while nothing moves."""

    def wait_until_ready(self) -> None:
        """Wait until the services are there that the control of time needs."""

    def close(self) -> None:
        """Leave the graph."""
