# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for the adapter's settings, and for the engine that goes by them."""

import dataclasses
import json
import math
import queue
from pathlib import Path

import pytest

pytestmark = pytest.mark.ros
rclpy = pytest.importorskip('rclpy')

from rcl_interfaces.msg import SetParametersResult  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from test_engine import CHOSEN, FALLBACK, NEXT, Rig  # noqa: E402

import tl_adapt  # noqa: E402
from tl_adapt.adaptation.events import (  # noqa: E402
    ForeignChange,
    Level,
    Paused,
    Resumed,
    RollbackRequested,
    Rules,
    RulesChanged,
    State,
)
from tl_adapt.errors import InputError  # noqa: E402
from tl_adapt.ros.settings import (  # noqa: E402
    OF_STUDY,
    Settings,
    SettingsChanged,
    declare_of_study,
)


@pytest.fixture
def rig():
    rig = Rig()
    yield rig
    rig.planner.go.set()
    rig.journal.go.set()
    assert rig.engine.stop()
    rig.close()


def change(rig, **values):
    """Let the operator change settings; return what the engine says when it goes by them."""
    before = rig.engine.settings
    after = before.changed(values)
    return rig.command(SettingsChanged(after, after.differences(before)))


@pytest.mark.parametrize('values', [
    {'explore': -1}, {'minimum_gain': -0.1}, {'minimum_gain': math.nan},
    {'minimum_gain': math.inf}, {'dwell': -1}, {'false_alarms': 0.0}, {'false_alarms': 0.2},
    {'publish_rate': 0.0}, {'publish_rate': math.nan}, {'publish_rate': 1e9},
])
def test_wrong_values_are_refused_by_name(values):
    (name, value), = values.items()
    with pytest.raises(InputError, match=name):
        Settings().changed(values)


def test_differences_are_told_and_a_dry_run_explores_nothing():
    before = Settings(Rules(explore=3))
    after = before.changed({'explore': 2, 'dry_run': True})
    assert after.differences(before) == 'dry_run: false -> true, explore: 3 -> 2'
    assert after.rules_in_force == dataclasses.replace(after.rules, explore=0)
    assert before.rules_in_force == before.rules
    assert set(before.values()) == set(after.values())


@pytest.mark.parametrize('ends', ['minimum', 'maximum'])
def test_whatever_a_study_may_say_can_be_set(graph, ends):
    schema = json.loads(Path(tl_adapt.__file__).with_name('study_schema.json').read_text())
    entries = schema['properties']['adaptation']['properties']
    rules = Rules.of({name: entries[name][ends] for name in OF_STUDY})
    node = graph('settings')
    node.declare_parameter('dry_run', False)
    node.declare_parameter('publish_rate', 1.0)
    assert declare_of_study(node, rules).rules == rules
    assert declare_of_study(node, rules).rules == rules, 'a second time, too'
    assert Settings().changed(dataclasses.asdict(rules)).rules == rules
    found = node.describe_parameter('explore').integer_range[0]
    assert (found.from_value, found.to_value) == (0, entries['explore']['maximum'])


@pytest.mark.parametrize(('name', 'value', 'error'), [
    ('dwell', 10**9, 'dwell: must lie in [0, 100000], got 1000000000'),
    ('explore', -2, 'explore: must lie in [0, 100000], got -2'),
    ('minimum_gain', math.nan, 'minimum_gain: must lie in [0, 1000], got nan'),
])
def test_a_value_of_the_command_line_that_no_study_may_say_is_one_short_error(
    graph, name, value, error
):
    node = graph('settings', parameter_overrides=[Parameter(name, value=value)])
    node.add_on_set_parameters_callback(lambda found: SetParametersResult(
        successful=all(p.name != name for p in found), reason='the adapter checks, too',
    ))
    for _ in range(2):
        with pytest.raises(InputError) as caught:
            declare_of_study(node, Rules())
        assert str(caught.value) == error
        assert not node.has_parameter(name)


def test_rules_reach_the_policy_and_the_journal(rig):
    rig.start()
    report = change(rig, minimum_gain=0.25, explore=7)
    assert report.settings.rules.minimum_gain == 0.25
    assert rig.policy.rules.explore == 7
    assert ('operator', 'setting') in rig.journal.noted


