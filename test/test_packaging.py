# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of what installs and runs the package."""

import os
import pathlib
import runpy
import shutil
import subprocess

import pytest
import setuptools

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture
def given(monkeypatch):
    """Return what setup.py gives to setuptools."""
    arguments = {}
    monkeypatch.setattr(setuptools, 'setup', arguments.update)
    monkeypatch.chdir(ROOT)
    runpy.run_path('setup.py')
    return arguments


def test_setup_names_only_what_exists(given):
    for package, patterns in given['package_data'].items():
        for pattern in patterns:
            assert list((ROOT / package).glob(pattern)), pattern
    for _, files in given['data_files']:
        assert all((ROOT / file).is_file() for file in files)


def test_setup_leaves_no_data_of_the_package_out(given):
    package = ROOT / 'tl_adapt'
    data = {
        path for path in package.rglob('*')
        if path.is_file() and path.suffix != '.py' and '__pycache__' not in path.parts
    }
    assert data == {path for p in given['package_data']['tl_adapt'] for path in package.glob(p)}


@pytest.mark.skipif(shutil.which('make') is None, reason='make is not installed')
def test_a_sourced_ros_does_not_leak_into_make():
    names = (
        'PYTHONPATH', 'AMENT_PREFIX_PATH', 'ROS_DISTRO', 'RMW_IMPLEMENTATION',
        'ROS_DISCOVERY_SERVER', 'ROS_STATIC_PEERS', 'FASTRTPS_DEFAULT_PROFILES_FILE',
        'FASTDDS_DEFAULT_PROFILES_FILE',
    )
    shown = subprocess.run(
        ['make', '--silent', '--eval', 'show: ; @$(CLEAN) env', 'show'], cwd=ROOT, text=True,
        env={**os.environ, **dict.fromkeys(names, '/sourced')}, check=True, capture_output=True,
    ).stdout
    assert 'ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST' in shown
    assert '/sourced' not in shown
