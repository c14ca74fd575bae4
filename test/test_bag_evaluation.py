# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests that a bag gives the metrics of the live trace, mission by mission."""

import json
import os

import numpy as np
import pytest

pytest.importorskip('rosbags')
pytest.importorskip('mcap')

from bag_files import FORMS, split, write_bag, write_mcap  # noqa: E402
from recorded_missions import (  # noqa: E402
    DEMO,
    SECOND,
    WALL,
    Raw,
    battery,
    event,
    live_trace,
    mission,
    parameters,
    processes,
)

from tl_adapt import metrics as definitions  # noqa: E402
from tl_adapt.bags import recorded  # noqa: E402
from tl_adapt.bags.configuration import GivenConfigurations  # noqa: E402
from tl_adapt.bags.evaluation import BagEvaluator  # noqa: E402
from tl_adapt.bags.reading import Bag  # noqa: E402

DEFAULT = DEMO.space.default()


def drives(count=3, **options):
    """Messages of missions one after the other, and those of each."""
    log = WALL
    every, each = parameters(log, DEFAULT), []
    log += SECOND
    for number in range(1, count + 1):
        found, log = mission(number, log=log, seconds=4.0 + number, **options)
        every += found
        each.append(found)
        log += SECOND // 2
    return every, each


EVERY, EACH = drives()


def evaluated(path, study=DEMO, **options):
    with Bag(path) as bag:
        evaluator = BagEvaluator(study, bag, study.target, **options)
        return list(evaluator.run()), evaluator


def check(found, each, study=DEMO, **options):
    """Hold what was found against the live traces of the missions."""
    assert [one.refused for one in found] == [''] * len(each)
    for one, messages in zip(found, each):
        wanted = definitions.evaluate(study, live_trace(messages, study, **options))
        assert set(one.measurement.metrics) == set(wanted)
        for name, value in wanted.items():
            assert one.measurement.metrics[name] == pytest.approx(value, rel=1e-9, abs=1e-12), name


@pytest.mark.parametrize('form', FORMS)
def test_metrics_are_those_of_the_live_trace(tmp_path, form):
    found, evaluator = evaluated(write_bag(tmp_path / 'bag', EVERY, form))
    check(found, EACH)
    assert evaluator.notes == []
    for one in found:
        assert one.measurement.valid and one.measurement.environment == 'robot'
        assert one.measurement.configuration == DEFAULT
    assert len({one.measurement.seed for one in found}) == 3


@pytest.mark.parametrize('compression', ['', 'lz4', 'zstd'])
def test_the_own_writer_of_mcap_gives_the_same(tmp_path, compression):
    path = write_mcap(tmp_path / 'x.mcap', EVERY, compression=compression, chunk_size=20000)
    check(evaluated(path)[0], EACH)


def test_splits_and_no_metadata(tmp_path):
    folder = split(tmp_path / 'bag', EVERY, 4)
    check(evaluated(folder)[0], EACH)
    (folder / 'metadata.yaml').unlink()
    check(evaluated(folder)[0], EACH)


def test_time_of_the_recorder(tmp_path):
    import dataclasses

    study = dataclasses.replace(DEMO, metrics={
        name: dataclasses.replace(metric, time='recorder') if metric.topic else metric
        for name, metric in DEMO.metrics.items()
    })
    found, _ = evaluated(write_bag(tmp_path / 'bag', EVERY), study)
    check(found, EACH, study)
    header, _ = evaluated(tmp_path / 'bag')
    name = 'localisation_error'
    assert found[0].measurement.metrics[name] != header[0].measurement.metrics[name]


@pytest.mark.parametrize('share', [0.4, 0.6, 0.8])
def test_a_mission_that_is_cut_off_does_not_count(tmp_path, share):
    path = write_mcap(tmp_path / 'x.mcap', EVERY, chunk_size=5000)
    os.truncate(path, int(path.stat().st_size * share))
    found, evaluator = evaluated(path)
    whole = [one for one in found if not one.refused]
    check(whole, EACH[: len(whole)])
    assert len(whole) < 3
    assert evaluator.losses
    refused = [one for one in found if one.refused]
    assert len(refused) <= 1 and all('lost' in one.refused or 'ends before' in one.refused
                                     for one in refused)


def test_a_mission_that_the_recorder_did_not_see_to_its_end(tmp_path):
    messages, log = mission(9, log=EVERY[-1].time + SECOND, ends=False)
    found, _ = evaluated(write_bag(tmp_path / 'bag', EVERY + messages))
    check(found[:3], EACH)
    assert found[3].measurement is None
    assert found[3].refused == 'the bag ends before the mission does'


