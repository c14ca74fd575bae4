# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of finding Gazebo, and of the environment of its server."""

import os
import pathlib
import tempfile

import pytest

from tl_adapt.errors import TlAdaptError
from tl_adapt.simulators.gazebo import locate
from tl_adapt.simulators.gazebo.locate import Gazebo, find_gazebo

VERSION = '#!/bin/sh\necho "Gazebo multi-robot simulator, version {}"\n'


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Keep what this machine has out of the tests."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.delenv(locate.PREFIX_VARIABLE, raising=False)
    for name in list(os.environ):
        if name.startswith(('GAZEBO_', 'IGN_', 'OGRE_')):
            monkeypatch.delenv(name)
    return tmp_path / 'cache/tl_adapt'


def make(folder, version='11.1.0', *, named=True, text=VERSION):
    """Lay out an installation; `named`, the server's file has the version in its name."""
    binaries = folder / 'usr/bin'
    binaries.mkdir(parents=True)
    real = binaries / (f'gzserver-{version}' if named else 'gzserver')
    real.write_text(text.format(version))
    real.chmod(0o755)
    if named:
        (binaries / 'gzserver').symlink_to(real.name)
    for name in ('usr/lib/riscv64-linux-gnu/gazebo-11/plugins', 'lib/riscv64-linux-gnu',
                 'usr/lib/riscv64-linux-gnu/OGRE-1.9.0', 'usr/share/gazebo-11/models'):
        (folder / name).mkdir(parents=True)
    return folder


def test_a_machine_without_gazebo(tmp_path):
    assert find_gazebo({'PATH': str(tmp_path)}) is None


def test_the_users_prefix_goes_before_path_and_path_before_the_cache(tmp_path, cache):
    make(cache / 'gazebo-11', '11.1.0')
    own, system = make(tmp_path / 'own', '11.3.0'), make(tmp_path / 'system', '11.2.0')
    path = str(system / 'usr/bin')
    assert find_gazebo({'PATH': ''}) is None  # what is not wholly unpacked does not count
    locate.write_marker(cache / 'gazebo-11', {'gazebo': '11.1.0+dfsg-6'})
    found = find_gazebo({'PATH': ''})
    assert found == Gazebo(
        cache / 'gazebo-11/usr/bin/gzserver', cache / 'gazebo-11', '11.1.0', 'cache'
    )
    found = find_gazebo({'PATH': path})
    assert found == Gazebo(system / 'usr/bin/gzserver', None, '11.2.0', 'PATH')
    found = find_gazebo({'PATH': path, locate.PREFIX_VARIABLE: str(own)})
    assert found == Gazebo(own / 'usr/bin/gzserver', own, '11.3.0', 'TL_ADAPT_GAZEBO')


@pytest.mark.parametrize('named', [True, False])
def test_another_major_version_is_refused(tmp_path, named):
    folder = make(tmp_path / 'old', '9.19.0', named=named)
    with pytest.raises(TlAdaptError, match='Gazebo classic 11 is needed, but .*er is 9.19.0'):
        find_gazebo({'PATH': str(folder / 'usr/bin')})


@pytest.mark.parametrize('text, said', [
    ('#!/bin/sh\necho "libgazebo.so.11: cannot open" >&2\nexit 127\n', 'libgazebo.so.11: cannot'),
    ('#!/bin/sh\necho what\n', 'what'), ('#!/bin/sh\n', 'does not say its version'),
    ('#!/no/such/shell\n', 'can not be run'),
])
def test_a_server_that_does_not_run_is_one_clear_error(tmp_path, text, said):
    folder = make(tmp_path / 'broken', named=False, text=text)
    with pytest.raises(TlAdaptError, match=said):
        find_gazebo({'PATH': '', locate.PREFIX_VARIABLE: str(folder)})


def test_a_prefix_without_a_server_is_one_clear_error(tmp_path):
    with pytest.raises(TlAdaptError, match='no usr/bin/gzserver in .*TL_ADAPT_GAZEBO'):
        find_gazebo({'PATH': '', locate.PREFIX_VARIABLE: str(tmp_path)})


