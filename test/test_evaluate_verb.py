# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of the verb `evaluate`."""

import os
import subprocess
import sys

import numpy as np
import pytest
import yaml

pytest.importorskip('rosbags')
pytest.importorskip('mcap')

from bag_files import SECOND, TYPES, Item, number, write_bag, write_mcap  # noqa: E402
from recorded_missions import DEMO, WALL, Raw, live_trace, mission, parameters  # noqa: E402

from tl_adapt import metrics as definitions  # noqa: E402
from tl_adapt.bags.evaluation import BagEvaluator  # noqa: E402
from tl_adapt.cli import INTERRUPTED, main  # noqa: E402
from tl_adapt.store import Store  # noqa: E402
from tl_adapt.trace import Trace  # noqa: E402

DEFAULT = DEMO.space.default()


def drive(first=1, count=2, *, log=WALL, snapshot=True):
    every = parameters(log, DEFAULT) if snapshot else []
    log += SECOND
    for item in range(first, first + count):
        found, log = mission(item, log=log, seconds=2.0 + item)
        every += found
        log += SECOND // 2
    return every


def run(tmp_path, *arguments):
    return main(['evaluate', *map(str, arguments), '--output', str(tmp_path / 'out')])


def stored(tmp_path):
    with Store(tmp_path / 'out' / 'demo.sqlite', study=DEMO, write=False) as store:
        return store.get(environment='robot')


