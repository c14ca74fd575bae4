# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""What a replay takes from a bag, without any ROS."""

import pytest

pytest.importorskip('rosbags')

import recorded_missions as missions  # noqa: E402
from bag_files import write_bag  # noqa: E402
from small_bag import SPEED, START, small_replay  # noqa: E402

from tl_adapt.bags import recorded  # noqa: E402
from tl_adapt.bags.replayed import ReplayedBag  # noqa: E402
from tl_adapt.campaign import campaign_runs  # noqa: E402
from tl_adapt.environments.replay import ReplayEnvironment  # noqa: E402
from tl_adapt.errors import InputError  # noqa: E402
from tl_adapt.study import load_study, study_from_dict  # noqa: E402


def drive(content):
    return content['environments']['drive']


def add_other(content):
    """Add a parameter of a node that is not replayed."""
    content['parameters']['speed'] = {
        'type': 'double', 'range': [0.0, 2.0], 'default': 1.0, 'targets': [{'node': 'navigator'}],
    }


def opened(study):
    return ReplayedBag(study, study.source)


def refused(folder, change=lambda content: None, **options):
    study = small_replay(folder, change, **options)
    with pytest.raises(InputError) as caught:
        opened(study)
    return caught.value


def test_a_bag_without_goals_is_one_mission(tmp_path):
    bag = opened(small_replay(tmp_path))
    mission, = bag.missions
    messages = list(bag.messages(mission))
    bag.close()
    assert [topic for topic, _, _ in messages].count('/scan') == 20
    assert messages == sorted(messages, key=lambda message: message[1])
    assert messages[0][1] >= START
    assert bag.held == {}
    assert set(mission.trace.topics) == {'ground_truth', 'scan'}
    assert len(mission.trace.topics['ground_truth']) == 40


def test_the_reference_says_where_a_mission_starts(tmp_path):
    bag = opened(small_replay(tmp_path))
    mission, = bag.missions
    x, y, yaw = bag.pose_of('/ground_truth', mission)
    assert (x, y, yaw) == (pytest.approx(SPEED * 0.05), 0.0, 0.0)
    assert bag.pose_of('/nothing', mission) is None
    assert bag.initial_pose('/initialpose', mission) is None
    bag.close()


def test_a_missing_input_is_named(tmp_path):
    error = refused(tmp_path, without=['/odom'])
    assert error.key == 'environments.drive.inputs[0]'
    assert 'it has /cmd_vel, /ground_truth, /scan' in error.rule
    assert error.value == 'odom'


def test_a_missing_reference_is_named(tmp_path):
    error = refused(tmp_path, without=['/ground_truth'])
    assert error.key == 'metrics.error.reference'
    assert 'nor among environments.drive.outputs' in error.rule


def test_an_output_that_was_recorded_as_a_command_is_refused(tmp_path):
    def command(content):
        drive(content)['outputs'] = ['pose', 'motion']

    def open_loop(content):
        command(content)
        drive(content)['open_loop'] = ['motion']

    error = refused(tmp_path, command, renamed={'/cmd_vel': '/motion'})
    assert error.key == 'environments.drive.outputs[1]'
    assert 'localizer is in a closed loop' in error.rule
    assert 'geometry_msgs/msg/TwistStamped on topic /motion tells the robot' in error.rule
    opened(small_replay(tmp_path, open_loop)).close()


def test_there_must_be_a_bag(tmp_path):
    def elsewhere(content):
        drive(content)['bag'] = 'nowhere'

    error = refused(tmp_path, elsewhere)
    assert error.key == 'environments.drive.bag'
    assert 'there is no such bag' in error.rule


def test_a_damaged_bag_is_refused_with_what_is_wrong(tmp_path):
    small_replay(tmp_path, seconds=60.0)
    file, = (tmp_path / 'drive').glob('*.mcap')
    whole = file.read_bytes()
    middle = len(whole) // 2
    file.write_bytes(whole[:middle] + bytes(3000) + whole[middle + 3000 :])
    error = refused(tmp_path)
    assert error.key == 'environments.drive.bag'
    assert 'messages of it may be lost' in error.rule and str(file) in error.rule
    file.write_bytes(whole[:40])
    error = refused(tmp_path)
    assert 'it has no topics' in error.rule and 'the file is cut off or damaged' in error.rule


