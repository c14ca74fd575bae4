# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""The verb `replay` from end to end, on a small bag."""

import os
import re
import signal
import subprocess
import sys

import pytest
import yaml

pytest.importorskip('rclpy')
pytest.importorskip('rosbags')

from small_bag import small_replay, write_bag  # noqa: E402

from tl_adapt import cli  # noqa: E402
from tl_adapt.store import Store  # noqa: E402

pytestmark = pytest.mark.ros


def two_parameters(content):
    """Keep a space that a model learns from few rows."""
    for name in ('behaviour', 'model'):
        del content['parameters'][name]
    del content['metrics']['cpu']


@pytest.fixture
def study(tmp_path):
    return small_replay(tmp_path, two_parameters, seconds=1.0)


def test_configurations_are_replayed_kept_and_the_best_found_again(study, tmp_path, capsys):
    words = ['replay', str(study.path), '--output', str(tmp_path / 'output')]
    listed = tmp_path / 'configurations.yaml'
    listed.write_text(yaml.safe_dump([{'bias': 0.5}, {'bias': 0.02, 'work': 0.01}, {'bias': 0.8}]))
    assert cli.main([*words, '--configurations', str(listed)]) == 0
    text = capsys.readouterr().out
    assert '3 measured' in text and '0 of 3 are invalid' in text
    # The best comes first: it's the one with the least bias.
    row = next(line for line in text.splitlines() if re.match(r'1 ', line))
    assert row.split()[-2:] == ['0.02', '0.01']
    assert re.search(r'3 s of the bag replayed in \d+ s: [\d.]+ times real time', text)
    assert len(list((tmp_path / 'output/traces').glob('drive-*.npz'))) == 3
    assert cli.main([*words, '--configurations', str(listed)]) == 0
    assert '0 measured' in capsys.readouterr().out
    assert cli.main([*words, '--configurations', 'top:2']) == 0
    text = capsys.readouterr().out
    assert '(default)' in text
    with Store(tmp_path / 'output/small_replay.sqlite', study=study) as store:
        rows = store.get(environment='drive')
    default, *best = rows[3:]
    assert default.configuration == study.space.default()
    assert best and all(m.valid and m.metrics['error'] < 0.3 for m in best)


def test_another_bag_makes_another_environment(study, tmp_path, capsys):
    other = write_bag(tmp_path / 'other', seconds=1.0)
    words = ['replay', str(other), '--study', str(study.path), '--output', str(tmp_path / 'out'),
             '--configurations', '1', '--no-traces']
    assert cli.main(words) == 0
    text = capsys.readouterr().out
    path = re.search(r'study with this bag, for other verbs: (.*)', text)[1]
    assert cli.main(['check', path]) == 0
    with Store(tmp_path / 'out/small_replay.sqlite', study=study) as store:
        assert store.get(environment='drive') == []
        assert store.left_out() == 1


@pytest.mark.parametrize(('words', 'problem'), [
    (['--configurations', '0'], "--configurations: must be between 1 and 100000, got '0'"),
    (['--configurations', 'top:0'], '--configurations: K must be between 1 and 100000, got 0'),
    (['--configurations', 'nothing.yaml'], 'must be a number, a file, or top:K'),
    (['--configurations', 'top:3'], 'top:3 takes the best of what was measured'),
    (['--workers', '0'], '--workers: must be at least 1, got 0'),
    (['--environment', 'moon'], 'unknown environment; known are drive'),
    (['no_such_bag'], 'no_such_bag: there is no such bag'),
])
def test_mistakes_are_told_before_anything_is_started(study, tmp_path, capsys, words, problem):
    output = tmp_path / 'output'
    assert cli.main(['replay', str(study.path), *words, '--output', str(output)]) == 2
    assert problem in capsys.readouterr().err
    assert not (output / 'traces').exists()


def test_a_list_with_a_mistake_names_its_place(study, tmp_path, capsys):
    listed = tmp_path / 'list.yaml'
    listed.write_text('- {bias: 0.5}\n- {bias: 7.0}\n')
    words = ['replay', str(study.path), '--configurations', str(listed)]
    assert cli.main([*words, '--output', str(tmp_path)]) == 2
    assert re.search(r'list.yaml: \[1\]\.?.*bias', capsys.readouterr().err)
    listed.write_text('bias: 0.5\nbias: 0.6\n')
    assert cli.main([*words, '--output', str(tmp_path)]) == 2
    assert 'list.yaml: bias' in capsys.readouterr().err


def test_a_bag_alone_asks_for_the_study(tmp_path, capsys):
    bag = write_bag(tmp_path / 'bag', seconds=0.5)
    assert cli.main(['replay', str(bag)]) == 2
    assert '--study: is required' in capsys.readouterr().err


def test_ctrl_c_keeps_what_was_measured_and_the_next_goes_on(study, tmp_path):
    command = [
        sys.executable, '-m', 'tl_adapt', 'replay', str(study.path), '--configurations', '40',
        '--output', str(tmp_path / 'output'), '--no-traces',
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    try:
        for line in process.stderr:
            if re.search(r'drive: [2-9]/40', line):
                break
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60.0)
    finally:
        process.kill()
    assert process.returncode == 130
    assert 'interrupted: what was measured is kept' in out
    with Store(tmp_path / 'output/small_replay.sqlite', study=study) as store:
        rows = store.get(environment='drive')
    assert 2 <= len(rows) < 40 and all(m.valid for m in rows)
