# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for what tl_adapt.policy does after a broken limit, and with what was refused."""

from test_policy import (
    CHOSEN,
    DEFAULT,
    StandIn,
    broken,
    confirm,
    contains,
    glanced,
    make,
    sent,
    started,
    surprised,
    watched,
)

from tl_adapt.adaptation.events import (
    ApplyResult,
    Choice,
    Rollback,
    RollbackRequested,
    Rules,
    Start,
    Write,
)
from tl_adapt.adaptation.memory import Memory, posterior
from tl_adapt.errors import TlAdaptError
from tl_adapt.policy import Policy


class Chooser(StandIn):
    """A planner that chooses the first of a list that need not be avoided."""

    def __init__(self, *choices):
        super().__init__()
        self.choices = choices
        self.asked = []

    def best(self, evidence, anchor, avoid):
        self.asked.append((list(evidence), dict(anchor)))
        for choice in self.choices:
            if isinstance(choice, Exception):
                raise choice
            if choice.configuration not in avoid:
                return choice
        return None


def choice(value, gain=0.1, kept=0.97):
    return Choice({'v': value}, gain, 'the best', kept)


def records(actions, what):
    return [a.record for a in actions if isinstance(a, Write) and a.record.what == what]


def fallen_back(policy):
    """Let a limit break and be answered; the robot has the default then."""
    actions = watched(policy, gap=0.0)
    assert isinstance(sent(actions), Rollback)
    confirm(policy, actions)
    assert policy.current == DEFAULT


def test_what_a_broken_limit_left_is_not_kept_if_something_better_is_known():
    planner = Chooser(choice(6))
    policy = started(planner)
    fallen_back(policy)
    actions = watched(policy)
    assert sent(actions).configuration == {'v': 6}
    assert policy.status.replans == policy.status.explored == 0, 'nothing new is tried out'
    evidence, anchor = planner.asked[0]
    seen = [(window.configuration, window.metrics['gap']) for window in evidence]
    assert seen == [(CHOSEN, 0.0), (DEFAULT, 0.5)]
    assert anchor == DEFAULT
    confirm(policy, actions)
    assert policy.context.best == {'v': 6}


def test_what_is_hardly_better_is_not_worth_a_change():
    policy = started(Chooser(choice(6, gain=0.01)))
    fallen_back(policy)
    for _ in range(10):
        assert sent(watched(policy)) is None
    assert policy.current == DEFAULT


def test_it_waits_for_the_dwell_time():
    policy = started(Chooser(choice(6)), dwell=2)
    watched(policy)
    watched(policy)
    fallen_back(policy)
    assert sent(watched(policy)) is None
    assert sent(watched(policy)).configuration == {'v': 6}


def test_bad_luck_once_in_many_windows_is_forgiven():
    policy = started(Chooser(choice(CHOSEN['v'])))
    for _ in range(8):
        watched(policy)
    fallen_back(policy)
    actions = watched(policy)
    assert sent(actions).configuration == CHOSEN
    assert records(actions, 'lifted')[0].configuration == CHOSEN
    confirm(policy, actions)
    fallen_back(policy)
    assert sent(watched(policy)) is None, 'but not twice'


def test_a_first_window_that_breaks_a_limit_is_not_forgiven():
    policy = started(Chooser(choice(CHOSEN['v']), choice(6)))
    fallen_back(policy)
    assert sent(watched(policy)).configuration == {'v': 6}


def test_what_the_model_does_not_trust_is_not_forgiven():
    policy = started(Chooser(choice(CHOSEN['v'], kept=0.8)))
    for _ in range(15):
        watched(policy)
    fallen_back(policy)
    assert sent(watched(policy)) is None


def test_what_the_operator_left_is_never_forgiven():
    policy = started(Chooser(choice(CHOSEN['v'])))
    for _ in range(12):
        watched(policy)
    policy.memory.ban(CHOSEN, 'rolled back by the operator')
    fallen_back(policy)
    assert sent(watched(policy)) is None


def test_a_limit_broken_out_of_the_blue_leaves_what_was_seen_before_aside():
    planner = Chooser(choice(6))
    policy = started(planner)
    for _ in range(12):
        watched(policy)
    actions = watched(policy, time=20.0, gap=0.0)
    confirm(policy, actions)
    assert sent(watched(policy)).configuration == {'v': 6}
    assert [w.configuration for w in planner.asked[0][0]] == [CHOSEN, DEFAULT]


