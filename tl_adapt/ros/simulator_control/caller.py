# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for calling a simulator's services, each within a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from rclpy.client import Client
from rclpy.node import Node
from std_srvs.srv import Empty

from tl_adapt.ros.calls import Call
from tl_adapt.ros.simulator_control.base import ControlError
from tl_adapt.ros.simulator_control.real_time import RealTimeFactor

_POLL = 0.1  # s between two looks whether what is called still lives
_APPEARS = 2.0  # s in which a service has to be found, of a simulator that is there
_LOOK = 0.01  # s between two looks for a service


class Caller:
    """Keep the clients of a simulator's services, on a node that another thread spins."""

    def __init__(
        self, node: Node, *, deadline: float = 10.0, alive: Callable[[], None] = lambda: None
    ) -> None:
        """
        Call through `node`.

        deadline: for each call [s, wall]. alive: called while waiting; raises if there is nothing
        to wait for.
        """
        self.node = node
        self.deadline = deadline
        self._alive = alive
        self._clients: dict[tuple[Any, str], Client] = {}
        self._answered: set[Client] = set()
        self._factor: RealTimeFactor | None = None

    def wait_for(self, kind: Any, name: str, hint: str = '') -> None:
        """Wait for a service; raises ControlError 'missing' with a hint at the deadline."""
        client = self._client(kind, name)
        end = time.monotonic() + self.deadline
        while not client.service_is_ready():
            if time.monotonic() > end:
                text = f'no service {client.srv_name} within {self.deadline:g} s{hint}'
                raise ControlError(text, 'missing')
            self._alive()
            time.sleep(_LOOK)

    def find(self, look: Callable[[], Iterable[str]], what: str, hint: str = '') -> str:
        """
        Return the one name that `look` finds in the graph, as soon as it is there.

        What is not there within a short time is taken for not offered, because all that a
        simulator offers appears at about the same time; raises ControlError then, or if there
        are several.
        """
        end = time.monotonic() + min(_APPEARS, self.deadline)
        while not (names := sorted(set(look()))):
            if time.monotonic() > end:
                raise ControlError(f'no service {what}{hint}', 'missing')
            self._alive()
            time.sleep(_LOOK)
        if len(names) > 1:
            raise ControlError(f'more than one service {what}: {", ".join(names)}', 'ambiguous')
        return names[0]

    def call(self, kind: Any, name: str, request: Any = None, *, more: float = 0.0) -> Any:
        """
        Call a service and return its answer, within the deadline and `more` [s].

        A server that does not know of us yet drops its answer. So what may be done twice is asked
        for once more, until a service has answered once. Raises ControlError 'silent' if there is
        no answer.
        """
        client = self._client(kind, name)
        seconds = self.deadline + more
        end = time.monotonic() + seconds
        twice = _may_be_done_twice(kind) and client not in self._answered
        call = Call(client, request or kind.Request())
        try:
            while not call.wait(min(_POLL, seconds)):
                self._alive()
                left = end - time.monotonic()
                if left < 0.0:
                    text = f'service {client.srv_name} gave no answer within {seconds:g} s'
                    raise ControlError(text, 'silent')
                if twice and left < seconds / 2.0:
                    twice = False
                    call.send()
            # Nothing of it may happen after what is done next.
            while not call.settled and time.monotonic() < end:
                self._alive()
                time.sleep(_LOOK)
            self._answered.add(client)
            return call.answer()
        finally:
            call.forget()

    def real_time_factor(self, window: float) -> float:
        """Return simulated s per wall s of the next `window` [s]."""
        if self._factor is None:
            self._factor = RealTimeFactor(self.node)
        return self._factor.measure(window)

    def close(self) -> None:
        """End all clients."""
        for client in self._clients.values():
            self.node.destroy_client(client)
        self._clients = {}
        self._answered = set()
        if self._factor is not None:
            self._factor.close()
            self._factor = None

    def _client(self, kind: Any, name: str) -> Client:
        key = kind, name
        if key not in self._clients:
            self._clients[key] = self.node.create_client(kind, name)
        return self._clients[key]


def _may_be_done_twice(kind: Any) -> bool:
    """Tell whether a service only reads or sets: pause, resume and reset are of type Empty."""
    return kind is Empty or str(kind.__name__).startswith(('Get', 'Set'))
