# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for finding out what a machine has of what tl_adapt can use."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import tl_adapt
from tl_adapt.child_process import run_child
from tl_adapt.errors import TlAdaptError
from tl_adapt.ros.isolation import FIRST_DOMAIN, LAST_DOMAIN
from tl_adapt.simulators.gazebo import locate, plugin

DEADLINE = 4.5  # s for all of it
_IMPORT_DEADLINE = 4.0
_LIBRARIES = (
    'jsonschema', 'numpy', 'psutil', 'PyYAML', 'scikit-learn', 'scipy', 'SQLAlchemy',
)
_INTERFACES = ('gazebo_msgs', 'simulation_interfaces', 'tf2_msgs', 'nav2_msgs')
_RANGES = ('SUBNET', 'LOCALHOST', 'OFF', 'SYSTEM_DEFAULT')
_LAST_POSSIBLE_DOMAIN = 232
_RMW = (
    'import rclpy; from rclpy.utilities import get_rmw_implementation_identifier as rmw; '
    'print(rmw())'
)

State = Literal['found', 'missing', 'broken', 'unknown']


@dataclass(frozen=True)
class Finding:
    """Say of one piece whether it is there, from where, and what brings or mends it."""

    name: str
    state: State
    detail: str = ''
    command: str = ''
    required: bool = False  # for `make demo` with the embedded simulator

    @property
    def stops(self) -> bool:
        """Return whether the demo can't run because of this."""
        return self.required and self.state in ('missing', 'broken')


def diagnose(deadline: float = DEADLINE) -> list[Finding]:
    """
    Return what is found, always in the same order and after `deadline` seconds at the latest.

    What has not been found out by then is `unknown`; nothing that goes wrong ends this.
    """
    answers: dict[str, Finding] = {}
    # Daemons, so that one which hangs does not keep the interpreter from ending.
    threads = [
        threading.Thread(target=_answer, args=(name, check, answers), daemon=True)
        for name, check in _CHECKS.items()
    ]
    end = time.monotonic() + deadline
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(end - time.monotonic(), 0.0))
    late = f'not found out in {deadline:g} s'
    return [answers.get(name) or Finding(name, 'unknown', late) for name in _CHECKS]


def _answer(name: str, check: Callable[[str], Finding], answers: dict[str, Finding]) -> None:
    try:
        answers[name] = check(name)
    except TlAdaptError as error:
        answers[name] = Finding(name, 'broken', str(error))
    except Exception as error:  # whatever it is, the other findings are still worth telling
        answers[name] = Finding(name, 'broken', f'{type(error).__name__}: {error}')


def _python(name: str) -> Finding:
    state: State = 'found' if sys.version_info >= (3, 10) else 'broken'
    detail = f'{platform.python_version()}, {sys.executable}'
    return Finding(name, state, detail, 'make PYTHON=python3.11', required=True)


def _libraries(name: str) -> Finding:
    lacking = [library for library in _LIBRARIES if not _version(library)]
    if lacking:
        return Finding(
            name, 'missing', ', '.join(lacking), f'pip install {" ".join(lacking)}', required=True
        )
    return Finding(name, 'found', ', '.join(f'{n} {_version(n)}' for n in _LIBRARIES))


def _distribution(name: str) -> Finding:
    distribution = os.environ.get('ROS_DISTRO')
    wheel = _version('ros-rclpy')
    if importlib.util.find_spec('rclpy') is None:
        if distribution:
            return Finding(
                name, 'missing', f'ROS_DISTRO is {distribution}, but rclpy is not found',
                f'apt install ros-{distribution}-rclpy', required=True,
            )
        return Finding(
            name, 'missing', 'no rclpy', 'make setup, or source the setup file of a ROS 2',
            required=True,
        )
    origin = f'wheels, rclpy {wheel}' if wheel else 'rclpy of unknown origin'
    return Finding(name, 'found', distribution or origin)


