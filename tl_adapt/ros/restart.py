# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for parameters that a running node takes only when it starts or configures.

A lifecycle node is configured anew; a node with a hook (the study's `adaptation.restart`) is
restarted by the operator's own command, which hands it a file with its parameters.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from rclpy.node import Node

from tl_adapt.errors import InputError, MeasurementError
from tl_adapt.ros.inbox import Inbox
from tl_adapt.ros.lifecycle import Lifecycle
from tl_adapt.ros.parameters import ParameterClient, ParameterError
from tl_adapt.ros.values import Snapshot
from tl_adapt.ros.waiting import Waiter
from tl_adapt.study_rules import PARAMETERS_FILE
from tl_adapt.user_cache import cache_folder

if TYPE_CHECKING:
    from tl_adapt.study import Study

TIMEOUT = 60.0  # s that a restart may take, where the study says nothing
_ANSWER = 1.0  # s that a node which comes up may take to be asked again
_LOOK = 0.05  # s between two looks at what comes up
_GRACE = 2.0  # s that a command may take to end when it is told to
_TAIL = 500  # bytes of a command's output that are told
_ENDED = 'the adapter ends'
_ODD = re.compile(r'[^ -~]')  # what YAML may not hold as it is, or would read as an end of line


@dataclasses.dataclass(frozen=True)
class Hook:
    """Hold an operator's command that restarts a node, and the file for the node's parameters."""

    command: tuple[str, ...]
    directory: Path
    parameters: Path


def hooks_of(
    study: Study, full_name: Callable[[str], str], *, folder: Path | None = None
) -> dict[str, Hook]:
    """
    Return the study's restart hooks by the node's full name.

    `{python}`, `{study}` and a program with a slash mean what they mean for an environment of
    kind `command`. The files of parameters are in `folder` and stay there: whoever watches over
    the node may start it again with the same words. Raises InputError if a program is missing.
    """
    found = {}
    for node, words in study.adaptation.get('restart', {}).items():
        key = f'adaptation.restart.{node}'
        home = study.folder(key)
        given = [
            word.replace('{python}', sys.executable).replace('{study}', str(home))
            for word in words
        ]
        program = shutil.which(str(home / given[0]) if os.sep in given[0] else given[0])
        if program is None:
            raise InputError(
                f'the program {given[0]} must exist and be executable',
                file=study.sources.named(key), key=key, value=list(words),
            )
        full = full_name(node)
        name = f'{study.name}{full.replace("/", "-")}.yaml'
        path = (folder or cache_folder() / 'restart') / name
        found[full] = Hook((program, *given[1:]), home, path)
    return found


class Restarts:
    """Give nodes new values by configuring them anew, or by restarting them."""

    def __init__(
        self,
        client: ParameterClient,
        *,
        lifecycle: Lifecycle | None = None,
        hooks: Mapping[str, Hook] | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        """Keep the ways; one restart takes no longer than `timeout` s."""
        self._client = client
        self._lifecycle = lifecycle
        self._hooks = dict(hooks or {})
        self._timeout = timeout
        self._ended = threading.Event()

    @classmethod
    def of(cls, node: Node, study: Study, environment: str, client: ParameterClient) -> Restarts:
        """Take the ways out of a study, for one environment; `node` is spun elsewhere."""
        options = study.environment(environment).options
        timeout = float(study.adaptation.get('restart_timeout', TIMEOUT))
        names = [client.full_name(name) for name in options.get('lifecycle_nodes', ())]
        lifecycle = None
        if names and study.restarts(study.environment(environment)):
            waiter = Waiter(Inbox(node), lambda: None, timeout)
            lifecycle = Lifecycle(
                node, names, waiter, manager=options.get('lifecycle_manager')
            )
        return cls(client, lifecycle=lifecycle, hooks=hooks_of(study, client.full_name),
                   timeout=timeout)

    def possible(self, node: str) -> bool:
        """Tell whether there is a way to restart the node."""
        return node in self._hooks or self._is_living(node)

    def starts(self, node: str) -> bool:
        """Tell whether a node that is not there can be started."""
        return node in self._hooks

    def is_up(self, node: str) -> bool:
        """Tell whether a node is in its working state, as far as that can be known."""
        lifecycle = self._lifecycle
        return lifecycle is None or not self._is_living(node) or lifecycle.is_active(node)

    def give(
        self, values: Mapping[str, Mapping[str, Any]], every: Snapshot
    ) -> dict[str, ParameterError]:
        """
        Restart nodes with `values`; return what went wrong.

        `every` are all tuned parameters that each node is to have: a new process knows none.
        """
        errors: dict[str, ParameterError] = {}
        living = [node for node in values if node not in self._hooks]
        if living and self._lifecycle is not None:
            try:
                self._lifecycle.take_down(living, self._timeout)
                errors.update(self._client.set_each({node: values[node] for node in living}))
                if not errors:
                    self._lifecycle.bring_up(living, self._timeout)
                    errors.update(self._client.verify_each({n: values[n] for n in living}))
            except MeasurementError as error:
                for node in living:
                    errors.setdefault(node, ParameterError(node, f'{node}: {error.reason}'))
        for node in values:
            if node in self._hooks and not errors:
                error_of = self._run(node, every[node])
                if error_of is not None:
                    errors[node] = error_of
        return errors

    def stop(self) -> None:
        """
        End the command that runs, and let no other begin; from any thread, without waiting.

        Who called `give` gets an error for its node. Lifecycle nodes are still brought up.
        """
        self._ended.set()

    def close(self) -> None:
        """Let go of the nodes."""
        if self._lifecycle is not None:
            self._lifecycle.close()

    def _is_living(self, node: str) -> bool:
        return self._lifecycle is not None and node in self._lifecycle.names

    def _run(self, node: str, values: Mapping[str, Any]) -> ParameterError | None:
        """Run a node's hook and wait until the node is there with the values."""
        hook = self._hooks[node]
        end = time.monotonic() + self._timeout
        try:
            _write(hook.parameters, node, values)
            words = [word.replace(PARAMETERS_FILE, str(hook.parameters)) for word in hook.command]
            _call(words, hook.directory, self._timeout, self._ended)
        except (OSError, MeasurementError) as error:
            return ParameterError(node, f'the restart of {node} failed: {error}')
        problem: ParameterError = ParameterError(node, f'{node} did not come up')
        while time.monotonic() < end and not self._ended.is_set():
            errors = self._client.verify_each({node: values}, patience=_ANSWER)
            if not errors:
                return None
            problem = errors[node]
            time.sleep(_LOOK)
        if self._ended.is_set():
            return ParameterError(node, f'the restart of {node} failed: {_ENDED}')
        return ParameterError(
            node, f'the restart of {node} failed, within {self._timeout:g} s: {problem.reason}'
        )


def _write(path: Path, node: str, values: Mapping[str, Any]) -> None:
    """Write a ROS parameter file, as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # JSON is YAML, too, but for its escapes of half a character each, which rcl does not read.
    text = json.dumps({node: {'ros__parameters': dict(values)}}, ensure_ascii=False)
    text = _ODD.sub(lambda found: f'\\U{ord(found[0]):08x}', text)
    with tempfile.NamedTemporaryFile('w', dir=path.parent, delete=False) as file:
        file.write(text)
    os.replace(file.name, path)


def _call(
    words: Sequence[str], directory: Path, timeout: float, ended: threading.Event
) -> None:
    """
    Run a command to its end; raises MeasurementError if it fails, or does not end.

    What it leaves running is the node: only a command that does not end, or still runs when
    `ended` is set, is ended with all that it started.
    """
    if ended.is_set():
        raise MeasurementError(_ENDED)
    end = time.monotonic() + timeout
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            cwd=directory, start_new_session=True,
        )
        while (code := _code(process, _LOOK)) is None:
            if ended.is_set():
                _end(process)
                raise MeasurementError(f'{words[0]} was ended: {_ENDED}')
            if time.monotonic() > end:
                _end(process, 0.0)
                raise MeasurementError(f'{words[0]} did not end within {timeout:g} s')
        if code:
            raise MeasurementError(f'{words[0]} ended with exit status {code}{_last(output)}')


def _code(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """Return a process's exit status, None if it still runs after so long."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None


def _end(process: subprocess.Popen[bytes], grace: float = _GRACE) -> None:
    """End a process and all of its group; it may take `grace` s to do so by itself."""
    for number in (signal.SIGTERM, signal.SIGKILL) if grace > 0.0 else (signal.SIGKILL,):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        _code(process, grace)
    process.wait()


def _last(output: IO[bytes]) -> str:
    """Return the last line of a command's output, for a message."""
    output.seek(0, os.SEEK_END)
    output.seek(max(output.tell() - _TAIL, 0))
    lines = output.read().decode('utf-8', 'replace').strip().splitlines()
    return f': {lines[-1]}' if lines else ''
