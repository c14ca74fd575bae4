# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for compiling an interface package's generated sources into its libraries."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tl_adapt.errors import TlAdaptError
from tl_adapt.ros.interface_build.package import InterfacePackage
from tl_adapt.ros.interface_build.sources import PREFIX, TYPE_SUPPORTS, interface_dependencies
from tl_adapt.ros.isolation import child_environment, die_with_parent

_RUNTIME = (
    'rcutils', 'rmw', 'rosidl_dynamic_typesupport', 'rosidl_runtime_c', 'rosidl_runtime_cpp',
    'rosidl_typesupport_c', 'rosidl_typesupport_fastrtps_c', 'rosidl_typesupport_fastrtps_cpp',
    'rosidl_typesupport_interface', 'rosidl_typesupport_introspection_c',
)
_LIBRARIES = (
    'rcutils', 'rosidl_runtime_c', 'rosidl_typesupport_c', 'rosidl_typesupport_fastrtps_c',
    'rosidl_typesupport_fastrtps_cpp', 'rosidl_typesupport_introspection_c', 'fastcdr',
)
#: -O1: nobody waits for this code, and it compiles faster. -w: it is not ours to mend.
_FLAGS = ('-O1', '-fPIC', '-w')
#: No path of a library goes in: ROS 2's wheels set LD_LIBRARY_PATH, for these as for their own.
_LINK = ('-shared', '-Wl,--as-needed')
_DEADLINE = 300.0


@dataclass(frozen=True)
class _Library:
    """Say what one of a package's libraries is made of, as the generators' CMake files do."""

    generator: str
    pattern: str
    #: Libraries of the same package that it uses.
    uses: tuple[str, ...] = ()
    #: In one piece, which saves most of the time; some sources have names in common, though.
    whole: bool = True


_PARTS = (
    _Library('rosidl_generator_c', '*.c', whole=False),
    _Library('rosidl_typesupport_fastrtps_c', '*.cpp', uses=('rosidl_generator_c',)),
    _Library('rosidl_typesupport_introspection_c', '*.c', uses=('rosidl_generator_c',)),
    _Library('rosidl_typesupport_c', '*.cpp', uses=('rosidl_generator_c',)),
    _Library(
        'rosidl_generator_py', '*_s.c', uses=('rosidl_generator_c', 'rosidl_typesupport_c')
    ),
)


class ToolchainError(TlAdaptError):
    """Report that what compiles is not installed."""


def check_toolchain() -> None:
    """Raise ToolchainError, with the command that mends it, if something is missing."""
    version = f'{sys.version_info.major}.{sys.version_info.minor}'
    for tool in (_compiler('CC', 'gcc'), _compiler('CXX', 'g++')):
        if shutil.which(tool[0]) is None:
            raise ToolchainError(f'{tool[0]} is needed but not installed: apt install g++')
    header = Path(sysconfig.get_path('include')) / 'Python.h'
    if not header.exists():
        raise ToolchainError(
            f'{header} is needed but not there: apt install python{version}-dev'
        )


def _compiler(variable: str, default: str) -> list[str]:
    """Return the compiler's command; people write `ccache gcc`, too."""
    return os.environ.get(variable, '').split() or [default]


def compile_package(
    package: InterfacePackage, generated: Path, output: Path, run: Callable[[Sequence[str]], None]
) -> None:
    """
    Make the package's libraries and its Python extension in the folder `output`.

    `generated` is where the sources are; `run` runs a command and raises when it fails.
    """
    import numpy

    dependencies = interface_dependencies(package.depends)
    include = [
        *(generated / name for name in ('rosidl_generator_c', *TYPE_SUPPORTS)),
        sysconfig.get_path('include'),
        numpy.get_include(),
        PREFIX / 'include',
        *(PREFIX / 'include' / name for name in (*_RUNTIME, *dependencies)),
    ]
    compiling = [*_FLAGS, *(f'-I{folder}' for folder in include)]
    objects = output / 'objects'
    objects.mkdir(parents=True, exist_ok=True)

    def compiled(sources: Sequence[Path], name: str) -> list[str]:
        language = sources[0].suffix
        command = (
            [*_compiler('CXX', 'g++'), '-std=c++17'] if language == '.cpp'
            else [*_compiler('CC', 'gcc'), '-std=gnu11']
        )
        target = objects / f'{name}.o'
        run([*command, *compiling, '-c', *map(str, sources), '-o', str(target)])
        return [str(target)]

    def linked(parts: Sequence[str], target: Path, generator: str, uses: Sequence[str]) -> None:
        libraries = [f'{package.name}__{use}' for use in uses]
        libraries += [f'{name}__{generator}' for name in dependencies]
        run([
            *_compiler('CXX', 'g++'), *_LINK, *parts, f'-L{output}', f'-L{PREFIX / "lib"}',
            f'-Wl,-rpath-link,{PREFIX / "lib"}',
            *(f'-l{name}' for name in (*libraries, *_LIBRARIES)), '-o', str(target),
        ])

    for part in _PARTS:
        sources = sorted((generated / part.generator).rglob(part.pattern))
        if part.whole:
            whole = objects / f'{part.generator}{sources[0].suffix}'
            whole.write_text(''.join(f'#include "{path}"\n' for path in sources))
            made = compiled([whole], part.generator)
        else:
            made = []
            for number, source in enumerate(sources):
                made += compiled([source], f'{part.generator}-{number}')
        target = output / f'lib{package.name}__{part.generator}.so'
        linked([*made, f'-Wl,-soname,{target.name}'], target, part.generator, part.uses)
    name = f'{package.name}_s__rosidl_typesupport_c'
    source = generated / f'rosidl_generator_py/{package.name}/_{package.name}_s.ep'
    made = compiled([source.with_name(source.name + '.rosidl_typesupport_c.c')], name)
    linked(
        made, output / f'{name}.so', 'rosidl_typesupport_c',
        ('rosidl_generator_py', 'rosidl_generator_c', 'rosidl_typesupport_c'),
    )
    shutil.rmtree(objects)


def run_command(command: Sequence[str]) -> None:
    """Run `command` in silence; raises TlAdaptError with what it said if it fails."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors='replace', timeout=_DEADLINE, check=False,
            env=child_environment(), preexec_fn=die_with_parent,
        )
    except subprocess.TimeoutExpired as error:
        raise TlAdaptError(f'{command[0]} did not end within {_DEADLINE:g} s') from error
    if done.returncode:
        said = '\n'.join(done.stdout.strip().splitlines()[-20:])
        raise TlAdaptError(f'{command[0]} failed ({done.returncode}):\n{said}')
