# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for apt in a folder of its own: it downloads, and leaves the machine's state alone."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tl_adapt.child_process import run_child
from tl_adapt.ros.isolation import spawn

# The machine's configuration is read first (it may name a proxy); these lists of it must not act
# here. As apt can't drop root's rights in a private folder of root's, it is not asked to. An old
# release is not signed anew, so the dates of its lists say nothing; the signatures do.
_CONFIGURATION = '''\
#clear APT::Architectures;
#clear APT::Default-Release;
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear Acquire::IndexTargets;
Acquire::IndexTargets::deb::Packages {
  MetaKey "$(COMPONENT)/binary-$(ARCHITECTURE)/Packages";
  flatMetaKey "Packages";
  ShortDescription "Packages";
  Description "$(RELEASE)/$(COMPONENT) $(ARCHITECTURE) Packages";
  Optional "0";
};
Acquire::Languages "none";
Acquire::Check-Valid-Until "false";
Acquire::Retries "3";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
APT::Get::AllowUnauthenticated "false";
APT::Sandbox::User "root";
'''
# Another configuration would be read as well, and questions have nobody to answer them.
_ENVIRONMENT = {'APT_CONFIG': '', 'DEBIAN_FRONTEND': 'noninteractive'}


@dataclass(frozen=True)
class Package:
    """Be one package file, as apt's signed lists describe it."""

    name: str
    version: str
    file: str
    size: int  # bytes to download
    unpacked: int  # bytes, about
    sha256: str

    def is_whole(self, path: Path) -> bool:
        """Return whether the file at `path` is this package."""
        if not path.is_file() or path.stat().st_size != self.size:
            return False
        with path.open('rb') as file:
            digest = hashlib.sha256()
            for block in iter(lambda: file.read(1 << 20), b''):
                digest.update(block)
        return digest.hexdigest() == self.sha256


class PrivateApt:
    """Run apt's programs with sources, lists and cache below one folder."""

    def __init__(self, folder: Path, sources: str, architecture: str) -> None:
        """Lay the folder out; `sources` is the text of a `.sources` file."""
        self.folder = folder
        for name in ('lists/partial', 'cache/archives/partial', 'sources.list.d', 'state'):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / 'apt.conf').write_text(_CONFIGURATION)
        (folder / 'sources.list.d' / 'release.sources').write_text(sources)
        (folder / 'status').write_text('')
        options = {
            'Dir::Etc::SourceList': '/dev/null',
            'Dir::Etc::SourceParts': folder / 'sources.list.d',
            'Dir::Etc::Preferences': '/dev/null',
            'Dir::Etc::PreferencesParts': '/dev/null',
            'Dir::State': folder / 'state',
            'Dir::State::Lists': folder / 'lists',
            'Dir::State::status': folder / 'status',
            'Dir::Cache': folder / 'cache',
            'APT::Architecture': architecture,
        }
        self._options = [
            '-c', str(folder / 'apt.conf'),
            *(part for name, value in options.items() for part in ('-o', f'{name}={value}')),
        ]

    def update(self, *, deadline: float) -> str:
        """Fetch the lists; return what apt complains of first, which is empty if all is well."""
        process = self._run(
            ['apt-get', 'update', '-q', '-o', 'APT::Update::Error-Mode=any'], deadline=deadline
        )
        wrong = re.findall(r'^E: *(.*\S)', process.stderr, re.MULTILINE)
        if process.returncode and not wrong:
            wrong = [f'apt-get ended with code {process.returncode}']
        return wrong[0].rstrip('.') if wrong else ''

    def describe(self, names: Sequence[str]) -> dict[str, Package]:
        """Return name: package for those of `names` that the lists hold."""
        process = self._run(['apt-cache', 'show', '--no-all-versions', *names], deadline=60.0)
        found = {}
        for stanza in process.stdout.split('\n\n'):
            fields = dict(re.findall(r'^([A-Za-z0-9-]+): (.*)$', stanza, re.MULTILINE))
            if 'SHA256' not in fields or fields.get('Package') not in names:
                continue
            version = fields['Version'].replace(':', '%3a')
            found[fields['Package']] = Package(
                fields['Package'], fields['Version'],
                f'{fields["Package"]}_{version}_{fields["Architecture"]}.deb',
                int(fields['Size']), int(fields['Installed-Size']) * 1024, fields['SHA256'],
            )
        return found

    def start_download(
        self, packages: Iterable[Package], folder: Path, log: Path
    ) -> subprocess.Popen[bytes]:
        """Start to download the packages to `folder`; apt goes on with what is there in part."""
        wanted = [f'{package.name}={package.version}' for package in packages]
        with log.open('wb') as output:
            return spawn(
                ['apt-get', 'download', '-q', *self._options, *wanted],
                cwd=folder, env={**os.environ, **_ENVIRONMENT, 'LC_ALL': 'C'},
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            )

    def _run(self, command: list[str], *, deadline: float) -> subprocess.CompletedProcess[str]:
        return run_child(
            [*command, *self._options], deadline=deadline, environment=_ENVIRONMENT
        )
