# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for environments that are a program: JSON in, JSON out; it need not be a robot."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import math
import os
import pathlib
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any

from tl_adapt.environments.base import COST_REPORTED, Measurement
from tl_adapt.errors import ApparatusError, InputError, MeasurementError
from tl_adapt.ros.isolation import child_preexec

if TYPE_CHECKING:
    from tl_adapt.study import EnvironmentSpec, Study

_TIMEOUT = 600.0  # s, where the study names none
_OUTPUT_BYTES = 1 << 22
_STDERR_BYTES = 2000
_KILL_SECONDS = 5.0
_KEYS = ('command', 'timeout', 'directory', 'environment')


@dataclasses.dataclass(frozen=True)
class CommandOptions:
    """Hold the checked options of a command; `timeout` in s, `environment` added to ours."""

    command: tuple[str, ...]
    timeout: float
    directory: pathlib.Path
    environment: Mapping[str, str]


def validate_options(spec: EnvironmentSpec, study: Study) -> CommandOptions:
    """
    Check the options `command`, `timeout`, `directory` and `environment`.

    In `command`, `{python}` stands for this interpreter and `{study}` for the folder of the study
    file that gives the command. A program with a slash in its name is relative to that folder,
    where it also runs, unless there is a `directory`, which is relative to the file that names it.

    Raises InputError for an unknown option, a wrong type, or a program that does not exist.
    """
    where = f'environments.{spec.name}'
    options = spec.options
    folder = study.folder(f'{where}.command')

    def fail(key: str, rule: str) -> InputError:
        value, full = options.get(key), f'{where}.{key}'
        return InputError(rule, file=study.sources.named(full), key=full, value=value)

    for key in sorted(set(options) - set(_KEYS)):
        raise fail(key, f'unknown option, known are {", ".join(_KEYS)}')
    command = options.get('command')
    if not _is_words(command) or not command:
        raise fail('command', 'must be a list of words, the program first')
    timeout = _number(options.get('timeout', _TIMEOUT))
    if timeout is None or not (math.isfinite(timeout) and timeout > 0):
        raise fail('timeout', 'must be a positive number of seconds')
    directory = folder
    if 'directory' in options:
        directory = study.folder(f'{where}.directory') / str(options['directory'])
    if not directory.is_dir():
        raise fail('directory', 'must be a folder')
    variables = options.get('environment', {})
    if not isinstance(variables, Mapping) or not _is_words(list(variables.values())):
        raise fail('environment', 'must map names of variables to text')
    words = [
        part.replace('{python}', sys.executable).replace('{study}', str(folder))
        for part in command
    ]
    found = shutil.which(str(folder / words[0]) if os.sep in words[0] else words[0])
    if found is None:
        raise fail('command', f'the program {words[0]} must exist and be executable')
    return CommandOptions((found, *words[1:]), timeout, directory, dict(variables))


def _is_words(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(part, str) for part in value)


