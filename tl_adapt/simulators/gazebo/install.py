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
from collections.abc import Iterable, Sequence
from pathlib import Path

from tl_adapt.child_process import end_child, run_child
from tl_adapt.errors import TlAdaptError
from tl_adapt.progress import Progress, duration
from tl_adapt.simulators.gazebo import apt_sources, locate
from tl_adapt.simulators.gazebo.plugin import build_plugin
from tl_adapt.simulators.gazebo.private_apt import Package, PrivateApt
from tl_adapt.user_cache import file_lock

RELEASE = 'bullseye'
#: The machine's own are newer, and a process can't have both.
NEVER = ('libc6', 'libstdc++6', 'libgcc-s1', 'libcrypt1', 'libselinux1')
APT = Path('/etc/apt')
_PACKAGES = Path(__file__).with_name('packages.txt')
_KEYRINGS = tuple(
    Path('/usr/share/keyrings', f'debian-archive-{name}')
    for name in ('keyring.gpg', 'keyring.pgp', 'bullseye-stable.gpg')
)
_UNUSED = tuple(
    f'usr/share/{name}' for name in ('bug', 'doc', 'gtk-doc', 'lintian', 'locale', 'man')
)
_OTHERWISE = f'A gzserver on PATH or {locate.PREFIX_VARIABLE}=/its/prefix serves as well'
_WAIT = 3600.0  # s, for another process that installs
_STALLED = 120.0  # s without a byte
_MB = 1_000_000
#: In the prefix, until all of it is there: what is unpacked.
_RECORD = 'tl_adapt.part'


def package_names(architecture: str) -> list[str]:
    """Return the packages to install; a line may end in `[amd64]` if others do without it."""
    names = []
    for line in _PACKAGES.read_text().splitlines():
        name, _, only = line.partition('#')[0].partition('[')
        if name.strip() and (not only or architecture in only.rstrip('] ').split()):
            names.append(name.strip())
    return names


def install(prefix: Path) -> bool:
    """
    Put Gazebo 11 into `prefix`, or what is still missing of it; return whether anything was.

    Raises TlAdaptError, one line, where that is not possible. What was fetched or unpacked until
    then is kept, and the next call goes on there.
    """
    architecture = _architecture()
    names = package_names(architecture)
    work = prefix.with_name(prefix.name + '.download')
    lock = prefix.with_name(prefix.name + '.lock')
    if not _missing(names, prefix):
        return False
    with file_lock(lock, deadline=_WAIT, what='installs Gazebo'):
        missing = _missing(names, prefix)
        if not missing:
            return False
        _refuse_strange(prefix)
        print("Reading Debian 11's list of packages (about 10 MB)", flush=True)
        apt = PrivateApt(work, _sources(), architecture)
        packages = _find(apt, missing, architecture)
        archives = work / 'archives'
        archives.mkdir(exist_ok=True)
        there = _unpacked(prefix)
        remaining = [package for package in packages if there.get(package.name) != package.version]
        _announce(packages, remaining, archives, prefix)
        _download(apt, remaining, archives)
        _unpack(remaining, archives, prefix, len(packages))
        done = {package.name: package.version for package in packages}
        locate.write_marker(prefix, {**locate.installed(prefix), **done})
        (prefix / _RECORD).unlink(missing_ok=True)
        shutil.rmtree(work, ignore_errors=True)
    return True


def _missing(names: Iterable[str], prefix: Path) -> list[str]:
    there = locate.installed(prefix)
    return [name for name in names if name not in there]


def _architecture() -> str:
    if not all(map(shutil.which, ('apt-get', 'apt-cache', 'dpkg', 'dpkg-deb'))):
        raise TlAdaptError(f'Gazebo 11 is fetched by apt, which is missing here. {_OTHERWISE}')
    process = run_child(['dpkg', '--print-architecture'], deadline=20.0)
    if process.returncode:
        raise TlAdaptError(f'dpkg does not say its architecture: {process.stderr.strip()}')
    return process.stdout.strip()


