# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for finding Gazebo classic and for the environment that its server runs in."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from tl_adapt.child_process import run_child
from tl_adapt.errors import TlAdaptError
from tl_adapt.user_cache import cache_folder

PREFIX_VARIABLE = 'TL_ADAPT_GAZEBO'
MAJOR = 11
_MARKER = 'tl_adapt.json'
_VERSION_DEADLINE = 20.0
# Each is a folder of the prefix; what is not there is left out.
_LIBRARIES = ('', 'blas', 'lapack', f'gazebo-{MAJOR}/plugins', 'pulseaudio')

Origin = Literal['PATH', 'TL_ADAPT_GAZEBO', 'cache']


@dataclass(frozen=True)
class Gazebo:
    """Be one installation of Gazebo classic."""

    gzserver: Path
    prefix: Path | None  # None for a system's own
    version: str
    origin: Origin

    @property
    def root(self) -> Path:
        """Return the folder that has headers and libraries, below `usr` or directly."""
        if self.prefix is not None:
            return self.prefix
        above = self.gzserver.parents[1]
        return Path('/') if above == Path('/usr') else above

    def environment(
        self,
        *,
        port: int | None = None,
        models: Sequence[Path] = (),
        plugins: Sequence[Path] = (),
        home: Path | None = None,
    ) -> dict[str, str]:
        """
        Return the variables for a server without a display, to be put over the parent's own.

        `port` is the master's on this machine; `models` and `plugins` are searched first;
        the server writes its logs and settings below `home`. They are for the server alone: with
        LD_LIBRARY_PATH other programs would load this Gazebo's old libraries.
        """
        variables = {
            'GAZEBO_IP': '127.0.0.1',
            'GAZEBO_MODEL_DATABASE_URI': '',  # else each missing model is asked for on the net
            'ALSOFT_DRIVERS': 'null',
            'DISPLAY': '',  # with one the server would draw, slowly, what nobody looks at
            'IGN_IP': '127.0.0.1',
        }
        if port is not None:
            variables['GAZEBO_MASTER_URI'] = f'http://127.0.0.1:{port}'
            variables['IGN_PARTITION'] = f'tl_adapt-{os.getuid()}-{port}'
        if home is not None:
            variables['HOME'] = str(home)
        share = self._folders(f'usr/share/gazebo-{MAJOR}', f'share/gazebo-{MAJOR}')
        libraries = self._library_folders()
        plugin_folders = [folder for folder in libraries if folder.name == 'plugins']
        found = {
            'GAZEBO_RESOURCE_PATH': share,
            'GAZEBO_MODEL_PATH': [*models, *(folder / 'models' for folder in share)],
            'GAZEBO_PLUGIN_PATH': [*plugins, *plugin_folders],
            'LD_LIBRARY_PATH': plugin_folders if self.prefix is None else libraries,
        }
        if self.prefix is None:  # the shell's own paths are meant for it
            found = {name: [*folders, *_inherited(name)] for name, folders in found.items()}
        else:
            found['OGRE_RESOURCE_PATH'] = [
                ogre for folder in libraries for ogre in sorted(folder.glob('OGRE-*'))
            ]
        for name, folders in found.items():
            if folders or name in os.environ:
                variables[name] = os.pathsep.join(str(folder) for folder in folders)
        return variables

    def _library_folders(self) -> list[Path]:
        triplets = multiarch(self.root)
        bases = [f'{top}/{t}' for t in triplets for top in ('usr/lib', 'lib')] + ['usr/lib', 'lib']
        return self._folders(*(f'{base}/{part}' for base in bases for part in _LIBRARIES))

    def _folders(self, *names: str) -> list[Path]:
        folders = dict.fromkeys(self.root / name for name in names)
        return [folder for folder in folders if folder.is_dir()]


