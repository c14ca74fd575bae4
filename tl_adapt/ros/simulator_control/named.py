# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for simulators of which a study names the services that control time, and no more."""

from __future__ import annotations

from collections.abc import Mapping

from std_srvs.srv import Empty

from tl_adapt.ros.simulator_control.base import ControlError
from tl_adapt.ros.simulator_control.caller import Caller
from tl_adapt.simulators.base import EntityState

VERBS = ('pause', 'unpause', 'reset')


class NamedServices:
    """
    Control time with services of std_srvs/Empty under any names, of those that there are.

    Follows the protocol SimulatorControl.
    """

    interface = 'services'

    def __init__(self, caller: Caller, names: Mapping[str, str]) -> None:
        """Call the services of `names`: pause, unpause and reset, or some of them."""
        self._caller = caller
        self._names = {verb: name for verb, name in names.items() if verb in VERBS}

    def features(self) -> frozenset[str]:
        """Return what there are services for."""
        able = {'reset'} & set(self._names)
        return frozenset(able | ({'pause'} if {'pause', 'unpause'} <= set(self._names) else set()))

    def wait_until_ready(self) -> None:
        """Wait until the named services are there."""
        for name in self._names.values():
            self._caller.wait_for(Empty, name)

    def pause(self) -> None:
        """Let time stand still."""
        self._call('pause')

    def resume(self) -> None:
        """Let time go on."""
        self._call('unpause')

    def reset(self) -> None:
        """Put the simulation back to its start."""
        self._call('reset')

    def step(self, steps: int) -> None:
        """Raise ControlError."""
        raise self._unable('to step')

    def spawn(self, name: str, sdf_xml: str, state: EntityState) -> str:
        """Raise ControlError."""
        raise self._unable('to spawn')

    def delete(self, name: str) -> None:
        """Raise ControlError."""
        raise self._unable('to delete')

    def entities(self) -> list[str]:
        """Raise ControlError."""
        raise self._unable('to list entities')

    def state(self, name: str) -> EntityState:
        """Raise ControlError."""
        raise self._unable('to get a state')

    def set_state(self, name: str, state: EntityState) -> None:
        """Raise ControlError."""
        raise self._unable('to set a state')

    def real_time_factor(self, window: float = 1.0) -> float:
        """Return simulated s per wall s of the next `window` [s], 0 while nothing moves."""
        return self._caller.real_time_factor(window)

    def close(self) -> None:
        """Leave the graph."""
        self._caller.close()

    def _call(self, verb: str) -> None:
        if verb not in self._names:
            raise self._unable(f'to {verb}')
        self._caller.call(Empty, self._names[verb])

    def _unable(self, what: str) -> ControlError:
        rule = f'no service {what} is named; the interfaces auto, gazebo and'
        return ControlError(f'{rule} simulation_interfaces find more', 'unsupported')
