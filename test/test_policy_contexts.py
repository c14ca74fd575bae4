# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for tl_adapt.policy in several contexts, and while exploring is not allowed."""

import math

import pytest
from test_policy import CHOSEN, DEFAULT, StandIn, broken, confirm, contains, sent, surprised

from tl_adapt.adaptation.events import (
    ApplyResult,
    Choice,
    ContextChanged,
    Exploration,
    Level,
    NodeRestarted,
    Outlook,
    Paused,
    Resumed,
    Rollback,
    Rules,
    Start,
    State,
    Window,
)
from tl_adapt.policy import Policy


class Branching(StandIn):
    """A planner that predicts an objective for each value, and hands its model on."""

    made = 0

    def __init__(self, proposals=(), best=None, objectives=None, kept=None):
        super().__init__(proposals, best)
        self.objectives = dict(objectives or {})
        self.kept = dict(kept or {})
        self.branches = []
        self.prepared = 0

    def branch(self):
        other = Branching(self.proposals, self.choice, self.objectives, self.kept)
        self.branches.append(other)
        return other

    def prepare(self):
        self.prepared += 1

    def outlook(self, configuration):
        value = configuration['v']
        return Outlook(self.objectives.get(value, 10.0), 0.99, self.kept.get(value, 0.98))


def started(planner, **rules):
    policy = Policy(
        planner=planner, chosen=CHOSEN, fallback=DEFAULT, contains=contains, broken=broken,
        matters=['time', 'gap'], rules=Rules(**{'dwell': 0, **rules}))
    confirm(policy, policy.handle(Start()))
    return policy


def watched(policy, time=10.0, gap=0.5, outcome='', context=None):
    context = policy.context.name if context is None else context
    return policy.handle(Window(
        {'time': time, 'gap': gap}, outcome, 20.0, dict(policy.current), context))


def adapted(policy, to, **what):
    """Let the environment change, so that the policy settles on `to` without exploring."""
    policy.context.planner.choice = Choice({'v': to}, gain=0.5)
    for _ in range(6):
        actions = watched(policy, time=20.0, **what)
        if sent(actions) is not None:
            confirm(policy, actions)
            return
    raise AssertionError('nothing was done')


def records(actions):
    return [action.record for action in actions if hasattr(action, 'record')]


def test_a_new_context_begins_with_the_model_and_configuration_of_the_last():
    planner = Branching()
    policy = started(planner)
    actions = policy.handle(ContextChanged('loaded'))
    assert sent(actions) is None
    assert policy.current == policy.desired == CHOSEN
    assert policy.status.context == 'loaded'
    assert [(one.what, one.context) for one in records(actions)] == [('context', 'loaded')]
    assert policy.context.planner is planner.branches[0]
    policy.prepare()
    assert (planner.prepared, planner.branches[0].prepared) == (0, 1)


def test_each_context_gets_its_own_configuration_back():
    policy = started(Branching(), explore=0)
    policy.handle(ContextChanged('loaded'))
    policy.context.planner.objectives = {5: 10.0, 8: 6.0}
    adapted(policy, 8)
    assert policy.current == {'v': 8}
    policy.contexts.enter('', {}).planner.objectives = {5: 10.0, 8: 12.0}
    policy.contexts.enter('loaded', {})
    change = sent(policy.handle(ContextChanged('')))
    assert change.configuration == CHOSEN
    assert 'predicted gain' in change.why
    policy.handle(ApplyResult(change.change, True, configuration=CHOSEN))
    assert sent(policy.handle(ContextChanged('loaded'))).configuration == {'v': 8}


def test_what_is_as_good_stays():
    policy = started(Branching(), explore=0, minimum_gain=0.05)
    policy.handle(ContextChanged('loaded'))
    adapted(policy, 8)
    policy.contexts.enter('', {}).planner.objectives = {5: 10.0, 8: 10.3}
    policy.contexts.enter('loaded', {})
    assert sent(policy.handle(ContextChanged(''))) is None
    assert policy.desired == {'v': 8}
    assert policy.context.best == CHOSEN, 'what is best is not forgotten'
    assert sent(policy.handle(NodeRestarted('/a'))).configuration == {'v': 8}


def test_what_does_not_keep_the_limits_there_does_not_stay():
    policy = started(Branching(), explore=0)
    policy.handle(ContextChanged('loaded'))
    adapted(policy, 8)
    policy.contexts.enter('', {}).planner.kept = {8: 0.3}
    policy.contexts.enter('loaded', {})
    change = sent(policy.handle(ContextChanged('')))
    assert change.configuration == CHOSEN
    assert 'limits' in change.why


