# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for what the adapter's diagnostics say of it."""

import dataclasses
import json
import math

import pytest

pytestmark = pytest.mark.ros
pytest.importorskip('rclpy')

from tl_adapt.adaptation.events import Level, State, Status  # noqa: E402
from tl_adapt.ros.apply import Obstacle  # noqa: E402
from tl_adapt.ros.diagnostics import Diagnostics  # noqa: E402
from tl_adapt.ros.report import Report  # noqa: E402
from tl_adapt.ros.settings import Settings  # noqa: E402
from tl_adapt.study import load_study  # noqa: E402

CONCERNS = ['state', 'metrics', 'topics', 'parameters', 'journal', 'settings']


@pytest.fixture(scope='module')
def study():
    return load_study('demo')


def told(study, *, status=None, store='output/demo.sqlite', node='/adapter', **report):
    """Return the statuses by concern: (level, message, values)."""
    present = Status(**{
        'state': State.WATCHING, 'level': Level.OK, 'reason': 'as predicted',
        'configuration': study.space.default(), 'windows': 3, 'judged': 3, 'changes': 1,
        'replans': 0, 'explored': 0, 'quarantined': 0, 'settled': True,
        'metrics': {'mission_time': 20.0, 'clearance': 0.2},
        'bands': {'mission_time': (15.0, 25.0)}, 'residuals': {'mission_time': 0.5},
        'outcome': '', **(status or {}),
    })
    made = Report.of(present, **{
        'waiting': None, 'late': False, 'connecting': False, 'error': '',
        'settings': Settings(), 'settled': True, 'advice': '', 'silent': (), 'trouble': '',
        **report,
    })
    limits = list(study.limits)

    def broken(metrics):
        return [one.text for one in limits
                if one.metric in metrics and not one.kept(metrics[one.metric])]

    array = Diagnostics(
        study, node=node, hardware='robot 1', store=store, broken=broken).of(made)
    found = {}
    for one in array.status:
        prefix, _, concern = one.name.partition(': ')
        assert prefix == f'{node.strip("/")}/demo'
        assert one.hardware_id == 'robot 1'
        assert one.message and '\n' not in one.message
        assert len({pair.key for pair in one.values}) == len(one.values)
        found[concern] = one.level[0], one.message, {p.key: p.value for p in one.values}
    assert list(found) == CONCERNS
    return found


CASES = {
    'calm': {},
    'new': {'status': {'windows': 0, 'metrics': {}, 'bands': {}, 'residuals': {},
                       'configuration': None, 'state': State.IDLE}},
    'paused': {'status': {'state': State.PAUSED, 'level': Level.WARN, 'reason': 'paused'}},
    'waits': {'waiting': Obstacle('node /a is not there'), 'late': True},
    'silent': {'silent': ('battery_state (since 3.0 s)', 'scan')},
    'trouble': {'trouble': 'it is full; 3 records wait to be written'},
    'advises': {'settings': Settings(dry_run=True), 'advice': "{'v': 1}"},
    'broken': {'status': {'metrics': {'clearance': 0.01}, 'bands': {}}},
    'failed': {'status': {'outcome': 'collision'}},
    'off': {'status': {'metrics': {'mission_time': 40.0}}},
    'blind': {'status': {'metrics': {'mission_time': math.nan, 'energy': 3.0}}},
    'ended': {'running': False},
    'fault': {'error': 'no plan: it is singular'},
}
LEVELS = {
    'new': {'parameters': 1}, 'paused': {'state': 1, 'parameters': 1},
    'waits': {'state': 2, 'parameters': 1}, 'silent': {'state': 1, 'topics': 1},
    'trouble': {'journal': 1}, 'broken': {'metrics': 1}, 'failed': {'metrics': 1},
    'off': {'metrics': 1}, 'blind': {'metrics': 1}, 'ended': dict.fromkeys(CONCERNS, 3),
    'fault': {'state': 2},
}


@pytest.mark.parametrize('case', CASES)
def test_levels_are_right_and_keys_always_the_same(study, case):
    found = told(study, **CASES[case])
    levels = {concern: level for concern, (level, _, _) in found.items() if level}
    assert levels == LEVELS.get(case, {})
    for concern, (_, _, values) in told(study).items():
        assert list(values) == list(found[concern][2])


def test_messages_are_for_people(study):
    messages = {
        case: {concern: message for concern, (_, message, _) in told(study, **given).items()}
        for case, given in CASES.items()
    }
    assert messages['calm']['metrics'] == 'as expected'
    assert messages['new']['metrics'] == 'no window has ended yet'
    assert messages['broken']['metrics'] == 'limit broken: clearance >= 0.05'
    assert messages['failed']['metrics'] == 'mission failed: collision'
    assert messages['off']['metrics'] == 'not as expected: mission_time'
    assert messages['silent']['topics'] == 'silent: battery_state (since 3.0 s), scan'
    assert messages['trouble']['journal'].startswith('it is full')
    assert messages['advises']['parameters'] == 'dry run: nothing is set'
    assert messages['waits']['state'] == 'node /a is not there'


def test_what_a_program_needs_is_in_the_first(study):
    values = told(study)['state'][2]
    assert json.loads(values['configuration']) == study.space.default()
    assert {'state', 'settled', 'windows', 'judged', 'changes', 'replans'} <= set(values)


def test_topics_and_values_are_told_one_by_one(study):
    found = told(study, silent=('odom (since 3.0 s)', 'scan'))
    assert {'scan': 'silent', 'battery_state': 'there'}.items() <= found['topics'][2].items()
    assert found['topics'][2]['odom'] == 'silent', 'also one that was not expected'
    assert found['metrics'][2]['metric.mission_time'] == '20'
    assert found['metrics'][2]['metric.energy'] == ''
    assert found['metrics'][2]['residual.mission_time'] == '+0.50'
    assert found['parameters'][2]['particles'] == '300'


def test_why_a_context_is_not_known_is_told(study):
    why = 'context c: topic scan has no field range'
    found = told(study, doubts={'scan': why})
    assert found['state'][:2] == (1, why)
    assert found['state'][2]['not_known'] == why
    assert found['topics'][:2] == (1, why)
    assert found['topics'][2]['scan'] == why
    assert told(study)['state'][2]['not_known'] == ''


def test_names_tell_robots_apart_and_no_journal_is_said(study):
    assert told(study, node='/r1/adapter')
    level, message, values = told(study, store='')['journal']
    assert (level, message, values['store']) == (0, 'none is kept', '')


def test_a_dry_run_is_no_error(study):
    failed = {'level': Level.ERROR, 'reason': 'not applied: dry run, nothing was sent'}
    settings = dataclasses.replace(Settings(), dry_run=True)
    level, message, _ = told(study, status=failed, settings=settings, advice='x')['state']
    assert (level, message) == (1, 'dry run: another configuration is advised')