@pytest.mark.parametrize(('outcome', 'reason'), [
    ('aborted', 'mission aborted'), ('canceled', 'mission canceled')])
def test_failed_missions_are_data(tmp_path, outcome, reason):
    every, each = drives(1, outcome=outcome)
    (found,), _ = evaluated(write_bag(tmp_path / 'bag', every))
    assert not found.measurement.valid
    assert found.measurement.reason == reason
    wanted = definitions.evaluate(DEMO, live_trace(each[0], outcome=reason), strict=False)
    assert found.measurement.metrics == pytest.approx(wanted, rel=1e-9)
    assert 'mission_time' not in wanted


def test_a_rule_ends_a_mission(tmp_path):
    every, each = drives(1, crash=2.9)
    (found,), _ = evaluated(write_bag(tmp_path / 'bag', every))
    assert not found.measurement.valid
    assert found.measurement.reason == 'collision'
    assert found.drive.end_ns == 3 * SECOND
    trace = live_trace(each[0], outcome='collision', end=3 * SECOND)
    wanted = definitions.evaluate(DEMO, trace, strict=False)
    assert found.measurement.metrics == pytest.approx(wanted, rel=1e-9)


def test_a_mission_that_takes_too_long(tmp_path):
    messages, _ = mission(1, log=WALL + SECOND, seconds=70.0)
    every = parameters(WALL, DEFAULT) + messages
    (found,), _ = evaluated(write_bag(tmp_path / 'bag', every))
    assert found.measurement.reason == 'timeout'
    assert found.drive.end_ns - found.drive.start_ns == 60 * SECOND


