# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for controlling a simulator over ROS 2's standard, simulation_interfaces.

Written against its definitions from 1.0 to 2.1, whose fields differ, and what simulators do with
them: ros_gz answers with fewer codes than the definitions name, and to a step when it has begun;
Isaac Sim makes two steps of one, and lets time go on after a reset.
"""

from __future__ import annotations

import time
from typing import Any

from tl_adapt.ros.entity_states import read_state, write_state
from tl_adapt.ros.optional_interfaces import simulation_interfaces
from tl_adapt.ros.simulator_control.base import ControlError
from tl_adapt.ros.simulator_control.caller import Caller
from tl_adapt.ros.simulator_control.graph import of_kind, offers
from tl_adapt.simulators.base import EntityState

PACKAGE = 'simulation_interfaces'
_STILL = 10.0  # s longer than a step's answer that time may go on
# What has to be among the simulator's features, and the service it is done with.
_NEEDS = {
    'pause': ('SIMULATION_STATE_PAUSE', 'SetSimulationState'),
    'step': ('STEP_SIMULATION_SINGLE', 'StepSimulation'),
    'reset': ('SIMULATION_RESET', 'ResetSimulation'),
    'spawn': ('SPAWNING', 'SpawnEntity'),
    'delete': ('DELETING', 'DeleteEntity'),
    'get_state': ('ENTITY_STATE_GETTING', 'GetEntityState'),
    'set_state': ('ENTITY_STATE_SETTING', 'SetEntityState'),
}
_SPAWN_CODES = {
    'NAME_NOT_UNIQUE': 'exists',
    'NAME_INVALID': 'invalid',
    'NAMESPACE_INVALID': 'invalid',
    'INVALID_POSE': 'invalid',
    'UNSUPPORTED_FORMAT': 'unsupported',
    'UNSUPPORTED_ASSETS': 'unsupported',
    'NO_RESOURCE': 'parse',
    'RESOURCE_PARSE_ERROR': 'parse',
}


class InterfacesControl:
    """
    Control a simulator that offers simulation_interfaces.

    Follows the protocol SimulatorControl.
    """

    interface = PACKAGE

    def __init__(self, caller: Caller, root: str) -> None:
        """Call the services below `root`, whatever their names are there; asks for nothing yet."""
        self._caller = caller
        self._root = root
        self._names: dict[str, str] = {}
        self._listed: frozenset[int] | None = None

    def features(self) -> frozenset[str]:
        """Return what the simulator says that it can do."""
        listed, names = self._features(), self._constants('SimulatorFeatures')
        able = {f for f, (needed, _) in _NEEDS.items() if getattr(names, needed) in listed}
        return frozenset(able | {'list'})

    def wait_until_ready(self) -> None:
        """Wait until time can be controlled."""
        self._features()
        self._service('SetSimulationState')

    def pause(self) -> None:
        """Let time stand still."""
        self._need('pause')
        self._go_to('STATE_PAUSED')

    def resume(self) -> None:
        """Let time go on."""
        self._go_to('STATE_PLAYING')

    def reset(self) -> None:
        """Put all back to the start, spawned entities and time included."""
        self._need('reset')
        still = not self._playing()
        self._call('ResetSimulation')
        if still and self._playing():  # Isaac Sim lets time go on after each reset
            self.pause()

    def step(self, steps: int) -> None:
        """Simulate so many steps of the physics while paused."""
        if steps < 0:
            raise ControlError(f'steps must not be negative, got {steps}', 'invalid')
        self._need('step')
        if steps == 0:  # which is an error for some simulators
            return
        several = self._constants('SimulatorFeatures').STEP_SIMULATION_MULTIPLE in self._features()
        for _ in range(1 if several else steps):
            codes = {'RESULT_OPERATION_FAILED': 'state', 'RESULT_INCORRECT_STATE': 'state'}
            number = steps if several else 1
            # So many steps may take a while; that the node is gone shows otherwise.
            self._call('StepSimulation', codes, more=0.1 * number, steps=number)
            self._wait_until_still()

    def spawn(self, name: str, sdf_xml: str, state: EntityState) -> str:
        """Add a model described in SDF at a pose; return its name."""
        self._need('spawn')
        kind, _ = self._service('SpawnEntity')
        request = kind.Request(name=name)
        # From 2.0 on both ways to give a resource are in a message of their own.
        getattr(request, 'entity_resource', request).resource_string = sdf_xml
        write_state(state, request.initial_pose.pose)
        answer = self._call('SpawnEntity', _SPAWN_CODES, request)
        return answer.entity_name or name

    def delete(self, name: str) -> None:
        """Remove an entity."""
        self._need('delete')
        self._call('DeleteEntity', entity=name)

    def entities(self) -> list[str]:
        """Return the names of all entities."""
        return [str(name) for name in self._call('GetEntities', listing='entities').entities]

    def state(self, name: str) -> EntityState:
        """Return the true state of an entity in the world."""
        self._need('get_state')
        state = self._call('GetEntityState', entity=name).state
        return read_state(state.pose, state.twist)

    def set_state(self, name: str, state: EntityState) -> None:
        """Put an entity elsewhere at once."""
        self._need('set_state')
        kind, _ = self._service('SetEntityState')
        request = kind.Request(entity=name)
        write_state(state, request.state.pose, request.state.twist)
        for flag in ('set_pose', 'set_twist'):  # since 2.1; nothing is set without
            if hasattr(request, flag):
                setattr(request, flag, True)
        self._call('SetEntityState', {'INVALID_POSE': 'invalid'}, request)

    def real_time_factor(self, window: float = 1.0) -> float:
        """Return simulated s per wall s of the next `window` [s], 0 while nothing moves."""
        return self._caller.real_time_factor(window)

    def close(self) -> None:
        """Leave the graph."""
        self._caller.close()

    def _features(self) -> frozenset[int]:
        """Return what the simulator lists, asking only once."""
        if self._listed is None:
            kind, name = self._service('GetSimulatorFeatures')
            self._listed = frozenset(self._caller.call(kind, name).features.features)
        return self._listed

    def _need(self, feature: str) -> None:
        constant, kind = _NEEDS[feature]
        if getattr(self._constants('SimulatorFeatures'), constant) not in self._features():
            text = f'the simulator does not list the feature {constant}, needed for {kind}'
            raise ControlError(text, 'unsupported')

    def _go_to(self, state: str) -> None:
        kind, _ = self._service('SetSimulationState')
        request = kind.Request()
        request.state.state = getattr(self._constants('SimulationState'), state)
        # To be there already is fine; and so is standing still at the start, where some
        # simulators can not be paused.
        passed = ['ALREADY_IN_TARGET_STATE']
        if state == 'STATE_PAUSED':
            passed.append('INCORRECT_TRANSITION')
        answer = self._call('SetSimulationState', {}, request, passed=passed)
        refused = answer.result.result != self._constants('Result').RESULT_OK
        if refused and state == 'STATE_PAUSED' and self._playing():
            raise ControlError('the simulator was told to pause, but plays on', 'failed')

    def _playing(self) -> bool:
        """Say whether time goes on, False where the simulator does not tell."""
        if self._constants('SimulatorFeatures').SIMULATION_STATE_GETTING not in self._features():
            return False
        state = self._call('GetSimulationState').state.state
        return bool(state == self._constants('SimulationState').STATE_PLAYING)

    def _wait_until_still(self) -> None:
        """Wait until the steps are done: some simulators answer when they have begun."""
        end = time.monotonic() + self._caller.deadline + _STILL
        while self._playing():
            if time.monotonic() > end:
                raise ControlError('the simulation goes on after a step', 'state')
            time.sleep(0.01)

    def _call(
        self,
        kind_name: str,
        codes: dict[str, str] | None = None,
        request: Any = None,
        *,
        passed: Any = (),
        listing: str = '',
        more: float = 0.0,
        **fields: Any,
    ) -> Any:
        """
        Call a service; raises ControlError unless the result is fine.

        codes: what result codes stand for, by the names that the definitions give them; passed:
        those that are fine. listing: a field that, filled, stands for success where the result
        was left at its default, as early releases of ros_gz do.
        """
        kind, name = self._service(kind_name)
        answer = self._caller.call(kind, name, request or kind.Request(**fields), more=more)
        result, known = answer.result, self._constants('Result')
        code = result.result
        if code == known.RESULT_OK or code in {getattr(kind.Response, p, None) for p in passed}:
            return answer
        if listing and getattr(answer, listing) and not result.error_message:
            return answer
        meanings = {
            known.RESULT_FEATURE_UNSUPPORTED: 'unsupported',
            known.RESULT_NOT_FOUND: 'unknown',
            known.RESULT_INCORRECT_STATE: 'state',
        }
        for constant, meaning in (codes or {}).items():
            owner = known if constant.startswith('RESULT_') else kind.Response
            if hasattr(owner, constant):
                meanings[getattr(owner, constant)] = meaning
        text = f'service {name} refused (result {code}): {result.error_message or "no reason"}'
        raise ControlError(text, meanings.get(code, 'failed'))

    @staticmethod
    def _constants(name: str) -> Any:
        interfaces = simulation_interfaces()
        if interfaces is None:
            raise ControlError(f'{PACKAGE} is not installed here', 'missing')
        return getattr(interfaces.msg, name)

    def _service(self, kind_name: str) -> tuple[Any, str]:
        """Return type and name of the service of a type below the root."""
        interfaces = simulation_interfaces()
        if interfaces is None:
            raise ControlError(f'{PACKAGE} is not installed here', 'missing')
        kind = getattr(interfaces.srv, kind_name)
        if kind_name not in self._names:
            name = self._caller.find(
                lambda: self._offered(kind_name),
                f'of type {PACKAGE}/srv/{kind_name} in {self._root or "/"}',
            )
            self._caller.wait_for(kind, name)
            self._names[kind_name] = name
        return kind, self._names[kind_name]

    def _offered(self, kind_name: str) -> list[str]:
        found = of_kind(offers(self._caller.node), f'{PACKAGE}/srv/{kind_name}')
        return [offer.name for offer in found if offer.root == self._root]
