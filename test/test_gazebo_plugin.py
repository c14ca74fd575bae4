# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of compiling plugins, and of a real server that loads one."""

import concurrent.futures
import os
import pathlib
import shutil

import pytest

from tl_adapt.child_process import run_child
from tl_adapt.errors import TlAdaptError
from tl_adapt.simulators.gazebo import plugin
from tl_adapt.simulators.gazebo.locate import Gazebo, ask_version
from tl_adapt.simulators.gazebo.plugin import build_plugin, plugin_path
from tl_adapt.simulators.gazebo.server import free_port

GREETER = pathlib.Path(__file__).parent / 'data/greeter.cc'
needs_compiler = pytest.mark.skipif(shutil.which('g++') is None, reason='g++ is not installed')


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Return a Gazebo that has only a header, and keep what is compiled out of the cache."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    header = tmp_path / 'prefix/usr/include/gazebo-11/gazebo/physics/physics.hh'
    header.parent.mkdir(parents=True)
    header.write_text('inline int answer() { return 42; }\n')
    prefix = tmp_path / 'prefix'
    return Gazebo(prefix / 'usr/bin/gzserver', prefix, '11.1.0', 'cache')


@pytest.fixture
def source(tmp_path):
    path = tmp_path / 'some.cc'
    path.write_text('#include <gazebo/physics/physics.hh>\nint f() { return answer(); }\n')
    return path


def left(library):
    return sorted(path.name for path in library.parent.iterdir() if path.suffix != '.lock')


@needs_compiler
def test_a_plugin_is_compiled_once(fake, source):
    library = build_plugin(fake, source)
    assert library.is_file() and left(library) == [library.name]
    stamp = library.stat().st_mtime_ns
    assert build_plugin(fake, source) == library
    assert library.stat().st_mtime_ns == stamp


@needs_compiler
@pytest.mark.parametrize('what', ['source', 'version', 'prefix', 'compiler', 'flags'])
def test_whatever_it_depends_on_makes_another(fake, source, what, monkeypatch, tmp_path):
    first = plugin_path(fake, source)
    if what == 'source':
        source.write_text(source.read_text() + '// changed\n')
    elif what == 'version':
        fake = Gazebo(fake.gzserver, fake.prefix, '11.2.0', 'cache')
    elif what == 'prefix':
        shutil.copytree(fake.prefix, tmp_path / 'other')
        fake = Gazebo(fake.gzserver, tmp_path / 'other', '11.1.0', 'cache')
    elif what == 'compiler':
        monkeypatch.setattr(plugin, 'compiler_version', lambda: 'g++ 99')
    else:
        monkeypatch.setattr(plugin, '_FLAGS', (*plugin._FLAGS, '-g'))
    assert plugin_path(fake, source) != first


@needs_compiler
def test_the_compilers_first_error_is_told(fake, source):
    source.write_text('int f() {\n  return nothing;\n}\nint g() { return nothing; }\n')
    with pytest.raises(TlAdaptError) as error:
        build_plugin(fake, source)
    assert 'can not be compiled: ' in str(error.value) and 'some.cc:2:' in str(error.value)
    assert '\n' not in str(error.value)
    assert left(plugin_path(fake, source)) == []


@needs_compiler
def test_two_at_once_compile_once(fake, source, monkeypatch):
    compiled, real = [], plugin._compile
    monkeypatch.setattr(
        plugin, '_compile', lambda *arguments: compiled.append(1) or real(*arguments)
    )
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first, second = pool.map(build_plugin, [fake] * 2, [source] * 2)
    assert first == second and len(compiled) == 1


@needs_compiler
def test_what_a_killed_compilation_left_does_no_harm(fake, source):
    library = plugin_path(fake, source)
    remains = library.with_suffix('.build')
    remains.mkdir(parents=True)
    (remains / library.name).write_text('half of a library')
    assert build_plugin(fake, source).read_bytes()[:4] == b'\x7fELF'
    assert left(library) == [library.name]


def test_a_missing_compiler_is_said_with_the_command(fake, source, monkeypatch):
    monkeypatch.setenv('PATH', '/nowhere')
    with pytest.raises(TlAdaptError, match=r'g\+\+ missing.*: apt install g\+\+$'):
        build_plugin(fake, source)


@needs_compiler
def test_missing_headers_are_said_with_the_command(fake, source):
    shutil.rmtree(fake.prefix / 'usr/include')
    with pytest.raises(TlAdaptError, match='headers of Gazebo 11.1.0 .*: apt install libgazebo-'):
        build_plugin(fake, source)


def test_a_missing_source_is_one_clear_error(fake, tmp_path):
    with pytest.raises(TlAdaptError, match='none.cc can not be read: No such file'):
        build_plugin(fake, tmp_path / 'none.cc')


@pytest.mark.gazebo
def test_a_real_server_runs_and_says_its_version(gazebo):
    assert ask_version(gazebo) == gazebo.version


@pytest.mark.gazebo
def test_a_real_server_lacks_no_library(gazebo):
    ended = run_child(
        ['ldd', gazebo.gzserver], deadline=60.0, environment=gazebo.environment()
    )
    assert ended.returncode == 0 and 'not found' not in ended.stdout


@pytest.mark.gazebo
@needs_compiler
def test_a_real_server_loads_a_world_with_a_compiled_plugin(gazebo, tmp_path):
    library, port = build_plugin(gazebo, GREETER), free_port()
    world = tmp_path / 'plane.world'
    world.write_text(
        '<?xml version="1.0"?><sdf version="1.6"><world name="plane">'
        '<include><uri>model://ground_plane</uri></include>'
        f'<plugin name="greeter" filename="{library}"/></world></sdf>'
    )
    ended = run_child(
        [gazebo.gzserver, world], deadline=60.0,
        environment=gazebo.environment(port=port, home=tmp_path),
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1:] == ['model ground_plane'], ended.stderr
    assert os.listdir(tmp_path / '.gazebo') == [f'server-{port}']
