# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for controlling Gazebo classic, or whatever offers what gazebo_ros does.

Its services come from three plugins of gazebo_ros: init (time, std_srvs), factory (spawn and
delete) and, only where the world loads it, state (the states of entities).
"""

from __future__ import annotations

import contextlib
from typing import Any

from std_srvs.srv import Empty

from tl_adapt.ros.entity_states import read_state, write_state
from tl_adapt.ros.optional_interfaces import gazebo_msgs
from tl_adapt.ros.simulator_control.base import ControlError
from tl_adapt.ros.simulator_control.caller import Caller
from tl_adapt.ros.simulator_control.graph import Offer, of_kind, offers
from tl_adapt.simulators.base import EntityState

EMPTY = 'std_srvs/srv/Empty'
_SPAWNING = 15.0  # s longer than other calls: gazebo_ros itself waits 10 s for the entity
_PLUGINS = {
    'SpawnEntity': 'libgazebo_ros_factory.so',
    'DeleteEntity': 'libgazebo_ros_factory.so',
    'GetModelList': 'libgazebo_ros_factory.so',
    'GetEntityState': 'libgazebo_ros_state.so, which a world has to load',
    'SetEntityState': 'libgazebo_ros_state.so, which a world has to load',
}
_FEATURES = {
    'SpawnEntity': 'spawn',
    'DeleteEntity': 'delete',
    'GetModelList': 'list',
    'GetEntityState': 'get_state',
    'SetEntityState': 'set_state',
}


class GazeboControl:
    """
    Control time with std_srvs and entities with gazebo_msgs; can not step.

    Follows the protocol SimulatorControl.
    """

    interface = 'gazebo'

    def __init__(self, caller: Caller, root: str) -> None:
        """Call the services of the namespace `root`; those for entities may be elsewhere."""
        self._caller = caller
        self._root = root
        self._names: dict[str, str] = {}

    def features(self) -> frozenset[str]:
        """Return what there are services for at present."""
        found = offers(self._caller.node)
        able = {'pause'}
        if self._resets():
            able.add('reset')
        if gazebo_msgs() is not None:
            able |= {f for kind, f in _FEATURES.items() if self._offered(found, kind)}
        return frozenset(able)

    def wait_until_ready(self) -> None:
        """Wait until time can be controlled."""
        for name in ('pause_physics', 'unpause_physics'):
            self._caller.wait_for(Empty, f'{self._root}/{name}')
        with contextlib.suppress(ControlError):  # not every simulator has one
            self._reset_service()

    def pause(self) -> None:
        """Let time stand still."""
        self._caller.call(Empty, f'{self._root}/pause_physics')

    def resume(self) -> None:
        """Let time go on."""
        self._caller.call(Empty, f'{self._root}/unpause_physics')

    def reset(self) -> None:
        """Put entities and time back; the entities alone where there is no service for both."""
        self._caller.call(Empty, self._reset_service())

    def step(self, steps: int) -> None:
        """Raise ControlError: gazebo_ros has no service for it."""
        raise ControlError('gazebo_ros has no service to step a simulation', 'unsupported')

    def spawn(self, name: str, sdf_xml: str, state: EntityState) -> str:
        """Add a model described in SDF at a pose; return its name."""
        if not name:
            raise ControlError('a name must not be empty: gazebo_ros tells no other', 'invalid')
        kind, service = self._service('SpawnEntity')
        request = kind.Request(name=name, xml=sdf_xml, reference_frame='world')
        write_state(state, request.initial_pose)
        answer = self._caller.call(kind, service, request, more=_SPAWNING)
        if not answer.success:
            raise _refused(f'spawning {name}', answer.status_message)
        return name

    def delete(self, name: str) -> None:
        """Remove an entity."""
        kind, service = self._service('DeleteEntity')
        answer = self._caller.call(kind, service, kind.Request(name=name), more=_SPAWNING)
        if not answer.success:
            raise _refused(f'deleting {name}', answer.status_message)

    def entities(self) -> list[str]:
        """Return the names of all entities."""
        kind, service = self._service('GetModelList')
        answer = self._caller.call(kind, service)
        if not answer.success:
            raise ControlError(f'service {service} gave no list')
        return [str(name) for name in answer.model_names]

    def state(self, name: str) -> EntityState:
        """Return the true state of an entity in the world."""
        kind, service = self._service('GetEntityState')
        answer = self._caller.call(kind, service, kind.Request(name=name, reference_frame='world'))
        if not answer.success:
            # The answer has no text. What else can be wrong is the frame, and that is the world.
            raise ControlError(f'entity {name!r} does not exist in the simulator', 'unknown')
        return read_state(answer.state.pose, answer.state.twist)

    def set_state(self, name: str, state: EntityState) -> None:
        """Put an entity elsewhere at once."""
        kind, service = self._service('SetEntityState')
        request = kind.Request()
        request.state.name, request.state.reference_frame = name, 'world'
        write_state(state, request.state.pose, request.state.twist)
        if not self._caller.call(kind, service, request).success:
            self.state(name)  # says so if it does not exist
            raise ControlError(f'the simulator refused the state of {name}: {state}', 'invalid')

    def real_time_factor(self, window: float = 1.0) -> float:
        """Return simulated s per wall s of the next `window` [s], 0 while nothing moves."""
        return self._caller.real_time_factor(window)

    def close(self) -> None:
        """Leave the graph."""
        self._caller.close()

    def _below(self, found: list[Offer]) -> list[Offer]:
        return [offer for offer in found if offer.root == self._root]

    def _reset_service(self) -> str:
        if 'reset' not in self._names:
            what = f'{self._root}/reset_simulation or reset_world of type {EMPTY}'
            self._names['reset'] = self._caller.find(self._resets, what)
        return self._names['reset']

    def _resets(self) -> list[str]:
        """Return the better one of the services that reset, if there is one."""
        found = of_kind(offers(self._caller.node), EMPTY)
        names = {offer.base: offer.name for offer in self._below(found)}
        return [names[b] for b in ('reset_simulation', 'reset_world') if b in names][:1]

    def _offered(self, found: list[Offer], kind: str) -> list[str]:
        """Return the names under which a service is offered: those beside the others if any."""
        every = of_kind(found, f'gazebo_msgs/srv/{kind}')
        return sorted({o.name for o in self._below(every) or every})

    def _service(self, kind: str) -> tuple[Any, str]:
        """Return type and name of a service of gazebo_msgs."""
        interfaces = gazebo_msgs()
        if interfaces is None:
            text = f'{kind} of gazebo_msgs is needed, which is not installed here'
            raise ControlError(f'{text} (ros-humble-gazebo-msgs, or `make interfaces`)', 'missing')
        service = getattr(interfaces.srv, kind)
        if kind not in self._names:
            name = self._caller.find(
                lambda: self._offered(offers(self._caller.node), kind),
                f'of type gazebo_msgs/srv/{kind}',
                f'; gazebo_ros has it in {_PLUGINS[kind]}',
            )
            self._caller.wait_for(service, name)
            self._names[kind] = name
        return service, self._names[kind]


def _refused(what: str, text: str) -> ControlError:
    """Return the error that the text of an answer stands for; there is no code in it."""
    for words, code in (('already exist', 'exists'), ('not exist', 'unknown'), ('parse', 'parse')):
        if words in text:
            return ControlError(f'{what} was refused: {text}', code)
    return ControlError(f'{what} was refused: {text}')
