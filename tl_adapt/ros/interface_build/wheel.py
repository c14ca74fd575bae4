# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for interface packages as wheels, so that pip installs, replaces and removes them."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import sys
import sysconfig
import zipfile
from pathlib import Path

from tl_adapt.ros.interface_build.package import InterfacePackage

#: No name that the real package's wheel would have: where that is installed, ours is not.
_PREFIX = 'tl_adapt_interfaces_'


def distribution(package: str) -> str:
    """Return the name of the distribution that holds our build of `package`."""
    return _PREFIX + package


def installed_version(package: str) -> str | None:
    """Return the version of our build of `package` in this environment, None without one."""
    try:
        return importlib.metadata.version(distribution(package))
    except importlib.metadata.PackageNotFoundError:
        return None


def wheel_version(package: InterfacePackage, key: str) -> str:
    """Return a version that names the definitions' version and the build."""
    return f'{package.version}+build.{key[:16]}'


def wheel_name(package: InterfacePackage, key: str) -> str:
    """Return the file name of the wheel; `key` identifies the build."""
    return f'{distribution(package.name)}-{wheel_version(package, key)}-{_tag()}.whl'


def write_wheel(
    package: InterfacePackage, key: str, generated: Path, compiled: Path, target: Path
) -> None:
    """Pack a package into the file `target`, in the layout of ROS 2's own wheels."""
    name, version = distribution(package.name), wheel_version(package, key)
    data = f'{name}-{version}.data/data'
    info = f'{name}-{version}.dist-info'
    share = f'{data}/share/{package.name}'
    files: dict[str, bytes] = {}
    python = generated / 'rosidl_generator_py'
    for path in sorted(python.rglob('*.py')):
        files[path.relative_to(python).as_posix()] = path.read_bytes()
    for path in sorted(compiled.glob('*.so')):
        folder = f'{data}/lib' if path.name.startswith('lib') else package.name
        files[f'{folder}/{path.name}'] = path.read_bytes()
    files[f'{share}/package.xml'] = (package.folder / 'package.xml').read_bytes()
    for path in package.files:
        files[f'{share}/{path.as_posix()}'] = (package.folder / path).read_bytes()
    made = (generated / 'idl', generated / 'rosidl_generator_type_description' / package.name)
    for root, pattern in zip(made, ('*.idl', '*.json')):
        for path in sorted(root.rglob(pattern)):
            files[f'{share}/{path.relative_to(root).as_posix()}'] = path.read_bytes()
    interfaces = sorted(
        name.as_posix() for path in package.files for name in (path, path.with_suffix('.idl'))
    )
    index = f'{data}/share/ament_index/resource_index'
    files[f'{index}/packages/{package.name}'] = b''
    files[f'{index}/rosidl_interfaces/{package.name}'] = '\n'.join(interfaces).encode()
    files[f'{index}/package_run_dependencies/{package.name}'] = ';'.join(package.depends).encode()
    files[f'{info}/METADATA'] = (
        f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n'
        f'Summary: {package.name}, built from definitions that come with tl_adapt\n'
    ).encode()
    files[f'{info}/WHEEL'] = (
        'Wheel-Version: 1.0\nGenerator: tl_adapt\nRoot-Is-Purelib: false\n'
        f'Tag: {_tag()}\n'
    ).encode()
    with zipfile.ZipFile(target, 'w', zipfile.ZIP_DEFLATED) as archive:
        for path_name, content in files.items():
            archive.writestr(path_name, content)
        archive.writestr(f'{info}/RECORD', _record(files, f'{info}/RECORD'))


def _tag() -> str:
    """Return interpreter, ABI and platform: `cp311-cp311-linux_x86_64`."""
    python = f'cp{sys.version_info.major}{sys.version_info.minor}'
    platform = sysconfig.get_platform().replace('-', '_').replace('.', '_')
    return f'{python}-{python}-{platform}'


def _record(files: dict[str, bytes], own: str) -> str:
    """Return the wheel's list of files and digests."""
    lines = []
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b'=')
        lines.append(f'{name},sha256={digest.decode()},{len(content)}\n')
    return ''.join(lines) + f'{own},,\n'
