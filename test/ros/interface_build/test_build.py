# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for tl_adapt.ros.interface_build.build and its command line."""

import fcntl
import os
import shutil
import subprocess
import sys
import threading
import zipfile

import pytest

from tl_adapt.errors import TlAdaptError
from tl_adapt.ros.interface_build import __main__, build
from tl_adapt.ros.interface_build.compiler import ToolchainError
from tl_adapt.ros.interface_build.package import load_package, load_packages
from tl_adapt.ros.isolation import child_environment


@pytest.fixture
def wheels_of_ros(tmp_path, monkeypatch):
    """Pretend that ROS 2 comes from wheels."""
    monkeypatch.setattr(build, 'PREFIX', tmp_path)
    (tmp_path / 'share/rosidl_generator_py').mkdir(parents=True)


@pytest.fixture
def steps(cache, monkeypatch, wheels_of_ros):
    """Stand in for generators, compiler and pip; return what was asked of them."""
    asked = []

    def run(command):
        asked.append(command[2])

    def compile_package(package, generated, compiled, run):
        asked.append(f'compile {package.name}')
        (generated / 'rosidl_generator_py' / package.name).mkdir(parents=True)
        compiled.mkdir(parents=True)

    monkeypatch.setattr(build, 'run_command', run)
    monkeypatch.setattr(build, 'compile_package', compile_package)
    monkeypatch.setattr(build, 'check_toolchain', lambda: None)
    return asked


def install(folder, say=lambda line: None):
    return build.install_missing(load_packages(folder), say)


def wheels(folder):
    return sorted(path.name for path in folder.glob('*.whl'))


def test_what_was_built_once_is_only_installed_again(write_package, cache, steps):
    folder = write_package().parent
    lines = []
    assert install(folder, lines.append) == ['tl_adapt_probe_msgs']
    assert steps == ['tl_adapt.ros.interface_build.sources', 'compile tl_adapt_probe_msgs', 'pip']
    assert lines[0].startswith('Building tl_adapt_probe_msgs (once; about')
    assert len(wheels(cache)) == 1
    del steps[:], lines[:]
    assert install(folder, lines.append) == ['tl_adapt_probe_msgs']
    assert (steps, lines) == (['pip'], [])


def test_other_definitions_are_another_build(write_package, cache, steps):
    folder = write_package().parent
    install(folder)
    write_package(text='int8 x\n')
    install(folder)
    assert len(wheels(cache)) == 2


def test_nothing_is_done_for_the_build_that_is_installed(write_package, steps, monkeypatch):
    folder = write_package().parent
    package = load_package(folder / 'tl_adapt_probe_msgs')
    version = build.wheel_version(package, build.build_key(package))
    monkeypatch.setattr(build, 'installed_version', lambda name: version)
    assert install(folder) == []
    assert steps == []


def test_a_package_of_the_installation_is_left_alone(write_package, steps, monkeypatch, tmp_path):
    own = tmp_path / 'site' / 'tl_adapt_probe_msgs'
    own.mkdir(parents=True)
    (own / '__init__.py').touch()
    monkeypatch.syspath_prepend(str(own.parent))
    assert install(write_package().parent) == []
    assert steps == []


def test_a_package_of_a_sourced_ros_is_left_alone(write_package, steps, monkeypatch, tmp_path):
    ros = tmp_path / 'ros'
    listed = ros / 'share/ament_index/resource_index/packages/tl_adapt_probe_msgs'
    listed.parent.mkdir(parents=True)
    listed.touch()
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'{tmp_path / "other"}:{ros}')
    assert install(write_package().parent) == []
    assert steps == []


def test_a_failure_keeps_what_is_whole_and_installs_nothing(
    write_package, cache, steps, monkeypatch
):
    write_package('tl_adapt_good_msgs')
    folder = write_package('tl_adapt_poor_msgs').parent
    whole = build.compile_package

    def compile_package(package, *rest):
        if package.name == 'tl_adapt_poor_msgs':
            raise TlAdaptError('g++ failed (1)')
        whole(package, *rest)

    monkeypatch.setattr(build, 'compile_package', compile_package)
    monkeypatch.setattr(os, 'cpu_count', lambda: 1)
    with pytest.raises(TlAdaptError, match=r'tl_adapt_poor_msgs can not be built: g\+\+ failed'):
        install(folder)
    assert 'pip' not in steps
    assert [name.split('-')[0] for name in wheels(cache)] == [
        'tl_adapt_interfaces_tl_adapt_good_msgs'
    ]
    del steps[:]
    monkeypatch.setattr(build, 'compile_package', whole)
    install(folder)
    assert [step for step in steps if step.startswith('compile')] == ['compile tl_adapt_poor_msgs']


def test_what_a_killed_build_left_is_removed(write_package, cache, steps):
    (cache / 'work-left/half').mkdir(parents=True)
    install(write_package().parent)
    assert sorted(path.name for path in cache.iterdir()) == ['lock', *wheels(cache)]