def test_a_rule_does_not_end_a_plan_and_a_dry_run_does(rig):
    rig.start()
    rig.plan()
    answers = queue.Queue()
    after = rig.engine.settings.changed({'minimum_gain': 0.1})
    rig.engine.post(SettingsChanged(after, 'minimum_gain'), answers.put)
    assert not rig.engine.urgent()
    report = change(rig, dry_run=True)
    assert not rig.planner.go.is_set()
    assert report.settings.dry_run
    assert rig.applier.sent.empty()


def test_nothing_is_sent_from_the_moment_a_dry_run_is_asked_for(rig):
    rig.journal.go.clear()
    rig.engine.start()
    assert rig.journal.asked.wait(20.0)  # a change is being noted, and nothing is sent yet
    answers = queue.Queue()
    after = rig.engine.settings.changed({'dry_run': True})
    rig.engine.post(SettingsChanged(after, 'dry_run'), answers.put)
    rig.journal.go.set()
    report = answers.get(timeout=20.0)
    assert rig.applier.sent.empty()
    assert report.status.state is not State.PAUSED
    report = change(rig, dry_run=False)
    assert rig.sent() == CHOSEN
    assert report.settings.rules_in_force == report.settings.rules


def test_a_dry_run_advises_and_writes_of_no_change(rig):
    rig.start()
    change(rig, dry_run=True)
    rig.journal.noted.clear()
    rig.watch.events.put(ForeignChange('/a v: 0.5 -> 0.0'))
    rig.applier.values = {'/a': dict(FALLBACK)}
    while rig.command(Resumed()).status.configuration != FALLBACK:
        pass
    assert rig.applier.sent.empty()
    assert not {'change', 'rollback', 'change failed'} & {each[1] for each in rig.journal.noted}
    change(rig, dry_run=False)
    assert rig.sent() == CHOSEN


def test_a_dry_run_that_begins_while_paused_leaves_it_paused(rig):
    rig.start()
    rig.command(Paused())
    assert change(rig, dry_run=True).status.state is State.PAUSED
    rig.watch.events.put(ForeignChange('/a v: 0.5 -> 1.0'))
    rig.applier.values = {'/a': dict(NEXT)}
    assert rig.command(Paused()).status.state is State.PAUSED
    report = rig.command(Resumed())
    assert report.status.state is not State.PAUSED
    assert report.status.configuration == NEXT
    assert rig.applier.sent.empty()


def test_a_robot_that_does_not_answer_does_not_stop_a_dry_run(rig):
    from tl_adapt.ros.parameters import ParameterError

    rig.start()

    def read():
        raise ParameterError('/a', '/a does not answer')

    rig.applier.read = read
    report = change(rig, dry_run=True)
    assert report.settings.dry_run and report.status.state is not State.PAUSED


def test_a_dry_run_goes_on_judging_after_a_limit_was_broken(rig):
    rig.start()
    change(rig, dry_run=True)
    rig.journal.noted.clear()
    for count, cost in enumerate((99.0, 10.0, 99.0), start=1):
        rig.monitor.windows.put(cost)
        while (status := rig.command(RulesChanged(rig.policy.rules)).status).windows < count:
            pass
        assert (status.judged, status.state) == (count, State.WATCHING)
        assert status.level < Level.ERROR, status.reason
    assert rig.applier.sent.empty()
    assert ('adapter', 'advice') in rig.journal.noted
    assert ('adapter', 'given up') not in rig.journal.noted


def test_a_dry_run_is_silent_once_the_robot_has_what_was_advised(rig):
    rig.start()
    change(rig, dry_run=True)
    rig.command(RollbackRequested())
    assert rig.engine.report().advice == f'{FALLBACK}'
    rig.applier.values = {'/a': dict(FALLBACK)}
    rig.watch.events.put(ForeignChange('/a v: 0.5 -> 0.0'))
    while rig.command(RulesChanged(rig.policy.rules)).status.configuration != FALLBACK:
        pass
    assert rig.engine.report().advice == ''
