# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for finding the processes of nodes that someone else started on this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import psutil

from tl_adapt.metrics import process_topic
from tl_adapt.ros.processes import find_node
from tl_adapt.study import Study

_DOMAIN = 'ROS_DOMAIN_ID'


class NodeProcesses:
    """
    Find the processes whose CPU time and memory a study's metrics need, and keep what was found.

    A process counts if its command line names the node or is the one of the environment's
    bringup, and if it is in this process' ROS domain. Where that leaves several, or none (they
    may run on another host), the node is left out, and so are its metrics.
    """

    def __init__(self, study: Study, environment: str) -> None:
        """Take the commands from the environment's `bringup`, if it has one."""
        self._commands: dict[str, list[str]] = {}
        for entry in study.environment(environment).options.get('bringup', ()):
            if len(entry['nodes']) == 1:
                self._commands[entry['nodes'][0].strip('/')] = list(entry['command'][1:])
        self._nodes = sorted(
            {node for metric in study.metrics.values() for node in metric.nodes}
        )
        self._found: dict[str, psutil.Process] = {}

    def __call__(self) -> Mapping[str, Sequence[int]]:
        """Return the process ids by the name of the node's topic in a trace."""
        result: dict[str, Sequence[int]] = {}
        for node in self._nodes:
            known = self._found.get(node)
            if known is None or not known.is_running():
                known = self._find(node)
            if known is not None:
                self._found[node] = known
                result[process_topic(node)] = [known.pid]
        return result

    def _find(self, node: str) -> psutil.Process | None:
        self._found.pop(node, None)
        pids = set(find_node(node))
        command = self._commands.get(node.strip('/'))
        for process in psutil.process_iter():
            try:
                if command and _contains(process.cmdline(), command):
                    pids.add(process.pid)
            except psutil.Error:
                continue
        own = os.environ.get(_DOMAIN, '0')
        found = []
        for pid in pids:
            try:
                process = psutil.Process(pid)
                if process.environ().get(_DOMAIN, '0') == own:
                    found.append(process)
            except psutil.Error:
                continue
        return found[0] if len(found) == 1 else None


def _contains(words: Sequence[str], part: Sequence[str]) -> bool:
    """Tell whether `part` occurs in `words` in one piece."""
    n = len(part)
    return any(list(words[i : i + n]) == list(part) for i in range(1, len(words) - n + 1))
