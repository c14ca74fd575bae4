# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import os
import re
import sys

import pytest
from small_study import SMALL, error_of, write

from tl_adapt import study_file
from tl_adapt.cli import main
from tl_adapt.study import load_study


@pytest.mark.parametrize(
    'old, new, message',
    [
        ('  n: {', '  v: {', r'parameters\.v: the key is given twice \(lines 5 and 6\)'),
        ('weight: 2.0', 'metric: gap', r'objectives\[0\]\.metric: the key is given twice'),
        ('weight: 2.0', 'weight: 1e1', r'objectives\[0\]\.weight: must be a number \(YAML reads'),
        ('weight: 2.0', 'weight: .nan', r'objectives\[0\]\.weight: must be finite, got nan'),
        ('choices: [slow, fast]', 'choices: [on, off]', r'mode\.choices\[0\]: must be text \('),
        ('  v: {', '  on: {', r'parameters: a key must be text \(YAML reads on.*got True'),
        ('  v: {', '  1: {', r'parameters: a key must be text, got 1'),
        ('timeout: 30', 'timeout: 1:30', r'mission\.timeout: YAML reads this as a number to the'),
        ('timeout: 30', 'timeout: 030', r'mission\.timeout: YAML reads this as an octal number'),
        ('hardware: none', 'hardware: no', r'identity\.hardware: must be text \(YAML reads on'),
        ('hardware: none', 'hardware: 2024-01-01', r'identity\.hardware: is a date for YAML'),
        ('hardware: none', 'hardware: ~', r'identity\.hardware: has no value'),
        ('hardware: none', 'hardware: 1.2', r'identity\.hardware: must be text, got 1\.2'),
        ('version: 1', 'version: [1', r'not YAML \(line \d+, column \d+\): '),
        ('version: 1', '\tversion: 1', r'not YAML \(line 2, column 1\): '),
        ('version: 1', 'version: !!python/object:os.system 1', r'not YAML \(line 2.*constructor'),
        ('version: 1', 'version: *nothing', r'not YAML .*undefined alias'),
        ('version: 1', 'version: 1\n---\na: 1', r'not YAML .*'),
        ('hardware: none', 'hardware: &a [*a]', r'identity\.hardware\[0\]: an alias makes'),
    ],
)
def test_mistakes_of_yaml(tmp_path, old, new, message):
    assert old in SMALL
    path = write(tmp_path, SMALL.replace(old, new))
    text = error_of(load_study, path)
    assert text.startswith(f'{path}: ')
    assert re.search(message, text), text


@pytest.mark.parametrize(
    'content, message',
    [
        (b'', 'a study must be a mapping, got None'),
        (b'- 1\n- 2\n', 'a study must be a mapping, got [1, 2]'),
        (b'just text', "a study must be a mapping, got 'just text'"),
        (b'\xff\xfe\x00\x01\x02', 'can not be read'),
        (b'a: \x00', 'not YAML'),
    ],
)
def test_files_that_are_no_study(tmp_path, content, message):
    path = tmp_path / 'study.yaml'
    path.write_bytes(content)
    assert message in error_of(load_study, path)


def test_a_bomb_of_aliases_is_refused(tmp_path):
    lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x]']
    lines += [f'a{i}: &a{i} [{", ".join([f"*a{i - 1}"] * 9)}]' for i in range(1, 10)]
    path = write(tmp_path, '\n'.join(lines))
    assert 'an alias makes the content endless' in error_of(load_study, path)


def test_missing_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('nothing.yaml', 'nothing', str(tmp_path / 'demo'), '../demo'):
        assert error_of(load_study, name) == (
            f'{name}: no such file, and no study of that name is shipped'
        )
    assert 'is a folder, not a study file' in error_of(load_study, tmp_path)
    assert error_of(load_study, os.devnull) == f'{os.devnull}: is no regular file'
    assert error_of(load_study, '').startswith('STUDY: must name a study file')
    for name in ('n' * 5000, 'null\0byte.yaml', '~no_such_user/study.yaml'):
        assert error_of(load_study, name).startswith(name)
    (tmp_path / 'demo').mkdir()
    assert load_study('demo').name == 'demo'  # a folder of that name is no study


