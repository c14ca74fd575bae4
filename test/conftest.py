# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Fixtures for all tests."""

import importlib.util

import pytest


def pytest_collection_modifyitems(items):
    """Skip the ROS tests where rclpy is missing, and say so."""
    if importlib.util.find_spec('rclpy') is not None:
        return
    for item in items:
        if 'ros' in item.keywords:
            item.add_marker(pytest.mark.skip(reason='rclpy is not installed'))


@pytest.fixture
def ros_domain(monkeypatch):
    """Hold a domain id of its own, in this process and in its children, for one test."""
    from tl_adapt.ros.isolation import hold_domain

    with hold_domain() as domain:
        for name, value in domain.environment().items():
            monkeypatch.setenv(name, value)
        yield domain.id
