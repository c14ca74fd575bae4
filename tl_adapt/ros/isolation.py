# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for keeping ROS graphs apart, and for children that never outlive their parent."""

from __future__ import annotations

import ctypes
import fcntl
import os
import random
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import tl_adapt
from tl_adapt.errors import TlAdaptError

# Domain ids above 101 need ports that Linux gives to others.
FIRST_DOMAIN = 60
LAST_DOMAIN = 101
_FIRST_PORT = 11400  # of Gazebo's masters; 11345 is everybody's

# The name until Jazzy and the one since; newer ones warn of the old name.
_PROFILE_VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
_PROFILE_FILE = 'fastdds.xml'
_PROFILE = (
    '<?xml version="1.0" encoding="UTF-8" ?>\n'
    '<profiles xmlns="http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles">\n'
    '  <participant profile_name="tl_adapt" is_default_profile="true">\n'
    '    <rtps>\n'
    '      <builtin>\n'
    '        <discovery_config>\n'
    '          <leaseAnnouncement><sec>1</sec></leaseAnnouncement>\n'
    '          <initialAnnouncements>\n'
    '            <count>20</count>\n'
    '            <period><nanosec>100000000</nanosec></period>\n'
    '          </initialAnnouncements>\n'
    '        </discovery_config>\n'
    '      </builtin>\n'
    '    </rtps>\n'
    '  </participant>\n'
    '%s'
    '</profiles>\n'
)
# With the default of 3 s a writer learns as late that all it sent has arrived.
_PROMPT = (
    '  <data_writer profile_name="tl_adapt_prompt" is_default_profile="true">\n'
    '    <times>\n'
    '      <heartbeat_period><sec>0</sec><nanosec>20000000</nanosec></heartbeat_period>\n'
    '    </times>\n'
    '  </data_writer>\n'
)
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)
_spawner: ThreadPoolExecutor | None = None
_spawner_lock = threading.Lock()


def runtime_folder() -> Path:
    """Return this user's folder for locks; it is made, private, where it is missing."""
    root = os.environ.get('XDG_RUNTIME_DIR')
    if not root or not os.access(root, os.W_OK):
        root = tempfile.gettempdir()
    folder = Path(root) / f'tl_adapt-{os.getuid()}'
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise TlAdaptError(f'{folder} belongs to another user; set XDG_RUNTIME_DIR')
    return folder


class Domain:
    """Hold a ROS domain id that no other process of this user holds, until `close`."""

    def __init__(self, number: int, lock: IO[str]) -> None:
        """Take over the locked file that stands for the domain id."""
        self.id = number
        self._lock = lock

    def environment(self) -> dict[str, str]:
        """Return the environment variables for the processes of this domain."""
        return domain_environment(self.id)

    def close(self) -> None:
        """Give the domain id back; a second call does nothing."""
        self._lock.close()

    def __enter__(self) -> Domain:
        """Return the domain."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the domain id back."""
        self.close()


def gazebo_port(number: int) -> int:
    """Return the port of Gazebo classic's master in domain `number`."""
    return _FIRST_PORT + number


def domain_environment(number: int) -> dict[str, str]:
    """
    Return the variables that keep discovery in domain `number` on this machine, Gazebo's too.

    They also let Fast DDS announce new nodes more often, unless the user has a profile: with its
    defaults a node that misses the first announcements waits 3 s for the next.
    """
    variables = {
        'ROS_DOMAIN_ID': str(number),
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
        'ROS_LOCALHOST_ONLY': '1',
        # Gazebo's own transport knows no domains: classic has a master, the modern one partitions.
        'GAZEBO_MASTER_URI': f'http://127.0.0.1:{gazebo_port(number)}',
        'GAZEBO_IP': '127.0.0.1',
        'GZ_PARTITION': f'tl_adapt_{os.getuid()}_{number}',
        'IGN_PARTITION': f'tl_adapt_{os.getuid()}_{number}',
    }
    if not any(name in os.environ for name in _PROFILE_VARIABLES):
        path = runtime_folder() / _PROFILE_FILE
        _write_profile(path, _PROFILE % '')
        old = os.environ.get('ROS_DISTRO') in ('humble', 'iron', 'jazzy')
        variables[_PROFILE_VARIABLES[0 if old else 1]] = str(path)
    return variables


