# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests that evaluated bags can be compared and estimated from, as README.md says."""

import json

import pytest
import yaml

pytest.importorskip('rosbags')
pytest.importorskip('mcap')

from bag_files import write_bag  # noqa: E402
from recorded_missions import DEMO, SECOND, WALL, mission, parameters  # noqa: E402

from tl_adapt.cli import main  # noqa: E402

DEFAULT = DEMO.space.default()
SPEEDS = (0.2, 0.26, 0.32, 0.38, 0.44, 0.5, 0.56, 0.6)
WEEKS = {
    'name': 'weeks',
    'extends': ['demo'],
    'environments': {
        'last_week': {'kind': 'stack', 'role': 'test', 'identity': {'workload': 'week 7'}},
        'today': {'kind': 'stack', 'role': 'test', 'identity': {'workload': 'week 8'}},
    },
}


def week(folder, begin, slower):
    """Write a bag for each speed; a mission takes the longer the slower the robot is."""
    for number, speed in enumerate(SPEEDS):
        log = begin + number * 100 * SECOND
        found, _ = mission(number + 1, log=log + SECOND, seconds=slower * 2.4 / speed)
        told = parameters(log, {**DEFAULT, 'max_vel_x': speed})
        write_bag(folder / f'bag{number}', [*told, *found])
    return [str(path) for path in sorted(folder.iterdir())]


def test_the_bags_of_two_weeks_are_two_environments(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = tmp_path / 'weeks.yaml'
    study.write_text(yaml.safe_dump(WEEKS))
    for name, begin, slower in (('last_week', WALL, 1.0), ('today', WALL + 10**15, 1.3)):
        (tmp_path / name).mkdir()
        bags = week(tmp_path / name, begin, slower)
        assert main(['evaluate', str(study), *bags, '--environment', name]) == 0
    assert f'{len(SPEEDS)} measurements added' in capsys.readouterr().out

    assert main([
        'similarity', str(study), '--source', 'last_week', '--target', 'today', '--metric',
        'mission_time', '--json', 'similarity.json',
    ]) == 0
    printed = capsys.readouterr().out
    assert f'source: last_week, {len(SPEEDS)} configurations, {len(SPEEDS)} valid' in printed
    assert 'M1' in printed

    assert main([
        'estimate', str(study), '--environment', 'today', '--source', 'last_week', '--set',
        'max_vel_x=0.35', '--metric', 'mission_time', '--json', 'estimate.json',
    ]) == 0
    printed = capsys.readouterr().out
    assert 'weeks/today: 8 missions of 8 recordings' in printed
    found = json.loads((tmp_path / 'estimate.json').read_text())
    one = found['candidates'][0]['estimates']['mission_time']
    assert one['low'] < 1.3 * 2.4 / 0.35 < one['high']
    assert one['support'] > 0.5
    assert one['high'] / one['low'] < 1.5