def test_quarantine_belongs_to_a_context_but_a_refusal_to_all():
    policy = started(Branching([7]), explore=1)
    policy.handle(ContextChanged('loaded'))
    actions = watched(policy, gap=0.0)
    assert isinstance(sent(actions), Rollback)
    assert [one.what for one in records(actions)] == ['quarantine', 'rollback']
    confirm(policy, actions)
    assert policy.status.quarantined == 1
    change = sent(policy.handle(ContextChanged('')))
    assert change is None, 'what is there may stay'
    assert policy.status.quarantined == 0
    change = sent(surprised_in(policy))
    policy.handle(ApplyResult(change.change, False, 'no', policy.current, refused=True))
    assert {'v': 7} in policy.memory.avoided
    for context in ('loaded', 'new'):
        policy.handle(ContextChanged(context))
        assert {'v': 7} in policy.memory.avoided


def surprised_in(policy):
    for _ in range(6):
        actions = watched(policy, time=20.0)
        if sent(actions) is not None:
            return actions
    raise AssertionError('nothing was done')


def test_windows_of_another_context_are_not_judged():
    policy = started(Branching(), explore=0)
    policy.handle(ContextChanged('loaded'))
    for _ in range(6):
        assert sent(watched(policy, time=99.0, context='')) is None
    assert (policy.status.judged, policy.status.windows) == (0, 6)


def test_a_broken_limit_rolls_back_while_the_context_is_not_known():
    policy = started(Branching(), explore=0)

    def unplaced(**metrics):
        return policy.handle(Window(metrics, '', 20.0, dict(policy.current), unplaced=True))

    for _ in range(6):
        assert sent(unplaced(time=99.0, gap=0.5)) is None, 'nothing but limits counts'
    assert (policy.status.judged, policy.status.windows) == (0, 6)
    change = sent(unplaced(time=10.0, gap=0.0))
    assert isinstance(change, Rollback) and change.configuration == DEFAULT
    assert policy.status.quarantined == 1


def test_no_context_is_entered_while_a_change_is_under_way():
    policy = started(Branching([7, 8]), explore=3)
    change = sent(surprised_in(policy))
    assert policy.state is State.APPLYING
    assert sent(policy.handle(ContextChanged('loaded'))) is None
    assert policy.status.context == ''
    actions = policy.handle(ApplyResult(change.change, True, configuration={'v': 7}))
    assert policy.status.context == 'loaded'
    assert sent(actions).configuration == CHOSEN, 'what was tried out there is not kept'
    confirm(policy, actions)
    assert policy.state is State.WATCHING
    actions = policy.handle(ContextChanged(''))
    assert sent(actions).configuration == {'v': 8}, 'where it was left it goes on'
    confirm(policy, actions)
    assert (policy.state, policy.status.explored) == (State.EXPLORING, 0)


def test_the_dwell_time_comes_before_the_contexts_configuration():
    policy = started(Branching(objectives={5: 10.0, 8: 6.0}), dwell=2, explore=0)
    watched(policy)
    watched(policy)
    policy.contexts.enter('loaded', {'v': 8})
    policy.contexts.enter('', {})
    confirm(policy, policy.handle(NodeRestarted('/a')))
    assert policy.state is State.SETTLING
    assert sent(policy.handle(ContextChanged('loaded'))) is None
    assert sent(watched(policy)) is None
    assert sent(watched(policy)).configuration == {'v': 8}


def test_a_context_that_changes_during_a_pause_counts_from_the_resume_on():
    policy = started(Branching(objectives={5: 10.0, 8: 6.0}), explore=0)
    policy.contexts.enter('loaded', {'v': 8})
    policy.contexts.enter('', {})
    policy.handle(Paused())
    assert sent(policy.handle(ContextChanged('loaded'))) is None
    assert sent(policy.handle(Resumed())).configuration == {'v': 8}


def test_a_change_that_fails_as_the_context_changes_ends_in_the_new_one():
    policy = started(Branching([7], objectives={5: 10.0, 8: 6.0}), explore=1)
    policy.contexts.enter('loaded', {'v': 8})
    policy.contexts.enter('', {})
    change = sent(surprised_in(policy))
    policy.handle(ContextChanged('loaded'))
    actions = policy.handle(ApplyResult(change.change, False, 'no answer'))
    assert policy.status.context == 'loaded'
    assert isinstance(sent(actions), Rollback)
    actions = confirm(policy, actions)
    assert sent(actions).configuration == {'v': 8}


