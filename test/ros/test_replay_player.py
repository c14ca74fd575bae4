# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""What a replay sends into a graph, and how software is started for it."""

import pytest

pytest.importorskip('rclpy')

from geometry_msgs.msg import TransformStamped  # noqa: E402
from nav_msgs.msg import Odometry  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy  # noqa: E402
from rclpy.serialization import deserialize_message, serialize_message  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402

from tl_adapt.ros import optional_interfaces  # noqa: E402
from tl_adapt.ros.processes import is_launch  # noqa: E402
from tl_adapt.ros.replay_clock import ReplayClock  # noqa: E402
from tl_adapt.ros.replay_player import DeafError, Input, Player  # noqa: E402
from tl_adapt.ros.replay_stack import (  # noqa: E402
    ReplayStack,
    _numbered,
    _with_arguments,
)

pytestmark = pytest.mark.ros

ODOMETRY = Input('/odom', 'nav_msgs/msg/Odometry')
BEST_EFFORT = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)


def odometry(second):
    message = Odometry(child_frame_id=f'base {second}')
    message.header.stamp.sec = second
    return bytes(serialize_message(message))


def make_player(node, inputs, **options):
    player = Player(node, inputs, ReplayClock(), **{'ticks': False, **options})
    player.restart()
    return player


def test_every_message_arrives_as_it_was_recorded(graph, wait_until):
    listener = graph('listener')
    reliable, best_effort = [], []
    listener.create_subscription(Odometry, '/odom', reliable.append, 100, raw=True)
    listener.create_subscription(Odometry, '/odom', best_effort.append, BEST_EFFORT, raw=True)
    player = make_player(graph('player'), [ODOMETRY])
    player.wait_until_heard(10.0, lambda: None)
    sent = [odometry(second) for second in range(50)]
    for second, raw in enumerate(sent):
        player.send('/odom', second * 10**9 + 5, raw)
    player.settle()
    wait_until(lambda: len(reliable) == 50)
    assert [bytes(raw) for raw in reliable] == sent
    assert {bytes(raw) for raw in best_effort} <= set(sent) and best_effort
    assert player.sent == {'/odom': 50}
    assert player.stamps['/odom'][7 * 10**9] == 7 * 10**9 + 5


def test_nothing_is_sent_to_nobody(graph):
    player = make_player(graph('player'), [ODOMETRY])
    with pytest.raises(DeafError, match=r'listens on input topic /odom within 0.05 s') as caught:
        player.wait_until_heard(0.05, lambda: None)
    assert caught.value.mismatch


def test_time_leaves_no_gap(graph, wait_until):
    times = []
    listener = graph('listener')
    listener.create_subscription(
        Clock, '/clock', lambda m: times.append(m.clock.sec * 10**9 + m.clock.nanosec), 100
    )
    player = make_player(graph('player'), [], ticks=True)
    wait_until(lambda: player._ticker.get_subscription_count() == 1)
    player.wait_until_heard(1.0, lambda: None)
    for at in (10**9, 10**9 + 50_000_000, 10**9 + 50_000_000, 10**9):
        player.tick(at)
    wait_until(lambda: len(times) == 4)
    assert [time - 10**9 for time in times] == [0, 20_000_000, 40_000_000, 50_000_000]
    player.restart()
    player.tick(5)
    wait_until(lambda: times[-1] == 5)


def test_what_the_software_says_itself_is_left_out_of_the_transforms(graph, wait_until):
    tf2_msgs = optional_interfaces.tf2_msgs()
    if tf2_msgs is None:
        pytest.skip('tf2_msgs is not installed')
    latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    player = make_player(
        graph('player'), [Input('/tf_static', 'tf2_msgs/msg/TFMessage', True)],
        drop_transforms=['odom'],
    )
    message = tf2_msgs.msg.TFMessage(transforms=[
        TransformStamped(child_frame_id=name) for name in ('base_link', '/odom', 'odom', 'laser')
    ])
    player.send('/tf_static', 1, bytes(serialize_message(message)))
    found = []
    # Latched: it comes though nobody listened when it was sent.
    graph('listener').create_subscription(
        tf2_msgs.msg.TFMessage, '/tf_static', found.append, latched, raw=True
    )
    wait_until(lambda: found)
    got = deserialize_message(bytes(found[0]), tf2_msgs.msg.TFMessage)
    assert [each.child_frame_id for each in got.transforms] == ['base_link', 'laser']


def test_outputs_are_renamed_where_the_command_takes_names():
    words = ['-p', 'use_sim_time:=true', '-r', '/pose:=/replayed/pose']
    program = _with_arguments({'command': ['localizer'], 'environment': {'A': '1'}}, words,
                              {'A': '0', 'B': '2'})
    assert program['command'] == ['localizer', '--ros-args', *words]
    assert program['environment'] == {'A': '1', 'B': '2'}
    launch = {'command': ['/opt/bin/ros2', 'launch', 'my_robot', 'localization.launch.py']}
    assert is_launch(launch['command']) and not is_launch(program['command'])
    assert _with_arguments(launch, words, {})['command'][-1] == 'use_sim_time:=true'
    assert _with_arguments(launch, [], {})['command'] == launch['command']


def test_each_mission_has_a_trace_of_its_own():
    assert _numbered('/a/b/drive-1.npz', 3) == '/a/b/drive-1-3.npz'


@pytest.mark.parametrize('launched', [False, True])
def test_all_processes_call_an_output_the_same(tmp_path, launched):
    pytest.importorskip('rosbags')
    from small_bag import small_replay

    def change(content):
        content['environments']['drive']['bringup'].append({
            'name': 'more', 'nodes': ['more'],
            'command': ['ros2', 'launch', 'a', 'b.launch.py'] if launched else ['more'],
        })

    stack = ReplayStack(small_replay(tmp_path, change), 'drive', tmp_path)
    full = '/pose' if launched else '/replayed/pose'
    assert stack.outputs == {'pose': full}
    for process in stack.bringup.processes:
        assert ('/pose:=/replayed/pose' in process._command) != launched
    assert 'use_sim_time:=true' in stack.bringup.processes[1]._command
