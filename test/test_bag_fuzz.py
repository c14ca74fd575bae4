# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Tests that no bag and no file beside it, however broken, hangs or ends with a traceback.

`TL_ADAPT_FUZZ=N` tries N examples of each; `--hypothesis-seed` chooses them.
"""

import contextlib
import os
import shutil
import signal
import sqlite3
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip('rosbags')
pytest.importorskip('mcap')

from bag_files import FORMS, SECOND, split, write_bag, write_mcap  # noqa: E402
from recorded_missions import DEMO, WALL, Raw, event, mission, parameters  # noqa: E402

from tl_adapt.bags import recorded  # noqa: E402
from tl_adapt.bags.configuration import GivenConfigurations, configuration_file  # noqa: E402
from tl_adapt.bags.evaluation import BagEvaluator  # noqa: E402
from tl_adapt.bags.reading import Bag  # noqa: E402
from tl_adapt.environments.base import Measurement  # noqa: E402
from tl_adapt.errors import TlAdaptError  # noqa: E402

FUZZ = settings(
    max_examples=int(os.environ.get('TL_ADAPT_FUZZ', '20')), deadline=None, database=None,
    suppress_health_check=list(HealthCheck),
)
LONGEST = 20  # s for one example
DEFAULT = DEMO.space.default()
OTHERS = (
    'own zstd', 'own lz4', 'own', 'own unchunked', 'own killed', 'split mcap', 'split sqlite3',
)


def described(description):
    raw = recorded.encode_recording(description)
    return Raw(recorded.RECORDING, WALL - 9, recorded.TYPES[recorded.RECORDING], raw)


def drives():
    log = WALL
    every = [described({'environment': 'robot', 'lost': {}}), *parameters(log, DEFAULT)]
    for number in (1, 2):
        every.append(event(log + 1000, '/localizer', particles=20 * number))
        found, log = mission(number, log=log + SECOND, seconds=1.5, beams=4)
        every += found
    return every


EVERY = drives()


@pytest.fixture(scope='module')
def bags(tmp_path_factory):
    """One bag of each form, as (folder, its files)."""
    root = tmp_path_factory.mktemp('bags')
    found = {form: write_bag(root / form.replace(' ', '_'), EVERY, form) for form in FORMS}
    for name, options in {
        'zstd': {}, 'lz4': {'compression': 'lz4'}, '': {'compression': ''},
        'unchunked': {'use_chunking': False}, 'killed': {'finish': False},
    }.items():
        folder = root / f'own_{name}'
        folder.mkdir()
        write_mcap(folder / 'x.mcap', EVERY, chunk_size=4000, **options)
        found[f'own {name}'.strip()] = folder
    for form in ('mcap', 'sqlite3'):
        found[f'split {form}'] = split(root / f'split_{form}', EVERY, 3, form)
    assert set(found) == {*FORMS, *OTHERS}
    return found


@contextlib.contextmanager
def bounded():
    """End what hangs."""
    def late(*_):
        raise AssertionError(f'not done within {LONGEST} s')

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, LONGEST)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def evaluate(path, whole=False):
    """Evaluate a bag; return its measurements, or None if it is refused."""
    with bounded():
        try:
            with Bag(path) as bag:
                file = configuration_file(bag.path)
                known = None if file is None else GivenConfigurations(file, DEMO)
                evaluator = BagEvaluator(DEMO, bag, DEMO.target, whole=whole, given=known)
                found = list(evaluator.run())
                assert sum(bag.counts.values()) >= 0
                losses = evaluator.losses
        except TlAdaptError as error:
            text = str(error)
            assert text and '\n' not in text.strip(), text
            return None
    assert all(loss.text for loss in losses)
    measured = [one.measurement for one in found if one.measurement is not None]
    assert all(isinstance(m, Measurement) for m in measured)
    return measured


@contextlib.contextmanager
def copied(folder):
    with tempfile.TemporaryDirectory() as where:
        yield Path(shutil.copytree(folder, Path(where) / 'bag'))


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(['set', 'set', 'cut', 'insert', 'drop', 'zeros', 'swap']),
        st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=12),
        st.integers(1, 400),
    ),
    min_size=1, max_size=4,
)


def changed(content, changes):
    """Return the content of a file with some damage."""
    data = bytearray(content)
    for what, share, piece, length in changes:
        at = int(share * len(data))
        if what == 'set':
            data[at : at + len(piece)] = piece[: len(data) - at]
        elif what == 'cut':
            del data[at:]
        elif what == 'insert':
            data[at:at] = piece
        elif what == 'drop':
            del data[at : at + length]
        elif what == 'zeros':
            data[at : at + length] = bytes(min(length, len(data) - at))
        elif what == 'swap':
            other = int(len(data) * 0.37)
            one = bytes(data[at : at + length])
            data[at : at + len(one)], data[other : other + len(one)] = (
                data[other : other + len(one)], one)
    return bytes(data)


@FUZZ
@given(form=st.sampled_from([*FORMS, *OTHERS]), changes=CHANGES, data=st.data())
def test_damaged_files(bags, form, changes, data):
    with copied(bags[form]) as folder:
        files = sorted(folder.iterdir())
        file = data.draw(st.sampled_from(files))
        file.write_bytes(changed(file.read_bytes(), changes))
        found = evaluate(folder)
        if file.name == 'metadata.yaml' and 'split' not in form:
            assert len(found) == 2, 'it is not needed'


@FUZZ
@given(
    form=st.sampled_from(['sqlite3', 'sqlite3 message']),
    column=st.sampled_from([
        ('messages', 'data'), ('messages', 'timestamp'), ('messages', 'topic_id'),
        ('topics', 'type'), ('topics', 'name'), ('topics', 'serialization_format'),
        ('topics', 'offered_qos_profiles'), ('message_definitions', 'encoded_message_definition'),
        ('message_definitions', 'encoding'), ('message_definitions', 'topic_type'),
    ]),
    value=st.one_of(
        st.integers(-2**63, 2**63 - 1), st.text(max_size=20), st.binary(max_size=60), st.none(),
        st.floats(allow_nan=True),
    ),
    rows=st.integers(1, 400),
)
def test_tables_that_hold_something_else(bags, form, column, value, rows):
    with copied(bags[form]) as folder:
        (path,) = folder.glob('*.db3')
        connection = sqlite3.connect(path)
        with contextlib.suppress(sqlite3.IntegrityError), connection:
            connection.execute(
                f'UPDATE {column[0]} SET {column[1]} = ? WHERE id % ? = 0', (value, rows)
            )
        connection.close()
        evaluate(folder)


TOPICS = sorted({m.topic for m in EVERY})


@FUZZ
@given(
    topic=st.sampled_from(TOPICS), content=st.binary(max_size=300),
    head=st.sampled_from([b'', b'\x00\x01\x00\x00', b'\x00\x00\x00\x00', b'\x28\xb5\x2f\xfd']),
    every=st.integers(1, 20), form=st.sampled_from(['mcap', 'sqlite3', 'mcap message']),
    whole=st.booleans(),
)
def test_messages_that_are_none(topic, content, head, every, form, whole):
    messages, count = [], 0
    for m in EVERY:
        count += m.topic == topic
        bad = m.topic == topic and count % every == 0
        messages.append(Raw(topic, m.time, m.type, head + content) if bad else m)
    with tempfile.TemporaryDirectory() as where:
        evaluate(write_bag(Path(where) / 'bag', messages, form), whole)


@FUZZ
@given(
    topic=st.sampled_from(TOPICS),
    definition=st.one_of(
        st.text(max_size=200), st.binary(max_size=100),
        st.lists(st.sampled_from([
            'float64 data', 'X x', 'std_msgs/Header header', 'string<=5 s', 'float32[] ranges',
            'uint8[4294967295] a', 'x/Y[1000] y', 'wstring w', 'int8 data', 'int8[<=3] b', '#',
            '=' * 80, 'MSG: x/X', 'MSG: std_msgs/Header', 'bool class', 'int32 A=3', 'char c',
            'geometry_msgs/Pose pose', 'float32 voltage', 'float32 current',
        ]), max_size=12).map('\n'.join),
    ),
    language=st.sampled_from(['ros2msg', 'ros2idl', 'omgidl', '', 'protobuf']),
)
def test_definitions_of_types_that_are_none(topic, definition, language):
    text = definition if isinstance(definition, bytes) else definition.encode()
    with tempfile.TemporaryDirectory() as where:
        path = write_mcap(Path(where) / 'x.mcap', EVERY, definitions={topic: (text, language)})
        evaluate(path)


@FUZZ
@given(content=st.one_of(
    st.text(max_size=300), st.binary(max_size=200),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.dictionaries(
                st.sampled_from([
                    'missions', '/localizer', 'localizer', 'ros__parameters', *DEFAULT, 'x',
                ]), inner, max_size=5,
            ),
        ),
    ).map(lambda value: yaml.safe_dump(value, allow_unicode=True)),
    st.fixed_dictionaries({name: st.one_of(
        st.just(value), st.floats(), st.integers(), st.text(max_size=3), st.lists(st.none()),
    ) for name, value in DEFAULT.items()}).map(yaml.safe_dump),
))
def test_files_of_configurations(bags, content):
    with copied(bags['mcap']) as folder:
        file = folder / 'configuration.yaml'
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        evaluate(folder)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8), st.just('/scan')),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(TOPICS), inner, max_size=3)
    ),
)


@FUZZ
@given(description=st.dictionaries(
    st.sampled_from(['environment', 'lost', 'since', 'time', 'complete', 'study']), JSON
))
def test_descriptions_of_recordings(description):
    with tempfile.TemporaryDirectory() as where:
        path = write_mcap(Path(where) / 'x.mcap', [described(description), *EVERY[1:]])
        evaluate(path)


@FUZZ
@given(
    lines=st.dictionaries(
        st.sampled_from([
            'version', 'storage_identifier', 'relative_file_paths', 'compression_format',
            'compression_mode', 'ros_distro', 'files', 'topics_with_message_count', 'duration',
        ]),
        st.one_of(
            st.none(), st.integers(), st.text(max_size=8), st.lists(st.text(max_size=8)),
            st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
        ),
    ),
    form=st.sampled_from(FORMS),
)
def test_metadata(bags, lines, form):
    with copied(bags[form]) as folder:
        file = folder / 'metadata.yaml'
        content = yaml.safe_load(file.read_text())
        content['rosbag2_bagfile_information'] |= lines
        file.write_text(yaml.safe_dump(content))
        assert evaluate(folder) is not None