def test_nothing_is_tried_out_where_that_is_not_allowed():
    planner = StandIn([7, 8], best=Choice({'v': 3}, gain=0.5))
    policy = started(planner, explore=2)
    policy.handle(Exploration(False, 'a mission with people aboard'))
    assert sent(surprised(policy)).configuration == {'v': 3}, 'the plan alone'
    assert planner.proposals == [7, 8]


@pytest.mark.parametrize('when', ['waiting', 'tried'])
def test_exploring_ends_when_it_is_forbidden_and_goes_on_when_it_is_allowed(when):
    planner = StandIn([7, 8, 9], best=None)
    policy = started(planner, explore=2)
    actions = surprised(policy)
    if when == 'tried':
        confirm(policy, actions)
    actions = policy.handle(Exploration(False, 'a goal is active'))
    assert 'a goal is active' in [one.why.removeprefix('ended: ') for one in records(actions)]
    if when == 'tried':
        assert sent(actions).configuration == CHOSEN
        confirm(policy, actions)
    assert policy.current == CHOSEN
    assert policy.state is State.WATCHING
    assert sent(watched(policy)) is None
    actions = policy.handle(Exploration(True))
    assert sent(actions).configuration == {'v': 8}
    confirm(policy, actions)
    assert policy.state is State.EXPLORING
    while policy.state is not State.WATCHING:
        actions = watched(policy)
        if sent(actions):
            confirm(policy, actions)
    assert sent(policy.handle(Exploration(False))) is None
    assert sent(policy.handle(Exploration(True))) is None, 'it was brought to its end'


def limited(planner, **rules):
    """Return a policy that needs a number for the gap, and has begun."""
    policy = Policy(
        planner=planner, chosen=CHOSEN, fallback=DEFAULT, contains=contains, broken=broken,
        matters=['time', 'gap'], limited=['gap'], rules=Rules(**{'dwell': 0, **rules}))
    confirm(policy, policy.handle(Start()))
    return policy


def blind(policy, time=10.0, **metrics):
    return policy.handle(Window({'time': time, **metrics}, '', 20.0, dict(policy.current)))


@pytest.mark.parametrize('metrics', [{}, {'gap': math.nan}, {'gap': math.inf}])
def test_nothing_is_tried_out_where_a_limit_can_not_be_seen(metrics):
    planner = StandIn([7, 8], best=Choice({'v': 3}, gain=0.5))
    policy = limited(planner, explore=2)
    for _ in range(8):
        assert sent(blind(policy, time=20.0, **metrics)) is None
    assert policy.status.replans >= 1
    assert (planner.proposals, policy.current) == ([7, 8], CHOSEN)
    assert policy.memory.last_good(other_than=None) == DEFAULT, (
        'what nobody saw vouches for nothing')
    blind(policy, **metrics)
    assert policy.status.level is Level.WARN
    assert policy.status.reason.startswith('no number for gap, which a limit is about')
    actions = watched(policy)
    assert sent(actions).configuration == {'v': 7}, 'it goes on once there is a number'


def test_what_is_tried_out_ends_when_a_limit_can_not_be_seen():
    planner = StandIn([7, 8], best=Choice({'v': 7}, gain=0.5))
    policy = limited(planner, explore=2)
    confirm(policy, surprised(policy))
    assert (policy.state, policy.current) == (State.EXPLORING, {'v': 7})
    actions = blind(policy)
    assert sent(actions).configuration == CHOSEN
    assert any('no number for gap' in one.why for one in records(actions))
    assert policy.memory.last_good(other_than=None) != {'v': 7}
    confirm(policy, actions)
    actions = watched(policy)
    assert sent(actions).configuration == {'v': 8}


def test_a_mission_that_failed_need_not_tell_of_limits():
    policy = limited(StandIn([7]), explore=1)
    policy.handle(Window({}, 'collision', 20.0, dict(policy.current)))
    assert sent(surprised(policy)).configuration == {'v': 7}


def test_a_broken_limit_rolls_back_also_where_nothing_may_be_tried_out():
    policy = started(StandIn([7], best=None), explore=2)
    policy.handle(Exploration(False))
    assert isinstance(sent(watched(policy, gap=0.0)), Rollback)
