# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for a policy to which few configurations are left, and for what it says then."""

import pytest
from test_policy import CHOSEN, DEFAULT, StandIn, confirm, make, sent, started, watched

from tl_adapt.adaptation.contexts import Refusal
from tl_adapt.adaptation.events import (
    Choice,
    ContextChanged,
    ForeignChange,
    Level,
    NodeRestarted,
    Paused,
    Resumed,
    Rollback,
    RollbackRequested,
    Start,
    State,
    Window,
    Write,
)
from tl_adapt.adaptation.records import OPERATOR, QUARANTINE


def written(actions, what):
    return [a.record for a in actions if isinstance(a, Write) and a.record.what == what]


def cornered():
    """Return a policy whose robot has the default, which broke a limit, as all else did."""
    policy = started(confirm=9)
    for _ in range(2):
        actions = watched(policy, gap=0.0)
        if sent(actions) is not None:
            confirm(policy, actions)
    assert policy.current == DEFAULT
    assert policy.status.quarantined == 2
    return policy


def on_chosen():
    """Return a policy that began on a robot which has the chosen configuration already."""
    policy = make(confirm=9)
    actions = policy.handle(Start(found=CHOSEN))
    confirm(policy, actions)
    return policy


def test_the_default_is_left_where_the_robot_began_with_the_chosen_one():
    policy = on_chosen()
    actions = watched(policy, gap=0.0)
    assert isinstance(sent(actions), Rollback)
    assert sent(actions).configuration == DEFAULT


def test_an_operator_can_roll_back_what_the_robot_began_with():
    policy = on_chosen()
    actions = policy.handle(RollbackRequested())
    assert sent(actions).configuration == DEFAULT
    record, = written(actions, QUARANTINE)
    assert (record.who, record.configuration) == (OPERATOR, CHOSEN)
    confirm(policy, actions)
    # The last one that is left is never banned: where would the robot go from there?
    actions = policy.handle(RollbackRequested())
    assert sent(actions) is None and not written(actions, QUARANTINE)
    assert (policy.status.level, policy.state) == (Level.WARN, State.WATCHING)
    assert 'no other configuration is known to be good' in policy.status.reason


def test_what_an_operator_rolled_back_before_is_not_sent_in_that_context():
    policy = make(refused=[])
    assert sent(policy.handle(Start())).configuration == CHOSEN
    policy = make(refused=[Refusal(CHOSEN, 'rolled back by the operator', '')])
    actions = policy.handle(Start())
    assert sent(actions).configuration == DEFAULT
    assert 'refused before' in sent(actions).why
    confirm(policy, actions)
    policy.handle(ContextChanged('lab'))
    assert policy.memory.allowed(CHOSEN), 'it was rolled back elsewhere'
    policy = make(refused=[Refusal(CHOSEN, 'too fast for the node')])
    assert sent(policy.handle(Start())).configuration == DEFAULT
    policy.handle(ContextChanged('lab'))
    assert not policy.memory.allowed(CHOSEN)


def test_a_node_that_restarts_gets_something_also_where_nothing_good_is_left():
    policy = cornered()
    actions = policy.handle(NodeRestarted('/a'))
    assert sent(actions).configuration == DEFAULT
    assert 'last resort' in sent(actions).why
    confirm(policy, actions)
    assert policy.current == DEFAULT


def test_what_an_operator_made_safe_stays_where_nothing_good_is_left():
    policy = cornered()
    policy.handle(ForeignChange('/a v: 5 -> 3'))
    assert policy.current is None
    actions = policy.handle(Resumed({'v': 3}))
    assert sent(actions) is None
    assert (policy.current, policy.desired) == ({'v': 3}, {'v': 3})
    assert (policy.status.level, policy.state) == (Level.WARN, State.WATCHING)
    watched(policy)
    assert sent(policy.handle(NodeRestarted('/a'))).configuration == {'v': 3}


@pytest.mark.parametrize('found', [None, {'v': 99}])
def test_what_is_not_known_or_out_of_range_does_not_stay(found):
    policy = cornered()
    policy.handle(ForeignChange('/a v: 5 -> 99'))
    actions = policy.handle(Resumed(found))
    assert sent(actions).configuration == DEFAULT
    assert 'last resort' in sent(actions).why


def test_what_someone_changed_back_is_not_sent_again():
    policy = started()
    policy.handle(ForeignChange('/a v: 8 -> 3'))
    assert sent(policy.handle(Resumed(CHOSEN))) is None
    assert (policy.current, policy.state) == (CHOSEN, State.WATCHING)
    policy.handle(ForeignChange('/a v: 8 -> 3'))
    assert sent(policy.handle(Resumed({'v': 3}))).configuration == CHOSEN


def test_a_rollback_in_a_pause_keeps_the_reason_of_the_pause():
    policy = started()
    policy.handle(ForeignChange('/a v: 8 -> 3'))
    for _ in range(2):
        assert sent(policy.handle(RollbackRequested())) is None
        assert '/a v: 8 -> 3' in policy.status.reason
        assert policy.status.reason.count('a rollback needs resume first') == 1
    policy = started()
    policy.handle(Paused())
    policy.handle(RollbackRequested())
    assert policy.status.reason.count('paused') == 1


def mixed(policy, gap=0.5):
    return policy.handle(
        Window({'time': 10.0, 'gap': gap}, '', 20.0, dict(policy.current), mixed=True))


def test_windows_in_which_the_context_changes_are_compared_with_the_limits():
    policy = started(StandIn([], best=Choice(CHOSEN, gain=0.9)), confirm=2)
    watched(policy)
    assert sent(mixed(policy, gap=0.0)).configuration == DEFAULT
    assert policy.status.judged == 1


def test_that_each_window_has_several_contexts_is_said():
    policy = started()
    levels = []
    for _ in range(4):
        assert sent(mixed(policy)) is None
        levels.append(policy.status.level)
    assert levels == [Level.OK, Level.OK, Level.WARN, Level.WARN]
    assert 'the context changed within each' in policy.status.reason
    watched(policy)
    assert policy.status.level is Level.OK
    mixed(policy)
    assert policy.status.level is Level.OK
