# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for tl_adapt.ros.interface_build.compiler."""

import sys
import sysconfig

import pytest

from tl_adapt.errors import TlAdaptError
from tl_adapt.ros.interface_build import compiler


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """Let only the named programs be on the PATH."""

    def make(*names):
        folder = tmp_path / 'bin'
        folder.mkdir()
        for name in names:
            (folder / name).write_text('')
            (folder / name).chmod(0o755)
        monkeypatch.setenv('PATH', str(folder))
        monkeypatch.delenv('CC', raising=False)
        monkeypatch.delenv('CXX', raising=False)
        monkeypatch.setattr(sysconfig, 'get_path', lambda name: str(tmp_path))
        (tmp_path / 'Python.h').touch()

    return make


def test_a_whole_toolchain_is_accepted(tools):
    tools('gcc', 'g++')
    compiler.check_toolchain()


@pytest.mark.parametrize('there', [(), ('gcc',)])
def test_a_missing_compiler_is_named_with_the_command_that_brings_it(tools, there):
    tools(*there)
    with pytest.raises(compiler.ToolchainError, match=r'apt install g\+\+') as caught:
        compiler.check_toolchain()
    assert caught.value.exit_code == 2


def test_missing_headers_of_python_are_named(tools, tmp_path):
    tools('gcc', 'g++')
    (tmp_path / 'Python.h').unlink()
    with pytest.raises(compiler.ToolchainError, match=r'apt install python3\.\d+-dev'):
        compiler.check_toolchain()


def test_the_environment_may_name_compilers(tools, monkeypatch):
    tools('ccache', 'gcc')
    monkeypatch.setenv('CXX', 'ccache clang++')
    compiler.check_toolchain()
    monkeypatch.setenv('CC', 'icc')
    with pytest.raises(compiler.ToolchainError, match='icc is needed'):
        compiler.check_toolchain()


def test_a_command_that_fails_says_what_it_said():
    code = 'import sys; print("line 3: no"); sys.exit(4)'
    with pytest.raises(TlAdaptError, match=r'failed \(4\):\nline 3: no'):
        compiler.run_command([sys.executable, '-c', code])


def test_a_command_that_does_not_end_is_ended(monkeypatch):
    monkeypatch.setattr(compiler, '_DEADLINE', 0.2)
    with pytest.raises(TlAdaptError, match='did not end within 0.2 s'):
        compiler.run_command([sys.executable, '-c', 'import time; time.sleep(60)'])