def test_a_limit_broken_in_mid_mission_is_learnt_from():
    planner = Chooser(choice(6))
    policy = started(planner)
    confirm(policy, glanced(policy, gap=0.05))
    watched(policy)
    assert planner.asked[0][0][0].metrics['gap'] == 0.05


def test_a_choice_that_windows_prove_wrong_is_left_again():
    planner = Chooser(choice(6))
    policy = started(planner)
    fallen_back(policy)
    confirm(policy, watched(policy))
    planner.choices = (choice(7),)
    assert sent(watched(policy)) is None, 'one window is not enough'
    assert sent(watched(policy)).configuration == {'v': 7}
    assert all(w.configuration == {'v': 6} for w in planner.asked[-1][0]), (
        'the model has learnt from the others already')


def test_the_number_of_reviews_is_bounded():
    planner = Chooser(choice(6))
    policy = started(planner)
    fallen_back(policy)
    changes = 0
    for number in range(60):
        planner.choices = (choice(6 + number % 3),)
        actions = watched(policy)
        if sent(actions) is not None:
            changes += 1
            confirm(policy, actions)
    assert 1 <= changes <= 3


def test_what_the_operator_goes_back_to_is_not_bettered():
    policy = started(Chooser(choice(6)))
    fallen_back(policy)
    confirm(policy, watched(policy))
    confirm(policy, policy.handle(RollbackRequested()))
    for _ in range(10):
        assert sent(watched(policy)) is None
    assert policy.current == DEFAULT


def test_a_plan_that_fails_is_made_with_the_next_window():
    planner = Chooser(TlAdaptError('something more urgent came'))
    policy = started(planner)
    fallen_back(policy)
    assert sent(watched(policy)) is None
    planner.choices = (choice(6),)
    assert sent(watched(policy)).configuration == {'v': 6}


def test_going_back_is_no_claim_whose_effect_must_show():
    planner = StandIn([7])
    policy = started(planner, explore=1)
    confirm(policy, surprised(policy))
    actions = watched(policy, time=20.0)
    assert 'nothing better' in sent(actions).why
    confirm(policy, actions)
    assert not policy._claims


def test_what_was_refused_before_is_neither_set_nor_planned():
    planner = Chooser(choice(6), choice(7))
    policy = Policy(
        planner=planner, chosen=CHOSEN, fallback=DEFAULT, contains=contains, broken=broken,
        matters=['time', 'gap'], rules=Rules(dwell=0), refused=[(CHOSEN, 'no'), ({'v': 6}, 'no')])
    actions = policy.handle(Start())
    assert sent(actions).configuration == DEFAULT
    confirm(policy, actions)
    policy.context.reviews = 3
    assert sent(watched(policy)).configuration == {'v': 7}
    policy.contexts.enter('loaded', DEFAULT)
    assert not policy.memory.allowed({'v': 6}), 'nor in any other context'


def test_a_refusal_is_recorded_as_the_nodes_doing():
    policy = make()
    change = sent(policy.handle(Start()))
    actions = policy.handle(ApplyResult(change.change, False, 'too fast', DEFAULT, refused=True))
    assert records(actions, 'quarantine')[0].who == 'node'


def test_only_what_is_doubted_can_be_lifted():
    memory = Memory(fallback=DEFAULT, contains=contains)
    assert memory.ban(CHOSEN, 'gap', doubted=True)
    assert not memory.ban(CHOSEN, 'gap', doubted=True), 'no news'
    assert memory.ban({'v': 6}, 'refused')
    assert memory.doubted == [CHOSEN]
    assert memory.lift(CHOSEN) and memory.allowed(CHOSEN)
    assert not memory.lift({'v': 6}) and not memory.allowed({'v': 6})
    memory.ban(CHOSEN, 'gap', doubted=True)
    assert memory.ban(CHOSEN, 'refused')
    assert not memory.ban(CHOSEN, 'gap', doubted=True)
    assert not memory.lift(CHOSEN), 'a refusal outweighs a doubt'
    memory.ban({'v': 6}, 'gap', doubted=True)
    assert not memory.lift({'v': 6})


def test_windows_and_model_tell_together_how_surely_limits_are_kept():
    assert posterior(0.95, 0, 0) == 0.95
    assert posterior(0.95, 1, 1) < 0.9 < posterior(0.95, 20, 1)
    assert posterior(0.95, 20, 4) < 0.9
