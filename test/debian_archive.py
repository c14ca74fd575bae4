# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""A small archive of Debian packages on the disk, signed with a key of its own."""

import contextlib
import hashlib
import pathlib
import shutil
import subprocess
import tempfile

MISSING = [
    name for name in ('apt-get', 'dpkg-deb', 'gpg', 'gpgv') if shutil.which(name) is None
]


def architecture():
    """Return the machine's."""
    return subprocess.run(
        ['dpkg', '--print-architecture'], check=True, capture_output=True, text=True
    ).stdout.strip()


class Archive:
    """Be an archive with one release, `bullseye`; `publish` makes apt see the packages."""

    def __init__(self, folder, home):
        self.folder = pathlib.Path(folder)
        self.pool = self.folder / 'pool'
        self.pool.mkdir(parents=True)
        self.keyring = pathlib.Path(home) / 'key.gpg'
        self._home = home

    @property
    def uri(self):
        return f'copy:{self.folder}'

    def add(self, name, files, version='1.0'):
        """Build a package whose files are {path: text}; a text with `#!` is a program."""
        with tempfile.TemporaryDirectory() as root:
            for path, text in {
                'DEBIAN/control': f'Package: {name}\nVersion: {version}\nInstalled-Size: 1\n'
                f'Architecture: {architecture()}\nMaintainer: a test\nDescription: a test\n',
                f'usr/share/doc/{name}/copyright': 'nobody reads this here\n',
                **files,
            }.items():
                file = pathlib.Path(root, path)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
                file.chmod(0o755 if text.startswith('#!') else 0o644)
            self._run('dpkg-deb', '--root-owner-group', '--build', root, str(self.pool))

    def publish(self, *, signed=True):
        """Write the lists; not `signed`, they are what a broken or hostile mirror would give."""
        release = self.folder / 'dists/bullseye'
        listing = release / f'main/binary-{architecture()}/Packages'
        listing.parent.mkdir(parents=True, exist_ok=True)
        listing.write_text('\n'.join(map(self._stanza, sorted(self.pool.glob('*.deb')))))
        text = (
            f'Suite: oldoldstable\nCodename: bullseye\nArchitectures: {architecture()}\n'
            'Components: main\nDate: Sat, 14 Aug 2021 07:57:38 UTC\nSHA256:\n'
            f' {_sha256(listing)} {listing.stat().st_size} {listing.relative_to(release)}\n'
        )
        (release / 'Release').write_text(text)
        if signed:
            self._gpg('--yes', '--clearsign', '--output', str(release / 'InRelease'),
                      str(release / 'Release'))
        else:
            (release / 'InRelease').unlink(missing_ok=True)

    def _stanza(self, deb):
        control = self._run('dpkg-deb', '--field', str(deb)).rstrip()
        return (
            f'{control}\nFilename: {deb.relative_to(self.folder)}\n'
            f'Size: {deb.stat().st_size}\nSHA256: {_sha256(deb)}\n'
        )

    def _gpg(self, *arguments):
        return self._run('gpg', '--homedir', self._home, '--batch', '--quiet', *arguments)

    @staticmethod
    def _run(*command):
        return subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=60.0
        ).stdout


@contextlib.contextmanager
def make_archive(folder):
    """Make an empty archive and its key; gpg's agent, which has to be asked, ends with it."""
    with tempfile.TemporaryDirectory() as home:  # short: gpg puts a socket there
        pathlib.Path(home).chmod(0o700)
        gpg = ['gpg', '--homedir', home, '--batch', '--quiet']
        try:
            subprocess.run(
                [*gpg, '--passphrase', '', '--quick-generate-key', 'test@example.org', 'rsa2048'],
                check=True, capture_output=True, timeout=120.0,
            )
            subprocess.run(
                [*gpg, '--output', f'{home}/key.gpg', '--export'], check=True, timeout=60.0
            )
            yield Archive(folder, home)
        finally:
            subprocess.run(['gpgconf', '--homedir', home, '--kill', 'all'], check=False)


def _sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()
