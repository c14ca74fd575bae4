# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of the interface packages: over the wire, and as other installations see them."""

import importlib
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tl_adapt.ros import optional_interfaces
from tl_adapt.ros.isolation import child_environment, spawn

PACKAGES = ('gazebo_msgs', 'nav2_msgs', 'simulation_interfaces', 'tf2_msgs')
HERE = Path(__file__).parent


@pytest.fixture
def interfaces():
    """Return the packages by name; they may be missing only where nothing compiles them."""
    found = {name: getattr(optional_interfaces, name)() for name in PACKAGES}
    if None in found.values() and shutil.which('g++') is None:
        pytest.skip('interface packages are not installed, nor is a compiler')
    assert None not in found.values(), 'make interfaces'
    return found


@pytest.fixture
def server(ros_domain):
    """Run interface_server.py in a process of its own."""
    process = spawn([sys.executable, str(HERE / 'interface_server.py')], env=child_environment())
    yield process
    process.send_signal(signal.SIGKILL)
    process.wait(5.0)


def answer(future, wait_until):
    wait_until(future.done)
    return future.result()


@pytest.mark.ros
def test_messages_and_services_cross_processes(interfaces, server, graph, wait_until):
    from rclpy.qos import QoSDurabilityPolicy, QoSProfile

    node = graph('client')
    latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    models, transforms = [], []
    gazebo, simulation = interfaces['gazebo_msgs'], interfaces['simulation_interfaces']
    node.create_subscription(gazebo.msg.ModelStates, 'model_states', models.append, latched)
    node.create_subscription(
        interfaces['tf2_msgs'].msg.TFMessage, 'tf', transforms.append, latched
    )

    client = node.create_client(gazebo.srv.SpawnEntity, 'spawn_entity')
    assert client.wait_for_service(10.0)
    request = gazebo.srv.SpawnEntity.Request(name='box', xml='<sdf/>')
    request.initial_pose.position.x = 2.5
    response = answer(client.call_async(request), wait_until)
    assert (response.success, response.status_message) == (True, '<sdf/> at 2.5')

    client = node.create_client(simulation.srv.SpawnEntity, 'simulation/spawn_entity')
    assert client.wait_for_service(10.0)
    request = simulation.srv.SpawnEntity.Request(name='box', allow_renaming=True)
    if hasattr(request, 'resource_string'):  # not from version 2 on
        request.resource_string = '<sdf/>'
        response = answer(client.call_async(request), wait_until)
        assert response.entity_name == 'box <sdf/> True'
        assert (response.result.result, response.result.error_message) == (101, 'taken')

    wait_until(lambda: models and transforms)
    assert list(models[0].name) == ['room', 'robot']
    assert models[0].pose[1].position.x == 0.5
    assert transforms[0].transforms[0].child_frame_id == 'base_link'


@pytest.mark.ros
def test_an_action_crosses_processes(interfaces, server, graph, wait_until):
    from action_msgs.msg import GoalStatus
    from rclpy.action import ActionClient

    action = interfaces['nav2_msgs'].action.NavigateToPose
    client = ActionClient(graph('client'), action, 'navigate_to_pose')
    assert client.wait_for_server(10.0)
    feedback = []
    goal = action.Goal(behavior_tree='tree.xml')
    handle = answer(client.send_goal_async(goal, feedback_callback=feedback.append), wait_until)
    assert handle.accepted
    result = answer(handle.get_result_async(), wait_until)
    assert result.status == GoalStatus.STATUS_ABORTED
    assert (result.result.error_code, result.result.error_msg) == (9002, 'no map')
    wait_until(lambda: feedback)
    assert feedback[0].feedback.distance_remaining == 1.5
    client.destroy()


@pytest.mark.ros
@pytest.mark.parametrize('name', PACKAGES)
def test_the_ament_index_lists_the_package(interfaces, name):
    file = Path(interfaces[name].__file__)
    prefix = next(parent for parent in file.parents if (parent / 'share/ament_index').is_dir())
    listed = prefix / 'share/ament_index/resource_index/rosidl_interfaces' / name
    for line in listed.read_text().split():
        assert (prefix / 'share' / name / line).is_file()


def test_a_missing_package_is_none(monkeypatch):
    def fail(name):
        raise ImportError(name)

    optional_interfaces._package.cache_clear()
    monkeypatch.setattr(importlib, 'import_module', fail)
    assert [getattr(optional_interfaces, name)() for name in PACKAGES] == [None] * 4
    optional_interfaces._package.cache_clear()


def test_colcon_does_not_see_the_packages_beside_real_ones():
    assert (HERE.parents[1] / 'interfaces/COLCON_IGNORE').is_file()


def test_importing_the_helper_needs_no_ros():
    code = (
        'import sys; import tl_adapt.ros.optional_interfaces; '
        'sys.exit("rclpy" in sys.modules or "gazebo_msgs" in sys.modules)'
    )
    assert subprocess.run([sys.executable, '-c', code], env=child_environment()).returncode == 0