def test_shipped_files_are_found_in_an_installation(tmp_path, monkeypatch):
    package = tmp_path / 'lib' / 'python3' / 'site-packages' / 'tl_adapt'
    config = tmp_path / 'share' / 'tl_adapt' / 'config'
    package.mkdir(parents=True)
    config.mkdir(parents=True)
    (config / 'small.yaml').write_text(SMALL, encoding='utf-8')
    monkeypatch.setattr(study_file.tl_adapt, '__file__', str(package / '__init__.py'))
    assert load_study('small').path == config / 'small.yaml'
    elsewhere = tmp_path / 'elsewhere' / 'tl_adapt'
    monkeypatch.setattr(study_file.tl_adapt, '__file__', str(elsewhere / '__init__.py'))
    monkeypatch.setattr(sys, 'prefix', str(tmp_path))
    assert study_file.shipped_file('small.yaml') == config / 'small.yaml'
    assert study_file.shipped_file('other.yaml') is None


# --- the verb -----------------------------------------------------------------------------------


def test_check_prints_a_summary(capsys):
    assert main(['check', 'demo']) == 0
    out = capsys.readouterr().out
    for part in ('parameters: 20 (endless)', 'max_vel_x <= acc_lim_x * 1.5', 'mission_time',
                 'objectives: 4', 'clearance >= 0.05', 'simulation', 'budget: '):  # fmt: skip
        assert part in out
    assert all(len(line) < 140 for line in out.splitlines()[1:])


def test_check_tells_what_the_adapter_will_do(tmp_path, capsys):
    path = write(tmp_path, '''
extends: demo
name: watched
adaptation:
  window: 10
  explore: 3
  journal_days: 30
  contexts:
    - {name: load, topic: load, field: data / 2, edges: [0.5, 1.5], hysteresis: 0.1, age: 10}
    - {name: room, topic: pose, polygons: {hall: [[0, 0], [4, 0], [4, 4]]}, hold: 2}
    - {name: floor, topic: floor, field: data}
  explore_when: {topic: may, field: data, op: '>', value: 2, age: 3}
  restart: {navigator: [restart, '{parameters}']}
''')
    assert main(['check', str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    begin = lines.index('adaptation: of robot')
    found = dict(line.strip().split('  ', 1) for line in lines[begin + 1:begin + 15])
    assert {name: text.strip() for name, text in found.items()} == {
        'window': '10 s', 'stride': '2.5 s', 'explore': '3', 'journal_days': '30',
        'minimum_gain': '0.02', 'false_alarms': '0.002', 'dwell': '1', 'confirm': '2', 'band': '3',
        'explore_when': 'may: data > 2, no older than 3 s',
        'context load': 'load: data / 2; edges 0.5, 1.5; hysteresis 0.1; hold 1 s; age 10 s',
        'context room': 'pose: position; in hall, or elsewhere; hold 2 s',
        'context floor': 'floor: data; hold 1 s',
        'restart navigator': "restart '{parameters}'",
    }
    assert lines[begin + 15].startswith('budget: ')


def test_check_of_other_kinds(tmp_path, capsys):
    text = '''
version: 1
name: other
parameters:
  b: {type: bool, default: true}
  s: {type: string, choices: [x, y], default: y}
metrics:
  latency: {direction: minimize}
objectives: [{metric: latency}]
environments:
  old: {kind: table, role: source, file: old.csv}
'''
    path = write(tmp_path, text)
    assert main(['check', str(path)]) == 2
    assert 'environments.old.file' in capsys.readouterr().err
    (tmp_path / 'old.csv').write_text('b,s,latency\ntrue,x,1.5\n', encoding='utf-8')
    assert main(['check', str(path)]) == 0
    assert 'parameters: 2 (4 configurations)' in capsys.readouterr().out


def test_check_says_what_is_wrong(tmp_path, capsys):
    path = write(tmp_path, SMALL.replace('range: [0.1, 1.0]', 'range: [1.0, 0.1]'))
    assert main(['check', str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ''
    assert captured.err == (
        f'tl_adapt: error: {path}: parameters.v.range: low <= high must hold, got [1.0, 0.1]\n'
    )