def test_the_version_is_asked_without_traces_in_the_home(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    folder = make(
        tmp_path / 'a', '11.4', named=False, text='#!/bin/sh\nmkdir $HOME/.gazebo\n' + VERSION[10:]
    )
    assert find_gazebo({'PATH': '', locate.PREFIX_VARIABLE: str(folder)}).version == '11.4'
    assert [path.name for path in tmp_path.iterdir()] == ['a']


def test_a_prefix_brings_its_own_libraries_and_nothing_of_the_shells(tmp_path, monkeypatch):
    monkeypatch.setenv('LD_LIBRARY_PATH', '/opt/ros/lib')
    monkeypatch.setenv('GAZEBO_PLUGIN_PATH', '/opt/ros/lib')
    monkeypatch.setenv('DISPLAY', ':0')
    folder = make(tmp_path / 'a')
    gazebo = Gazebo(folder / 'usr/bin/gzserver', folder, '11.1.0', 'cache')
    variables = gazebo.environment(
        port=12345, models=[pathlib.Path('/m')], plugins=[pathlib.Path('/p')],
        home=pathlib.Path('/h'),
    )
    libraries = f'{folder}/usr/lib/riscv64-linux-gnu'
    assert variables['LD_LIBRARY_PATH'].split(':')[:2] == [
        libraries, f'{libraries}/gazebo-11/plugins'
    ]
    assert f'{folder}/lib/riscv64-linux-gnu' in variables['LD_LIBRARY_PATH'].split(':')
    assert '/opt/ros' not in ''.join(variables.values())
    assert variables['GAZEBO_PLUGIN_PATH'] == f'/p:{libraries}/gazebo-11/plugins'
    assert variables['GAZEBO_MODEL_PATH'] == f'/m:{folder}/usr/share/gazebo-11/models'
    assert variables['GAZEBO_RESOURCE_PATH'] == f'{folder}/usr/share/gazebo-11'
    assert variables['OGRE_RESOURCE_PATH'] == f'{libraries}/OGRE-1.9.0'
    assert variables['GAZEBO_MASTER_URI'] == 'http://127.0.0.1:12345'
    assert variables['GAZEBO_IP'] == variables['IGN_IP'] == '127.0.0.1'
    assert variables['GAZEBO_MODEL_DATABASE_URI'] == variables['DISPLAY'] == ''
    assert variables['HOME'] == '/h'
    assert variables['IGN_PARTITION'] != gazebo.environment(port=12346)['IGN_PARTITION']


def test_a_systems_own_keeps_the_users_paths(monkeypatch):
    monkeypatch.setenv('GAZEBO_MODEL_PATH', '/mine::/other')
    monkeypatch.setenv('GAZEBO_PLUGIN_PATH', '')
    monkeypatch.setenv('LD_LIBRARY_PATH', '/opt/ros/lib:/venv/lib/wheel')
    monkeypatch.setattr(locate.sys, 'prefix', '/venv')
    gazebo = Gazebo(pathlib.Path('/nowhere/bin/gzserver'), None, '11.10.2', 'PATH')
    variables = gazebo.environment(models=[pathlib.Path('/m')])
    assert variables['GAZEBO_MODEL_PATH'] == '/m:/mine:/other'
    assert variables['GAZEBO_PLUGIN_PATH'] == ''
    assert variables['LD_LIBRARY_PATH'] == '/opt/ros/lib'
    assert 'HOME' not in variables and 'GAZEBO_MASTER_URI' not in variables


@pytest.mark.parametrize('server, root', [
    ('/usr/bin/gzserver', '/'), ('/bin/gzserver', '/'), ('/opt/x/bin/gzserver', '/opt/x'),
    ('/usr/local/bin/gzserver', '/usr/local'), ('/opt/x/usr/bin/gzserver', '/opt/x/usr'),
])
def test_where_a_gazebo_on_path_has_its_files(server, root):
    assert str(Gazebo(pathlib.Path(server), None, '11.1.0', 'PATH').root) == root


def test_a_gazebo_on_path_need_not_be_the_systems(tmp_path):
    make(tmp_path)
    gazebo = find_gazebo({'PATH': str(tmp_path / 'usr/bin')})
    variables = gazebo.environment()
    assert variables['GAZEBO_RESOURCE_PATH'] == f'{tmp_path}/usr/share/gazebo-11'
    assert variables['GAZEBO_PLUGIN_PATH'].endswith('riscv64-linux-gnu/gazebo-11/plugins')


@pytest.mark.parametrize('text', ['', 'not json', '[]', '{}', '{"packages": 3}'])
def test_a_broken_marker_is_none(tmp_path, text):
    (tmp_path / 'tl_adapt.json').write_text(text)
    assert locate.installed(tmp_path) == {}