class CommandEnvironment:
    """
    Measure by running a program once for each measurement.

    The program gets `{"configuration": {...}, "seed": 1}` on standard input and prints
    `{"metrics": {...}}`, and if it likes `valid`, `reason`, `sim_time` [s], `cost`, on standard
    output (alone, or as the last line). A crash, a time-out, an answer that is no such JSON, a
    missing metric or one that is not finite gives an invalid measurement with its reason.
    """

    def __init__(self, study: Study, name: str, *, worker: int = 0) -> None:
        """Check the options; nothing is started yet. Raises InputError."""
        self.name = name
        self._study = study
        self._spec = study.environment(name)
        self._worker = worker
        self._options = validate_options(self._spec, study)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def measure(self, configuration: Mapping[str, Any], seed: int) -> Measurement:
        """Run the program for one configuration."""
        checked = self._study.space.validate(dict(configuration))
        measurement = Measurement(
            environment=self.name,
            configuration=checked,
            seed=seed,
            cost=self._spec.cost,
            started=datetime.datetime.now(datetime.timezone.utc).isoformat(),
            provenance={'command': list(self._options.command), 'worker': self._worker},
        )
        begin = time.monotonic()
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            # Files, not pipes: a grandchild that keeps them open can't make this wait, and a
            # chatty program can't fill a pipe and stop.
            try:
                request = json.dumps({'configuration': checked, 'seed': seed})
                status = self._run(request, output, errors)
                measurement.wall_time = time.monotonic() - begin
                self._judge_status(status, errors)
                self._read_answer(measurement, output)
            except ApparatusError:
                raise
            except MeasurementError as error:
                measurement.valid = False
                measurement.reason = error.reason
                measurement.wall_time = measurement.wall_time or time.monotonic() - begin
            measurement.provenance['stderr'] = _tail(errors)
        return measurement

    def _run(self, request: str, output: IO[bytes], errors: IO[bytes]) -> int:
        """Run the program to its end and return its exit status."""
        with tempfile.TemporaryFile() as stdin:
            stdin.write(request.encode() + b'\n')
            stdin.seek(0)
            with self._lock:
                if self._closed:
                    raise MeasurementError('the environment is closed')
                try:
                    process = subprocess.Popen(
                        self._options.command,
                        stdin=stdin,
                        stdout=output,
                        stderr=errors,
                        cwd=self._options.directory,
                        env={**os.environ, **self._options.environment},
                        preexec_fn=child_preexec(),
                    )
                except OSError as error:
                    raise ApparatusError(f'the program can not start: {error}') from error
                self._process = process
        try:
            ended = _wait(process, self._options.timeout)
        finally:
            # Before the program is reaped: until then nobody else can get its process id.
            with self._lock:
                _kill_group(process)
                self._process = None
        try:
            status = process.wait(_KILL_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise MeasurementError('the program can not be ended') from error
        if not ended:
            raise MeasurementError(f'timeout: no answer within {self._options.timeout:g} s')
        return status

    def _judge_status(self, status: int, errors: IO[bytes]) -> None:
        if status == 0:
            return
        if status < 0:
            try:
                what = f'killed by {signal.Signals(-status).name}'
            except ValueError:
                what = f'killed by signal {-status}'
        else:
            what = f'exit status {status}'
        lines = _tail(errors).strip().splitlines()
        last = f': {lines[-1]}' if lines else ''
        raise MeasurementError(f'the program crashed: {what}{last}')

    def _read_answer(self, measurement: Measurement, output: IO[bytes]) -> None:
        answer = _parse(output)
        valid = answer.get('valid', True)
        if not isinstance(valid, bool):
            raise MeasurementError(f'bad answer: valid must be true or false, got {valid!r}')
        for key in ('sim_time', 'cost'):
            if key in answer:
                number = _number(answer[key])
                if number is None or not (math.isfinite(number) and number >= 0.0):
                    raise MeasurementError(
                        f'bad answer: {key} must be a number >= 0, got {answer[key]!r}'
                    )
                setattr(measurement, key, number)
        if 'cost' in answer:
            measurement.provenance[COST_REPORTED] = True
        metrics = answer.get('metrics', {})
        if not isinstance(metrics, dict):
            raise MeasurementError(f'bad answer: metrics must be a mapping, got {metrics!r}')
        wrong = []
        for name in self._study.metrics:
            if name not in metrics:
                wrong.append(f'metric {name} is missing')
                continue
            number = _number(metrics[name])
            if number is None:
                wrong.append(f'metric {name} is no number: {metrics[name]!r}')
            elif not math.isfinite(number):
                wrong.append(f'metric {name} is {number}')
            else:
                measurement.metrics[name] = number
        if not valid:
            raise MeasurementError(str(answer.get('reason') or 'the program called it invalid'))
        if wrong:
            raise MeasurementError('; '.join(wrong))

    def close(self) -> None:
        """End the program if one runs; a measurement under way then comes back invalid."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                _kill_group(self._process)


def _wait(process: subprocess.Popen[bytes], timeout: float) -> bool:
    """Wait until the program has ended, without reaping it; return whether it did in time."""
    descriptor = os.pidfd_open(process.pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(min(timeout * 1000.0, 2**31 - 1)))
    finally:
        os.close(descriptor)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the program and all that it started in its group, which bears its process id."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _tail(file: IO[bytes]) -> str:
    """Return the end of what was written to the file."""
    file.seek(0, os.SEEK_END)
    file.seek(max(file.tell() - _STDERR_BYTES, 0))
    return file.read().decode('utf-8', 'replace')


def _parse(file: IO[bytes]) -> dict[str, Any]:
    """Read the answer: all of the output, or its last line."""
    file.seek(0)
    text = file.read(_OUTPUT_BYTES).decode('utf-8', 'replace').strip()
    if not text:
        raise MeasurementError('bad answer: the program printed nothing')
    for candidate in (text, text.splitlines()[-1]):
        try:
            answer = json.loads(candidate)
        except (ValueError, RecursionError):
            continue
        if isinstance(answer, dict):
            return answer
    raise MeasurementError(f'bad answer: not a JSON mapping: {text[-200:]!r}')


def _number(value: Any) -> float | None:
    """Return a number of JSON as float (true is 1.0), None for anything else."""
    if not isinstance(value, (bool, int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf
