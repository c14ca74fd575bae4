# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for the verb `record` over real processes, read with the readers of two libraries."""

import bisect
import re
import resource
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

pytest.importorskip('rclpy')
pytest.importorskip('rosbags', reason='bags need the library rosbags')
pytest.importorskip('mcap', reason='bags need the library mcap')

import rclpy  # noqa: E402
from mcap.exceptions import McapError  # noqa: E402
from mcap.reader import NonSeekingReader  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy  # noqa: E402
from rosbags.highlevel import AnyReader  # noqa: E402
from rosbags.interfaces import QosDurability, QosReliability  # noqa: E402
from std_msgs.msg import String  # noqa: E402

from tl_adapt.bags import recorded  # noqa: E402
from tl_adapt.bags.evaluation import BagEvaluator  # noqa: E402
from tl_adapt.bags.reading import Bag  # noqa: E402
from tl_adapt.cli import INTERRUPTED, main  # noqa: E402
from tl_adapt.environments.stack import StackEnvironment  # noqa: E402
from tl_adapt.metrics import evaluate  # noqa: E402
from tl_adapt.ros.isolation import child_environment  # noqa: E402
from tl_adapt.trace import Trace  # noqa: E402

pytestmark = pytest.mark.ros

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
SENSOR = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
#: Recorder: its options, and what ends it (None: it ends by itself).
RECORDERS = {
    'interrupted': (['--topics', 'map_name', 'late', '--compression', 'lz4'], signal.SIGINT),
    'terminated': (['--all', '--missions', '9'], signal.SIGTERM),
    'killed': (['--no-inputs', '--compression', 'none'], signal.SIGKILL),
    'sim_time': (['--use-sim-time', '--missions', '1'], None),
    'full': (['--compression', 'none'], None),
}
ROOM = 100_000  # bytes that the file of the recorder `full` may have
#: Topics that have to be connected before a mission, and by how many readers in a recorder: one
#: that records, and maybe one that follows clock and missions.
NEEDED = {
    '/clock': 2, '/pose': 1, '/ground_truth': 1, '/battery_state': 1, '/collision': 2,
    '/driver/result': 2, '/navigate_to_pose/_action/status': 2, '/parameter_events': 1,
}

#: Recorded topics of metrics whose messages have a header.
HEADED = ('pose', 'ground_truth', 'battery_state')


