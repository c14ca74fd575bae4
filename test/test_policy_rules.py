# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for rules that an operator changes while the policy is at work."""

import math

import pytest
from test_policy import CHOSEN, StandIn, confirm, make, sent, started, surprised, watched

from tl_adapt.adaptation.detection import Chart, Detector, RareEvents
from tl_adapt.adaptation.events import (
    AdviceTaken,
    ApplyResult,
    Choice,
    Level,
    Paused,
    Resumed,
    Rules,
    RulesChanged,
    Start,
    State,
    Window,
)


def exploring(**rules):
    """Return a policy that tries out {'v': 7}, and has 8 in mind."""
    policy = started(StandIn([7, 8], best=Choice({'v': 7}, 0.2, 'found')), **rules)
    confirm(policy, surprised(policy))
    assert (policy.state, policy.current) == (State.EXPLORING, {'v': 7})
    return policy


def test_no_exploring_begins_once_it_is_forbidden():
    policy = started(StandIn([7]))
    policy.handle(RulesChanged(Rules(dwell=0, explore=0)))
    assert sent(surprised(policy)) is None
    assert (policy.state, policy.current) == (State.WATCHING, CHOSEN)


def test_exploring_ends_at_once_when_its_budget_is_spent():
    policy = exploring(explore=2)
    actions = policy.handle(RulesChanged(Rules(dwell=0, explore=0)))
    assert policy.status.explored == 0, 'the window of what is tried out has not ended'
    assert policy.state in (State.WATCHING, State.APPLYING)
    assert 'exploration' in [a.record.what for a in actions if hasattr(a, 'record')]


def test_what_is_about_to_be_tried_out_is_not_sent():
    policy = started(StandIn([7]), explore=2)
    change = sent(surprised(policy))
    assert change.configuration == {'v': 7}
    policy.handle(RulesChanged(Rules(dwell=0, explore=0)))
    assert policy.pending is None or policy.pending.configuration != {'v': 7}
    late = ApplyResult(change.change, True, configuration={'v': 7})
    policy.handle(late)
    assert policy.current != {'v': 7}, 'its answer is void'


def test_a_larger_budget_lets_exploring_go_on():
    policy = exploring(explore=1)
    policy.handle(RulesChanged(Rules(dwell=0, explore=3)))
    assert policy.state is State.EXPLORING
    assert sent(watched(policy)).configuration == {'v': 8}


def test_a_shorter_dwell_time_counts_at_once():
    policy = make(dwell=9)
    confirm(policy, policy.handle(Start()))
    assert policy.state is State.SETTLING
    policy.handle(RulesChanged(Rules(dwell=0)))
    assert policy.state is State.WATCHING


def test_the_minimum_gain_counts_for_the_next_plan():
    for gain, kept in ((0.5, CHOSEN), (0.1, {'v': 7})):
        policy = exploring(explore=1)
        policy.handle(RulesChanged(Rules(dwell=0, explore=1, minimum_gain=gain)))
        actions = watched(policy)
        if sent(actions) is not None:
            confirm(policy, actions)
        assert policy.desired == kept


def test_new_contexts_get_the_new_rules():
    policy = started()
    policy.handle(RulesChanged(Rules(band=1.5)))
    context = policy.contexts.enter('dock=1', CHOSEN)
    assert context.judge._rules.band == 1.5


def alarm_after(chart, most=200):
    """Return how many windows of one standard deviation it takes to an alarm."""
    return next(
        (number for number in range(1, most) if chart.add(1.0, '', 0.0, 1.0)), None)


def test_a_higher_rate_of_false_alarms_makes_charts_faster_and_keeps_their_sums():
    calm, quick = Chart(1.0, 1e5, 3.0, 1), Chart(1.0, 1e5, 3.0, 1)
    assert alarm_after(quick, 6) is None
    quick.steer(1e2, 3.0, 1)
    kept, anew = alarm_after(quick), alarm_after(Chart(1.0, 1e2, 3.0, 1))
    assert kept == anew - 5
    assert alarm_after(calm) > anew


def test_counts_of_what_is_rare_are_steered_and_kept():
    count = RareEvents(1e9, 1, 30.0)
    assert not any(count.add(True, 0.01) for _ in range(2))
    count.steer(10.0, 4)
    assert not count.add(True, 0.01), 'not before the fourth'
    assert count.add(True, 0.01)


def test_the_detector_steers_all_that_it_has():
    steered = Detector(['time'], false_alarms=1e-4, band=3.0, confirm=1)
    steered.steer(false_alarms=0.1, band=2.0, confirm=3)
    fresh = Detector(['time'], false_alarms=0.1, band=2.0, confirm=3)
    for one, other in zip(steered._charts['time'], fresh._charts['time']):
        assert vars(one._far_off) == vars(other._far_off)
        assert (one._threshold, one._band, one._confirm) == (
            other._threshold, other._band, other._confirm)
    assert vars(steered._failures) == vars(fresh._failures)
    assert vars(steered._limits) == vars(fresh._limits)
    assert steered._band == fresh._band


@pytest.mark.parametrize('paused', [False, True])
def test_what_was_advised_is_set_when_the_dry_run_ends(paused):
    policy = make()
    policy.desired = {'v': 1}  # as the engine does, which has read it
    confirm(policy, policy.handle(Start({'v': 1})))
    assert policy.current == {'v': 1}
    if paused:
        policy.handle(Paused())
    actions = policy.handle(AdviceTaken())
    if paused:
        assert sent(actions) is None
        actions = policy.handle(Resumed())
    assert sent(actions).configuration == CHOSEN
    confirm(policy, actions)
    assert policy.desired == CHOSEN
    assert sent(policy.handle(AdviceTaken())) is None, 'it is there already'


def test_nothing_is_set_before_the_robot_is_there():
    assert sent(make().handle(AdviceTaken())) is None


def test_a_window_without_a_number_vouches_for_nothing():
    policy = started(StandIn([]))
    remembered = []
    policy.memory.remember = remembered.append
    policy.handle(Window({'cost': math.nan}, configuration=CHOSEN))
    assert policy.status.level is Level.WARN and 'no number' in policy.status.reason
    assert policy.status.bands, 'what is expected is told all the same'
    assert not remembered
    watched(policy)
    assert (policy.status.level, policy.status.reason) == (Level.OK, 'as predicted')
    assert remembered == [CHOSEN]
