# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what a recording keeps of a study's nodes: their parameters and what they use."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import psutil
from rcl_interfaces.srv import GetParameters, ListParameters

from tl_adapt.bags.recorded import ProcessSample
from tl_adapt.ros.node_processes import NodeProcesses
from tl_adapt.ros.parameters import ParameterClient
from tl_adapt.ros.values import from_message
from tl_adapt.trace import PROCESS_PREFIX

if TYPE_CHECKING:
    from tl_adapt.study import Study

_LOOK = 1.0  # s between looks for nodes that came or came back
_ANSWER = 5.0  # s that a node may take to tell its parameters
_SEARCH = 5.0  # s between looks for processes that are not there


class ParameterSnapshots:
    """
    Read all parameters of nodes when they are met, and again when they come back.

    Each is read twice, a second apart, since what changed while a node was being met may never
    have been told. A thread of its own waits for the answers; `take` gives what came.
    """

    def __init__(self, client: ParameterClient, nodes: Iterable[str]) -> None:
        """Ask through `client`, whose node another thread spins."""
        self._client = client
        self._nodes = list(nodes)
        self._known: dict[str, frozenset[bytes]] = {}
        self._once_more: set[str] = set()
        self._last: dict[str, dict[str, Any]] = {}
        self._found: queue.SimpleQueue[tuple[str, dict[str, Any], int]] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def missing(self) -> list[str]:
        """Return the nodes of which nothing is known."""
        return [node for node in self._nodes if node not in self._known]

    @property
    def settled(self) -> bool:
        """Tell whether everything is known of all nodes, and no change can have been missed."""
        return not self.missing and not self._once_more

    def take(self) -> list[tuple[str, dict[str, Any], int]]:
        """
        Return what was read since: node, parameters (None for one that is not set) and time.

        The time [ns, of the system's clock] is that of asking: a change that is told after it
        is newer, or the same.
        """
        found = []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._found.get_nowait())
        return found

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join(_ANSWER + 1.0)

    def _run(self) -> None:
        while True:
            publishers = self._client.identities()
            wanted, new = {}, set()
            for node in self._nodes:
                seen = publishers.get(node, frozenset())
                if node not in self._known or seen - self._known[node]:
                    new.add(node)
                if node in new | self._once_more and self._client.count(node) == 1:
                    wanted[node] = seen
            for node in self._read(list(wanted)):
                if node in new:
                    self._once_more.add(node)
                else:
                    self._once_more.discard(node)
                self._known[node] = wanted[node]
            if self._stop.wait(_LOOK):
                return

    def _read(self, nodes: list[str]) -> list[str]:
        """Read the parameters of nodes at the same time; return those that answered."""
        if not nodes:
            return []
        listed, _ = self._client.ask(
            {node: (ListParameters, ListParameters.Request()) for node in nodes},
            deadline=_ANSWER,
        )
        names = {node: list(answer.result.names) for node, answer in listed.items()}
        asked = time.time_ns()
        answers, _ = self._client.ask(
            {node: (GetParameters, GetParameters.Request(names=each))
             for node, each in names.items()},
            deadline=_ANSWER,
        )
        # A node that is busy starting may not know all of them yet.
        found = [n for n, answer in answers.items() if len(answer.values) == len(names[n])]
        for node in found:
            values = dict(zip(names[node], map(from_message, answers[node].values)))
            if values != self._last.get(node):
                self._last[node] = values
                self._found.put((node, values, asked))
        return found


class ProcessSamples:
    """Sample the processes of the nodes whose CPU time and memory a study's metrics need."""

    def __init__(self, study: Study, environment: str) -> None:
        """Look for the processes on this machine only."""
        self._find = NodeProcesses(study, environment)
        self._processes: dict[str, list[psutil.Process]] = {}
        self._next_search = 0.0
        self.wanted = sorted({n for metric in study.metrics.values() for n in metric.nodes})

    @property
    def missing(self) -> list[str]:
        """Return the nodes whose processes are not found."""
        return [node for node in self.wanted if node.strip('/') not in self._processes]

    def sample(self) -> Mapping[str, ProcessSample]:
        """Return what the processes have used up to now, by node."""
        if self.missing and time.monotonic() > self._next_search:
            self._next_search = time.monotonic() + _SEARCH
            self._search()
        samples = {}
        for node, processes in list(self._processes.items()):
            try:
                samples[node] = _sample(processes)
            except psutil.Error:
                del self._processes[node]  # it has ended; its successor counts anew
        return samples

    def _search(self) -> None:
        for topic, pids in self._find().items():
            with contextlib.suppress(psutil.Error):
                self._processes[topic.removeprefix(PROCESS_PREFIX)] = [
                    psutil.Process(pid) for pid in pids
                ]


def _sample(processes: Iterable[psutil.Process]) -> ProcessSample:
    cpu_time, rss, threads, pids = 0.0, 0, 0, []
    for process in processes:
        with process.oneshot():
            times = process.cpu_times()
            cpu_time += times.user + times.system
            rss += process.memory_info().rss
            threads += process.num_threads()
            pids.append(process.pid)
    return ProcessSample(cpu_time, rss, threads, tuple(pids))
