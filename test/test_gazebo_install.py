# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of bringing Gazebo's packages to a folder, with apt itself and an archive on the disk."""

import concurrent.futures
import fcntl
import json
import subprocess
import sys
import time

import debian_archive
import pytest

from tl_adapt.errors import TlAdaptError
from tl_adapt.simulators.gazebo import install, locate

needs_apt = pytest.mark.skipif(
    bool(debian_archive.MISSING), reason=f'missing: {", ".join(debian_archive.MISSING)}'
)
SERVER = '#!/bin/sh\necho Gazebo multi-robot simulator, version 11.1.0\n'
FILES = {
    'gazebo': {'usr/bin/gzserver-11.1.0': SERVER},
    'libgazebo11': {'usr/lib/libgazebo.so.11': 'library\n', 'lib/other.so': 'library\n'},
    'libgazebo-dev': {'usr/include/gazebo-11/gazebo/gazebo.hh': '// header\n'},
}


@pytest.fixture(scope='module')
def key(tmp_path_factory):
    with debian_archive.make_archive(tmp_path_factory.mktemp('archive')) as archive:
        yield archive


@pytest.fixture
def archive(key, tmp_path, monkeypatch):
    """Stand an archive in for the mirror of this machine, and a short list for the packages."""
    for deb in key.pool.glob('*.deb'):
        deb.unlink()
    for name, files in FILES.items():
        key.add(name, files)
    key.publish()
    etc = tmp_path / 'etc'
    (etc / 'sources.list.d').mkdir(parents=True)
    (etc / 'sources.list').write_text(f'deb {key.uri} bookworm main\n')
    names = tmp_path / 'packages.txt'
    names.write_text('# a comment\ngazebo\nlibgazebo11\nlibgazebo-dev # headers\nno [riscv]\n')
    monkeypatch.setattr(install, 'APT', etc)
    monkeypatch.setattr(install, '_PACKAGES', names)
    monkeypatch.setattr(install, '_KEYRINGS', (key.keyring,))
    return key


@pytest.fixture
def prefix(tmp_path):
    return tmp_path / 'cache with a space' / 'gazebo-11'


def assert_whole(prefix):
    assert (prefix / 'usr/bin/gzserver-11.1.0').stat().st_mode & 0o111
    for files in FILES.values():
        assert all((prefix / path).read_text() == text for path, text in files.items())
    assert locate.installed(prefix) == dict.fromkeys(FILES, '1.0')
    assert not (prefix / 'usr/share/doc').exists()
    beside = {path.name for path in prefix.parent.iterdir()}
    assert beside == {prefix.name, f'{prefix.name}.lock'}


def test_the_packages_leave_the_machines_own_libraries_alone():
    for architecture in ('amd64', 'i386'):
        names = install.package_names(architecture)
        assert len(names) == len(set(names)) > 250
        assert not set(names) & set(install.NEVER)
        assert {'gazebo', 'libgazebo11', 'libgazebo-dev'} <= set(names)
    assert 'libmfx1' not in names  # [amd64]


@needs_apt
def test_all_packages_are_unpacked_and_a_second_call_does_nothing(archive, prefix, capsys):
    assert install.install(prefix)
    assert_whole(prefix)
    said = capsys.readouterr()
    assert '3 packages' in said.out and 'to download' in said.out and 'on disk' in said.out
    assert 'Unpacking, packages: 3/3' in said.err
    assert not install.install(prefix)
    assert capsys.readouterr() == ('', '')


@needs_apt
def test_an_interruption_loses_nothing(archive, prefix, monkeypatch, capsys):
    real, done = install._extract, []

    def extract(file, to):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(file.name)
        real(file, to)

    monkeypatch.setattr(install, '_extract', extract)
    with pytest.raises(KeyboardInterrupt):
        install.install(prefix)
    assert locate.installed(prefix) == {}
    capsys.readouterr()
    monkeypatch.setattr(install, '_extract', lambda file, to: done.append(file.name) or real(
        file, to))
    assert install.install(prefix)
    assert_whole(prefix)
    assert len(done) == len(set(done)) == 3
    assert '(0 MB are left)' in capsys.readouterr().out


@needs_apt
@pytest.mark.parametrize('left', [b'', b'short', b'x' * 100_000], ids=['empty', 'part', 'long'])
def test_what_is_left_of_a_broken_download_does_no_harm(archive, prefix, left):
    archives = prefix.with_name('gazebo-11.download') / 'archives'
    archives.mkdir(parents=True)
    for deb in archive.pool.glob('*.deb'):
        (archives / deb.name).write_bytes(left)
    assert install.install(prefix)
    assert_whole(prefix)


@needs_apt
def test_packages_that_a_newer_list_names_are_added(archive, prefix, monkeypatch, tmp_path):
    names = tmp_path / 'fewer.txt'
    names.write_text('gazebo\n')
    with monkeypatch.context() as patch:
        patch.setattr(install, '_PACKAGES', names)
        install.install(prefix)
    assert list(locate.installed(prefix)) == ['gazebo']
    assert install.install(prefix)
    assert_whole(prefix)


@needs_apt
def test_an_unsigned_archive_is_refused(archive, prefix):
    archive.publish(signed=False)
    with pytest.raises(TlAdaptError, match='Debian 11 can not be read .* not signed.*serves'):
        install.install(prefix)
    assert not prefix.exists()