def acknowledge_promptly() -> dict[str, str]:
    """
    Let Fast DDS's writers of this process hear early that what they sent has arrived.

    To be called before the process joins a graph. Returns the variables with which its children
    do as before; empty where the user has a profile, which is left as it is.
    """
    before = {n: os.environ[n] for n in _PROFILE_VARIABLES if n in os.environ}
    folder = runtime_folder()
    if set(before.values()) != {str(folder / _PROFILE_FILE)}:
        return {}
    path = folder / 'fastdds-prompt.xml'
    _write_profile(path, _PROFILE % _PROMPT)
    os.environ.update(dict.fromkeys(before, str(path)))
    return before


def _write_profile(path: Path, content: str) -> None:
    """Write a file, whole or not at all, unless it is there already."""
    if not path.exists() or path.read_text() != content:
        part = path.with_suffix(f'.{os.getpid()}-{threading.get_ident()}')
        part.write_text(content)
        part.replace(path)


def child_environment(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """
    Return the environment of a child process: this one's, and `variables` on top.

    The child can import the very tl_adapt that is imported here, also where that is not installed.
    """
    root = str(Path(tl_adapt.__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get('PYTHONPATH')]))
    return {**os.environ, **(variables or {}), 'PYTHONPATH': path}


def hold_domain(*, deadline: float = 30.0) -> Domain:
    """
    Find a free domain id and hold it.

    The lock goes with the process that holds it, also when that is killed. Raises TlAdaptError
    if all ids stay taken for `deadline` seconds.
    """
    folder = runtime_folder()
    end = time.monotonic() + deadline
    while True:
        # Not the one that this shell's own nodes are on.
        own = os.environ.get('ROS_DOMAIN_ID', '')
        numbers = [n for n in range(FIRST_DOMAIN, LAST_DOMAIN + 1) if str(n) != own]
        # Not the lowest first: a graph that has just been left takes a moment to be forgotten.
        random.shuffle(numbers)
        for number in numbers:
            lock = _try_lock(folder / f'domain-{number}.lock')
            if lock is None:
                continue
            if _free(gazebo_port(number)):
                return Domain(number, lock)
            lock.close()  # somebody's Gazebo would answer in place of ours
        if time.monotonic() > end:
            raise TlAdaptError(
                f'no ROS domain id from {FIRST_DOMAIN} to {LAST_DOMAIN} is free; '
                f'their locks are in {folder}'
            )
        time.sleep(0.2)


def _free(port: int) -> bool:
    """Tell whether nobody listens on a TCP port of the loopback interface."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(('127.0.0.1', port))
        except OSError:
            return False
    return True


def _try_lock(path: Path) -> IO[str] | None:
    """Lock the file at `path`; return None if another process has it."""
    lock = path.open('a+')
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        return None
    lock.truncate(0)
    lock.write(f'{os.getpid()}\n')
    lock.flush()
    return lock


def child_preexec(sig: int = signal.SIGKILL) -> Callable[[], None]:
    """
    Return a `preexec_fn` for children that have to end when their parent does.

    The child leads a process group of its own and gets `sig` when the thread that started it
    ends, however that happens; start it from a thread that lives as long as it should.
    """
    parent = os.getpid()

    def prepare() -> None:
        os.setsid()
        _libc.prctl(_PR_SET_PDEATHSIG, int(sig), 0, 0, 0)
        if os.getppid() != parent:  # the parent ended before prctl
            os._exit(1)

    return prepare


def die_with_parent(sig: int = signal.SIGKILL) -> None:
    """Ask the kernel to send `sig` to this process when its parent's thread ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, int(sig), 0, 0, 0)


def adopt_orphans() -> None:
    """Make this process the new parent of its descendants whose own parent has ended."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def spawn(
    command: Sequence[str], *, death_signal: int = signal.SIGTERM, **options: Any
) -> subprocess.Popen[Any]:
    """
    Start a child that ends with this process, not with the thread that asks for it.

    `options` are those of Popen. The kernel ties the child to the thread that starts it, so
    there is one for all of them. The child gets `death_signal`: SIGTERM lets it end what it has
    started itself.
    """
    global _spawner
    with _spawner_lock:
        if _spawner is None:
            _spawner = ThreadPoolExecutor(1, thread_name_prefix='spawn')
    options['preexec_fn'] = child_preexec(death_signal)

    def start() -> subprocess.Popen[Any]:
        return subprocess.Popen(command, **options)

    return _spawner.submit(start).result()
