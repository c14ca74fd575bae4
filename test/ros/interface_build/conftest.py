# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Fixtures for the tests of the builder of interface packages."""

import pytest

MANIFEST = '''<?xml version="1.0"?>
<package format="3">
  <name>{name}</name>
  <version>1.2.3</version>
  <depend>std_msgs</depend>
</package>
'''


@pytest.fixture
def write_package(tmp_path):
    """Write a small interface package and return its folder."""

    def write(name='tl_adapt_probe_msgs', text='std_msgs/Header header\nint32[] numbers\n'):
        folder = tmp_path / 'interfaces' / name
        for part in ('msg', 'srv'):
            (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / 'package.xml').write_text(MANIFEST.format(name=name))
        (folder / 'msg/Probe.msg').write_text(text)
        (folder / 'srv/Ask.srv').write_text(f'string question\n---\n{name}/Probe answer\n')
        return folder

    return write


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Give the test a cache of its own."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'cache/tl_adapt/interfaces'
