# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for tl_adapt.ros.interface_build.package."""

import pytest

from tl_adapt.errors import InputError
from tl_adapt.ros.interface_build.package import load_package, load_packages


def test_a_package_is_what_its_folder_says(write_package):
    package = load_package(write_package())
    assert (package.name, package.version) == ('tl_adapt_probe_msgs', '1.2.3')
    assert [path.as_posix() for path in package.files] == ['msg/Probe.msg', 'srv/Ask.srv']
    assert package.depends == ('std_msgs', 'service_msgs')


def test_the_digest_follows_the_definitions(write_package):
    first = load_package(write_package()).digest()
    assert load_package(write_package()).digest() == first
    assert load_package(write_package(text='int32[] number\n')).digest() != first


def test_an_action_needs_two_packages_more(write_package):
    folder = write_package()
    (folder / 'action').mkdir()
    (folder / 'action/Go.action').write_text('---\n---\n')
    assert load_package(folder).depends == ('std_msgs', 'service_msgs', 'action_msgs')


@pytest.mark.parametrize('manifest', ['', '<package>'])
def test_a_broken_manifest_is_named(write_package, manifest):
    folder = write_package()
    (folder / 'package.xml').write_text(manifest)
    with pytest.raises(InputError, match=r'package\.xml: must be the manifest of a package'):
        load_packages(folder.parent)


def test_a_package_without_definitions_is_named(write_package):
    folder = write_package()
    (folder / 'msg/Probe.msg').unlink()
    (folder / 'srv/Ask.srv').unlink()
    with pytest.raises(InputError, match='tl_adapt_probe_msgs: must hold definitions'):
        load_package(folder)


def test_a_folder_without_packages_is_named(tmp_path):
    with pytest.raises(InputError, match='must hold interface packages'):
        load_packages(tmp_path)