def _inherited(name: str) -> list[Path]:
    """Return the shell's folders in a variable, less those of a virtual environment."""
    folders = [Path(part) for part in os.environ.get(name, '').split(os.pathsep) if part]
    if sys.prefix == sys.base_prefix:
        return folders
    # ROS 2 from wheels puts its libraries there, which are not those that Gazebo was built with.
    return [folder for folder in folders if Path(sys.prefix) not in folder.parents]


def multiarch(root: Path) -> list[str]:
    """Return the names of Debian's folders for libraries of one architecture below `root`."""
    found = (path for top in ('usr/lib', 'lib') for path in root.glob(f'{top}/*-linux-gnu*'))
    return sorted({path.name for path in found if path.is_dir()})


def find_gazebo(environment: Mapping[str, str] | None = None) -> Gazebo | None:
    """
    Return the Gazebo to use: that of TL_ADAPT_GAZEBO, else PATH's, else what `make gazebo` made.

    Return None if there is none. Raises TlAdaptError for one that can't be used.
    """
    environment = os.environ if environment is None else environment
    given = environment.get(PREFIX_VARIABLE)
    if given:
        return gazebo_in(Path(given).expanduser().absolute(), 'TL_ADAPT_GAZEBO')
    on_path = shutil.which('gzserver', path=environment.get('PATH', os.defpath))
    if on_path:
        return _checked(Path(on_path), None, 'PATH')
    prefix = default_prefix()
    return gazebo_in(prefix, 'cache') if installed(prefix) else None


def gazebo_in(prefix: Path, origin: Origin) -> Gazebo:
    """Return the Gazebo in the folder `prefix`; raise TlAdaptError if none there can be used."""
    for server in (prefix / 'usr/bin/gzserver', prefix / 'bin/gzserver'):
        if server.is_file():
            return _checked(server, prefix, origin)
    raise TlAdaptError(f'there is no usr/bin/gzserver in {prefix} (origin: {origin})')


def _checked(server: Path, prefix: Path | None, origin: Origin) -> Gazebo:
    """Return the installation if its version is one that we can use."""
    gazebo = Gazebo(server, prefix, '', origin)
    # The file's name usually has it, which is much faster than to ask.
    named = re.fullmatch(r'gzserver-(\d+(?:\.\d+)+)', server.resolve().name)
    version = named[1] if named else ask_version(gazebo)
    if version.partition('.')[0] != str(MAJOR):
        raise TlAdaptError(
            f'Gazebo classic {MAJOR} is needed, but {server} is {version}; '
            f'{PREFIX_VARIABLE}=/its/prefix chooses another'
        )
    return replace(gazebo, version=version)


def ask_version(gazebo: Gazebo) -> str:
    """Start the server to ask for its version; raise TlAdaptError if it does not run here."""
    with tempfile.TemporaryDirectory() as home:  # it writes a log, even for this
        process = run_child(
            [gazebo.gzserver, '--version'], deadline=_VERSION_DEADLINE,
            environment=gazebo.environment(home=Path(home)),
        )
    match = re.search(r'version (\d+(?:\.\d+)+)', process.stdout)
    if match is None:
        said = (process.stderr.strip() or process.stdout.strip()).splitlines()[:1]
        raise TlAdaptError(f'{gazebo.gzserver} does not say its version: {" ".join(said)}')
    return match[1]


def default_prefix() -> Path:
    """Return where `make gazebo` puts Gazebo."""
    return cache_folder() / f'gazebo-{MAJOR}'


def installed(prefix: Path) -> dict[str, str]:
    """Return package: version of what is wholly unpacked in `prefix`."""
    try:
        return dict(json.loads((prefix / _MARKER).read_text())['packages'])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def write_marker(prefix: Path, packages: dict[str, str]) -> None:
    """Say in `prefix` what is wholly unpacked there."""
    part = prefix / f'{_MARKER}.part'
    part.write_text(json.dumps({'packages': packages}, indent=1) + '\n')
    part.replace(prefix / _MARKER)
