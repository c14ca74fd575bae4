# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for telling which processes run a node, and which nodes share one.

CPU time and memory belong to processes. Where several nodes live in one, as in a component
container, the threads' names don't tell either whose time it is: the figure of one node alone
can't be had then, and a wrong one must not be given.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import psutil
from rclpy.node import Node

from tl_adapt.errors import MeasurementError
from tl_adapt.metrics import process_topic
from tl_adapt.ros.processes import Bringup, family, is_launch, runs
from tl_adapt.study_rules import resolved

if TYPE_CHECKING:
    from tl_adapt.study import Metric

_TOPICS = ('/parameter_events', '/rosout')  # what (nearly) every node publishes
_PREFIX = 12  # bytes of an endpoint's id that name its participant
_CONTAINER = '/_container/list_nodes'


class Attribution:
    """Find the processes of nodes, of a bringup or of this machine."""

    def __init__(self, node: Node, bringup: Bringup, namespace: str = '') -> None:
        """Look at the graph through `node`; relative names are in the namespace."""
        self._node = node
        self._bringup = bringup
        self._namespace = namespace

    def check(self, metrics: Iterable[Metric]) -> None:
        """Raise MeasurementError if a metric asks for nodes that can't be told from others."""
        for metric in metrics:
            wanted = {resolved(node, self._namespace) for node in metric.nodes}
            for node in sorted(wanted):
                self._refuse_shared(metric.name, node, wanted)
                process = self._bringup.process_of(node)
                if process is not None and not self.pids(node):
                    raise MeasurementError(
                        f'metric {metric.name}: which process of {process.name} runs node {node} '
                        'can not be told: start it with __node:=NAME, as launch files do, or as '
                        'an entry of its own'
                    )

    def sampled(self, metrics: Iterable[Metric]) -> dict[str, list[int]]:
        """Return the processes that metrics measure, by the name of their topic in a trace."""
        names = dict.fromkeys(node for metric in metrics for node in metric.nodes)
        return {process_topic(name): self.pids(name) for name in names}

    def pids(self, node: str) -> list[int]:
        """
        Return the ids of the processes that run the node; empty if there are none.

        Of several processes it's those whose command line names the node, or one that shares
        its process.
        """
        name = resolved(node, self._namespace)
        names = [name, *self.companions(name)]
        process = self._bringup.process_of(name)
        owners = self._bringup.processes if process is None else [process]
        if not owners:
            return _matching(names, psutil.process_iter())
        members = [member for owner in owners for member in family(owner.pid)]
        found = _matching(names, members)
        if found or process is None or _launches(members) or not set(process.nodes) <= set(names):
            return found
        # A program of the user's own, with whatever it starts, is what its nodes are.
        return sorted(member.pid for member in members)

    def companions(self, node: str) -> list[str]:
        """Return the full names of the other nodes that the node's process has."""
        by_node: dict[str, bytes] = {}
        for topic in _TOPICS:
            for info in self._node.get_publishers_info_by_topic(topic):
                name = f'{info.node_namespace.rstrip("/")}/{info.node_name}'
                by_node.setdefault(name, bytes(info.endpoint_gid[:_PREFIX]))
        own = by_node.get(node)
        return sorted(name for name, at in by_node.items() if at == own and name != node)

    def _refuse_shared(self, metric: str, node: str, wanted: set[str]) -> None:
        companions = self.companions(node)
        services = {name for name, _ in self._node.get_service_names_and_types()}
        containers = [n for n in (node, *companions) if f'{n}{_CONTAINER}' in services]
        if wanted & set(containers):
            return
        for container in containers:
            raise MeasurementError(
                f'metric {metric}: node {node} runs in the container {container}, whose nodes '
                f"can not be told apart: name {container} in the metric's `nodes`, which measures "
                'them all, or start them as processes of their own'
            )
        known = [n for n in companions if n in self._bringup.nodes and n not in wanted]
        if known:
            raise MeasurementError(
                f'metric {metric}: node {node} shares its process with {", ".join(known)}, so '
                "they can not be told apart: name all of them in the metric's `nodes`, or start "
                'them as processes of their own'
            )


def _matching(names: Sequence[str], processes: Iterable[psutil.Process]) -> list[int]:
    """Return the processes that run the first of the nodes for which there are any."""
    members = list(processes)
    for name in names:
        found = sorted(member.pid for member in members if runs(member, name))
        if found:
            return found
    return []


def _launches(family: Iterable[psutil.Process]) -> bool:
    """Say whether one of the processes is a launch file's, which is no node."""
    for member in family:
        try:
            words = member.cmdline()
        except psutil.Error:
            continue
        if is_launch(words):
            return True
    return False
