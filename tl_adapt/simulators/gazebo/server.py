# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for one gzserver process with our world plugin in it, from its start to its end."""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tl_adapt.errors import TlAdaptError
from tl_adapt.ros.isolation import spawn
from tl_adapt.simulators.base import SimulatorError
from tl_adapt.simulators.gazebo import wire
from tl_adapt.simulators.gazebo.locate import Gazebo

ANSWER = 3.5  # s of wall time after which a server that does not answer counts as hung
_START = 30.0  # s that the server gets to come up
_TRIES = 3  # with other ports, where somebody took the first
_TAKEN = 'Address already in use'


def free_port() -> int:
    """Return a TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return int(probe.getsockname()[1])


def _given_port() -> int | None:
    """Return the port that GAZEBO_MASTER_URI names on this machine, None if it names none."""
    match = re.fullmatch(
        r'http://(?:127\.0\.0\.1|localhost):(\d{1,5})/?', os.environ.get('GAZEBO_MASTER_URI', '')
    )
    return int(match[1]) if match and 0 < int(match[1]) < 65536 else None


class Server:
    """
    Hold one gzserver; it ends with this process, however that ends.

    Its socket is inherited, not looked up, so that no other process can answer in its place.
    """

    def __init__(
        self,
        gazebo: Gazebo,
        world: str,
        *,
        port: Callable[[], int] | None = None,
        viewable: bool = False,
    ) -> None:
        """
        Start the server with a world file's text and wait until the plugin greets.

        `port` gives the master's port, anew for each try; left out, the one that
        GAZEBO_MASTER_URI names comes first, which a worker has for itself. Unless it is
        `viewable` by gzclient, the server tells nobody of each contact and pose, and is faster.
        Raises SimulatorError, with the server's last line, if it does not come up.
        """
        self._folder = Path(tempfile.mkdtemp(prefix='tl_adapt-gazebo-'))
        atexit.register(self.close)  # whatever ends the process, but for a kill
        (self._folder / 'robot.world').write_text(world, encoding='utf-8')
        self._flags = [] if viewable else ['--minimal_comms']
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: wire.Connection | None = None
        try:
            for attempt in range(_TRIES):
                given = _given_port() if attempt == 0 and port is None else None
                self.port = given or (port or free_port)()
                try:
                    self.hello = self._start(gazebo)
                    return
                except SimulatorError:
                    self._end()
                    if attempt == _TRIES - 1 or _TAKEN not in self._log():
                        raise
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self.hello.pid

    def ask(
        self, kind: wire.Type, payload: bytes, answer: wire.Type, *, seconds: float = ANSWER
    ) -> bytes:
        """
        Send a request and return the answer's payload.

        Raises SimulatorError if the server has died, hangs or breaks the protocol; RefusedError
        with the plugin's reason.
        """
        if self._connection is None:
            raise SimulatorError('gzserver was ended')
        try:
            return self._connection.request(kind, payload, answer, seconds=seconds)
        except wire.ClosedError:
            raise SimulatorError(f'gzserver died ({self._how()})') from None
        except (wire.SilentError, wire.WireError) as error:
            self._end()  # a late answer would pass for that to the next request
            hangs = ' hangs' if isinstance(error, wire.SilentError) else ''
            raise SimulatorError(f'gzserver{hangs}: {error}') from None

    def close(self) -> None:
        """End the server at once; a second call does nothing."""
        atexit.unregister(self.close)
        self._end()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, gazebo: Gazebo) -> wire.Hello:
        ours, theirs = socket.socketpair()
        self._connection = wire.Connection(ours)
        environment = {
            **os.environ,
            **gazebo.environment(port=self.port, home=self._folder),
            'GZ_PARTITION': f'tl_adapt_{os.getpid()}',
            'TL_ADAPT_GAZEBO_SOCKET': str(theirs.fileno()),
        }
        world = self._folder / 'robot.world'
        with theirs, (self._folder / 'gzserver.log').open('wb') as log:
            try:
                self._process = spawn(
                    [str(gazebo.gzserver), '--verbose', *self._flags, str(world)],
                    death_signal=signal.SIGKILL,
                    stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                    env=environment, pass_fds=[theirs.fileno()],
                )
            except OSError as error:
                raise SimulatorError(f'{gazebo.gzserver} does not start ({error})') from None
        try:
            end = time.monotonic() + _START
            payload = self._connection.receive(wire.Type.HELLO, end=end, seconds=_START)
            hello = wire.read_hello(payload)
        except wire.ClosedError:
            raise SimulatorError(f'gzserver died at its start ({self._how()})') from None
        except TlAdaptError as error:
            raise SimulatorError(f'gzserver does not come up: {error}') from None
        if self._process is None or hello.pid != self._process.pid:
            raise SimulatorError(f'another process answers: {hello.pid}')
        return hello

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        process, self._process = self._process, None
        if process is not None:
            # It has nothing to save, and its own shutdown would wait for a world that waits.
            process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(ANSWER)

    def _log(self) -> str:
        try:
            return (self._folder / 'gzserver.log').read_text(errors='replace')
        except OSError:
            return ''

    def _how(self) -> str:
        """Return how the process ended, with the last error that it wrote."""
        if self._process is None:
            return 'it was ended'
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return 'it closed its socket'
        if code < 0:
            return signal.Signals(-code).name
        lines = [line for line in self._log().splitlines() if 'Err' in line or 'tl_adapt' in line]
        return f'exit code {code}' + (f': {lines[-1].strip()[:300]}' if lines else '')