@needs_apt
def test_a_package_that_was_changed_is_refused(archive, prefix):
    deb = next(archive.pool.glob('libgazebo11*'))
    deb.write_bytes(deb.read_bytes()[:-8] + b'changed!')
    with pytest.raises(TlAdaptError, match='1 packages could not be fetched, of them libgazebo11'):
        install.install(prefix)
    assert locate.installed(prefix) == {}


@needs_apt
def test_a_mirror_without_debian_11_is_one_clear_error(archive, prefix, tmp_path):
    (tmp_path / 'etc/sources.list').write_text(f'deb copy:{tmp_path}/none bookworm main\n')
    with pytest.raises(TlAdaptError) as error:
        install.install(prefix)
    assert "Debian 11 can not be read from this machine's mirror: " in str(error.value)
    assert 'TL_ADAPT_GAZEBO=/its/prefix serves' in str(error.value)
    assert '\n' not in str(error.value)


@needs_apt
def test_an_architecture_without_gazebo_is_named(archive, prefix):
    next(archive.pool.glob('gazebo_*')).unlink()
    archive.publish()
    with pytest.raises(TlAdaptError, match='has no gazebo for [a-z0-9]+[.] A gzserver on PATH'):
        install.install(prefix)


@needs_apt
def test_a_machine_without_debians_mirror_is_one_clear_error(archive, prefix, tmp_path):
    (tmp_path / 'etc/sources.list').write_text('deb http://archive.example.org jammy main\n')
    with pytest.raises(TlAdaptError, match='names no mirror of Debian'):
        install.install(prefix)


def test_a_machine_without_apt_is_one_clear_error(prefix, monkeypatch):
    monkeypatch.setenv('PATH', '/nowhere')
    with pytest.raises(TlAdaptError, match='apt, which is missing here. A gzserver on PATH'):
        install.install(prefix)


@needs_apt
def test_a_folder_with_other_things_is_not_touched(archive, prefix):
    prefix.mkdir(parents=True)
    (prefix / 'thesis.tex').write_text('precious')
    with pytest.raises(TlAdaptError, match='must be an empty or a new folder'):
        install.install(prefix)
    assert [path.name for path in prefix.iterdir()] == ['thesis.tex']


@needs_apt
def test_a_full_disk_is_said_before_the_download(archive, prefix, monkeypatch):
    usage = install.shutil.disk_usage(archive.folder)._replace(free=1000)
    monkeypatch.setattr(install.shutil, 'disk_usage', lambda path: usage)
    with pytest.raises(TlAdaptError, match='MB are needed on the disk of'):
        install.install(prefix)
    assert not prefix.exists()


@needs_apt
def test_two_at_once_do_it_once(archive, prefix, capsys):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(install.install, [prefix, prefix])) == [False, True]
    assert_whole(prefix)
    assert capsys.readouterr().out.count('3 packages') == 1


@needs_apt
def test_a_lock_that_stays_taken_is_an_error(archive, prefix, monkeypatch):
    prefix.parent.mkdir(parents=True)
    monkeypatch.setattr(install, '_WAIT', 0.2)
    with prefix.with_name('gazebo-11.lock').open('a') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(TlAdaptError, match='another process still installs Gazebo'):
            install.install(prefix)


def test_a_gazebo_of_the_users_is_only_given_the_plugin(tmp_path, monkeypatch, capsys):
    server = tmp_path / 'usr/bin/gzserver'
    server.parent.mkdir(parents=True)
    server.write_text(SERVER)
    server.chmod(0o755)
    built = []
    library = tmp_path / 'plugin.so'
    monkeypatch.setenv(locate.PREFIX_VARIABLE, str(tmp_path))
    monkeypatch.setattr(install, 'install', None)  # may not be called
    monkeypatch.setattr(install, 'build_plugin', lambda one: built.append(one) or library)
    assert install.main([]) == 0
    assert capsys.readouterr().out.count('\n') == 1
    assert [one.origin for one in built] == ['TL_ADAPT_GAZEBO']


@pytest.mark.parametrize('error, code, text', [
    (TlAdaptError('no mirror'), 2, 'tl_adapt: error: no mirror\n'),
    (OSError(28, 'No space left on device', '/x'), 2, 'error: /x: No space left on device\n'),
    (KeyboardInterrupt(), 130, 'tl_adapt: interrupted; the same command goes on from here\n'),
])
def test_what_goes_wrong_is_one_line_and_an_exit_code(error, code, text, monkeypatch, capsys):
    def run(prefix):
        raise error

    monkeypatch.setattr(install, 'run', run)
    assert install.main([]) == code
    said = capsys.readouterr().err
    assert said.endswith(text) and said.count('\n') == 1


@pytest.mark.gazebo
def test_what_is_installed_is_whole_and_found_at_once(gazebo):
    if gazebo.origin != 'cache':
        pytest.skip('this machine has a Gazebo of its own')
    packages = json.loads((gazebo.prefix / 'tl_adapt.json').read_text())['packages']
    assert set(packages) >= set(install.package_names(install._architecture()))
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, '-m', 'tl_adapt.simulators.gazebo.install'], timeout=120.0,
        capture_output=True, text=True, check=True,
    )
    assert ended.stdout.startswith('Gazebo 11.') and ended.stdout.count('\n') == 1
    assert time.monotonic() - began < 60.0  # the plugin may have to be compiled