def _middleware(name: str) -> Finding:
    if importlib.util.find_spec('rclpy') is None:
        return Finding(name, 'missing', 'rclpy is missing')
    process = run_child([sys.executable, '-c', _RMW], deadline=_IMPORT_DEADLINE)
    if process.returncode == 0:
        asked = os.environ.get('RMW_IMPLEMENTATION')
        return Finding(
            name, 'found', process.stdout.strip() + (' (RMW_IMPLEMENTATION)' if asked else '')
        )
    said = process.stderr.strip().splitlines()[-1:] or [f'exit code {process.returncode}']
    command = 'make setup, or the Python that this ROS 2 was built for'
    if 'rmw' in said[0]:
        sourced = 'ROS_DISTRO' in os.environ
        command = _ros('rmw-fastrtps-cpp') if sourced else 'pip install ros-rmw-fastrtps-cpp'
    return Finding(
        name, 'broken', f'rclpy can not be imported: {said[0]}', command, required=True
    )


def _discovery(name: str) -> Finding:
    domain = os.environ.get('ROS_DOMAIN_ID', '')
    reach = os.environ.get('ROS_AUTOMATIC_DISCOVERY_RANGE', '')
    local = os.environ.get('ROS_LOCALHOST_ONLY', '0') == '1'
    if domain and not (domain.isdecimal() and int(domain) <= _LAST_POSSIBLE_DOMAIN):
        return Finding(
            name, 'broken', f'ROS_DOMAIN_ID must be a number up to {_LAST_POSSIBLE_DOMAIN}, '
            f'got {domain!r}', 'unset ROS_DOMAIN_ID', required=True,
        )
    if reach and reach.upper() not in _RANGES:
        return Finding(
            name, 'broken', f'ROS_AUTOMATIC_DISCOVERY_RANGE must be one of {", ".join(_RANGES)}, '
            f'got {reach!r}', 'unset ROS_AUTOMATIC_DISCOVERY_RANGE',
        )
    parts = [f'domain {domain or "0 (default)"}']
    parts.append('this machine only' if local else f'range {reach or "SUBNET (default)"}')
    if os.environ.get('ROS_DISCOVERY_SERVER'):
        parts.append(f'discovery server {os.environ["ROS_DISCOVERY_SERVER"]}')
    parts.append(f'what a campaign starts: {FIRST_DOMAIN} to {LAST_DOMAIN}, this machine only')
    return Finding(name, 'found', ', '.join(parts))


def _interface(name: str) -> Finding:
    spec = importlib.util.find_spec(name)
    places = list(spec.submodule_search_locations or []) if spec else []
    if not places:
        packaged = 'ROS_DISTRO' in os.environ and (name != 'gazebo_msgs' or _classic())
        return Finding(
            name, 'missing', '', _ros(name.replace('_', '-')) if packaged else _make('interfaces')
        )
    place = Path(places[0]).resolve()
    prefixes = [Path(p).resolve() for p in _paths('AMENT_PREFIX_PATH')]
    if any(prefix in place.parents for prefix in prefixes):
        return Finding(name, 'found', f'ROS {os.environ.get("ROS_DISTRO", "")}, {place}')
    if Path(sys.prefix).resolve() in place.parents:
        return Finding(name, 'found', "this Python's environment")
    return Finding(name, 'found', str(place))


def _mujoco(name: str) -> Finding:
    version = _version('mujoco')
    if not version:
        return Finding(name, 'missing', '', 'pip install mujoco', required=True)
    if tuple(map(int, re.findall(r'\d+', version)[:2])) < (3, 1):
        return Finding(
            name, 'broken', f'3.1 or newer is needed, got {version}',
            'pip install --upgrade mujoco', required=True,
        )
    return Finding(name, 'found', version)


def _gazebo(name: str) -> Finding:
    gazebo = locate.find_gazebo()
    if gazebo is not None:
        return Finding(name, 'found', f'{gazebo.version} ({gazebo.origin}), {gazebo.gzserver}')
    return Finding(name, 'missing', '', _ros('gazebo-ros-pkgs') if _classic() else _make('gazebo'))


def _plugin(name: str) -> Finding:
    gazebo = locate.find_gazebo()
    if gazebo is None:
        return Finding(name, 'missing', 'Gazebo classic is missing', _make('gazebo'))
    library = plugin.plugin_path(gazebo)
    if library.exists():
        return Finding(name, 'found', str(library))
    return Finding(name, 'missing', 'a campaign compiles it when it starts', _make('gazebo'))