class Graph:
    """Hold a node in the stack's graph."""

    def __init__(self, domain):
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node('bystander', context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.thread = threading.Thread(target=self.executor.spin, daemon=True)
        self.thread.start()

    def readers(self, topic):
        """Return how many subscriptions recorders have to a topic."""
        return sum(
            info.node_name.startswith('tl_adapt_recorder')
            for info in self.node.get_subscriptions_info_by_topic(topic)
        )

    def close(self):
        self.executor.shutdown(timeout_sec=2.0)
        self.thread.join(5.0)
        rclpy.shutdown(context=self.context)


def until(read, wanted=True, deadline=120.0):
    end = time.monotonic() + deadline
    while (found := read()) != wanted:
        assert time.monotonic() < end, found
        time.sleep(0.01)


def output(folder, name):
    return (folder / f'{name}.log').read_text()


def started(study, folder, variables):
    """Start the recorders in the stack's graph."""
    return {
        name: subprocess.Popen(
            [sys.executable, '-m', 'tl_adapt', 'record', str(study.path), '--environment',
             'simulation', '--output', str(folder / name), *options],
            env=child_environment(variables), stderr=subprocess.STDOUT,
            stdout=(folder / f'{name}.log').open('w'),
        )
        for name, (options, _) in RECORDERS.items()
    }


@pytest.fixture(scope='module')
def session(small_study, tmp_path_factory):
    """Drive two missions while four recorders record; return all that came of it."""
    folder = tmp_path_factory.mktemp('recorded')
    study = small_study(more_metrics)
    environment = StackEnvironment(study, 'simulation')
    graph, recorders, found = None, {}, {'folder': folder, 'study': study}
    try:
        variables = environment.environment()
        graph = Graph(int(variables['ROS_DOMAIN_ID']))
        latched = graph.node.create_publisher(String, 'map_name', LATCHED)
        latched.publish(String(data='office'))
        recorders = started(study, folder, variables)
        wanted = {topic: number * len(recorders) for topic, number in NEEDED.items()}
        until(lambda: {topic: graph.readers(topic) for topic in wanted}, wanted)
        until(lambda: latched.get_subscription_count() == 2)
        until(lambda: all('ready: ' in output(folder, name) for name in recorders))
        resource.prlimit(recorders['full'].pid, resource.RLIMIT_FSIZE, (ROOM, ROOM))
        default = {parameter.name: parameter.default for parameter in study.space.parameters}
        for number, speed in enumerate((0.8, 0.6), 1):
            measured = environment.measure(
                {**default, 'speed': speed, 'bias': 2.0}, 5, trace=folder / f'{speed}.npz')
            assert measured.valid, measured.reason
            # On a busy machine a recorder may be behind; the next goal would cut its mission off.
            until(lambda n=number: all(
                f'mission {n}: ' in output(folder, name)
                for name in ('interrupted', 'terminated', 'killed')))
            recorders['sim_time'].wait(60.0)
        late = graph.node.create_publisher(String, 'late', SENSOR)
        until(lambda: late.get_subscription_count() == 2)
        for number in range(10):
            late.publish(String(data=str(number)))
        recorders['full'].wait(60.0)
        # What is killed has to have met the end of the missions, which takes a flush.
        killed = folder / 'killed' / 'killed_0.mcap'
        until(lambda: count(killed, '/driver/result') == 2)
        found['alive'] = {n for n, p in recorders.items() if p.poll() is None}
        for name, (_, number) in RECORDERS.items():
            if number is not None:
                recorders[name].send_signal(number)
        found['code'] = {n: p.wait(60.0) for n, p in recorders.items()}
        found['output'] = {name: output(folder, name) for name in recorders}
    finally:
        for process in recorders.values():
            process.kill()
            process.wait()
        if graph is not None:
            graph.close()
        environment.close()
    return found


def more_metrics(content):
    """Add metrics that a message too many or too few, or a time that is off, would change."""
    content['metrics'] |= {
        'poses': {'reduction': 'count', 'topic': 'pose', 'direction': 'minimize'},
        'rate': {
            'reduction': 'rate', 'topic': 'collision', 'time': 'recorder',
            'direction': 'minimize',
        },
        'power': {
            'reduction': 'mean', 'topic': 'battery_state', 'field': 'voltage * current',
            'direction': 'minimize',
        },
    }


def scanned(path):
    """Return (topic, bag time, raw) of a file that may have no end."""
    found = []
    with path.open('rb') as file:
        try:
            for _, channel, one in NonSeekingReader(file).iter_messages(log_time_order=False):
                found.append((channel.topic, one.log_time, one.data))
        except McapError:
            pass
    return found


def count(path, topic):
    return sum(name == topic for name, *_ in scanned(path)) if path.is_file() else 0


def messages(path):
    """Return (bag time, message) by topic."""
    found = {}
    with AnyReader([path]) as bag:
        for connection, at, raw in bag.messages():
            one = bag.deserialize(raw, connection.msgtype)
            found.setdefault(connection.topic, []).append((at, one))
    return found


def nanoseconds(stamp):
    return stamp.sec * 10**9 + stamp.nanosec


def in_mission(bag, number, trace):
    """
    Return (stamp, sim time of the sending) by topic of what was sent since a goal was.

    The answer to the next mission's initial pose has a stamp of this mission, too.
    """
    since = bag['/goal_pose'][number][0]
    until = min([at for at, _ in bag['/initialpose'] if at > since], default=sys.maxsize)
    ticks = [(at, nanoseconds(m.clock)) for at, m in bag['/clock'] if since <= at < until]
    sent = [at for at, _ in ticks]
    begin, end = (trace.meta[key] for key in ('start_ns', 'end_ns'))
    return {
        name: sorted(
            (nanoseconds(m.header.stamp), ticks[max(bisect.bisect_right(sent, at) - 1, 0)][1])
            for at, m in bag[f'/{name}']
            if since <= at < until and begin <= nanoseconds(m.header.stamp) <= end
        )
        for name in HEADED if name in trace.topics
    }


def pairs(topic):
    return sorted(zip(topic.stamp_ns.tolist(), topic.received_ns.tolist()))


def test_what_was_recorded_is_the_live_trace(session):
    """The same messages with the same stamps, to the nanosecond."""
    bag = messages(session['folder'] / 'interrupted')
    for number, speed in enumerate((0.8, 0.6)):
        trace = Trace.load(session['folder'] / f'{speed}.npz')
        got = in_mission(bag, number, trace)
        assert len(got) == 3
        for name, found in got.items():
            assert found == pairs(trace.topics[name]), name
            assert len(found) > 20


def test_a_bag_on_sim_time_has_the_times_of_the_live_trace(session):
    bag = messages(session['folder'] / 'sim_time')
    assert session['code']['sim_time'] == 0, session['output']['sim_time']
    trace = Trace.load(session['folder'] / '0.8.npz')
    begin, end = (trace.meta[key] for key in ('start_ns', 'end_ns'))
    got = [(nanoseconds(m.header.stamp), at) for at, m in bag['/ground_truth']]
    assert sorted(p for p in got if begin <= p[0] <= end) == pairs(trace.topics['ground_truth'])
    description = recorded.decode_recording(
        [raw for topic, _, raw in scanned(session['folder'] / 'sim_time' / 'sim_time_0.mcap')
         if topic == recorded.RECORDING][-1])
    assert description['time'] == recorded.SIM_TIME
    assert description['outcomes'] == ['succeeded']
    assert description['complete'] is True


@pytest.mark.parametrize(('name', 'missions'), [
    ('interrupted', 2), ('terminated', 2), ('killed', 2), ('sim_time', 1),
])
def test_evaluation_gives_the_live_metrics(session, name, missions):
    study = session['study']
    with Bag(session['folder'] / name) as bag:
        evaluator = BagEvaluator(study, bag, study.environment('simulation'))
        found = list(evaluator.run())[:missions]
        assert bag.complete == (name != 'killed')
    assert [one.refused for one in found] == [''] * missions
    for one, speed in zip(found, (0.8, 0.6)):
        trace = Trace.load(session['folder'] / f'{speed}.npz')
        live = evaluate(study, trace)
        live.pop('cpu')  # processes are sampled at other moments
        assert live['error'] > 0.01
        got = {name: one.measurement.metrics[name] for name in live}
        assert got == pytest.approx(live, rel=0.0, abs=1e-9)
        assert one.measurement.configuration['speed'] == speed
        assert one.measurement.configuration['bias'] == 2.0


@pytest.mark.parametrize(('name', 'code'), [('interrupted', 0), ('terminated', INTERRUPTED)])
def test_a_signal_ends_the_bag_whole(session, name, code):
    output = session['output'][name]
    assert session['code'][name] == code, output
    assert 'missions: 2 (2 succeeded)' in output
    assert 'lost: no message' in output
    with AnyReader([session['folder'] / name]) as bag:
        assert bag.message_count == sum(1 for _ in bag.messages())
        assert bag.message_count == len(scanned(session['folder'] / name / f'{name}_0.mcap'))
        assert f'({bag.message_count} messages' in output
    assert {'alive', 'code'} <= set(session)
    assert name in session['alive']


def test_what_is_killed_can_be_read_up_to_its_last_chunk(session):
    folder = session['folder'] / 'killed'
    assert session['code']['killed'] == -signal.SIGKILL
    assert not (folder / 'metadata.yaml').exists()
    read = scanned(folder / 'killed_0.mcap')
    assert sum(topic == '/pose' for topic, *_ in read) > 60
    first = recorded.decode_recording(next(r for t, _, r in read if t == recorded.RECORDING))
    assert first['complete'] is False
    assert first['digest'] == session['study'].digest


def test_a_full_disk_ends_the_recording_and_keeps_what_there_is(session):
    assert session['code']['full'] == 2
    output = session['output']['full']
    kept = re.search(r'File too large; kept is what was recorded until then, (\d+) mess', output)
    assert kept, output
    file = session['folder'] / 'full' / 'full_0.mcap'
    assert len(scanned(file)) == int(kept[1]) > 0
    assert file.stat().st_size <= ROOM


def test_topics_that_come_late_and_those_that_are_latched(session):
    for name in ('interrupted', 'terminated'):
        bag = messages(session['folder'] / name)
        assert [one.data for _, one in bag['/late']] == [str(number) for number in range(10)]
        assert [one.data for _, one in bag['/map_name']] == ['office']
    with AnyReader([session['folder'] / 'interrupted']) as reader:
        offered = {
            topic: reader.topics[topic].connections[0].ext.offered_qos_profiles[0]
            for topic in ('/map_name', '/late', '/pose')
        }
        # A latched message was sent before: it comes when recording begins, not hours earlier.
        assert reader.duration < 120e9
    assert offered['/map_name'].durability == QosDurability.TRANSIENT_LOCAL
    assert offered['/pose'].durability == QosDurability.VOLATILE
    assert offered['/pose'].reliability == QosReliability.RELIABLE
    assert offered['/late'].reliability == QosReliability.BEST_EFFORT


def test_parameters_and_processes_are_in_the_bag(session):
    read = scanned(session['folder'] / 'interrupted' / 'interrupted_0.mcap')
    nodes = {}
    for topic, _, raw in read:
        if topic == recorded.PARAMETERS:
            node, values, _ = recorded.decode_parameters(raw)
            nodes.setdefault(node, values)
    assert nodes['/world']['slip'] == 0.2
    assert nodes['/driver']['gains'] == [1.0, 0.0]
    samples = [recorded.decode_processes(raw) for t, _, raw in read if t == recorded.PROCESSES]
    used = [found['process/driver'].cpu_time for _, found in samples]
    assert len(used) > 10
    assert used == sorted(used)
    assert used[-1] > used[0] > 0.0
    assert np.all([found['process/driver'].rss > 1e6 for _, found in samples])
    # speed is set between the missions: that is an event, not a snapshot
    bag = messages(session['folder'] / 'interrupted')
    told = [recorded.decode_recording(raw) for t, _, raw in read if t == recorded.RECORDING]
    assert told[-1]['since']['/pose'] < bag['/goal_pose'][0][0]
    assert bag['/navigate_to_pose/_action/status'][-1][0] < told[-1]['since']['/late']
    changes = [p for _, one in bag['/parameter_events'] for p in one.changed_parameters]
    assert 0.6 in [p.value.double_value for p in changes if p.name == 'speed']


def test_what_can_not_be_recorded_is_one_clear_error(small_study, tmp_path, capsys):
    study = str(small_study().path)
    base = ['record', study, '--environment', 'simulation', '--output']
    (tmp_path / 'there').mkdir()
    for arguments, text in (
        ([*base, str(tmp_path / 'there')], 'is there already'),
        ([*base, str(tmp_path / 'b'), '--duration', '-1'], '--duration: must be positive'),
        ([*base, str(tmp_path / 'b'), '--missions', '0'], '--missions: must be between'),
        ([*base, str(tmp_path / 'b'), '--topics', 'a b'], "--topics: must be names .* 'a b'"),
        (['record', study], 'no environment has the role target'),
    ):
        assert main(arguments) == 2
        assert re.search(text, capsys.readouterr().err), text
    assert not (tmp_path / 'b').exists()


def test_a_graph_without_any_topic_is_an_error(small_study, tmp_path, ros_domain, capsys):
    study = str(small_study().path)
    arguments = ['record', study, '--environment', 'simulation', '--output',
                 str(tmp_path / 'bag'), '--duration', '0.3']
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert f'nothing was recorded: no message came on any of the topics in ROS domain ' \
           f'{ros_domain}' in printed.err
    assert 'no publisher of: /pose' in printed.out
