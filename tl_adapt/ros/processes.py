# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the processes of a stack: start and end them, and sample what they use."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from tl_adapt.errors import MeasurementError
from tl_adapt.ros.isolation import child_preexec
from tl_adapt.study_rules import resolved
from tl_adapt.trace import Topic, make_topic

# A process gets this long, in s, to end after each of the signals.
_GRACE = ((signal.SIGINT, 3.0), (signal.SIGTERM, 2.0), (signal.SIGKILL, 2.0))


def kill_session(leader: int) -> None:
    """Kill all processes of the session that `leader` began, also where the leader has ended."""
    for pid in psutil.pids():
        with contextlib.suppress(OSError):
            if os.getsid(pid) == leader and pid != os.getpid():
                os.kill(pid, signal.SIGKILL)


_RUN_SIMULATOR = ['ros2', 'run', 'tl_adapt', 'simulator']


class ProcessDiedError(MeasurementError):
    """Say that a process of the stack has ended by itself; `nodes` are those that ran in it."""

    def __init__(self, reason: str, nodes: Sequence[str]) -> None:
        """Store both."""
        self.nodes = tuple(nodes)
        super().__init__(reason)


class Process:
    """Hold one process of a stack, in a session of its own, with its output in a file."""

    def __init__(self, entry: Mapping[str, Any], folder: Path, namespace: str = '') -> None:
        """
        Take one of the study's `bringup` entries (name, command, nodes, environment).

        `{python}` in the command is this interpreter; the output goes to a file in `folder`.
        Relative names of nodes are in the namespace.
        """
        self.name: str = entry['name']
        self.nodes = tuple(resolved(node, namespace) for node in entry['nodes'])
        self.log = folder / f'{self.name.replace("/", "_")}.log'
        self._command = [part.replace('{python}', sys.executable) for part in entry['command']]
        self._environment = dict(entry.get('environment', {}))
        self._popen: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def is_our_simulator(self) -> bool:
        """
        Say whether the command starts the simulator node of this package.

        That takes parameters, and some of them decide what has to be started at all; a command
        of somebody else, such as a launch file, may choke on them.
        """
        words = self._command
        return 'tl_adapt.simulators.node' in words or words[:4] == _RUN_SIMULATOR

    @property
    def pid(self) -> int | None:
        """Return the process id, None before `start`."""
        return None if self._popen is None else self._popen.pid

    def members(self) -> list[int]:
        """Return the ids of the process and of all that it started, as long as they are there."""
        return [process.pid for process in family(self.pid)]

    def start(self, parameters: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        """
        Start the process; `parameters` (full node name -> name -> value) hold from the start.

        Raises MeasurementError if the program can't be started.
        """
        command = list(self._command)
        if parameters:
            if '--ros-args' not in command:
                command.append('--ros-args')
            # Not as `-p NODE:NAME:=VALUE`: that knows no namespaces. JSON is YAML, too.
            path = self.log.with_suffix('.parameters.yaml')
            content = {node: {'ros__parameters': values} for node, values in parameters.items()}
            path.write_text(json.dumps(content))
            command += ['--params-file', str(path)]
        with self.log.open('ab') as log:
            self._log_start = log.tell()
            try:
                self._popen = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **self._environment},
                    preexec_fn=child_preexec(),
                )
            except OSError as error:
                raise MeasurementError(
                    f'{self.name}: {command[0]} does not start ({error})'
                ) from error

    def check(self) -> None:
        """Raise ProcessDiedError if the process has ended, with the last line of its output."""
        if self._popen is None or self._popen.poll() is None:
            return
        code = self._popen.returncode
        how = signal.Signals(-code).name if code < 0 else f'exit code {code}'
        what = ', '.join(f'node {node}' for node in self.nodes) or self.name
        last = self.last_line()
        reason = f'{what} died ({how})' + (f': {last}' if last and code > 0 else '')
        raise ProcessDiedError(reason, self.nodes)

    def last_line(self) -> str:
        """Return the last line of the output since the start, shortened."""
        try:
            with self.log.open('rb') as log:
                log.seek(max(self.log.stat().st_size - 4000, self._log_start))
                lines = [line for line in log.read().decode(errors='replace').splitlines() if line]
        except OSError:
            return ''
        # What was meant for the user may not be the last that was said.
        told = [line for line in lines if line.startswith('tl_adapt: error:')] or lines
        return told[-1].strip()[:300] if told else ''

    def signal(self, number: int) -> None:
        """Send a signal to the process alone, if it is still there."""
        if self._popen is not None and self._popen.poll() is None:
            self._popen.send_signal(number)

    def wait(self, seconds: float) -> bool:
        """Wait for the process to end; return False if it is still there after `seconds`."""
        if self._popen is None:
            return True
        try:
            self._popen.wait(max(seconds, 0.0))
        except subprocess.TimeoutExpired:
            return False
        return True

    def finish(self) -> None:
        """Kill what is left of the process and of all that it started."""
        if self._popen is None:
            return
        kill_session(self._popen.pid)
        self._popen.wait()
        self._popen = None


