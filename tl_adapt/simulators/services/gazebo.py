# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the ROS interface that gazebo_ros gives Gazebo classic.

Follows what the plugins gazebo_ros_init, gazebo_ros_factory and gazebo_ros_state of its ROS 2
branch do: a reset puts entities back to where they began, what was spawned stays and what was
deleted does not come back; `world`, or nothing, is the inertial frame, any other frame an entity.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from geometry_msgs.msg import Pose, Twist
from rclpy.callback_groups import CallbackGroup
from rclpy.qos import QoSProfile
from std_srvs.srv import Empty

from tl_adapt.ros.entity_states import (
    from_frame,
    read_state,
    seen_from,
    stamp,
    write_state,
)
from tl_adapt.ros.inbox import PUBLISHER_EVENTS
from tl_adapt.ros.optional_interfaces import gazebo_msgs
from tl_adapt.simulators import rotations
from tl_adapt.simulators.base import ROBOT, EntityError, EntityState
from tl_adapt.simulators.sdf import read_model
from tl_adapt.simulators.services.names import unused

if TYPE_CHECKING:
    from tl_adapt.simulators.node import SimulatorNode

_WORLD = ('', 'world')
_SPAWN_WORLD = (*_WORLD, 'map', '/map')  # frames that only a request to spawn may name


class WorldServices:
    """Offer pause_physics, unpause_physics, reset_world and reset_simulation (std_srvs/Empty)."""

    def __init__(self, node: SimulatorNode, prefix: str) -> None:
        """Offer the services; prefix: put before their names."""
        self._node = node
        for name, callback in (
            ('pause_physics', node.pause),
            ('unpause_physics', node.resume),
            ('reset_world', self._reset_world),
            ('reset_simulation', node.reset),
        ):
            # Always served, in the midst of waiting for an answer, too.
            node.create_service(Empty, prefix + name, _empty(callback))

    def _reset_world(self) -> None:
        # What was simulated but not published yet has not been.
        self._node.reset(keep_battery=True, time_ns=self._node.published_ns)


class EntityServices:
    """Offer the services and the topic of gazebo_msgs, if that is installed."""

    def __init__(self, node: SimulatorNode, prefix: str, group: CallbackGroup) -> None:
        """Offer the services in the callback group; prefix: put before their names."""
        self._node = node
        self._states: Any = None
        interfaces = gazebo_msgs()
        if interfaces is None:
            return
        from gazebo_msgs.msg import ModelStates

        for name, kind, callback in (
            ('spawn_entity', 'SpawnEntity', self._spawn),
            ('delete_entity', 'DeleteEntity', self._delete),
            ('get_model_list', 'GetModelList', self._list),
            ('get_entity_state', 'GetEntityState', self._get),
            ('set_entity_state', 'SetEntityState', self._set),
        ):
            service = getattr(interfaces.srv, kind)
            node.create_service(service, prefix + name, callback, callback_group=group)
        self._kind = ModelStates
        self._states = node.create_publisher(
            ModelStates, f'{prefix}model_states', QoSProfile(depth=1),
            event_callbacks=PUBLISHER_EVENTS,
        )  # fmt: skip

    def publish(self) -> None:
        """Publish the states of all models, if somebody listens."""
        if self._states is None or not self._states.get_subscription_count():
            return
        simulator, message = self._node.simulator, self._kind()
        for name in simulator.entities():
            message.name.append(name)
            message.pose.append(Pose())
            message.twist.append(Twist())
            write_state(simulator.entity_state(name), message.pose[-1], message.twist[-1])
        self._states.publish(message)

    def _spawn(self, request: Any, response: Any) -> Any:
        simulator, name = self._node.simulator, request.name
        try:
            if name and name in simulator.entities():
                raise EntityError('exists', f'Entity [{name}] already exists.')
            frame = self._frame(request.reference_frame, _SPAWN_WORLD)
            model = read_model(request.xml)
            name = name or unused(model.name, simulator.entities())
            # The pose in the description counts from the pose in the request.
            pose = EntityState(model.position, model.orientation)
            pose = from_frame(frame, from_frame(_rotated(read_state(request.initial_pose)), pose))
            simulator.spawn(name, request.xml, pose)
        except EntityError as error:
            text = {'parse': 'Failed to parse XML string: ', 'format': 'Failed to parse XML: '}
            response.success = False
            response.status_message = text.get(error.code, '') + str(error)
            return response
        response.success = True
        response.status_message = f'SpawnEntity: Successfully spawned entity [{name}]'
        return response

    def _delete(self, request: Any, response: Any) -> Any:
        try:
            self._node.simulator.delete(request.name)
        except EntityError as error:
            missing = f'Entity [{request.name}] does not exist'
            response.success = False
            response.status_message = missing if error.code == 'unknown' else str(error)
            return response
        response.success = True
        response.status_message = f'Successfully deleted entity [{request.name}]'
        return response

    def _list(self, _: Any, response: Any) -> Any:
        response.header.stamp = stamp(self._node.simulator.time_ns)
        response.model_names = self._node.simulator.entities()
        response.success = True
        return response

    def _get(self, request: Any, response: Any) -> Any:
        try:
            state = self._node.simulator.entity_state(request.name)
            frame = self._frame(request.reference_frame, _WORLD)
        except EntityError as error:
            return self._refuse('GetEntityState', response, error)
        state = seen_from(frame, state)
        response.header.stamp = stamp(self._node.simulator.time_ns)
        response.header.frame_id = request.reference_frame
        response.state.name = request.name
        response.state.reference_frame = request.reference_frame
        write_state(state, response.state.pose, response.state.twist)
        response.success = True
        return response

    def _set(self, request: Any, response: Any) -> Any:
        wanted, simulator = request.state, self._node.simulator
        try:
            simulator.entity_state(wanted.name)
            state = _rotated(read_state(wanted.pose, wanted.twist))
            state = from_frame(self._frame(wanted.reference_frame, _WORLD), state)
            if wanted.name != ROBOT:  # the velocity of what is static has no effect
                state = replace(state, linear=(0.0, 0.0, 0.0), angular=(0.0, 0.0, 0.0))
            simulator.set_entity_state(wanted.name, state)
        except EntityError as error:
            return self._refuse('SetEntityState', response, error)
        response.success = True
        return response

    def _frame(self, name: str, world: tuple[str, ...]) -> EntityState:
        """Return the state of the reference frame."""
        simulator = self._node.simulator
        if name in world and name not in simulator.entities():
            return EntityState((0.0, 0.0, 0.0))
        if name not in simulator.entities():
            raise EntityError('unknown', f'Reference frame [{name}] not found')
        return simulator.entity_state(name)

    def _refuse(self, service: str, response: Any, error: EntityError) -> Any:
        # These two have no text in their responses.
        self._node.get_logger().error(f'{service}: {error}', throttle_duration_sec=1.0)
        response.success = False
        return response


def _empty(callback: Any) -> Any:
    def serve(_: Empty.Request, response: Empty.Response) -> Empty.Response:
        callback()
        return response

    return serve


def _rotated(state: EntityState) -> EntityState:
    """Return the state with a unit quaternion; a zero one, of an unset message, turns nothing."""
    return replace(state, orientation=rotations.normalized(state.orientation))