def _refuse_strange(prefix: Path) -> None:
    """Raise TlAdaptError if `prefix` has something in it that was not put there from here."""
    if os.pathsep in str(prefix):
        raise TlAdaptError(f'a folder without {os.pathsep!r} in its name is needed, got {prefix}')
    if locate.installed(prefix) or (prefix / _RECORD).is_file() or not prefix.exists():
        return
    if not prefix.is_dir() or any(prefix.iterdir()):
        raise TlAdaptError(f'{prefix} must be an empty or a new folder, to put Gazebo there')


def _sources() -> str:
    wanted = (source.of_release(RELEASE) for source in apt_sources.machine_sources(APT))
    sources = list(dict.fromkeys(source for source in wanted if source is not None))
    if not sources:
        try:
            system = platform.freedesktop_os_release().get('PRETTY_NAME', 'no Debian')
        except OSError:
            system = 'no Debian'
        raise TlAdaptError(
            f"apt's configuration on this machine ({system}) names no mirror of Debian, from "
            f'which Gazebo 11 would be fetched. {_OTHERWISE} (on Ubuntu 22.04: apt install gazebo)'
        )
    keyring = next((path for path in _KEYRINGS if path.is_file()), None)
    return apt_sources.sources_text(sources, keyring)


def _find(apt: PrivateApt, names: Sequence[str], architecture: str) -> list[Package]:
    """Return the packages called `names`; raise TlAdaptError if the mirror lacks any."""
    complaint = apt.update(deadline=300.0)
    found = apt.describe(names)
    unknown = [name for name in names if name not in found]
    if not found:
        raise TlAdaptError(
            f"Debian 11 can not be read from this machine's mirror: {complaint or 'it is empty'}. "
            f'{_OTHERWISE}'
        )
    if unknown:
        raise TlAdaptError(
            f"Debian 11 on this machine's mirror has no {unknown[0]} for {architecture}"
            + (f', nor {len(unknown) - 1} other packages' if unknown[1:] else '')
            + f'{": " + complaint if complaint else ""}. {_OTHERWISE}'
        )
    if complaint:  # the fixes of the release are not all there, the release itself is
        print(f'tl_adapt: note: {complaint}', file=sys.stderr)
    return [found[name] for name in names]


def _announce(
    packages: Sequence[Package], remaining: Sequence[Package], archives: Path, prefix: Path
) -> None:
    """Say what will be done, and refuse if the disk is too small for it."""
    download = sum(package.size for package in remaining)
    unpacked = sum(package.unpacked for package in remaining)
    there = min(_bytes(archives), download)
    print(
        f'Gazebo 11 of Debian 11 goes to {prefix}: {len(packages)} packages, '
        f'{sum(package.size for package in packages) / _MB:.0f} MB to download'
        + (f' ({(download - there) / _MB:.0f} MB are left)' if len(remaining) < len(packages)
           or there else '')
        + f', {sum(package.unpacked for package in packages) / _MB:.0f} MB on disk. '
        'No root is needed, and nothing else on this machine changes',
        flush=True,
    )
    free = shutil.disk_usage(archives).free
    needed = unpacked + download - there
    if free < needed:
        raise TlAdaptError(
            f'{needed / _MB:.0f} MB are needed on the disk of {prefix}, {free / _MB:.0f} are free'
        )