class Bringup:
    """Hold the processes of one stack."""

    def __init__(
        self, entries: Iterable[Mapping[str, Any]], folder: Path, namespace: str = ''
    ) -> None:
        """Take the study's `bringup` entries (name, command, nodes); logs go into `folder`."""
        self.processes = [Process(entry, folder, namespace) for entry in entries]
        self._namespace = namespace
        self.on_change: Callable[[], None] = lambda: None

    @property
    def nodes(self) -> list[str]:
        """Return the names of all nodes that the study names for its processes."""
        return [node for process in self.processes for node in process.nodes]

    @property
    def sessions(self) -> list[int]:
        """Return the ids of the sessions that the processes lead."""
        return [process.pid for process in self.processes if process.pid is not None]

    def start(self, values: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        """Start all processes; `values` (node -> name -> value) go to our own simulator only."""
        for process in self.processes:
            process.start(values if process.is_our_simulator else None)
            self.on_change()

    def start_again(self, processes: Sequence[Process], values: Mapping[str, Any]) -> None:
        """Start processes that have been stopped, with parameters (node -> name -> value)."""
        for process in processes:
            process.start({n: each for n, each in values.items() if n in process.nodes})
        self.on_change()

    def check(self) -> None:
        """Raise ProcessDiedError if a process has ended."""
        for process in self.processes:
            process.check()

    def stop(self, *, gently: bool = True) -> None:
        """End all processes, all at the same time, and all that they started."""
        stop_processes(self.processes, gently=gently)

    def process_of(self, node: str) -> Process | None:
        """Return the process that runs the node, None if it is none of these."""
        wanted = resolved(node, self._namespace)
        return next((process for process in self.processes if wanted in process.nodes), None)


def stop_processes(processes: Sequence[Process], *, gently: bool = True) -> None:
    """End processes at the same time: ask, then insist, then kill their sessions."""
    running = [process for process in processes if process.pid is not None]
    for number, seconds in _GRACE if gently else _GRACE[-1:]:
        end = time.monotonic() + seconds
        for process in running:
            process.signal(number)
        running = [p for p in running if not p.wait(end - time.monotonic())]
    for process in processes:
        process.finish()


def family(pid: int | None) -> list[psutil.Process]:
    """Return a process and all that it started; empty if it is not there."""
    if pid is None:
        return []
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def is_launch(words: Iterable[str]) -> bool:
    """Say whether a command runs a launch file."""
    names = [Path(word).name for word in words]
    return 'ros2' in names and names[names.index('ros2') + 1 :][:1] == ['launch']


def find_node(node: str) -> list[int]:
    """Return the processes of this machine whose command line names the node."""
    return sorted(process.pid for process in psutil.process_iter() if runs(process, node))


def runs(process: psutil.Process, node: str) -> bool:
    """Say whether a process was started as this node, as launch files do it."""
    namespace, _, name = node.rstrip('/').rpartition('/')
    try:
        words = process.cmdline()
    except psutil.Error:
        return False
    given = [word for word in words if word.startswith('__ns:=')]
    if namespace and given and f'__ns:={namespace}' not in given:
        return False
    # `__node:=NAME`, or `OLD:__node:=NAME`.
    named = [word.rpartition('__node:=')[2] for word in words if '__node:=' in word]
    if named:
        return name in named
    # Programs in Python are started through their interpreter.
    programs = words[: 2 if words and Path(words[0]).name.startswith('python') else 1]
    return name in (Path(program).name for program in programs)


class Sampler:
    """Sample CPU time and memory of processes in a thread of its own."""

    def __init__(self, pids: Mapping[str, Sequence[int]], now: Callable[[], int]) -> None:
        """Sample the processes of each key; `now` gives the sim time in ns."""
        self._processes = {key: _open(numbers) for key, numbers in pids.items()}
        self._now = now
        self._rows: dict[str, list[tuple[int, float, int, int]]] = {key: [] for key in pids}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._before: dict[str, dict[str, float]] = {}
        self.threads: dict[str, dict[str, float]] = {}

    def start(self, period: float = 0.2) -> None:
        """Take the first sample now and further ones each `period` s of wall time."""
        self._before = {key: _thread_times(found) for key, found in self._processes.items()}
        self.start_thread(period)

    def start_thread(self, period: float) -> None:
        """Do so without taking note of the processes' threads."""
        self.sample()
        self._thread = threading.Thread(target=self._run, args=(period,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take the last sample and end the thread."""
        if self._thread is None:
            return
        self._stop.set()
        self._thread.join()
        self.sample()
        self._thread = None
        for key, found in self._processes.items():
            before = self._before.get(key, {})
            self.threads[key] = {
                name: round(seconds - before.get(name, 0.0), 3)
                for name, seconds in _thread_times(found).items()
                if seconds > before.get(name, 0.0)
            }

    def topics(self, start_ns: int) -> dict[str, Topic]:
        """Return the samples as topics; the first was taken at sim time `start_ns`."""
        topics = {}
        for key, rows in self._rows.items():
            if not rows:
                continue
            stamps, cpu_time, rss, threads = (list(column) for column in zip(*rows))
            stamps[0] = start_ns
            stamps = [max(stamp, start_ns) for stamp in stamps]
            columns = {'cpu_time': cpu_time, 'rss': rss, 'threads': threads}
            topics[key] = make_topic(stamps, stamps, columns)
        return topics

    def _run(self, period: float) -> None:
        while not self._stop.wait(period):
            self.sample()

    def sample(self) -> None:
        """Take one sample now."""
        for key, processes in self._processes.items():
            cpu_time, rss, threads, seen = 0.0, 0, 0, False
            for process in processes:
                with contextlib.suppress(psutil.Error), process.oneshot():
                    times = process.cpu_times()
                    rss += process.memory_info().rss
                    threads += process.num_threads()
                    cpu_time += times.user + times.system
                    seen = True
            # A process that has died would make its CPU time fall to zero.
            if seen and (not self._rows[key] or cpu_time >= self._rows[key][-1][1]):
                self._rows[key].append((self._now(), cpu_time, rss, threads))


def _open(pids: Iterable[int]) -> list[psutil.Process]:
    """Return the processes that are still there."""
    found = []
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            found.append(psutil.Process(pid))
    return found


def _thread_times(processes: Iterable[psutil.Process]) -> dict[str, float]:
    """Return CPU seconds by thread: `name/number`, both as the kernel has them."""
    times = {}
    for process in processes:
        with contextlib.suppress(psutil.Error):
            for thread in process.threads():
                try:
                    name = Path(f'/proc/{process.pid}/task/{thread.id}/comm').read_text().strip()
                except OSError:
                    name = process.name()
                times[f'{name}/{thread.id}'] = thread.user_time + thread.system_time
    return times
