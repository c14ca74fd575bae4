# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Fixtures for all tests."""

import gc
import importlib.util
import os
import signal

import pytest

from tl_adapt.errors import TlAdaptError
from tl_adapt.simulators.gazebo.locate import find_gazebo

# Tests that bring processes up themselves.
PROCESSES = tuple('test/' + name for name in (
    'ros/', 'test_gazebo_', 'test_demo_job', 'test_campaign_processes',
))
# Such in which nothing depends on how fast the machine is.
STEADY = tuple('test/ros/' + name for name in ('test_replay', 'interface_build/'))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """
    Run the tests of processes in one of xdist's workers: they take each other's time otherwise.

    Those of replays wait for their software as long as it takes, and may run beside them.

    (Its own groups are not seen by pytest 9.)
    """
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            if nodeid.startswith(STEADY):
                return 'steady processes'
            return 'processes' if nodeid.startswith(PROCESSES) else nodeid

    return Scheduling(config, log)


def pytest_collection_modifyitems(items):
    """Skip the tests of ROS and of Gazebo where that is missing, and say so."""
    missing = []
    if importlib.util.find_spec('rclpy') is None:
        missing.append(('ros', 'rclpy is not installed'))
    if os.environ.get('TL_ADAPT_REQUIRE_GAZEBO') != '1':
        try:
            if find_gazebo() is None:
                missing.append(('gazebo', 'there is no Gazebo 11; make gazebo brings it'))
        except TlAdaptError as error:
            missing.append(('gazebo', str(error)))
    for item in items:
        for marker, reason in missing:
            if marker in item.keywords:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """Let no test of Gazebo pass as skipped where Gazebo is required."""
    report = (yield).get_result()
    required = os.environ.get('TL_ADAPT_REQUIRE_GAZEBO') == '1' and 'gazebo' in item.keywords
    if required and report.skipped and not hasattr(report, 'wasxfail'):
        report.outcome = 'failed'
        report.longrepr = f'{item.nodeid} was skipped, but Gazebo is required: {report.longrepr}'


@pytest.fixture(scope='session', autouse=True)
def interruptible():
    """Let ctrl-C reach what tests start: a shell starts in the background what ignores it."""
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, usual)


@pytest.fixture(scope='session')
def postgresql():
    """Run a PostgreSQL server for all tests that want one; skip them where there is none."""
    from postgresql import running_server

    with running_server() as server:
        yield server


@pytest.fixture
def gazebo():
    """Return the Gazebo of this machine; where it is required and missing the test fails."""
    found = find_gazebo()
    if found is None:
        pytest.fail('there is no Gazebo 11; make gazebo brings it')
    return found


@pytest.fixture
def ros_domain(monkeypatch):
    """Hold a domain id of its own, in this process and in its children, for one test."""
    from tl_adapt.ros.isolation import hold_domain

    with hold_domain() as domain:
        for name, value in domain.environment().items():
            monkeypatch.setenv(name, value)
        yield domain.id
        # Lifecycle nodes are in cycles: until those are gone their context stays in the domain.
        gc.collect()
