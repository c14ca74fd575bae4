# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""A small study, and how to change one place of it."""

import pytest
import yaml

from tl_adapt.errors import InputError

SMALL = '''
version: 1
name: small
parameters:
  v: {type: double, range: [0.1, 1.0], default: 0.5, targets: [{node: driver}]}
  n: {type: int, range: [1, 9], default: 3, targets: [{node: driver, name: count}]}
  mode: {type: string, choices: [slow, fast], default: slow, targets: [{node: /driver}]}
constraints:
  - v <= n
metrics:
  time: {reduction: time_to_goal, direction: minimize, scale: log, failed: 60}
  gap: {reduction: min, topic: scan, field: ranges, array: min, direction: maximize}
  load: {reduction: cpu, nodes: [driver], direction: minimize}
objectives:
  - {metric: time, weight: 2.0, reference: 10.0}
  - {metric: gap}
limits:
  - gap >= 0.1
mission:
  goals: [[1, 2, 0]]
  timeout: 30
environments:
  sim: {kind: stack, role: source, identity: {hardware: none}}
  robot: {kind: stack, role: target, cost: 10}
'''


def write(tmp_path, text):
    path = tmp_path / 'study.yaml'
    path.write_text(text, encoding='utf-8')
    return path


def changed(*keys, value=None, remove=False):
    """Return the small study's content with one place changed."""
    data = yaml.safe_load(SMALL)
    place = data
    for key in keys[:-1]:
        place = place[key]
    if remove:
        del place[keys[-1]]
    elif isinstance(place, list) and keys[-1] == len(place):
        place.append(value)
    else:
        place[keys[-1]] = value
    return data


def error_of(load, *args):
    with pytest.raises(InputError) as caught:
        load(*args)
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    return text
