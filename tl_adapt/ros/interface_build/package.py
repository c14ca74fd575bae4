# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for an interface package as its folder describes it."""

from __future__ import annotations

import hashlib
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

from tl_adapt.errors import InputError

_KINDS = ('msg', 'srv', 'action')
# What rosidl uses for the types that it derives from these.
_IMPLIED = {'srv': ('service_msgs',), 'action': ('service_msgs', 'action_msgs')}


@dataclass(frozen=True)
class InterfacePackage:
    """Name, version, definitions and dependencies of one interface package."""

    folder: Path
    name: str
    version: str
    #: Relative to `folder`, such as `srv/SpawnEntity.srv`.
    files: tuple[Path, ...]
    depends: tuple[str, ...]

    def digest(self) -> str:
        """Return a digest of all that the package's folder says."""
        digest = hashlib.sha256()
        for path in (Path('package.xml'), *self.files):
            content = (self.folder / path).read_bytes()
            digest.update(f'{path.as_posix()} {len(content)}\n'.encode() + content)
        return digest.hexdigest()


def load_package(folder: Path) -> InterfacePackage:
    """Read the package in `folder`; raises InputError if it can't be read or is empty."""
    manifest = folder / 'package.xml'
    try:
        root = ElementTree.parse(manifest).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise InputError(f'must be the manifest of a package ({error})', file=manifest) from error
    files = [
        path.relative_to(folder)
        for kind in _KINDS for path in sorted(folder.glob(f'{kind}/*.{kind}'))
    ]
    if not files:
        raise InputError('must hold definitions in msg/, srv/ or action/', file=folder)
    depends = [depend.text or '' for depend in root.iter('depend')]
    for file in files:
        depends += _IMPLIED.get(file.parts[0], ())
    return InterfacePackage(
        folder=folder,
        name=root.findtext('name', ''),
        version=root.findtext('version', ''),
        files=tuple(files),
        depends=tuple(dict.fromkeys(depends)),
    )


def load_packages(folder: Path) -> list[InterfacePackage]:
    """Read all packages below `folder`, in the order of their names."""
    found = sorted(folder.glob('*/package.xml'))
    if not found:
        raise InputError('must hold interface packages', file=folder)
    return [load_package(path.parent) for path in found]
