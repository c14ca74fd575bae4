# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for programs that are run to their end, within a deadline, and never outlive us."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tl_adapt.errors import TlAdaptError
from tl_adapt.ros.isolation import spawn


def run_child(
    command: Sequence[str | Path], *, deadline: float, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """
    Run a program that reads nothing and return what it said, in English, and its exit code.

    `environment` is put over this process's own. Raises TlAdaptError, one line, if the program
    can't be started or has not ended after `deadline` seconds; it is killed then.
    """
    name = Path(command[0]).name
    try:
        child = spawn(
            [str(part) for part in command], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors='replace',
            env={**os.environ, 'LC_ALL': 'C', **(environment or {})},
        )
    except OSError as error:
        raise TlAdaptError(f'{name} can not be run: {error}') from error
    try:
        output, errors = child.communicate(timeout=deadline)
    except subprocess.TimeoutExpired:
        raise TlAdaptError(f'{name} has not ended after {deadline:g} s') from None
    finally:
        end_child(child)
    return subprocess.CompletedProcess(list(command), child.returncode, output, errors)


def end_child(child: subprocess.Popen[Any]) -> None:
    """Kill a child of `spawn` with what it started itself, unless it has ended."""
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
