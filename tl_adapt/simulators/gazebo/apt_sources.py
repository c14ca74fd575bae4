# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what a machine's apt configuration says about Debian's mirror."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

#: The suites of an archive, beside the release itself, that a release goes on getting fixes from.
_POCKETS = ('', '-updates', '-security')
_RELEASES = (
    'stable', 'oldstable', 'oldoldstable', 'testing', 'unstable', 'sid',
    'buster', 'bullseye', 'bookworm', 'trixie', 'forky', 'duke',
)
_COMPONENT = 'main'
_KEYRING = 'debian-archive'
_URI = re.compile(r'[a-z][a-z0-9+.-]*:\S+')


@dataclass(frozen=True, order=True)
class Source:
    """Be one archive that apt reads: the mirror's address and the suite there."""

    uri: str
    suite: str

    def of_release(self, codename: str) -> Source | None:
        """Return the same archive for another release; None if it isn't an archive of Debian."""
        release, mark, pocket = self.suite.partition('/')
        if mark:  # `buster/updates`, as the security archive was laid out once
            pocket = '-security' if pocket == 'updates' else '/'
        else:
            release, mark, pocket = self.suite.partition('-')
            pocket = mark + pocket
        if release not in _RELEASES or pocket not in _POCKETS:
            return None
        return Source(self.uri, codename + pocket)


def machine_sources(etc: Path) -> list[Source]:
    """
    Return the archives of Debian's main component that apt's configuration in `etc` names.

    What can't be understood in a file is passed over, as apt itself says it on every run. So are
    archives that are signed with keys that are not Debian's.
    """
    parts = etc / 'sources.list.d'
    files = [etc / 'sources.list']
    if parts.is_dir():
        files += sorted(parts.iterdir())
    found: dict[Source, None] = {}
    for path in files:
        try:
            text = path.read_text(encoding='utf-8', errors='replace')
        except OSError:
            continue
        if path.suffix == '.sources':
            found.update(dict.fromkeys(parse_deb822(text)))
        elif path.suffix == '.list':
            found.update(dict.fromkeys(parse_one_line(text)))
    return list(found)


def parse_one_line(text: str) -> Iterator[Source]:
    """Yield the archives of a file whose lines are `deb [options] address suite component ...`."""
    for line in text.splitlines():
        match = re.match(r'\s*deb\s+(?:\[([^]]*)\]\s*)?(\S+)\s+(\S+)\s+([^#]*)', line)
        if match is None:
            continue
        options, uri, suite, components = match.groups()
        fields = dict(item.partition('=')[::2] for item in (options or '').split())
        yield from _sources([uri], [suite], components.split(), fields.get('signed-by', ''))


def parse_deb822(text: str) -> Iterator[Source]:
    """Yield the archives of a file of stanzas with `Types`, `URIs`, `Suites`, `Components`."""
    for stanza in re.split(r'\n[ \t]*\n', '\n'.join(
        line for line in text.splitlines() if not line.startswith('#')
    )):
        fields: dict[str, str] = {}
        name = ''
        for line in stanza.splitlines():
            if line[:1] in (' ', '\t'):
                if name:
                    fields[name] += '\n' + line.strip()
                continue
            name, mark, value = line.partition(':')
            name = name.strip().lower() if mark else ''
            if name:
                fields[name] = value.strip()
        if fields.get('enabled', 'yes').lower() in ('no', 'false', '0', 'off', 'without'):
            continue
        if 'deb' in fields.get('types', '').split():
            yield from _sources(
                fields.get('uris', '').split(), fields.get('suites', '').split(),
                fields.get('components', '').split(), fields.get('signed-by', ''),
            )


def _sources(
    uris: Iterable[str], suites: Iterable[str], components: Iterable[str], signed_by: str
) -> Iterator[Source]:
    if _COMPONENT not in components or (signed_by and _KEYRING not in signed_by):
        return
    for uri in uris:
        if _URI.fullmatch(uri):
            for suite in suites:
                yield Source(uri.rstrip('/'), suite.rstrip('/'))


def sources_text(sources: Iterable[Source], keyring: Path | None) -> str:
    """
    Return a `.sources` file with which apt accepts `sources` if Debian's own keys sign them.

    With no `keyring` they are those that apt trusts on this machine.
    """
    signed_by = f'Signed-By: {keyring}\n' if keyring else ''
    return '\n'.join(
        f'Types: deb\nURIs: {source.uri}\nSuites: {source.suite}\n'
        f'Components: {_COMPONENT}\n{signed_by}'
        for source in sources
    )
