# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of bags whose recorder came late, or went on while the next mission was prepared."""

import numpy as np
import pytest

pytest.importorskip('rosbags')
pytest.importorskip('mcap')

from bag_files import write_bag  # noqa: E402
from recorded_missions import (  # noqa: E402
    DEMO,
    SECOND,
    WALL,
    Raw,
    event,
    live_trace,
    located,
    mission,
    parameters,
)

from tl_adapt import metrics as definitions  # noqa: E402
from tl_adapt.bags import recorded  # noqa: E402
from tl_adapt.bags.evaluation import BagEvaluator  # noqa: E402
from tl_adapt.bags.reading import Bag  # noqa: E402

DEFAULT = DEMO.space.default()


def evaluated(path, messages):
    with Bag(write_bag(path, sorted(messages, key=lambda m: m.time))) as bag:
        return list(BagEvaluator(DEMO, bag, DEMO.target).run())


def described(log, **since):
    raw = recorded.encode_recording({'since': {f'/{k}': at for k, at in since.items()}})
    return Raw(recorded.RECORDING, log, recorded.TYPES[recorded.RECORDING], raw)


def two_missions():
    first, log = mission(1, log=WALL + SECOND)
    return first, mission(2, log=log + SECOND // 2)[0]


@pytest.mark.parametrize('topic', ['battery_state', 'clock', 'navigator/result'])
def test_a_mission_that_had_begun_before_a_topic_was_recorded(tmp_path, topic):
    """What it lacks can't be seen: its messages begin somewhere, as those of others do."""
    first, second = two_missions()
    late = first[len(first) // 3].time
    messages = [m for m in first if m.topic != f'/{topic}' or m.time >= late]
    descriptions = [described(WALL, scan=WALL), described(late, **{topic: late})]
    found = evaluated(tmp_path / 'bag', [
        *parameters(WALL, DEFAULT), *descriptions, *messages, *second,
    ])
    assert [bool(one.refused) for one in found] == [True, False]
    assert found[0].refused == f'it had begun when the recording of /{topic} did'


def test_a_topic_that_no_metric_needs_may_come_late(tmp_path):
    first, second = two_missions()
    found = evaluated(tmp_path / 'bag', [
        *parameters(WALL, DEFAULT), described(second[0].time, odom=second[9].time), *first,
        *second,
    ])
    assert [one.refused for one in found] == ['', '']


def test_parameters_that_were_read_while_the_first_mission_ran(tmp_path):
    first, second = two_missions()
    read = parameters(first[50].time, DEFAULT)
    found = evaluated(tmp_path / 'bag', [*read, *first, *second])
    assert [one.refused for one in found] == ['', '']
    assert [one.measurement.configuration for one in found] == [DEFAULT] * 2


def test_parameters_that_were_read_after_a_change_are_not_those_of_the_mission(tmp_path):
    first, second = two_missions()
    read = parameters(first[50].time, {**DEFAULT, 'particles': 77})
    change = event(first[40].time, '/localizer', particles=77)
    found = evaluated(tmp_path / 'bag', [*read, change, *first, *second])
    assert found[0].refused == 'the configuration that it had was not recorded'
    assert found[1].measurement.configuration['particles'] == 77


def test_parameters_that_were_read_after_the_first_mission(tmp_path):
    first, second = two_missions()
    read = parameters(second[0].time - SECOND // 10, DEFAULT)
    found = evaluated(tmp_path / 'bag', [*read, *first, *second])
    assert [bool(one.refused) for one in found] == [True, False]


def test_the_answer_to_the_next_initial_pose_is_none_of_the_mission(tmp_path):
    """The world was put back, so its stamp is one of the mission that is over."""
    first, second = two_missions()
    end = first[-1].time
    stale = 50_000_000
    told = located('/initialpose', end + SECOND // 5, stale, 0.0, 0.0)
    answer = located('/pose', end + SECOND // 4, stale, 9.0, 9.0)
    found = evaluated(tmp_path / 'bag', [
        *parameters(WALL, DEFAULT), *first, told, answer, *second,
    ])
    wanted = definitions.evaluate(DEMO, live_trace(first))
    got = found[0].measurement.metrics
    assert got['localisation_error'] == pytest.approx(wanted['localisation_error'], abs=1e-12)
    assert len(found[0].trace.topics['pose']) == len([m for m in first if m.topic == '/pose'])
    assert np.isfinite(list(got.values())).all()