def _download(apt: PrivateApt, packages: Sequence[Package], archives: Path) -> None:
    wanted = [package for package in packages if not package.is_whole(archives / package.file)]
    for package in wanted:  # apt goes on with a shorter file; any other is of no use
        path = archives / package.file
        if path.exists() and path.stat().st_size >= package.size:
            path.unlink()
    if not wanted:
        return
    total = sum(package.size for package in packages)
    log = archives.with_name('download.log')
    with Progress('Downloading, MB', total // _MB, start=_bytes(archives) // _MB) as progress:
        child = apt.start_download(wanted, archives, log)
        try:
            changed = time.monotonic()
            while child.poll() is None and time.monotonic() - changed < _STALLED:
                try:
                    child.wait(0.5)
                except subprocess.TimeoutExpired:
                    pass
                steps = min(_bytes(archives) // _MB, progress.total) - progress.done
                if steps > 0:
                    changed = time.monotonic()
                    progress.advance(steps=steps)
        finally:
            end_child(child)
    broken = [package for package in wanted if not package.is_whole(archives / package.file)]
    if broken:
        lines = log.read_text(errors='replace').splitlines()
        said = [line for line in lines if line.startswith('E:')]
        said.append(f'nothing came for {_STALLED:g} s')
        raise TlAdaptError(
            f'{len(broken)} packages could not be fetched, of them {broken[0].file} ({said[0]}); '
            'the same command goes on from here'
        )


def _unpacked(prefix: Path) -> dict[str, str]:
    """Return package: version of what an earlier call, which did not end, has unpacked."""
    try:
        lines = (prefix / _RECORD).read_text().splitlines()
    except OSError:
        return {}
    return dict(line.split(' ') for line in lines if line.count(' ') == 1)


def _unpack(packages: Sequence[Package], archives: Path, prefix: Path, total: int) -> None:
    """Unpack the packages, the last ones of `total`, and remove their files."""
    prefix.mkdir(parents=True, exist_ok=True)
    done = total - len(packages)
    with (prefix / _RECORD).open('a') as record, Progress(
        'Unpacking, packages', total, start=done
    ) as progress:
        for package in packages:
            file = archives / package.file
            _extract(file, prefix)
            record.write(f'{package.name} {package.version}\n')
            record.flush()
            file.unlink()
            progress.advance()
    for folder in _UNUSED:
        shutil.rmtree(prefix / folder, ignore_errors=True)


def _extract(file: Path, prefix: Path) -> None:
    process = run_child(['dpkg-deb', '--extract', file, prefix], deadline=_STALLED)
    if process.returncode:
        raise TlAdaptError(f'{file.name} can not be unpacked: {process.stderr.strip()}')


def _bytes(folder: Path) -> int:
    total = 0
    for path in folder.iterdir():
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # apt has just renamed it
            pass
    return total


def run(prefix: Path | None) -> str:
    """
    Provide a Gazebo and the plugin for it; return one line about them.

    With no `prefix` a Gazebo that is there already does, and a missing one goes to the cache.
    """
    began = time.monotonic()
    gazebo = locate.find_gazebo() if prefix is None else None
    if gazebo is None or gazebo.origin == 'cache':
        target = locate.default_prefix() if prefix is None else prefix.expanduser().absolute()
        new = install(target)
        gazebo = locate.gazebo_in(target, 'cache')
        if new:
            locate.ask_version(gazebo)  # whether this machine can run it at all
    plugin = build_plugin(gazebo)
    took = time.monotonic() - began
    return (
        f'Gazebo {gazebo.version} is ready: {gazebo.gzserver}, plugin {plugin.name}'
        + (f' ({duration(took)})' if took >= 1.0 else '')
        + (f'; use it with {locate.PREFIX_VARIABLE}={gazebo.prefix}' if prefix else '')
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Provide a Gazebo; return the exit code, which is 2 where there can't be one."""
    parser = argparse.ArgumentParser(
        prog='python -m tl_adapt.simulators.gazebo.install',
        description='Put Gazebo 11 into a folder, unless there is one, and compile its plugin.',
    )
    parser.add_argument(
        '--prefix', type=Path,
        help=f'another folder than {locate.default_prefix()}; fetch even if there is a Gazebo',
    )
    prefix = parser.parse_args(argv).prefix
    try:
        print(run(prefix))
        return 0
    except TlAdaptError as error:
        print(f'tl_adapt: error: {error}', file=sys.stderr)
    except OSError as error:
        print(f'tl_adapt: error: {error.filename}: {error.strerror}', file=sys.stderr)
    except KeyboardInterrupt:
        print('tl_adapt: interrupted; the same command goes on from here', file=sys.stderr)
        return 130
    return 2


if __name__ == '__main__':
    sys.exit(main())
