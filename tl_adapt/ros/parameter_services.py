# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the parameter services of other nodes: are they there, and what do they answer.

Nothing here spins. The node has to be spun by another thread, and the methods block the calling
thread, each for a bounded time: never call them from a callback.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rcl_interfaces.srv import (
    DescribeParameters,
    GetParameters,
    ListParameters,
    SetParametersAtomically,
)
from rclpy.client import Client
from rclpy.node import Node

from tl_adapt.errors import MeasurementError
from tl_adapt.ros.calls import Call
from tl_adapt.ros.values import Snapshot

_LEAVES = 1.0  # s from when a node left the graph until it counts as ended

EVENTS = '/parameter_events'


class ParameterError(MeasurementError):
    """Say which node did not do with its parameters what was asked for."""

    def __init__(self, node: str, reason: str) -> None:
        """Store the node's full name beside the reason, which names it too."""
        self.node = node
        super().__init__(reason)


class NoAnswerError(ParameterError):
    """Say that a node gave no answer: whether it did what was asked for is not known."""


class ParameterServices:
    """Find nodes and ask them, several at the same time."""

    def __init__(
        self, node: Node, *, deadline: float = 5.0, alive: Callable[[], None] = lambda: None
    ) -> None:
        """
        Use `node`, which another thread spins; no call takes longer than `deadline` s.

        `alive` is called while an answer is waited for, and may raise to end that.
        """
        self._alive = alive
        self._node = node
        self.deadline = deadline
        self.on_set: Callable[[Snapshot], None] = lambda values: None  # before each sending
        self._clients: dict[tuple[str, str], Client] = {}
        self._lock = threading.Lock()

    def full_name(self, node: str) -> str:
        """Return the node's absolute name; a relative one is in the client's namespace."""
        if node.startswith('/'):
            return node
        return f'{self._node.get_namespace().rstrip("/")}/{node}'

    def count(self, node: str) -> int:
        """Return how many nodes of the graph have this name."""
        full = self.full_name(node)
        return sum(
            f'{namespace.rstrip("/")}/{name}' == full
            for name, namespace in self._node.get_node_names_and_namespaces()
        )

    def identities(self) -> dict[str, frozenset[bytes]]:
        """
        Return the publishers of parameter events by their node's full name.

        Each process has its own, so that a node that was restarted shows.
        """
        found: dict[str, set[bytes]] = {}
        for info in self._node.get_publishers_info_by_topic(EVENTS):
            full = f'{info.node_namespace.rstrip("/")}/{info.node_name}'
            found.setdefault(full, set()).add(bytes(info.endpoint_gid))
        return {node: frozenset(gids) for node, gids in found.items()}

    def wait_for_nodes(
        self,
        nodes: Iterable[str],
        *,
        deadline: float | None = None,
        alive: Callable[[], None] | None = None,
    ) -> None:
        """
        Wait until each node is there, once, and offers its parameter services.

        `alive` is called in between and may raise to end the wait. Raises ParameterError that
        names the node which is missing or there twice.
        """
        end = time.monotonic() + (self.deadline if deadline is None else deadline)
        for name in nodes:
            full = self.full_name(name)
            while True:
                found = self.count(full)
                if found > 1:
                    raise ParameterError(full, f'{found} nodes have the name {full}')
                if found and all(
                    self.service(kind, full).service_is_ready()
                    for kind in (ListParameters, GetParameters, SetParametersAtomically)
                ):
                    break
                if time.monotonic() > end:
                    domain = self._node.context.get_domain_id()
                    what = 'offers no parameter services' if found else 'is not there'
                    raise ParameterError(full, f'node {full} {what} (ROS domain {domain})')
                if alive is not None:
                    alive()
                time.sleep(0.01)

    def close(self) -> None:
        """Destroy the service clients."""
        with self._lock:
            clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            self._node.destroy_client(client)

    def service(self, kind: Any, node: str) -> Client:
        """Return the client for one service of one node."""
        service = {
            ListParameters: 'list_parameters',
            GetParameters: 'get_parameters',
            DescribeParameters: 'describe_parameters',
            SetParametersAtomically: 'set_parameters_atomically',
        }[kind]
        with self._lock:
            key = (node, service)
            if key not in self._clients:
                self._clients[key] = self._node.create_client(kind, f'{node}/{service}')
            return self._clients[key]

    def ask(
        self,
        requests: Mapping[str, tuple[Any, Any]],
        *,
        patience: float | None = None,
        deadline: float | None = None,
    ) -> tuple[dict[str, Any], dict[str, ParameterError]]:
        """
        Send one request to each node at the same time; return answers and errors by full name.

        A node may take `patience` s to be there, and all of it `deadline` s; without them both
        are the client's.
        """
        seconds = self.deadline if deadline is None else deadline
        end = time.monotonic() + seconds
        calls: dict[str, Call] = {}
        errors: dict[str, ParameterError] = {}
        gone: dict[str, float] = {}
        for name in requests:
            node = self.full_name(name)
            wait = seconds if patience is None else patience
            try:
                self.wait_for_nodes([node], deadline=min(wait, max(end - time.monotonic(), 0.0)))
            except ParameterError as error:
                errors[node] = error
        for name, (kind, request) in requests.items():
            node = self.full_name(name)
            if node not in errors:
                calls[node] = Call(self.service(kind, node), request)
        try:
            # All of these may be asked twice: an answer can get lost while the graph settles.
            for again in (True, False):
                for node, call in calls.items():
                    left = end - time.monotonic()
                    try:
                        if call.wait(
                            left / 2 if again else left, functools.partial(self._look, node, gone)
                        ):
                            continue
                        if not again:
                            raise NoAnswerError(
                                node, f'node {node} gave no answer within {seconds:g} s'
                            )
                    except NoAnswerError as error:
                        errors[node] = error
                    else:
                        call.send()
            return {n: c.answer() for n, c in calls.items() if n not in errors}, errors
        finally:
            for call in calls.values():
                call.forget()

    def _look(self, node: str, gone: dict[str, float]) -> None:
        """Raise if there is nobody left who could answer; `gone` says since when one is not."""
        self._alive()
        if self.count(node):
            gone.pop(node, None)
        # A process leaves the graph a moment before it ends, of which `alive` knows more.
        elif time.monotonic() - gone.setdefault(node, time.monotonic()) > _LEAVES:
            raise NoAnswerError(node, f'node {node} ended before it answered')
