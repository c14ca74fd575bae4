# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of reading the machine's mirror from apt's configuration."""

import pathlib

import pytest

from tl_adapt.simulators.gazebo.apt_sources import (
    Source,
    machine_sources,
    parse_deb822,
    parse_one_line,
    sources_text,
)

MIRROR = 'http://mirror.example.org/debian'


@pytest.mark.parametrize('line', [
    f'deb {MIRROR} bookworm main',
    f'  deb\t{MIRROR}/   bookworm/  main contrib # main mirror',
    f'deb [ arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg ] {MIRROR} '
    'bookworm non-free main',
    f'deb [trusted=no] {MIRROR} bookworm main',
])
def test_a_line_names_mirror_and_suite(line):
    assert list(parse_one_line(f'# a comment\n{line}\n')) == [Source(MIRROR, 'bookworm')]


@pytest.mark.parametrize('line', [
    '', '#deb http://x y main', f'deb-src {MIRROR} bookworm main', 'deb', f'deb {MIRROR}',
    f'deb {MIRROR} bookworm', f'deb {MIRROR} bookworm stable', 'deb [ unclosed http://x y main',
    'deb cdrom bookworm main', f'deb [signed-by=/k/vendor.gpg] {MIRROR} bookworm main',
    f'debian {MIRROR} bookworm main', '\x00\xff', 'deb [a=b] [c=d] x main',
])
def test_other_lines_name_nothing(line):
    assert list(parse_one_line(line)) == []


def test_a_stanza_may_name_several():
    text = (
        '# first\n'
        f'types: deb deb-src\nURIS: {MIRROR}\n  http://other.example.org/debian/\n'
        '# inside\n'
        'Suites: trixie trixie-updates\nComponents: main\n'
        'Signed-By:\n /usr/share/keyrings/debian-archive-keyring.gpg\n'
        '\n \n'
        f'Types: deb\nURIs: {MIRROR}-security\nSuites: trixie-security\nComponents: main\n'
    )
    assert list(parse_deb822(text)) == [
        Source(uri, suite) for uri, suite in [
            (MIRROR, 'trixie'), (MIRROR, 'trixie-updates'),
            ('http://other.example.org/debian', 'trixie'),
            ('http://other.example.org/debian', 'trixie-updates'),
            (f'{MIRROR}-security', 'trixie-security'),
        ]
    ]


@pytest.mark.parametrize('change', [
    ('Types: deb', 'Types: deb-src'), ('Components: main', 'Components: contrib'),
    ('Suites: bookworm', 'Suites:'), ('Types: deb', 'Enabled: no\nTypes: deb'),
    ('URIs:', 'URI:'), ('Components: main', 'Components: main\nSigned-By: /k/vendor.asc'),
    (f'URIs: {MIRROR}', 'URIs: nothing'), ('Types', 'Ty\npes'), ('Types: deb\n', ' Types: deb\n'),
])
def test_stanzas_that_are_of_no_use_name_nothing(change):
    text = f'Types: deb\nURIs: {MIRROR}\nSuites: bookworm\nComponents: main\n'
    assert list(parse_deb822(text)) == [Source(MIRROR, 'bookworm')]
    assert list(parse_deb822(text.replace(*change))) == []


@pytest.mark.parametrize('suite, expected', [
    ('bookworm', 'bullseye'), ('stable', 'bullseye'), ('sid', 'bullseye'),
    ('trixie-updates', 'bullseye-updates'), ('bookworm-security', 'bullseye-security'),
    ('buster/updates', 'bullseye-security'), ('bullseye', 'bullseye'),
    ('bookworm-backports', None), ('jammy', None), ('bookworm-pgdg', None), ('./', None),
    ('buster/x', None), ('', None), ('noble-updates', None),
])
def test_the_suite_of_another_release(suite, expected):
    other = Source(MIRROR, suite).of_release('bullseye')
    assert other == (None if expected is None else Source(MIRROR, expected))


def test_all_files_count_once_and_unreadable_ones_not_at_all(tmp_path):
    (tmp_path / 'sources.list').write_text(f'deb {MIRROR} bookworm main\n')
    parts = tmp_path / 'sources.list.d'
    parts.mkdir()
    (parts / 'a.list').write_text(f'deb {MIRROR} bookworm main\n')
    (parts / 'b.sources').write_bytes(b'\xff\xfe\x00 not text')
    (parts / 'c.sources').mkdir()
    (parts / 'd.list.disabled').write_text('deb http://off.example.org x main\n')
    (parts / 'e.sources').write_text(
        f'Types: deb\nURIs: {MIRROR}\nSuites: bookworm-updates\nComponents: main\n'
    )
    assert machine_sources(tmp_path) == [
        Source(MIRROR, 'bookworm'), Source(MIRROR, 'bookworm-updates')
    ]


def test_a_machine_without_apt_names_nothing(tmp_path):
    assert machine_sources(tmp_path / 'etc') == []


def test_what_is_written_is_read_back():
    sources = [Source(MIRROR, 'bullseye'), Source(MIRROR, 'bullseye-updates')]
    keyring = pathlib.Path('/usr/share/keyrings/debian-archive-keyring.gpg')
    assert list(parse_deb822(sources_text(sources, keyring))) == sources
    assert 'Signed-By' not in sources_text(sources, None)
