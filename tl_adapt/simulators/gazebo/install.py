# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for bringing Gazebo 11 to a machine without root: Debian 11's packages in a folder."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tl_adapt.errors import TlAdaptError
from tl_adapt.progress import Progress, duration
from tl_adapt.ros.isolation import spawn
from tl_adapt.simulators.gazebo import apt_sources, locate
from tl_adapt.simulators.gazebo.file_lock import file_lock
from tl_adapt.simulators.gazebo.private_apt import Package, PrivateApt

RELEASE = 'bullseye'
_PACKAGES = Path(__file__).with_name('packages.txt')
#: The machine's own are newer, and a process can't have both.
NEVER = ('libc6', 'libstdc++6', 'libgcc-s1', 'libcrypt1', 'libselinux1')
_UNUSED = ('usr/share/doc', 'usr/share/man', 'usr/share/locale', 'usr/share/lintian',
           'usr/share/gtk-doc', 'usr/share/bug')
_OTHERWISE = f'A gzserver on PATH or {locate.PREFIX_VARIABLE}=/prefix serves as well.'
_MB = 1_000_000
_DEADLINE = 3600.0


def package_names(architecture: str) -> list[str]:
    """Return the packages to install; a line may end in `[amd64]` if others do without it."""
    names = []
    for line in _PACKAGES.read_text().splitlines():
        name, _, only = line.partition('#')[0].partition('[')
        if name.strip() and (not only or architecture in only.rstrip('] ').split()):
            names.append(name.strip())
    return names


def install(prefix: Path) -> None:
    """
    Put Gazebo 11 into `prefix`, or what is still missing of it.

    Raises TlAdaptError, one line, where that is not possible.
    """
    architecture = _architecture()
    names = package_names(architecture)
    missing = [name for name in names if name not in locate.installed(prefix)]
    if not missing:
        return
    lock = prefix.with_name(prefix.name + '.lock')
    with file_lock(lock, deadline=_DEADLINE, what='installs Gazebo'):
        there = locate.installed(prefix)
        missing = [name for name in names if name not in there]
        if not missing:
            return
        work = prefix.with_name(prefix.name + '.download')
        apt = PrivateApt(work, _sources(), architecture)
        packages = _packages(apt, missing)
        archives = work / 'archives'
        archives.mkdir(exist_ok=True)
        _announce(packages, archives, prefix)
        _download(apt, packages, archives)
        _unpack(packages, archives, prefix)
        there.update({package.name: package.version for package in packages})
        locate.write_marker(prefix, there)
        shutil.rmtree(work, ignore_errors=True)


def _architecture() -> str:
    if not (shutil.which('dpkg') and shutil.which('apt-get')):
        raise TlAdaptError(
            f'this machine has no apt, from which Gazebo 11 would be fetched. {_OTHERWISE}'
        )
    return subprocess.run(
        ['dpkg', '--print-architecture'], check=True, capture_output=True, text=True
    ).stdout.strip()


def _sources() -> str:
    release = platform.freedesktop_os_release() if Path('/etc/os-release').exists() else {}
    machine = apt_sources.machine_sources(Path('/etc/apt'))
    sources = {source.of_release(RELEASE): None for source in machine}
    sources.pop(None, None)
    if not sources:
        raise TlAdaptError(
            f"apt's configuration on this machine ({release.get('PRETTY_NAME', 'not Debian')}) "
            f'names no mirror of Debian, from which Gazebo 11 would be fetched. {_OTHERWISE}'
        )
    keyring = Path('/usr/share/keyrings/debian-archive-keyring.gpg')
    return apt_sources.sources_text([s for s in sources if s is not None], keyring)


def _packages(apt: PrivateApt, names: Sequence[str]) -> list[Package]:
    complaint = apt.update(deadline=300.0)
    found = apt.describe(names)
    unknown = [name for name in names if name not in found]
    if unknown:
        first = complaint.splitlines()[0] if complaint else 'the mirror has other packages'
        raise TlAdaptError(
            f'Debian 11 can not be read from the mirror of this machine: {first}. {_OTHERWISE}'
        )
    if complaint:
        print(f'Note: {complaint.splitlines()[0]}', file=sys.stderr)
    return [found[name] for name in names]


def _announce(packages: Sequence[Package], archives: Path, prefix: Path) -> None:
    there = _bytes(archives)
    print(
        f'Gazebo 11 from Debian 11 to {prefix}: {len(packages)} packages, '
        f'{sum(p.size for p in packages) / _MB:.0f} MB to download'
        + (f' ({there / _MB:.0f} MB are there)' if there else '')
        + f', {sum(p.unpacked for p in packages) / _MB:.0f} MB on disk. '
        'No root is needed and nothing else on this machine changes.',
        flush=True,
    )


def _download(apt: PrivateApt, packages: Sequence[Package], archives: Path) -> None:
    wanted = [p for p in packages if not p.is_whole(archives / p.file)]
    if not wanted:
        return
    total = sum(package.size for package in packages)
    log = archives.with_name('download.log')
    with Progress('Downloading, MB', total // _MB, start=_bytes(archives) // _MB) as progress:
        child = apt.start_download(wanted, archives, log)
        try:
            while child.poll() is None:
                try:
                    child.wait(0.5)
                except subprocess.TimeoutExpired:
                    pass
                progress.advance(steps=_bytes(archives) // _MB - progress.done)
        finally:
            if child.poll() is None:
                child.terminate()
                child.wait()
    broken = [package for package in packages if not package.is_whole(archives / package.file)]
    if broken:
        last = log.read_text(errors='replace').strip().splitlines()[-1:]
        raise TlAdaptError(
            f'{len(broken)} packages could not be fetched ({" ".join(last)}); '
            'the same command goes on from here'
        )


def _unpack(packages: Sequence[Package], archives: Path, prefix: Path) -> None:
    prefix.mkdir(parents=True, exist_ok=True)
    with Progress('Unpacking, packages', len(packages)) as progress:
        for package in packages:
            process = spawn(
                ['dpkg-deb', '--extract', str(archives / package.file), str(prefix)],
                stderr=subprocess.PIPE, text=True,
            )
            _, errors = process.communicate()
            if process.returncode:
                raise TlAdaptError(f'{package.file} can not be unpacked: {errors.strip()}')
            progress.advance()
    for folder in _UNUSED:
        shutil.rmtree(prefix / folder, ignore_errors=True)


def _bytes(folder: Path) -> int:
    return sum(entry.stat().st_size for entry in os.scandir(folder) if entry.is_file())


def main(argv: Sequence[str] | None = None) -> int:
    """Install Gazebo 11 if the machine has none; return the exit code."""
    parser = argparse.ArgumentParser(prog='tl_adapt.simulators.gazebo.install')
    parser.add_argument('--prefix', type=Path, default=locate.default_prefix())
    args = parser.parse_args(argv)
    try:
        began = time.monotonic()
        install(args.prefix)
        print(f'Gazebo 11 is in {args.prefix} ({duration(time.monotonic() - began)})')
    except TlAdaptError as error:
        print(f'tl_adapt: error: {error}', file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == '__main__':
    sys.exit(main())
