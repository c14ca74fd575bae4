# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for compiling a plugin of Gazebo's server, once for each compiler and Gazebo."""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
from pathlib import Path

from tl_adapt.child_process import run_child
from tl_adapt.errors import TlAdaptError
from tl_adapt.simulators.gazebo.locate import Gazebo, multiarch
from tl_adapt.user_cache import cache_folder, file_lock

SOURCE = Path(__file__).with_name('lockstep.cc')
_FLAGS = ('-std=c++17', '-O2', '-shared', '-fPIC', '-w')
_INCLUDES = (
    'gazebo-11', 'gazebo-11/gazebo', 'sdformat-9*', 'ignition/math6', 'ignition/transport8',
    'ignition/msgs5', 'ignition/common3', 'ignition/fuel_tools4',
)
_DEADLINE = 600.0  # a loaded machine with few cores takes minutes
COMPILER_HINT = 'apt install g++'
HEADERS_HINT = 'apt install libgazebo-dev'


def plugin_path(gazebo: Gazebo, source: Path = SOURCE) -> Path:
    """Return where the compiled plugin is, or will be once `build_plugin` has run."""
    try:
        text = source.read_bytes()
    except OSError as error:
        raise TlAdaptError(f'{source} can not be read: {error.strerror}') from error
    identity = [
        gazebo.version, str(gazebo.root), platform.machine(), compiler_version(), *_flags(gazebo)
    ]
    digest = hashlib.sha256(b'\0'.join([text, *(part.encode() for part in identity)]))
    return cache_folder() / 'plugins' / f'{source.stem}-{digest.hexdigest()[:16]}.so'


def build_plugin(gazebo: Gazebo, source: Path = SOURCE) -> Path:
    """
    Compile a plugin, unless that was done before, and return the library's path.

    Raises TlAdaptError, one line, if there is no compiler or if it refuses the source.
    """
    library = plugin_path(gazebo, source)
    if library.exists():
        return library
    library.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(library.with_suffix('.lock'), deadline=_DEADLINE, what='compiles the plugin'):
        if not library.exists():
            _compile(gazebo, source, library)
    return library


def _compile(gazebo: Gazebo, source: Path, library: Path) -> None:
    folder = library.with_suffix('.build')
    shutil.rmtree(folder, ignore_errors=True)  # of a compilation that was killed
    folder.mkdir()
    try:
        part = folder / library.name
        process = run_child(
            ['g++', *_flags(gazebo), source, '-o', part], deadline=_DEADLINE,
            environment={'TMPDIR': str(folder)},
        )
        if process.returncode:
            raise TlAdaptError(f'{source} can not be compiled: {_first_error(process)}')
        part.replace(library)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _first_error(process: subprocess.CompletedProcess[str]) -> str:
    lines = process.stderr.splitlines()
    chosen = next((line for line in lines if 'error:' in line), None)
    return chosen or (lines[-1] if lines else f'g++ ended with code {process.returncode}')


def compiler_version() -> str:
    """Return what g++ calls itself; raise TlAdaptError if it is missing or does not run."""
    if shutil.which('g++') is None:
        raise TlAdaptError(f'g++ missing, which compiles the plugin for Gazebo: {COMPILER_HINT}')
    process = run_child(['g++', '--version'], deadline=20.0)
    if process.returncode or not process.stdout.strip():
        raise TlAdaptError(f'g++ does not run: {_first_error(process)}')
    return process.stdout.splitlines()[0]


def _flags(gazebo: Gazebo) -> list[str]:
    """Return the options of g++; raise TlAdaptError if Gazebo's headers are missing."""
    roots = [gazebo.root]
    if not all(_folders(gazebo.root, name) for name in _INCLUDES):
        roots.append(Path('/'))  # a Gazebo built from source takes libraries from the system
    found = [folder for root in roots for name in _INCLUDES for folder in _folders(root, name)]
    if not any((folder / 'gazebo/physics/physics.hh').is_file() for folder in found):
        raise TlAdaptError(
            f'the headers of Gazebo {gazebo.version} are missing in {gazebo.root}: {HEADERS_HINT}'
        )
    if gazebo.root != Path('/'):
        found += [base for base in _bases(gazebo.root) if base.is_dir()]
        found += [f for t in multiarch(gazebo.root) for f in _folders(gazebo.root, t)]
    return [*_FLAGS, *(part for f in dict.fromkeys(found) for part in ('-isystem', str(f)))]


def _folders(root: Path, pattern: str) -> list[Path]:
    return [path for base in _bases(root) for path in sorted(base.glob(pattern)) if path.is_dir()]


def _bases(root: Path) -> tuple[Path, Path]:
    return root / 'usr/include', root / 'include'
