# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for ROS 2's standard interface to simulators, simulation_interfaces.

Follows its definitions, from 1.0 to 2.1: what a version does not have is not used. Where they
leave something open it does what ros_gz does, the interface of modern Gazebo: its names (below
`gzserver/`), the frame `world`, a filter that has to match the whole name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rclpy.callback_groups import CallbackGroup

from tl_adapt.ros.entity_states import from_frame, read_state, stamp, write_state
from tl_adapt.ros.optional_interfaces import simulation_interfaces
from tl_adapt.simulators.base import ROBOT, EntityError, EntityState, SimulatorError
from tl_adapt.simulators.sdf import read_model
from tl_adapt.simulators.services.filters import matching
from tl_adapt.simulators.services.names import is_namespace, unused

if TYPE_CHECKING:
    from tl_adapt.simulators.node import SimulatorNode

MAX_STEPS = 10_000_000  # that one request may ask for
_WORLD = ('', 'world', 'map')
_FEATURES = (
    'SPAWNING',
    'DELETING',
    'SPAWNING_RESOURCE_STRING',
    'ENTITY_STATE_GETTING',
    'ENTITY_STATE_SETTING',
    'SIMULATION_RESET',
    'SIMULATION_RESET_STATE',
    'SIMULATION_RESET_SPAWNED',
    'SIMULATION_STATE_GETTING',
    'SIMULATION_STATE_SETTING',
    'SIMULATION_STATE_PAUSE',
    'STEP_SIMULATION_SINGLE',
    'STEP_SIMULATION_MULTIPLE',
)
_INFO = (
    'Spawns static SDF models of boxes, cylinders and spheres. A step is one step of the physics, '
    'the parameter physics_step; sensors are published when a scan period is complete. The time '
    'alone can not be reset: SCOPE_TIME needs SCOPE_STATE.'
)


