# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the parameters of other nodes: set, read back, keep and restore.

Nothing here spins. The client's node has to be spun by another thread, and the methods block that
thread's caller, each for a bounded time: never call them from a callback.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rcl_interfaces.msg import Parameter as ParameterMsg
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
from tl_adapt.ros.values import (
    Assignment,
    RosValue,
    Snapshot,
    assignments,
    coerce,
    from_message,
    replaced,
    to_message,
)

__all__ = [
    'Assignment',
    'ParameterClient',
    'ParameterError',
    'RosValue',
    'Snapshot',
    'assignments',
]


class ParameterError(MeasurementError):
    """Say which node did not do with its parameters what was asked for."""

    def __init__(self, node: str, reason: str) -> None:
        """Store the node's full name beside the reason, which names it too."""
        self.node = node
        super().__init__(reason)


class UnfitParameterError(ParameterError):
    """Say that a node lacks a parameter, or has it with another type."""

    mismatch = True


class ParameterClient:
    """Read and set the parameters of other nodes, from any thread that does not spin."""

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
                    self._client(kind, full).service_is_ready()
                    for kind in (ListParameters, GetParameters, SetParametersAtomically)
                ):
                    break
                if time.monotonic() > end:
                    what = 'offers no parameter services' if found else 'is not there'
                    raise ParameterError(full, f'node {full} {what}')
                if alive is not None:
                    alive()
                time.sleep(0.01)

    def names(self, node: str) -> list[str]:
        """Return the names of all parameters of the node."""
        return self.names_of([node])[self.full_name(node)]

    def names_of(self, nodes: Iterable[str]) -> dict[str, list[str]]:
        """Return the names of all parameters of each node, by its full name."""
        answers = self._call({node: (ListParameters, ListParameters.Request()) for node in nodes})
        return {node: list(answer.result.names) for node, answer in answers.items()}

    def get(self, node: str, names: Sequence[str]) -> dict[str, RosValue]:
        """Return the values; raises ParameterError for a parameter that the node lacks."""
        return self.get_many({node: names})[self.full_name(node)]

    def get_many(self, wanted: Mapping[str, Sequence[str]]) -> Snapshot:
        """Read parameters of several nodes at the same time."""
        asked = {self.full_name(node): list(names) for node, names in wanted.items()}
        answers = self._call(
            {
                node: (GetParameters, GetParameters.Request(names=names))
                for node, names in asked.items()
            }
        )
        values: Snapshot = {}
        for node, answer in answers.items():
            read = [from_message(message) for message in answer.values]
            if len(read) != len(asked[node]) or any(value is None for value in read):
                self._refuse_unknown(node, asked[node])
            if len(read) != len(asked[node]):
                raise ParameterError(
                    node, f'{node} gave {len(read)} of {len(asked[node])} parameters'
                )
            values[node] = dict(zip(asked[node], read))
        return values

    def describe(self, node: str, names: Sequence[str]) -> dict[str, Any]:
        """Return the descriptors (rcl_interfaces/ParameterDescriptor) by name."""
        full = self.full_name(node)
        request = DescribeParameters.Request(names=list(names))
        answer = self._call({full: (DescribeParameters, request)})[full]
        if len(answer.descriptors) != len(names):
            self._refuse_unknown(full, names)
        return dict(zip(names, answer.descriptors))

    def set(self, node: str, values: Mapping[str, RosValue]) -> None:
        """Set values on one node, all or none, and read them back; see `set_many`."""
        self.set_many({node: values})

    def set_many(self, values: Mapping[str, Mapping[str, RosValue]]) -> None:
        """
        Set values on several nodes at the same time, atomically on each, and read them back.

        Raises ParameterError if a node refuses or reads back anything else.
        """
        wanted = {self.full_name(node): dict(each) for node, each in values.items() if each}
        requests = {}
        for node, each in wanted.items():
            request = SetParametersAtomically.Request()
            for name, value in each.items():
                request.parameters.append(ParameterMsg(name=name, value=to_message(value)))
            requests[node] = (SetParametersAtomically, request)
        refused: ParameterError | None = None
        for node, answer in self._call(requests).items():
            if not answer.result.successful:
                reason = answer.result.reason or 'no reason given'
                # All or none are set: the reason may tell which of them was meant.
                named = [name for name in wanted[node] if name in reason] or list(wanted[node])
                refused = refused or ParameterError(
                    node, f'set of {node} {_listed(named)} refused: {reason}'
                )
        if refused is not None:
            raise refused
        self.verify(wanted)

    def verify(self, values: Mapping[str, Mapping[str, RosValue]]) -> None:
        """Read parameters and raise ParameterError for the first that is not as given."""
        read = self.get_many({node: list(each) for node, each in values.items() if each})
        for node, each in values.items():
            full = self.full_name(node)
            for name, value in each.items():
                if read[full][name] != value:
                    raise ParameterError(
                        full,
                        f'set of {full} {name} was not taken: set {value!r}, '
                        f'reads {read[full][name]!r}',
                    )

    def snapshot(self, nodes: Iterable[str]) -> Snapshot:
        """Return all parameters of each node, by its full name."""
        return self.get_many(self.names_of(nodes))

    def changes(
        self, wanted: Sequence[Assignment], present: Snapshot | None = None
    ) -> tuple[Snapshot, Snapshot]:
        """
        Return what has to be set, and what is there instead, only where the two differ.

        `present` holds values that have just been read; what it lacks is read. Array elements
        are merged into the whole array. Raises ParameterError for a parameter that the node
        lacks, an index outside of the array, and a value of another type.
        """
        after, known = self._merge(wanted, present)
        changed = {
            node: {name: value for name, value in each.items() if value != known[node][name]}
            for node, each in after.items()
        }
        changed = {node: each for node, each in changed.items() if each}
        before = {
            node: {name: known[node][name] for name in each} for node, each in changed.items()
        }
        return changed, before

    def merged(self, wanted: Sequence[Assignment]) -> Snapshot:
        """Return the values that the parameters get, whole arrays, also where nothing changes."""
        return self._merge(wanted, None)[0]

    def apply(self, wanted: Sequence[Assignment], present: Snapshot | None = None) -> Snapshot:
        """
        Set what differs, atomically on each node, verify it, and return what was there before.

        The result is for `restore`. If a node refuses, the nodes that did not are set back
        before the ParameterError is raised. All modes are treated alike here: which of them may
        be set now is the caller's to decide.
        """
        changed, before = self.changes(wanted, present)
        try:
            self.set_many(changed)
        except ParameterError as error:
            others = {node: each for node, each in before.items() if node != error.node}
            try:
                self.restore(others)
            except ParameterError as second:
                raise ParameterError(error.node, f'{error}; and then {second}') from error
            raise
        return before

    def restore(self, before: Snapshot) -> Snapshot:
        """Set back to `before`, sending only what differs; return what was sent."""
        present = self.get_many({node: list(each) for node, each in before.items() if each})
        changed = {
            node: {
                name: value
                for name, value in each.items()
                if value is not None and value != present[self.full_name(node)][name]
            }
            for node, each in before.items()
            if each
        }
        changed = {node: each for node, each in changed.items() if each}
        self.set_many(changed)
        return changed

    def close(self) -> None:
        """Destroy the service clients."""
        with self._lock:
            clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            self._node.destroy_client(client)

    def _merge(
        self, wanted: Sequence[Assignment], present: Snapshot | None
    ) -> tuple[Snapshot, Snapshot]:
        """Return the values to be and the present ones."""
        known = {self.full_name(node): dict(each) for node, each in (present or {}).items()}
        missing: dict[str, list[str]] = {}
        for item in wanted:
            node = self.full_name(item.node)
            if item.name not in known.get(node, {}) and item.name not in missing.get(node, []):
                missing.setdefault(node, []).append(item.name)
        for node, each in self.get_many(missing).items():
            known.setdefault(node, {}).update(each)
        after: Snapshot = {}
        for item in wanted:
            node = self.full_name(item.node)
            value = after.get(node, {}).get(item.name, known[node][item.name])
            try:
                if item.index is None:
                    value = coerce(item.value, value)
                else:
                    value = replaced(value, item.index, item.value)
            except TypeError as error:
                raise UnfitParameterError(node, f'{node} {item.name} {error}') from error
            after.setdefault(node, {})[item.name] = value
        return after, known

    def _client(self, kind: Any, node: str) -> Client:
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

    def _call(self, requests: Mapping[str, tuple[Any, Any]]) -> dict[str, Any]:
        """Send one request to each node at the same time and return the answers by full name."""
        end = time.monotonic() + self.deadline
        nodes = [self.full_name(node) for node in requests]
        self.wait_for_nodes(nodes)
        calls = {
            node: Call(self._client(kind, node), request)
            for node, (kind, request) in zip(nodes, requests.values())
        }
        try:
            # All of these may be asked twice: an answer can get lost while the graph settles.
            for again in (True, False):
                for node, call in calls.items():
                    left = end - time.monotonic()
                    if call.wait(left / 2 if again else left, self._alive):
                        continue
                    if not again:
                        raise ParameterError(
                            node, f'node {node} gave no answer within {self.deadline:g} s'
                        )
                    call.send()
            return {node: call.answer() for node, call in calls.items()}
        finally:
            for call in calls.values():
                call.forget()

    def _refuse_unknown(self, node: str, names: Sequence[str]) -> None:
        """Raise UnfitParameterError that names the parameters which the node lacks."""
        lacking = [name for name in names if name not in set(self.names(node))]
        if lacking:
            raise UnfitParameterError(
                node, f'node {node} has no parameter {", ".join(lacking)}'
            )


def _listed(names: Sequence[str]) -> str:
    """Return the names for a message, shortened."""
    return ', '.join(names) if len(names) <= 4 else f'{", ".join(names[:4])}, ...'
