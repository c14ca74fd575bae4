# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the lifecycle of other nodes: wait until they are active, configure them anew."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.client import Client
from rclpy.node import Node

from tl_adapt.errors import MeasurementError
from tl_adapt.ros.preparation import service_type
from tl_adapt.ros.waiting import Waiter

_TRANSITIONS = {
    'deactivate': ('active', Transition.TRANSITION_DEACTIVATE),
    'cleanup': ('inactive', Transition.TRANSITION_CLEANUP),
    'configure': ('unconfigured', Transition.TRANSITION_CONFIGURE),
    'activate': ('inactive', Transition.TRANSITION_ACTIVATE),
}
_SILENT = 'silent'
_ASK = 1.0  # s that a node may take to tell its state, before it is asked again
_EACH = 0.05  # s between two questions
_TELL = 2.0  # s between two calls of `meanwhile`


class Lifecycle:
    """
    Follow and change the states of a stack's lifecycle nodes.

    Where a manager (Nav2's lifecycle_manager) watches over the nodes, only it may change their
    states: it ends them all when one leaves its state by itself.
    """

    def __init__(
        self, node: Node, names: Sequence[str], waiter: Waiter, *, manager: str | None = None
    ) -> None:
        """Use `node`, which another thread spins, for nodes with these full names."""
        self.names = list(names)
        self._node = node
        self._waiter = waiter
        self._states = {
            name: node.create_client(GetState, f'{name}/get_state') for name in self.names
        }
        self._changes: dict[str, Client] = {}
        self._kind: Any = None
        self._manager: Client | None = None
        if manager is not None:
            self._kind = manager_type()
            self._manager = node.create_client(self._kind, f'{manager}/manage_nodes')

    def wait_until_active(
        self, seconds: float, meanwhile: Callable[[], object] = lambda: None
    ) -> None:
        """
        Wait until all nodes are active; `meanwhile` is called now and then.

        Raises MeasurementError that names the first node which is not, and the state it is in.
        """
        end = time.monotonic() + seconds
        tell = _now_and_then(meanwhile)
        for name, client in self._states.items():
            while True:
                tell()
                state = self._state(client)
                if state == 'active':
                    break
                if time.monotonic() > end:
                    raise MeasurementError(
                        f'lifecycle node {name} is {state}, not active, within {seconds:g} s'
                    )
                self._waiter.pass_time(_EACH)

    def configure_anew(
        self,
        nodes: Sequence[str],
        between: Callable[[], None],
        seconds: float,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> None:
        """
        Take nodes down to unconfigured, call `between`, and make them active again.

        Raises MeasurementError if a node refuses, or is not active again within `seconds`.
        """
        self.take_down(nodes, seconds, meanwhile)
        between()
        self.bring_up(nodes, seconds, meanwhile)

    def take_down(
        self,
        nodes: Sequence[str],
        seconds: float,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> None:
        """Take nodes down to unconfigured; those that are there already stay as they are."""
        if self._manager is not None:
            self._manage('RESET', seconds, meanwhile)
            return
        for name in reversed(self._ordered(nodes)):
            self._change(name, 'deactivate', seconds)
            self._change(name, 'cleanup', seconds)

    def bring_up(
        self,
        nodes: Sequence[str],
        seconds: float,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> None:
        """Make nodes active again, and wait until all of the stack's are."""
        if self._manager is not None:
            self._manage('STARTUP', seconds, meanwhile)
        else:
            for name in self._ordered(nodes):
                self._change(name, 'configure', seconds)
                self._change(name, 'activate', seconds)
        self.wait_until_active(seconds, meanwhile)

    def is_active(self, name: str) -> bool:
        """Tell whether a node is active; one that does not answer is not."""
        return self._state(self._states[name]) == 'active'

    def close(self) -> None:
        """Destroy the service clients."""
        for client in [*self._states.values(), *self._changes.values(), self._manager]:
            if client is not None:
                self._node.destroy_client(client)
        self._changes, self._manager = {}, None

    def _ordered(self, nodes: Sequence[str]) -> list[str]:
        return [name for name in self.names if name in nodes]

    def _state(self, client: Client) -> str:
        """Return the name of a node's state, or what is wrong instead."""
        if not client.service_is_ready():
            return 'not there'
        try:
            answer = self._waiter.call(client, GetState.Request(), deadline=_ASK)
        except MeasurementError:
            self._waiter.pass_time(0.0)  # raises if that is because a process died
            return _SILENT
        if answer.current_state.id == State.PRIMARY_STATE_ACTIVE:
            return 'active'
        return str(answer.current_state.label) or 'unknown'

    def _change(self, name: str, verb: str, seconds: float) -> None:
        """Take a node out of the state in which the transition begins, if it is in that."""
        begins, number = _TRANSITIONS[verb]
        end = time.monotonic() + seconds
        while (state := self._state(self._states[name])) == _SILENT and time.monotonic() < end:
            self._waiter.pass_time(_EACH)
        if state != begins:
            return  # a server takes its costmap along
        if name not in self._changes:
            self._changes[name] = self._node.create_client(ChangeState, f'{name}/change_state')
        request = ChangeState.Request()
        request.transition.id = number
        answer = self._waiter.call(self._changes[name], request, deadline=seconds)
        if not answer.success:
            raise MeasurementError(f'lifecycle node {name} does not {verb}')

    def _manage(self, command: str, seconds: float, meanwhile: Callable[[], object]) -> None:
        client = self._manager
        if client is None:
            return
        request = self._kind.Request(command=getattr(self._kind.Request, command))
        answer = self._waiter.call(
            client, request, deadline=seconds, meanwhile=_now_and_then(meanwhile)
        )
        if not answer.success:
            raise MeasurementError(f'service {client.srv_name} failed: {command}')


def manager_type(key: str = 'lifecycle_manager') -> Any:
    """Return the type of a manager's service; raises InputError if it is not installed."""
    return service_type('nav2_msgs/srv/ManageLifecycleNodes', key)


def _now_and_then(act: Callable[[], object]) -> Callable[[], None]:
    """Return a function that acts when it is called, but not more often than it should."""
    acted = -math.inf

    def perhaps() -> None:
        nonlocal acted
        if time.monotonic() - acted > _TELL:
            act()
            acted = time.monotonic()

    return perhaps