def test_configurations_that_change_between_missions(tmp_path):
    log = WALL
    every = parameters(log, DEFAULT)
    wanted, each = [], []
    for number, particles in enumerate((50, 100, 400), 1):
        every.append(event(log + SECOND // 2, '/localizer', particles=particles))
        found, log = mission(number, log=log + SECOND)
        every += found
        each.append(found)
        wanted.append({**DEFAULT, 'particles': particles})
    found, _ = evaluated(write_bag(tmp_path / 'bag', every))
    check(found, each)
    assert [one.measurement.configuration for one in found] == wanted


@pytest.mark.parametrize('later', [0, 1, SECOND // 10])
def test_parameters_that_were_asked_for_before_a_change_and_written_after_it(tmp_path, later):
    """A recorder writes what a node answered when the change was told already."""
    snapshot = parameters(WALL, DEFAULT)
    (read,) = [message for message in snapshot if b'/localizer' in message.raw]
    change = event(read.time + later, '/localizer', particles=50)
    messages, _ = mission(1, log=WALL + SECOND)
    before = [message for message in snapshot if message is not read]
    path = write_mcap(tmp_path / 'x.mcap', [*before, change, read, *messages])
    (found,), _ = evaluated(path)
    assert found.measurement.configuration == {**DEFAULT, 'particles': 50}


@pytest.mark.parametrize('told_again', [False, True])
def test_a_change_of_the_configuration_may_be_lost(tmp_path, told_again):
    change = event(EACH[1][0].time - SECOND // 4, '/localizer', particles=50)
    other = battery(EACH[1][0].time - SECOND // 5, 77, 12.3, -4.56)
    again = parameters(EACH[2][0].time - 1000, DEFAULT) if told_again else []
    every = sorted([*EVERY, change, other, *again], key=lambda m: m.time)
    # Each message in a chunk of its own, with its checksum.
    path = write_mcap(tmp_path / 'x.mcap', every, compression='', chunk_size=1)
    whole = path.read_bytes()

    def damaged(item):
        at = whole.index(item.raw) + len(item.raw) // 2
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        return evaluated(path)[0]

    check(damaged(other), EACH)
    first, *rest = damaged(change)
    check([first], EACH[:1])
    assert 'may have changed where messages are lost' in rest[0].refused
    assert bool(rest[1].refused) != told_again
    (tmp_path / 'x.yaml').write_text(json.dumps(DEFAULT))
    given = GivenConfigurations(tmp_path / 'x.yaml', DEMO)
    check(evaluated(path, given=given)[0], EACH)


def test_a_configuration_that_changes_in_a_mission_is_none(tmp_path):
    change = event(EACH[1][300].time + 1, '/localizer', particles=77)
    other = event(EACH[0][300].time + 1, '/localizer', seed=77)
    every = sorted([*EVERY, change, other], key=lambda m: m.time)
    found, _ = evaluated(write_bag(tmp_path / 'bag', every))
    assert [bool(one.refused) for one in found] == [False, True, False]
    assert 'particles changed' in found[1].refused
    assert found[2].measurement.configuration['particles'] == 77


def test_the_whole_bag_as_one_mission(tmp_path):
    (found,), _ = evaluated(write_bag(tmp_path / 'bag', drives(1)[0]), whole=True)
    assert found.measurement.valid
    assert found.measurement.metrics['path_length'] > 0
    assert found.measurement.configuration == DEFAULT
    (found,), _ = evaluated(tmp_path / 'bag')
    assert found.measurement.valid


def test_a_robot_without_a_clock(tmp_path):
    """Its stamps are those of the system, as the recorder's are."""
    messages, _ = mission(1, log=WALL + SECOND)
    every = [m for m in parameters(WALL, DEFAULT) + messages if m.topic != '/clock']
    for m in every:
        head = getattr(m.message, 'header', m.message)
        if hasattr(head, 'stamp'):
            head.stamp.sec, head.stamp.nanosec = divmod(m.time - 1000, SECOND)
    (found,), _ = evaluated(write_bag(tmp_path / 'bag', every))
    m = found.measurement
    assert m.valid, m.reason
    assert m.metrics['mission_time'] == pytest.approx(m.sim_time)
    assert m.sim_time == pytest.approx(6.0 / 5, rel=0.02)
    assert np.isfinite(list(m.metrics.values())).all()


def test_a_sample_from_before_the_clock_was_put_back_is_no_part_of_the_mission(tmp_path):
    first, log = mission(1, seconds=6.1)
    second, _ = mission(2, log=log + SECOND, seconds=6.1)
    # Between the goal and the first time on the clock, which still shows that of the first.
    stale = processes(log + SECOND + 1500, 6_050_000_000, 0.0)
    both = sorted([*parameters(WALL - SECOND, DEFAULT), *first, stale, *second],
                  key=lambda message: message.time)
    found, _ = evaluated(write_bag(tmp_path / 'bag', both))
    # Not 0: of the two missions the second used as much as the first.
    assert found[1].measurement.metrics['cpu'] == pytest.approx(
        found[0].measurement.metrics['cpu']
    )


def test_what_the_recorder_says_is_told(tmp_path):
    raw = recorded.encode_recording({'environment': 'simulation', 'lost': {'/scan': 3, '/x': 0}})
    kind = recorded.TYPES[recorded.RECORDING]
    said = Raw(recorded.RECORDING, WALL - 5, kind, raw)
    found, evaluator = evaluated(write_bag(tmp_path / 'bag', [said, *EVERY]))
    check(found, EACH)
    assert evaluator.notes == [
        'the recorder lost messages: 3 of /scan',
        'it was recorded in environment simulation, and counts as robot: --environment chooses',
    ]


def test_goals_one_after_the_other(tmp_path):
    """Another goal takes the place of the first, which is no whole mission then."""
    first, log = mission(1, log=WALL + SECOND, ends=False)
    second, log = mission(2, log=log + SECOND, begin=6 * SECOND)
    every = parameters(WALL, DEFAULT) + first + second
    found, _ = evaluated(write_bag(tmp_path / 'bag', every))
    assert [one.refused for one in found] == ['another goal took its place', '']
    check(found[1:], [second], start=6 * SECOND + 50_000_000)


def test_memory_of_what_is_over_is_given_back(tmp_path):
    """Between missions, what came is kept for some seconds only."""
    log = WALL + SECOND
    every = parameters(WALL, DEFAULT)
    for number in range(1, 4):
        found, log = mission(number, log=log)
        every += found
        idle, _ = mission(9, log=log, seconds=100.0)
        every += [m for m in idle if m.topic not in (
            '/clock', '/goal_pose', '/navigator/result', '/navigate_to_pose/_action/status')]
        log += 30 * SECOND
    path = write_mcap(tmp_path / 'x.mcap', every, chunk_size=10000)
    kept = []
    with Bag(path) as bag:
        evaluator = BagEvaluator(DEMO, bag, DEMO.target)
        count = 0
        for _ in evaluator.run(lambda log: kept.append(
            sum(len(b.log) for bs in evaluator._window._batches.values() for b in bs)
        )):
            count += 1
    assert count == 3
    assert max(kept) < len(every) / 2
