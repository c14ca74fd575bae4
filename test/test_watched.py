# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for which metrics can be watched, and that those of limits are asked for."""

import dataclasses
import math

import pytest
from test_policy import StandIn, confirm

from tl_adapt.adaptation.events import Level, Start, Window
from tl_adapt.adaptation.making import make_policy
from tl_adapt.adaptation.watched import watched_metrics
from tl_adapt.study import load_study


@pytest.fixture(scope='module')
def study():
    return load_study('demo')


def test_windows_of_time_tell_nothing_of_missions(study):
    whole = {metric.name for metric in watched_metrics(study)}
    assert {'mission_time', 'success', 'clearance'} <= whole
    adaptation = {**study.adaptation, 'window': 4.0}
    timed = watched_metrics(dataclasses.replace(study, adaptation=adaptation))
    assert whole - {metric.name for metric in timed} == {'mission_time', 'success'}


def test_a_studys_policy_misses_the_number_of_a_limit(study):
    policy = make_policy(study, StandIn(), study.space.default())
    confirm(policy, policy.handle(Start()))
    metrics = {'time': 10.0, **{metric.name: 0.2 for metric in watched_metrics(study)}}
    for value, level in ((0.2, Level.OK), (math.nan, Level.WARN)):
        for _ in range(3):
            window = Window({**metrics, 'clearance': value}, '', 20.0, dict(policy.current))
            policy.handle(window)
        assert ('no number for clearance' in policy.status.reason) is (level is Level.WARN)