def refused(tmp_path, capsys, *arguments):
    """The one line that says why the input is refused."""
    assert run(tmp_path, *arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith('tl_adapt: error: ')
    return error


def test_missions_become_measurements_once(tmp_path, capsys):
    bag = write_bag(tmp_path / 'bag', drive())
    assert run(tmp_path, bag, '--study', 'demo') == 0
    out = capsys.readouterr().out
    assert '2 measurements added from 1 bag (0 invalid), 0 there already' in out
    first = stored(tmp_path)
    assert [m.purpose for m in first] == ['bag', 'bag']
    assert all(m.valid and m.configuration == DEFAULT and m.cost == 0.0 for m in first)
    assert [m.provenance['mission'] for m in first] == [1, 2]
    assert run(tmp_path, bag, '--study', 'demo') == 0
    assert '0 measurements added' in capsys.readouterr().out
    assert stored(tmp_path) == first


def test_the_same_missions_in_another_form_are_the_same(tmp_path):
    messages = drive()
    one = write_bag(tmp_path / 'bag', messages)
    other = write_bag(tmp_path / 'other', messages, 'sqlite3 message')
    assert run(tmp_path, 'demo', one, other) == 0
    assert len(stored(tmp_path)) == 2


def test_traces_give_the_metrics_again(tmp_path):
    messages, _ = mission(1, log=WALL + SECOND)
    bag = write_bag(tmp_path / 'bag', parameters(WALL, DEFAULT) + messages)
    assert run(tmp_path, 'demo', bag, '--traces', tmp_path / 'traces') == 0
    (file,) = (tmp_path / 'traces').iterdir()
    (m,) = stored(tmp_path)
    assert m.provenance['trace'] == str(file)
    again = definitions.evaluate(DEMO, Trace.load(file))
    assert again == pytest.approx(m.metrics, rel=1e-12)
    assert again == pytest.approx(definitions.evaluate(DEMO, live_trace(messages)), rel=1e-9)


def test_another_environment_and_store(tmp_path, capsys):
    bag = write_bag(tmp_path / 'bag', drive(count=1))
    store = tmp_path / 'x.sqlite'
    assert run(tmp_path, 'demo', bag, '--environment', 'simulation', '--store', store) == 0
    with Store(store, study=DEMO, write=False) as found:
        assert len(found.get(environment='simulation')) == 1
    assert 'unknown environment' in refused(tmp_path, capsys, 'demo', bag, '--environment', 'x')


def test_configurations_from_a_file(tmp_path, capsys):
    bag = write_bag(tmp_path / 'bag', drive(snapshot=False))
    error = refused(tmp_path, capsys, 'demo', bag)
    assert 'must tell the configuration' in error and '--configuration' in error
    beside = tmp_path / 'bag.yaml'
    beside.write_text(yaml.safe_dump({**DEFAULT, 'particles': 111}))
    assert run(tmp_path, 'demo', bag) == 0
    assert [m.configuration['particles'] for m in stored(tmp_path)] == [111, 111]
    beside.unlink()
    file = tmp_path / 'each.yaml'
    dump = {}
    for parameter in DEMO.space.parameters:
        target = parameter.targets[0]
        values = dump.setdefault(f'/{target.node}', {'ros__parameters': {'use_sim_time': True}})
        values['ros__parameters'][target.name] = DEFAULT[parameter.name]
    file.write_text(yaml.safe_dump({'missions': [{**DEFAULT, 'particles': 50}, dump]}))
    assert run(tmp_path, 'demo', bag, '--configuration', file) == 0
    assert [m.configuration['particles'] for m in stored(tmp_path)[2:]] == [50, 300]


@pytest.mark.parametrize(('content', 'rule'), [
    ('particles: 5', 'must be'), ('nothing: 1', 'no parameter of the study has this name'),
    ('particles: 50', 'must have parameter'), ('[1', 'not YAML'), ('7', 'must be a mapping'),
    ('{}', 'must have a configuration'), ('missions: []', 'must be a list'),
    ('missions: [7]', 'must be a mapping'), ('{1: 2}', 'a key must be text'),
    ('missions: [{particles: 50}]\nparticles: 3', 'and all there is'),
    ('/localizer: {ros__parameters: {particles: [1]}}', 'particles'),
    ('/localizer: {ros__parameters: 1}', 'must have ros__parameters'),
    ('a: &a [*a]', 'endless'),
])
def test_a_file_of_configurations_that_is_wrong(tmp_path, capsys, content, rule):
    bag = write_bag(tmp_path / 'bag', drive(count=1, snapshot=rule in ('must be', 'particles')))
    file = tmp_path / 'x.yaml'
    file.write_text(content)
    error = refused(tmp_path, capsys, 'demo', bag, '--configuration', file)
    assert 'x.yaml' in error and rule in error


def test_the_first_missions_are_kept_where_a_file_has_too_few(tmp_path, capsys):
    bag = write_bag(tmp_path / 'bag', drive(snapshot=False))
    file = tmp_path / 'x.yaml'
    file.write_text(yaml.safe_dump({'missions': [DEFAULT]}))
    error = refused(tmp_path, capsys, 'demo', bag, '--configuration', file)
    assert 'mission 2' in error
    assert len(stored(tmp_path)) == 1


def test_what_the_bag_lacks_is_told(tmp_path, capsys):
    lean = [m for m in drive() if m.topic not in ('/scan', '/tl_adapt/processes', '/collision')]
    bag = write_bag(tmp_path / 'bag', lean)
    assert run(tmp_path, 'demo', bag) == 0
    out = capsys.readouterr().out
    assert 'topic /scan is not in the bag: no clearance' in out
    assert 'topic /tl_adapt/processes is not in the bag: no cpu' in out
    assert 'topic /collision is not in the bag' in out
    for m in stored(tmp_path):
        assert m.valid and m.provenance['missing'] == ['clearance', 'cpu']
        assert not {'clearance', 'cpu'} & set(m.metrics)


def test_a_bag_without_goals(tmp_path, capsys):
    quiet = [m for m in drive(count=1) if 'status' not in m.topic]
    bag = write_bag(tmp_path / 'bag', quiet)
    assert '--whole' in refused(tmp_path, capsys, 'demo', bag)
    assert run(tmp_path, 'demo', bag, '--whole') == 0
    (m,) = stored(tmp_path)
    assert m.valid and m.metrics['success'] == 1.0


def test_bags_that_have_nothing_for_the_study(tmp_path, capsys):
    bag = write_bag(tmp_path / 'bag', [Item('/x', 1, number(1))])
    assert 'must have a topic that metrics' in refused(tmp_path, capsys, 'demo', bag)
    empty = write_bag(tmp_path / 'empty', [])
    assert 'must have a topic that metrics' in refused(tmp_path, capsys, 'demo', empty)
    error = refused(tmp_path, capsys, 'demo', tmp_path / 'nothing')
    assert 'there is no such bag' in error
    assert '--study: is required' in refused(tmp_path, capsys, bag)
    assert 'must name a bag' in refused(tmp_path, capsys, 'demo')
    assert 'nonsense' in refused(tmp_path, capsys, 'nonsense', bag)


@pytest.mark.parametrize(('topic', 'rule'), [
    ('/scan', 'field ranges'), ('/pose', 'position'), ('/clock', 'must be of type'),
    ('/navigate_to_pose/_action/status', 'must be of type'),
])
def test_wrong_types_are_named(tmp_path, capsys, topic, rule):
    messages = [m if m.topic != topic else Item(topic, m.time, number(1)) for m in drive()]
    bag = write_bag(tmp_path / 'bag', messages)
    error = refused(tmp_path, capsys, 'demo', bag)
    assert topic in error and rule in error and 'bag' in error


def test_a_type_that_nobody_knows(tmp_path, capsys):
    from mcap.writer import Writer

    path = tmp_path / 'x.mcap'
    with path.open('wb') as file:
        writer = Writer(file)
        writer.start(profile='ros2')
        schema = writer.register_schema('my_msgs/msg/Scan', 'ros2msg', b'my_msgs/Beam[] ranges')
        channel = writer.register_channel('/scan', 'cdr', schema)
        writer.add_message(channel, 1, b'\x00\x01\x00\x00', 1)
        writer.finish()
    error = refused(tmp_path, capsys, 'demo', path)
    assert '/scan' in error and 'my_msgs/msg/Beam' in error


def test_messages_that_do_not_fit_their_type_are_lost(tmp_path, capsys):
    messages = drive()
    place = next(i for i, m in enumerate(messages) if m.topic == '/pose')
    bad = messages[place]
    messages[place] = Raw('/pose', bad.time, bad.type, bad.raw[:30])
    bag = write_bag(tmp_path / 'bag', messages)
    assert run(tmp_path, 'demo', bag) == 0
    out = capsys.readouterr().out
    assert '1 messages of /pose can not be read' in out
    assert 'does not count: messages of it may be lost' in out
    assert [m.provenance['mission'] for m in stored(tmp_path)] == [2]


def test_damage_is_told_and_the_rest_is_kept(tmp_path, capsys):
    path = write_mcap(tmp_path / 'x.mcap', drive(count=3), chunk_size=20000)
    os.truncate(path, int(path.stat().st_size * 0.6))
    assert run(tmp_path, 'demo', path) == 0
    out = capsys.readouterr().out
    assert 'damaged:' in out and 'cut off' in out
    assert 1 <= len(stored(tmp_path)) <= 2


def test_ctrl_c_keeps_what_was_evaluated(tmp_path, capsys, monkeypatch):
    bag = write_bag(tmp_path / 'bag', drive(count=3))
    whole = BagEvaluator.run

    def interrupted(self, progress):
        for count, found in enumerate(whole(self, progress)):
            if count == 2:
                raise KeyboardInterrupt
            yield found

    with monkeypatch.context() as patch:
        patch.setattr(BagEvaluator, 'run', interrupted)
        assert run(tmp_path, 'demo', bag) == INTERRUPTED
    assert 'what was evaluated is kept' in capsys.readouterr().out
    assert len(stored(tmp_path)) == 2
    assert run(tmp_path, 'demo', bag) == 0
    assert len(stored(tmp_path)) == 3


def test_time_of_the_recorder_is_another_definition(tmp_path):
    bag = write_bag(tmp_path / 'bag', drive(count=1))
    assert run(tmp_path, 'demo', bag) == 0
    before = stored(tmp_path)
    assert run(tmp_path, 'demo', bag, '--time', 'recorder') == 0
    assert stored(tmp_path) == before, 'they are not mixed'
    with Store(tmp_path / 'out' / 'demo.sqlite', write=False) as store:
        assert len(store.get(environment='robot')) == 2


def test_a_namespace(tmp_path):
    messages = []
    for m in drive(count=1):
        topic = m.topic if m.topic.startswith(('/clock', '/tl_adapt')) else f'/r2d2{m.topic}'
        messages.append(Raw(topic, m.time, m.type, m.raw))
    bag = write_bag(tmp_path / 'bag', messages)
    file = tmp_path / 'x.yaml'
    file.write_text(yaml.safe_dump(DEFAULT))
    assert run(tmp_path, 'demo', bag, '--namespace', 'r2d2', '--configuration', file) == 0
    (m,) = stored(tmp_path)
    assert m.valid and m.provenance['missing'] == []


def test_memory_does_not_grow_with_what_is_not_wanted(tmp_path):
    """Images are never read, and arrays are kept as one number for each message."""
    import tracemalloc

    messages, _ = mission(1, log=WALL + SECOND, seconds=20.0, beams=2000)
    image = TYPES['sensor_msgs/msg/CompressedImage'](
        messages[5].message.header if hasattr(messages[5].message, 'header') else None, 'png',
        np.zeros(500_000, np.uint8),
    )
    image.header = messages[4].message.header
    extra = [Item('/image', m.time + 5, image) for m in messages[::40]]
    every = sorted([*parameters(WALL, DEFAULT), *messages, *extra], key=lambda m: m.time)
    bag = write_mcap(tmp_path / 'x.mcap', every, compression='', chunk_size=100_000)
    del every, extra, messages
    assert bag.stat().st_size > 20e6
    tracemalloc.start()
    try:
        assert run(tmp_path, 'demo', bag) == 0
        assert tracemalloc.get_traced_memory()[1] < 12e6
    finally:
        tracemalloc.stop()
    assert stored(tmp_path)[0].valid


def test_no_ros_is_needed(tmp_path):
    bag = write_bag(tmp_path / 'bag', drive(count=1))
    code = (
        'import sys\n'
        "for name in ('rclpy', 'rcl_interfaces', 'builtin_interfaces', 'std_msgs'):\n"
        '    sys.modules[name] = None\n'
        'from tl_adapt.cli import main\n'
        'sys.exit(main(sys.argv[1:]))\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', code, 'evaluate', 'demo', str(bag), '--output',
         str(tmp_path / 'out')],
        capture_output=True, text=True, timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert '1 measurement added' in done.stdout
    assert stored(tmp_path)[0].valid


def test_other_verbs_do_not_load_the_library_of_bags():
    code = (
        'import sys\n'
        'from tl_adapt.cli import make_parser\n'
        "for verb in ('check', 'campaign', 'transfer', 'evaluate'):\n"
        '    make_parser(verb)\n'
        "assert not {'rosbags', 'mcap', 'apsw', 'lz4'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, '-c', code], check=True, timeout=120)