class InterfaceServices:
    """Offer the services of simulation_interfaces, if that is installed."""

    def __init__(self, node: SimulatorNode, prefix: str, group: CallbackGroup) -> None:
        """Offer the services in the callback group; prefix: put before their names."""
        self._node = node
        self._touched = False
        interfaces = simulation_interfaces()
        if interfaces is None:
            return
        from simulation_interfaces.msg import Result, SimulationState, SimulatorFeatures

        self._srv = interfaces.srv
        self._result, self._states, self._features = Result, SimulationState, SimulatorFeatures
        for name, kind, callback in (
            ('get_simulator_features', 'GetSimulatorFeatures', self._get_features),
            ('get_simulation_state', 'GetSimulationState', self._get_state),
            ('set_simulation_state', 'SetSimulationState', self._set_state),
            ('step_simulation', 'StepSimulation', self._step),
            ('reset_simulation', 'ResetSimulation', self._reset),
            ('spawn_entity', 'SpawnEntity', self._spawn),
            ('delete_entity', 'DeleteEntity', self._delete),
            ('get_entities', 'GetEntities', self._list),
            ('get_entity_state', 'GetEntityState', self._get),
            ('set_entity_state', 'SetEntityState', self._set),
        ):
            service = getattr(self._srv, kind)
            node.create_service(service, prefix + name, callback, callback_group=group)

    def _get_features(self, _: Any, response: Any) -> Any:
        features = self._features
        response.features.features = [getattr(features, name) for name in _FEATURES]
        response.features.spawn_formats = ['sdf']
        response.features.custom_info = _INFO
        return response

    @property
    def _state(self) -> int:
        """
        Return the simulation's state.

        Like in ros_gz a paused simulation that stands at its very start is a stopped one; but
        here it can be paused then, as the definition says, and counts as paused from then on.
        """
        if not self._node.paused:
            return int(self._states.STATE_PLAYING)
        begun = self._touched or self._node.simulator.time_ns > 0
        return int(self._states.STATE_PAUSED if begun else self._states.STATE_STOPPED)

    def _get_state(self, _: Any, response: Any) -> Any:
        response.state.state = self._state
        return self._fine(response)

    def _set_state(self, request: Any, response: Any) -> Any:
        states, wanted = self._states, request.state.state
        if wanted not in (
            states.STATE_STOPPED,
            states.STATE_PLAYING,
            states.STATE_PAUSED,
            states.STATE_QUITTING,
        ):
            text = f'the states STOPPED, PLAYING, PAUSED and QUITTING are supported, got {wanted}'
            return self._refused(response, self._result.RESULT_FEATURE_UNSUPPORTED, text)
        if wanted == self._state:
            code = type(response).ALREADY_IN_TARGET_STATE
            return self._refused(response, code, f'the simulation is in state {wanted} already')
        if wanted == states.STATE_PLAYING:
            self._node.resume()
        else:
            self._node.pause()
            self._touched = True
        if wanted in (states.STATE_STOPPED, states.STATE_QUITTING):
            self._reset_all()
        if wanted == states.STATE_QUITTING:
            self._node.quit()
        return self._fine(response)

    def _step(self, request: Any, response: Any) -> Any:
        if not self._node.paused:
            text = 'the simulation must be paused to be stepped'
            return self._refused(response, self._result.RESULT_OPERATION_FAILED, text)
        if request.steps > MAX_STEPS:
            text = f'steps must be at most {MAX_STEPS}, got {request.steps}'
            return self._refused(response, self._result.RESULT_OPERATION_FAILED, text)
        try:
            self._node.step(request.steps)
        except SimulatorError as error:
            return self._refused(response, self._result.RESULT_OPERATION_FAILED, str(error))
        return self._fine(response)

    def _reset(self, request: Any, response: Any) -> Any:
        kind, scope = self._srv.ResetSimulation.Request, request.scope
        if scope in (kind.SCOPE_DEFAULT, kind.SCOPE_ALL):
            self._reset_all()
            return self._fine(response)
        known = kind.SCOPE_TIME | kind.SCOPE_STATE | kind.SCOPE_SPAWNED
        alone = scope & kind.SCOPE_TIME and not scope & kind.SCOPE_STATE
        if scope & ~known or alone:
            text = f'the scopes STATE, TIME with STATE, SPAWNED and ALL are supported, got {scope}'
            return self._refused(response, self._result.RESULT_FEATURE_UNSUPPORTED, text)
        if scope & kind.SCOPE_SPAWNED:
            self._node.simulator.restore_entities(deleted=False)
        if scope & kind.SCOPE_TIME:
            self._node.reset()
        elif scope & kind.SCOPE_STATE:
            self._node.reset(keep_battery=True, time_ns=self._node.published_ns)
        return self._fine(response)

    def _reset_all(self) -> None:
        self._node.simulator.restore_entities()
        self._node.reset()
        self._touched = False

    def _spawn(self, request: Any, response: Any) -> Any:
        kind, simulator = type(response), self._node.simulator
        # From 2.0 on both are in a message of their own.
        resource = getattr(request, 'entity_resource', request)
        if not is_namespace(request.entity_namespace):
            text = f'must be a ROS namespace, got {request.entity_namespace[:100]!r}'
            return self._refused(response, kind.NAMESPACE_INVALID, text)
        if resource.uri:
            text = 'a resource has to be given as resource_string, a uri is not read'
            return self._refused(response, kind.UNSUPPORTED_FORMAT, text)
        if not resource.resource_string:
            return self._refused(response, kind.NO_RESOURCE, 'resource_string must not be empty')
        try:
            name = request.name or read_model(resource.resource_string).name
            if request.allow_renaming:
                name = unused(name or 'entity', simulator.entities())
            pose = request.initial_pose
            state = self._in_world(pose.header.frame_id, read_state(pose.pose))
            simulator.spawn(name, resource.resource_string, state)
        except EntityError as error:
            codes = {
                'exists': kind.NAME_NOT_UNIQUE,
                'name': kind.NAME_INVALID,
                'parse': kind.RESOURCE_PARSE_ERROR,
                'format': kind.UNSUPPORTED_FORMAT,
                'unsupported': kind.UNSUPPORTED_ASSETS,
                'invalid': kind.INVALID_POSE,
            }
            return self._failed(response, error, codes)
        response.entity_name = name
        return self._fine(response)

    def _delete(self, request: Any, response: Any) -> Any:
        try:
            self._node.simulator.delete(request.entity)
        except EntityError as error:
            return self._failed(response, error, {})
        return self._fine(response)

    def _list(self, request: Any, response: Any) -> Any:
        try:
            names = matching(self._node.simulator.entities(), request.filters)
        except NotImplementedError as error:
            return self._refused(response, self._result.RESULT_FEATURE_UNSUPPORTED, str(error))
        except ValueError as error:
            return self._refused(response, self._result.RESULT_OPERATION_FAILED, str(error))
        response.entities = names
        return self._fine(response)

    def _get(self, request: Any, response: Any) -> Any:
        simulator = self._node.simulator
        try:
            state = simulator.entity_state(request.entity)
        except EntityError as error:
            return self._failed(response, error, {})
        response.state.header.frame_id = 'world'
        response.state.header.stamp = stamp(simulator.time_ns)
        write_state(state, response.state.pose, response.state.twist)
        return self._fine(response)

    def _set(self, request: Any, response: Any) -> Any:
        simulator, wanted = self._node.simulator, request.state
        try:
            now = simulator.entity_state(request.entity)
            state = self._in_world(wanted.header.frame_id, read_state(wanted.pose, wanted.twist))
            # The flags came with 2.1; before, all of the state counts. An acceleration may be
            # ignored, but not that of an entity which can have none.
            pose, twist = (getattr(request, f'set_{part}', True) for part in ('pose', 'twist'))
            state = EntityState(
                *((state if pose else now).position, (state if pose else now).orientation),
                *((state if twist else now).linear, (state if twist else now).angular),
            )
            pushed = getattr(request, 'set_acceleration', True) and request.entity != ROBOT
            if pushed and read_state(wanted.pose, wanted.acceleration).moving:
                raise EntityError('unsupported', f'{request.entity} is static')
            if pose or twist:
                simulator.set_entity_state(request.entity, state)
        except EntityError as error:
            invalid = getattr(type(response), 'INVALID_POSE', self._result.RESULT_OPERATION_FAILED)
            return self._failed(response, error, {'invalid': invalid})
        return self._fine(response)

    def _in_world(self, frame: str, state: EntityState) -> EntityState:
        """Return a state that a request gives relative to the world, or to an entity."""
        simulator = self._node.simulator
        if frame in simulator.entities():
            return from_frame(simulator.entity_state(frame), state)
        if frame in _WORLD:
            return state
        raise EntityError('unknown', f'the frame must be world or an entity, got {frame!r}')

    def _fine(self, response: Any) -> Any:
        response.result.result = self._result.RESULT_OK
        return response

    def _failed(self, response: Any, error: EntityError, codes: dict[str, int]) -> Any:
        other = {'unknown': self._result.RESULT_NOT_FOUND}
        code = {**other, **codes}.get(error.code, self._result.RESULT_OPERATION_FAILED)
        return self._refused(response, code, str(error))

    def _refused(self, response: Any, code: int, text: str) -> Any:
        response.result.result = code
        response.result.error_message = text
        return response
