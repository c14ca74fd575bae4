# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Replays of a small bag through real processes, and what can go wrong with them."""

import contextlib

import pytest

pytest.importorskip('rclpy')
pytest.importorskip('rosbags')

from small_bag import PYTHON, replay_study, small_replay  # noqa: E402

from tl_adapt.environments.base import make_environment  # noqa: E402
from tl_adapt.errors import TlAdaptError  # noqa: E402

pytestmark = pytest.mark.ros


@contextlib.contextmanager
def replaying(folder, change=lambda content: None, **options):
    study = small_replay(folder, change, **options)
    environment = make_environment(study, 'drive')
    try:
        yield study.space.default(), environment
    finally:
        environment.close()


def drive(content):
    return content['environments']['drive']


def test_a_configuration_is_measured_against_the_recorded_truth(tmp_path):
    with replaying(tmp_path) as (default, environment):
        first = environment.measure({**default, 'bias': 0.1, 'work': 0.02}, 3)
        second = environment.measure({**default, 'bias': 0.4}, 3)
    assert first.valid and second.valid, (first.reason, second.reason)
    assert first.metrics['error'] == pytest.approx(0.1, abs=0.001)
    assert second.metrics['error'] == pytest.approx(0.4, abs=0.001)
    assert first.metrics['latency'] > 0.02 > 0.5 * second.metrics['latency']
    # 20 scans in 2 s, each with 20 ms of work.
    assert 0.2 <= first.metrics['cpu'] <= 0.6
    mission, = first.provenance['missions']
    assert mission['sent'] == {'/odom': 40, '/scan': 20}
    assert mission['answered'] == 20
    assert first.provenance['parameters']['/localizer']['bias'] == 0.1


def test_a_study_without_a_mission_sets_its_configurations_too(tmp_path):
    def whole(content):
        del content['mission']

    with replaying(tmp_path, whole) as (default, environment):
        got = environment.measure({**default, 'bias': 0.4}, 1)
    assert got.valid, got.reason
    assert got.provenance['parameters']['/localizer']['bias'] == 0.4
    assert got.metrics['error'] == pytest.approx(0.4, abs=0.001)


def test_a_worker_may_read_as_long_as_it_may_replay(tmp_path):
    with replaying(tmp_path) as (_, environment):
        assert environment._reading_time() == 60.0 + environment._mission_time() > 60.0


def test_what_answers_not_each_time_is_told_to_be_so(tmp_path):
    def some(content):
        drive(content)['answer']['ratio'] = 0.5

    def most(content):
        drive(content)['answer']['ratio'] = 0.9

    for change, valid in ((some, True), (most, False)):
        with replaying(tmp_path, change) as (default, environment):
            got = environment.measure({**default, 'behaviour': 'half'}, 1)
        assert got.valid == valid, got.reason
    assert 'answered 13 of 20 messages on topic /scan, fewer than 0.9' in got.reason


def test_at_a_rate_nothing_may_be_lost_either(tmp_path):
    def at_a_rate(content):
        drive(content).update(rate=1.0, answer_timeout=30.0)

    with replaying(tmp_path, at_a_rate) as (default, environment):
        got = environment.measure(default, 1)
        # 20 scans in 2 s, which need 6 s: the queue of 10 overflows.
        slow = environment.measure({**default, 'work': 0.3}, 1)
    assert got.valid, got.reason
    assert got.provenance['missions'][0]['wall_time'] >= 1.9
    assert not slow.valid
    assert 'of 20 messages on topic /scan, fewer than 1' in slow.reason


@pytest.mark.parametrize(('behaviour', 'reason'), [
    ('die', 'node /localizer died (exit code 3)'),
    ('mute', 'no answer to message 6 on topic /scan'),
    ('hang', 'no answer to message 6 on topic /scan'),
])
def test_software_that_fails_makes_the_measurement_invalid(tmp_path, behaviour, reason):
    with replaying(tmp_path) as (default, environment):
        got = environment.measure({**default, 'behaviour': behaviour}, 1)
        again = environment.measure(default, 1)
    assert not got.valid and reason in got.reason
    assert again.valid, again.reason


def test_a_value_that_the_software_refuses_makes_the_measurement_invalid(tmp_path):
    with replaying(tmp_path) as (default, environment):
        got = environment.measure({**default, 'bias': 0.9}, 1)
        again = environment.measure({**default, 'bias': 0.8, 'model': 2}, 1)
    assert got.reason == 'set of /localizer bias refused: bias must be <= 0.8'
    assert again.valid, again.reason
    assert again.provenance['parameters']['/localizer']['model'] == 2


def test_software_that_commands_the_robot_is_refused_once_it_is_seen_to(tmp_path):
    def controller(content):
        for parameter in content['parameters'].values():
            parameter['targets'][0]['node'] = 'controller'
        content['metrics'] = {'error': content['metrics']['error']}
        del content['mission']
        drive(content)['bringup'] = [
            {'name': 'controller', 'command': [*PYTHON, 'controller'], 'nodes': ['controller']},
        ]

    with replaying(tmp_path, controller) as (default, environment):
        for _ in range(2):
            with pytest.raises(TlAdaptError) as caught:
                environment.measure(default, 1)
    text = str(caught.value)
    assert 'environments.drive.bringup: node /controller is in a closed loop' in text
    assert 'geometry_msgs/msg/TwistStamped on topic /cmd_vel tells the robot to move' in text


def test_an_input_that_nothing_listens_to_does_not_fit(tmp_path):
    def deaf(content):
        drive(content)['inputs'].append('cmd_vel')
        drive(content)['startup_timeout'] = 5.0

    rule = 'listens on input topic /cmd_vel within 5 s'
    with replaying(tmp_path, deaf) as (default, environment), pytest.raises(
        TlAdaptError, match=rule
    ):
        environment.measure(default, 1)


def test_each_replay_may_have_a_process_of_its_own(tmp_path):
    def fresh(content):
        drive(content)['fresh_start'] = True

    with replaying(tmp_path, fresh) as (default, environment):
        got = [environment.measure(default, 1) for _ in range(2)]
    assert [one.metrics['error'] for one in got] == [got[0].metrics['error']] * 2
    assert all(one.valid for one in got)


def test_the_study_is_sound():
    from tl_adapt.study import study_from_dict

    assert study_from_dict(replay_study('a bag')).source.kind == 'replay'