def test_what_is_left_of_a_bag_that_was_cut_off_is_replayed(tmp_path):
    study = small_replay(tmp_path, seconds=60.0)
    file, = (tmp_path / 'drive').glob('*.mcap')
    whole = file.read_bytes()
    for share in (0.1, 0.9):
        file.write_bytes(whole[: int(share * len(whole))])
        bag = opened(study)
        mission, = bag.missions
        assert mission.seconds == pytest.approx(60.0 * share, rel=0.05)
        assert 'the file is cut off' in bag.source['damage'][0]
        bag.close()


def test_a_mission_that_is_not_there_is_refused(tmp_path):
    def third(content):
        drive(content)['missions'] = [3]

    error = refused(tmp_path, third)
    assert (error.key, error.value) == ('environments.drive.missions[0]', 3)
    assert 'has 1 missions' in error.rule


def test_what_is_not_replayed_keeps_the_recorded_value(tmp_path):
    error = refused(tmp_path, add_other)
    assert 'does not tell the value of speed, and node navigator is not replayed' in error.rule
    (tmp_path / 'drive.yaml').write_text('speed: 0.5\n')
    study = small_replay(tmp_path, add_other)
    environment = ReplayEnvironment(study, 'drive')
    assert environment.held == {'speed': 0.5}
    runs = campaign_runs(study, 'drive', 8, seed=1)
    assert len(runs) == 8
    assert {run.configuration['speed'] for run in runs} == {0.5}
    assert len({run.configuration['bias'] for run in runs}) == 8
    assert all(c['speed'] == 0.5 for c in environment.configurations())
    with pytest.raises(InputError, match='speed: must be 0.5, as when the bag of drive was'):
        environment.measure(study.space.default(), 1)
    environment.close()


def demo_replay(folder, **options):
    return study_from_dict({
        'extends': [str(load_study('demo_replay').path)], 'name': 'demo_replay',
        'environments': {'drive': {'bag': str(folder / 'bag'), 'inputs': ['scan'], **options}},
    }, folder / 'study.yaml')


def two_missions(folder, *before, described=True):
    """Write a bag in which the simulation begins anew with the second mission."""
    first, log = missions.mission(1, seconds=6.0)
    second, log = missions.mission(2, seconds=4.0, log=log + 3 * missions.SECOND)
    raw = recorded.encode_recording({'environment': 'robot'})
    kind = recorded.TYPES[recorded.RECORDING]
    said = [missions.Raw(recorded.RECORDING, missions.WALL - 2000, kind, raw)] * described
    write_bag(folder / 'bag', [*said, *before, *first, *second])


def test_missions_of_one_bag_are_told_apart_though_time_begins_anew(tmp_path):
    two_missions(tmp_path)
    bag = opened(demo_replay(tmp_path))
    lengths = [round(mission.seconds, 1) for mission in bag.missions]
    assert [mission.drive.number for mission in bag.missions] == [1, 2]
    assert lengths == [pytest.approx(5.95, abs=0.1), pytest.approx(3.95, abs=0.1)]
    counts = []
    for mission in bag.missions:
        times = [time for _, time, _ in bag.messages(mission)]
        assert times == sorted(times)
        assert mission.drive.start_ns <= times[0] <= times[-1] <= mission.drive.end_ns
        counts.append(len(times))
        truth = mission.trace.topics['ground_truth'].stamp_ns
        assert mission.drive.start_ns <= truth[0] < truth[-1] <= mission.drive.end_ns
    # A scan each 0.2 s.
    assert counts == [30, 20]
    bag.close()
    two_missions(tmp_path / 'other', described=False)
    bag = opened(demo_replay(tmp_path / 'other', missions=[2], recorded_in='robot'))
    assert [mission.drive.number for mission in bag.missions] == [2]
    bag.close()


def test_the_initial_pose_of_one_mission_is_not_that_of_the_next(tmp_path):
    told = missions.located('/initialpose', missions.WALL - 1000, 0, -2.3, -2.3)
    two_missions(tmp_path, told)
    bag = opened(demo_replay(tmp_path))
    found = [bag.initial_pose('/initialpose', mission) for mission in bag.missions]
    bag.close()
    assert found == [told.raw, None]


def test_where_a_bag_was_recorded_has_to_be_a_stack(tmp_path):
    two_missions(tmp_path, described=False)
    for name in ('moon', 'drive'):
        with pytest.raises(InputError) as caught:
            demo_replay(tmp_path, recorded_in=name)
        assert caught.value.key == 'environments.drive.recorded_in'
        assert 'must be an environment of kind stack: robot' in caught.value.rule
