# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Two bags as source and target, like any other environments."""

import copy

import pytest

pytest.importorskip('rclpy')
pytest.importorskip('rosbags')

from small_bag import small_replay, write_bag  # noqa: E402

from tl_adapt import cli  # noqa: E402
from tl_adapt.store import Store  # noqa: E402

pytestmark = pytest.mark.ros


def test_last_weeks_bag_is_a_source_for_todays(tmp_path, capsys):
    def two_bags(content):
        for name in ('behaviour', 'model', 'work'):
            del content['parameters'][name]
        content['parameters']['bias']['range'] = [0.0, 0.8]
        content['metrics'] = {'error': {**content['metrics']['error'], 'scale': 'log'}}
        content['budget'] = {'source': 6, 'target': 2}
        environments = content['environments']
        environments['last_week'] = environments.pop('drive')
        environments['today'] = copy.deepcopy(environments['last_week'])
        environments['today'].update(
            role='target', bag=str(write_bag(tmp_path / 'today', seconds=1.0))
        )

    study = small_replay(tmp_path, two_bags, seconds=1.0)
    output = ['--output', str(tmp_path / 'output')]
    assert cli.main(['campaign', str(study.path), *output, '--no-traces']) == 0
    assert cli.main(['transfer', str(study.path), *output]) == 0
    path = tmp_path / 'output/small_replay.sqlite'
    with Store(path, study=study) as store:
        source, target = store.get(environment='last_week'), store.get(environment='today')
    assert len(source) == 6 and target
    assert all(m.valid for m in [*source, *target])
    # The error grows with the bias, which the target's runs need not find out again.
    assert min(m.metrics['error'] for m in target) < 0.05
    capsys.readouterr()
    words = ['replay', str(study.path), '--environment', 'today', '--configurations', '6']
    assert cli.main([*words, *output, '--no-traces']) == 0
    assert cli.main(['similarity', str(study.path), '--store', str(path)]) == 0
    assert 'last_week' in capsys.readouterr().out