def _modern_gazebo(name: str) -> Finding:
    """Look for `gz sim` as the program `gz` does: in files that describe its commands."""
    program = shutil.which('gz')
    folders = _paths('GZ_CONFIG_PATH') or [
        *([str(Path(program).resolve().parents[1] / 'share/gz')] if program else []),
        '/usr/share/gz',
    ]
    versions = set()
    for folder in folders:
        for path in Path(folder).glob('sim*.yaml'):
            match = re.search(r'^library_version:\s*(\S+)', path.read_text(), re.MULTILINE)
            versions.add(match[1] if match else path.stem)
    bridge = _ros_installed('ros_gz_bridge') or _ros_installed('ros_gz_sim')
    if program and versions:
        return Finding(
            name, 'found', f'gz sim {", ".join(sorted(versions))}'
            + (', ros_gz' if bridge else ', no ros_gz'),
            '' if bridge else _ros('ros-gz'),
        )
    return Finding(name, 'missing', 'ros_gz only' if bridge else '', _ros('ros-gz'))


def _gazebo_ros(name: str) -> Finding:
    place = _ros_installed('gazebo_ros')
    if place:
        return Finding(name, 'found', place)
    return Finding(
        name, 'missing', 'not needed, our plugin and node do its part', _ros('gazebo-ros-pkgs')
    )


def _compiler(name: str) -> Finding:
    path = shutil.which('g++')
    if path is None:
        return Finding(name, 'missing', 'compiles the plugin', plugin.COMPILER_HINT)
    return Finding(name, 'found', f'{plugin.compiler_version()}, {path}')


def _launch(name: str) -> Finding:
    lacking = [part for part in ('launch', 'launch_ros') if importlib.util.find_spec(part) is None]
    if not lacking:
        return Finding(name, 'found', 'launch, launch_ros')
    return Finding(
        name, 'missing', 'needed by launch files only',
        _ros('launch-ros'),
    )


def _optional(name: str) -> Finding:
    version = _version(name)
    return Finding(name, 'found', version) if version else Finding(
        name, 'missing', '', f'pip install {name}'
    )


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ''


def _paths(variable: str) -> list[str]:
    return [path for path in os.environ.get(variable, '').split(os.pathsep) if path]


def _ros_installed(package: str) -> str:
    for prefix in _paths('AMENT_PREFIX_PATH'):
        if Path(prefix, 'share/ament_index/resource_index/packages', package).exists():
            return prefix
    return ''


def _ros(package: str) -> str:
    """Return what installs a package of ROS 2."""
    distribution = os.environ.get('ROS_DISTRO')
    if distribution:
        return f'apt install ros-{distribution}-{package}'
    return f'apt install ros-$ROS_DISTRO-{package} (where ROS 2 is installed)'


def _classic() -> bool:
    return os.environ.get('ROS_DISTRO') in ('humble', 'iron')


def _make(target: str) -> str:
    """Return the command that does what `make TARGET` does in a checkout."""
    if (Path(tl_adapt.__file__).resolve().parents[1] / 'Makefile').is_file():
        return f'make {target}'
    if target == 'gazebo':
        return 'python3 -m tl_adapt.simulators.gazebo.install'
    return f'make {target} (in a checkout)'


_CHECKS: dict[str, Callable[[str], Finding]] = {
    'Python': _python,
    'libraries': _libraries,
    'ROS 2': _distribution,
    'middleware': _middleware,
    'discovery': _discovery,
    **dict.fromkeys(_INTERFACES, _interface),
    'MuJoCo': _mujoco,
    'Gazebo classic': _gazebo,
    'our Gazebo plugin': _plugin,
    'g++': _compiler,
    'gazebo_ros': _gazebo_ros,
    'modern Gazebo': _modern_gazebo,
    'launch': _launch,
    'plotly': _optional,
    'rich': _optional,
    'rosbags': _optional,
    'mcap': _optional,
}