def test_a_second_build_waits_for_the_first(write_package, cache, steps):
    folder = write_package().parent
    cache.mkdir(parents=True)
    waiting = threading.Event()
    with (cache / 'lock').open('a') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        thread = threading.Thread(target=install, args=(folder, lambda line: waiting.set()))
        thread.start()
        assert waiting.wait(10.0)
        assert steps == []
    thread.join(10.0)
    assert not thread.is_alive()
    assert steps[-1] == 'pip'


def test_a_lock_that_stays_is_named(write_package, cache, steps, monkeypatch):
    monkeypatch.setattr(build, '_LOCK_DEADLINE', 0.0)
    cache.mkdir(parents=True)
    with (cache / 'lock').open('a') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(TlAdaptError, match='still builds interface packages after 0 s'):
            install(write_package().parent)


def test_a_sourced_ros_is_told_what_to_do(write_package, cache, monkeypatch, tmp_path):
    monkeypatch.setattr(build, 'PREFIX', tmp_path)
    with pytest.raises(TlAdaptError, match='colcon build --base-paths .*interfaces/NAME'):
        install(write_package().parent)


def test_the_command_line_asks_for_a_compiler(write_package, steps, monkeypatch, capsys):
    def check():
        raise ToolchainError('g++ is needed but not installed: apt install g++')

    monkeypatch.setattr(build, 'check_toolchain', check)
    folder = str(write_package().parent)
    assert __main__.main([folder]) == 2
    assert capsys.readouterr().err == (
        'tl_adapt: error: g++ is needed but not installed: apt install g++\n'
    )
    assert __main__.main([folder, '--optional']) == 0
    said = capsys.readouterr().err
    assert said.startswith('tl_adapt: warning: g++ is needed but not installed')
    assert '`make interfaces`' in said
    assert steps == []


def test_the_command_line_says_what_it_did(write_package, steps, monkeypatch, capsys):
    folder = str(write_package().parent)
    assert __main__.main([folder]) == 0
    assert capsys.readouterr().err.endswith('Installed: tl_adapt_probe_msgs\n')
    monkeypatch.setattr(build, 'missing', lambda packages: {})
    assert __main__.main([folder]) == 0
    assert capsys.readouterr().err == 'Already there: tl_adapt_probe_msgs\n'
    assert __main__.main([folder, '--optional']) == 0
    assert capsys.readouterr().err == ''


PROBE = '''
import sys
from rclpy.serialization import deserialize_message, serialize_message
from tl_adapt_probe_msgs.msg import Probe
from tl_adapt_probe_msgs.srv import Ask
probe = Probe(numbers=[1, -2])
probe.header.frame_id = 'map'
response = Ask.Response(answer=probe)
assert deserialize_message(serialize_message(response), Ask.Response) == response
print(Probe.get_fields_and_field_types())
'''


@pytest.mark.ros
@pytest.mark.skipif(shutil.which('g++') is None, reason='g++ is not installed')
@pytest.mark.skipif(
    not (build.PREFIX / 'share/rosidl_generator_py').is_dir(), reason='ROS is not from wheels'
)
def test_a_real_build_makes_a_package_that_works(
    write_package, cache, monkeypatch, tmp_path
):
    folder = write_package().parent
    run = build.run_command
    monkeypatch.setattr(
        build, 'run_command', lambda command: None if 'pip' in command else run(command)
    )
    assert install(folder) == ['tl_adapt_probe_msgs']
    (name,) = wheels(cache)
    with zipfile.ZipFile(cache / name) as archive:
        archive.extractall(tmp_path / 'unpacked')
        record = next(item for item in archive.namelist() if item.endswith('/RECORD'))
        recorded = {line.split(',')[0] for line in archive.read(record).decode().splitlines()}
        assert recorded == set(archive.namelist())
    (data,) = (tmp_path / 'unpacked').glob('*.data/data')
    listed = data / 'share/ament_index/resource_index/rosidl_interfaces/tl_adapt_probe_msgs'
    assert listed.read_text().split() == [
        'msg/Probe.idl', 'msg/Probe.msg', 'srv/Ask.idl', 'srv/Ask.srv'
    ]
    variables = child_environment()
    variables['PYTHONPATH'] += f'{os.pathsep}{tmp_path / "unpacked"}'
    libraries = [str(data / 'lib'), os.environ.get('LD_LIBRARY_PATH', '')]
    variables['LD_LIBRARY_PATH'] = os.pathsep.join(libraries)
    shown = subprocess.run(
        [sys.executable, '-c', PROBE], env=variables, text=True, capture_output=True, timeout=60
    )
    assert shown.stdout.strip() == (
        "{'header': 'std_msgs/Header', 'numbers': 'sequence<int32>'}"
    ), shown.stderr
