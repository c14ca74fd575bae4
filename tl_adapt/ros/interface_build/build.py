# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for bringing interface packages into this environment, from a cache where it can."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tl_adapt.errors import TlAdaptError
from tl_adapt.progress import duration
from tl_adapt.ros.interface_build.compiler import check_toolchain, compile_package, run_command
from tl_adapt.ros.interface_build.package import InterfacePackage
from tl_adapt.ros.interface_build.sources import PREFIX, TYPE_SUPPORTS, interface_dependencies
from tl_adapt.ros.interface_build.wheel import (
    distribution,
    installed_version,
    wheel_name,
    wheel_version,
    write_wheel,
)
from tl_adapt.user_cache import cache_folder, file_lock

_GENERATORS = (
    'rosidl_adapter', 'rosidl_generator_c', 'rosidl_generator_py', 'rosidl_typesupport_c',
    *TYPE_SUPPORTS, 'rosidl_runtime_c', 'fastcdr',
)
#: Modules of this package that decide what is in a build.
_STEPS = ('sources', 'compiler', 'wheel')
_LOCK_DEADLINE = 600.0
_WORK = 'work-'


def has_own(name: str) -> bool:
    """
    Return whether the installation has a package `name` that is not our build of it.

    That one may be importable, in the index of a sourced ROS, or installed as a wheel over ours.
    """
    listed = f'share/ament_index/resource_index/packages/{name}'
    for prefix in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep):
        if prefix and Path(prefix) != PREFIX and (Path(prefix) / listed).exists():
            return True
    if _version(f'ros_{name}'):
        return True
    spec = importlib.util.find_spec(name)
    if spec is None or not installed_version(name):
        return spec is not None
    ours = importlib.metadata.distribution(distribution(name)).locate_file(f'{name}/__init__.py')
    return spec.origin is None or Path(spec.origin).resolve() != Path(str(ours)).resolve()


def build_key(package: InterfacePackage) -> str:
    """Return a digest of all that decides what a build of `package` holds."""
    parts = [package.digest(), platform.machine(), *platform.libc_ver()]
    parts += [sys.implementation.cache_tag or '', sysconfig.get_platform()]
    names = (*_GENERATORS, *interface_dependencies(package.depends))
    parts += [f'{name}=={_version(f"ros_{name}")}' for name in names]
    parts.append(f'numpy=={_version("numpy")}')
    parts += [(Path(__file__).parent / f'{name}.py').read_text() for name in _STEPS]
    return hashlib.sha256('\0'.join(parts).encode()).hexdigest()


def _version(name: str) -> str:
    """Return the version of an installed distribution, '' without one."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ''


def missing(packages: Iterable[InterfacePackage]) -> dict[str, tuple[InterfacePackage, str]]:
    """Return, by name, the packages that this environment lacks, with the keys of their builds."""
    wanted = {}
    for package in packages:
        if not has_own(package.name):
            key = build_key(package)
            if installed_version(package.name) != wheel_version(package, key):
                wanted[package.name] = (package, key)
    return wanted


def install_missing(packages: Sequence[InterfacePackage], say: Callable[[str], None]) -> list[str]:
    """
    Install those of `packages` that this environment lacks; return their names.

    `say` gets lines about what happens. Raises TlAdaptError, with the environment as it was, if a
    package can't be built.
    """
    wanted = missing(packages)
    if not wanted:
        return []
    if not (PREFIX / 'share/rosidl_generator_py').is_dir():
        raise TlAdaptError(
            f'{", ".join(wanted)}: can be built where ROS 2 is installed from wheels only; in a '
            f'sourced ROS 2: colcon build --base-paths {packages[0].folder.parent}/NAME'
        )
    cache = cache_folder() / 'interfaces'
    cache.mkdir(parents=True, exist_ok=True)
    what = 'builds interface packages'
    with file_lock(cache / 'lock', deadline=_LOCK_DEADLINE, what=what, say=say):
        wheels = {
            name: cache / wheel_name(package, key) for name, (package, key) in wanted.items()
        }
        _build(
            [entry for name, entry in wanted.items() if not wheels[name].exists()], cache, say
        )
        run_command([
            sys.executable, '-m', 'pip', '--disable-pip-version-check', 'install', '--quiet',
            '--no-index', '--no-deps', '--force-reinstall', *map(str, wheels.values()),
        ])
    return sorted(wanted)


def _build(
    todo: Sequence[tuple[InterfacePackage, str]], cache: Path, say: Callable[[str], None]
) -> None:
    """Make the wheels of `todo` in the cache, several at a time; whole ones stay if one fails."""
    for left in cache.glob(f'{_WORK}*'):  # of a build that was killed; the lock is ours
        shutil.rmtree(left, ignore_errors=True)
    if not todo:
        return
    check_toolchain()
    names = ', '.join(package.name for package, _ in todo)
    say(f'Building {names} (once; about half a minute on two cores)')
    began = time.monotonic()
    # The largest first: it is what the others fill the time of.
    todo = sorted(todo, key=lambda entry: -len(entry[0].files))
    with tempfile.TemporaryDirectory(prefix=_WORK, dir=cache) as work:
        pool = ThreadPoolExecutor(os.cpu_count() or 1)
        try:
            futures = {
                pool.submit(_make_wheel, package, key, Path(work), cache): package.name
                for package, key in todo
            }
            for done, future in enumerate(as_completed(futures), 1):
                future.result()
                say(
                    f'  {futures[future]} ({done} of {len(todo)}, '
                    f'{duration(time.monotonic() - began)})'
                )
        finally:
            pool.shutdown(cancel_futures=True)


def _make_wheel(package: InterfacePackage, key: str, work: Path, cache: Path) -> None:
    """Generate, compile and pack one package."""
    generated, compiled = work / package.name / 'generated', work / package.name / 'compiled'
    try:
        run_command([
            sys.executable, '-m', 'tl_adapt.ros.interface_build.sources', str(package.folder),
            str(generated),
        ])
        compile_package(package, generated, compiled, run_command)
    except TlAdaptError as error:
        raise TlAdaptError(f'{package.name} can not be built: {error}') from error
    name = wheel_name(package, key)
    write_wheel(package, key, generated, compiled, work / name)
    (work / name).replace(cache / name)
