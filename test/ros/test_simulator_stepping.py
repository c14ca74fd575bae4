# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""The simulator's node, driven by its services: steps, the end, names, and who listens."""

from dataclasses import replace

import pytest

pytestmark = pytest.mark.ros
pytest.importorskip('rclpy')
pytest.importorskip('mujoco')
srv = pytest.importorskip('simulation_interfaces.srv')
gazebo_srv = pytest.importorskip('gazebo_msgs.srv')

from gazebo_msgs.msg import ModelStates  # noqa: E402
from simulation_interfaces.msg import Result, SimulationState  # noqa: E402
from test_simulator_node import DEADLINE, LOCK_STEP, Graph, stamp  # noqa: E402

from tl_adapt.simulators.base import Command  # noqa: E402
from tl_adapt.simulators.mujoco_sim import MujocoSimulator  # noqa: E402
from tl_adapt.simulators.sdf import write_box  # noqa: E402
from tl_adapt.simulators.stepping import joined  # noqa: E402


@pytest.fixture
def graph(ros_domain):
    graph = Graph()
    yield graph
    graph.close()


def step(graph, steps):
    answer = graph.call(
        srv.StepSimulation, 'gzserver/step_simulation', srv.StepSimulation.Request(steps=steps)
    )
    return answer.result.result


def time_ns(graph):
    request = srv.GetEntityState.Request(entity='robot')
    state = graph.call(srv.GetEntityState, 'gzserver/get_entity_state', request).state
    return state.header.stamp.sec * 1_000_000_000 + state.header.stamp.nanosec


def test_steps_are_the_same_as_running(graph):
    graph.simulator(*LOCK_STEP)
    graph.start('answer', 'compute_time:=0.03')
    ran = graph.trace(20)
    graph.trigger('reset_simulation')
    graph.barrier()
    graph.clear()
    assert step(graph, 20 * 50) == Result.RESULT_OK
    assert time_ns(graph) == 2_000_000_000
    graph.until(lambda: len(graph.heard['battery_state']) >= 20, '20 periods')
    graph.barrier()
    scans = [(stamp(m), m.ranges.tobytes()) for m in graph.heard['scan']]
    assert scans == ran[0]
    truth = [m.pose.pose.position.x for m in graph.heard['ground_truth']]
    assert truth == [x for _, x, _, _ in ran[1][20:]]
    # Parts of a period: nothing is heard of it before it is complete.
    graph.clear()
    for steps in (1, 6, 42):
        assert step(graph, steps) == Result.RESULT_OK
    assert time_ns(graph) == 2_098_000_000
    graph.barrier()
    assert graph.heard['scan'] == []
    assert step(graph, 2) == Result.RESULT_OK
    graph.until(lambda: graph.heard['scan'], 'scan')
    assert stamp(graph.heard['scan'][0]) == pytest.approx(2.1)
    assert time_ns(graph) == 2_102_000_000
    # Going on completes the period that was begun.
    graph.trigger('unpause_physics')
    graph.until(lambda: len(graph.heard['scan']) > 1, 'scan')
    graph.trigger('pause_physics')
    assert stamp(graph.heard['scan'][1]) == pytest.approx(2.2)


def test_steps_need_nobody_who_answers(graph):
    graph.simulator('answer_timeout:=500.0', 'compute_time_sources:=[nobody]')
    assert step(graph, 120) == Result.RESULT_OK
    assert time_ns(graph) == 240_000_000
    graph.until(lambda: len(graph.heard['scan']) == 2, '2 scans')
    assert step(graph, 0) == Result.RESULT_OK
    assert time_ns(graph) == 240_000_000


def test_requests_are_served_while_an_answer_is_waited_for(graph):
    graph.simulator('answer_timeout:=500.0')
    graph.until(lambda: graph.command.get_subscription_count() > 0, 'subscriber')
    graph.trigger('unpause_physics')
    graph.until(lambda: graph.heard['scan'], 'scan')
    assert time_ns(graph) == 100_000_000
    request = gazebo_srv.SpawnEntity.Request(name='block', xml=write_box('b', (0.2, 0.2, 0.2)))
    request.initial_pose.position.x = 2.0
    request.initial_pose.position.y = -2.5
    assert graph.call(gazebo_srv.SpawnEntity, 'spawn_entity', request).success
    assert step(graph, 1) == Result.RESULT_OPERATION_FAILED


def test_model_states_are_heard_once_per_period(graph):
    graph.simulator('mode:=real_time', 'real_time_factor:=10.0')
    heard = []
    graph.node.create_subscription(ModelStates, 'model_states', heard.append, 10)
    graph.until(lambda: graph.node.count_publishers('model_states') > 0, 'publisher')
    graph.trigger('unpause_physics')
    graph.until(lambda: len(heard) > 3, 'model states')
    graph.trigger('pause_physics')
    assert heard[-1].name[-1] == 'robot'
    assert heard[-1].pose[-1].position.x == pytest.approx(-2.3, abs=0.01)


def test_it_ends_when_it_is_told_to(graph):
    process = graph.simulator('paused:=false', 'mode:=real_time')
    request = srv.SetSimulationState.Request()
    request.state.state = SimulationState.STATE_QUITTING
    name = 'gzserver/set_simulation_state'
    answer = graph.call(srv.SetSimulationState, name, request)
    assert answer.result.result == Result.RESULT_OK
    _, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0
    assert 'Traceback' not in errors


def test_prefixes(graph):
    graph.simulator('gazebo_prefix:=gazebo', 'simulation_interfaces_prefix:=""')
    assert graph.call(gazebo_srv.GetModelList, 'gazebo/get_model_list').success
    answer = graph.call(srv.GetSimulationState, 'get_simulation_state')
    assert answer.state.state == SimulationState.STATE_STOPPED
    graph.trigger('gazebo/unpause_physics')
    process = graph.simulator('gazebo_prefix:=gzserver')
    _, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == 2
    assert 'simulation_interfaces_prefix: must differ from gazebo_prefix' in errors


def test_parts_of_a_period_are_joined():
    simulator = MujocoSimulator(beams=4)
    whole = [(40_000_000, simulator.advance(40_000_000, [(0, Command(0.3, 0.0))]))]
    assert joined(whole) is whole[0][1]
    parts = [*whole, (60_000_000, simulator.advance(60_000_000))]
    (_, first), (_, second) = parts
    period = joined([(40_000_000, replace(first, collision=True)), parts[1]])
    assert period.collision
    assert period.time_ns == second.time_ns
    assert period.current == pytest.approx(0.4 * first.current + 0.6 * second.current)
    speed = 0.4 * first.odometry_twist[0] + 0.6 * second.odometry_twist[0]
    assert period.odometry_twist[0] == pytest.approx(speed)
    x = 0.4 * first.linear_acceleration[0] + 0.6 * second.linear_acceleration[0]
    assert period.linear_acceleration[0] == pytest.approx(x)
