# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for tl_adapt.policy and what it is made of."""

import math

import pytest

from tl_adapt.adaptation.events import (
    Apply,
    ApplyResult,
    Band,
    Choice,
    ForeignChange,
    Level,
    NodeRestarted,
    Outlook,
    Paused,
    Publish,
    Resumed,
    Rollback,
    RollbackRequested,
    Rules,
    Start,
    State,
    Window,
)
from tl_adapt.adaptation.judge import relevance
from tl_adapt.errors import InputError, TlAdaptError
from tl_adapt.policy import Policy
from tl_adapt.study import study_from_dict

CHOSEN = {'v': 5}
DEFAULT = {'v': 1}


def contains(configuration):
    return set(configuration) == {'v'} and 0 <= configuration['v'] <= 9


def broken(metrics):
    return ['gap >= 0.1'] if metrics.get('gap', 1.0) < 0.1 else []


class StandIn:
    """A planner that proposes what it was told, and keeps account."""

    def __init__(self, proposals=(), best=None):
        self.proposals = list(proposals)
        self.choice = best
        self.accepted = 0
        self.seen = []

    def bands(self, configuration):
        return {'time': Band(10.0, 0.1, 1.0), 'gap': Band(0.5, 0.1, 1.0)}

    def branch(self):
        return self

    def prepare(self):
        pass

    def outlook(self, configuration):
        return Outlook(10.0, valid=0.99, kept=0.98)

    def propose(self, evidence, avoid):
        self.seen.append([window.configuration for window in evidence])
        item = self.proposals.pop(0) if self.proposals else None
        if isinstance(item, Exception):
            raise item
        return None if item is None else Choice({'v': item}, why='promising')

    def best(self, evidence, anchor, avoid):
        return self.choice

    def accept(self, evidence):
        self.accepted += 1


def make(planner=None, *, refused=(), **rules):
    return Policy(
        planner=planner or StandIn(), chosen=CHOSEN, fallback=DEFAULT, contains=contains,
        broken=broken, matters=['time', 'gap'], rules=Rules(**{'dwell': 0, **rules}),
        refused=refused,
    )


def sent(actions):
    """Return the one change among the actions, or None."""
    assert isinstance(actions[-1], Publish)
    changes = [action for action in actions if isinstance(action, Apply)]
    assert len(changes) <= 1
    return changes[0] if changes else None


def confirm(policy, actions):
    """Let the change succeed and return what comes next."""
    change = sent(actions)
    return policy.handle(ApplyResult(change.change, True, configuration=change.configuration))


def watched(policy, time=10.0, gap=0.5, outcome=''):
    return policy.handle(
        Window({'time': time, 'gap': gap}, outcome, 20.0, dict(policy.current))
    )


def surprised(policy, time=20.0, most=5, **what):
    """Let windows be off until the policy does something, and return its actions."""
    for _ in range(most):
        replans = policy.status.replans
        actions = watched(policy, time, **what)
        if sent(actions) is not None or policy.status.replans > replans:
            return actions
    raise AssertionError(f'nothing was done: {policy.status.reason}')


def started(planner=None, **rules):
    policy = make(planner, **rules)
    confirm(policy, policy.handle(Start()))
    assert policy.current == CHOSEN
    return policy


def test_start_applies_the_chosen_configuration_and_watches():
    policy = make(dwell=1)
    assert not policy.status.settled
    actions = policy.handle(Start())
    assert sent(actions).configuration == CHOSEN
    assert (policy.state, policy.status.settled) == (State.APPLYING, False)
    confirm(policy, actions)
    assert (policy.state, policy.status.settled) == (State.SETTLING, True)
    assert sent(watched(policy)) is None
    assert policy.state is State.WATCHING
    assert policy.handle(Start())[-1].status.changes == 1, 'a second start does nothing'


def test_windows_inside_of_the_band_change_nothing():
    policy = started()
    for i in range(50):
        assert sent(watched(policy, time=10.0 + (-1) ** i)) is None
    assert (policy.state, policy.status.level) == (State.WATCHING, Level.OK)
    assert policy.status.judged == policy.status.windows == 50
    low, high = policy.status.bands['time']
    assert 4.0 < low < 8.0 and 12.0 < high < 16.0


def test_one_window_outside_is_no_change_but_a_row_is():
    planner = StandIn([7], best=None)
    policy = started(planner)
    assert sent(watched(policy, time=20.0)) is None
    assert policy.status.level is Level.WARN
    for _ in range(6):
        assert sent(watched(policy)) is None
    assert policy.status.level is Level.OK
    assert sent(watched(policy, time=20.0)) is None
    change = sent(surprised(policy))
    assert change.configuration == {'v': 7}
    assert 2 <= len(planner.seen[0]) <= 3, 'only the windows since the suspicion count'


def test_noise_on_both_sides_of_the_band_is_no_change():
    policy = started(confirm=2)
    for time in (20.0, 1.0, 20.0, 1.0):
        assert sent(watched(policy, time=time)) is None
    assert policy.status.replans == 0


def test_only_what_moves_the_objective_or_nears_a_limit_is_relevant():
    study = study_from_dict({
        'version': 1, 'name': 'relevance',
        'parameters': {'v': {'type': 'double', 'range': [0.0, 1.0], 'default': 0.5}},
        'metrics': {
            'time': {'unit': 's', 'direction': 'minimize', 'scale': 'log'},
            'cpu': {'unit': 's/s', 'direction': 'minimize'},
            'gap': {'unit': 'm', 'direction': 'maximize'},
        },
        'objectives': [
            {'metric': 'time', 'weight': 0.9, 'reference': 10.0},
            {'metric': 'cpu', 'weight': 0.1, 'reference': 0.1},
        ],
        'limits': ['gap >= 0.1'],
        'environments': {'robot': {'kind': 'command', 'role': 'target', 'command': ['true']}},
    })
    bands = {'time': Band(math.log(10.0), 0.0, 0.001, log=True), 'cpu': Band(0.1, 0.0, 1e-4),
             'gap': Band(0.5, 0.0, 1e-3)}
    relevant = relevance(study, lambda: 0.02)
    assert relevant('time', 11.0, bands)
    assert relevant('time', 9.0, bands)
    assert not relevant('time', 10.1, bands)
    assert not relevant('cpu', 0.11, bands)
    assert relevant('cpu', 0.15, bands)
    assert relevant('gap', 0.4, bands)
    assert not relevant('gap', 0.9, bands)


def test_shifts_of_different_metrics_do_not_add_up():
    policy = started()
    for _ in range(10):
        watched(policy)
    assert sent(watched(policy, time=14.0)) is None
    assert sent(watched(policy, gap=4.0)) is None
    assert sent(watched(policy, time=6.0)) is None
    assert policy.status.replans == 0


def test_the_dwell_time_is_not_judged_but_limits_are():
    policy = started(StandIn([7]), dwell=3, confirm=1)
    assert sent(watched(policy, time=99.0)) is None
    assert policy.status.replans == 0
    change = sent(watched(policy, gap=0.0))
    assert isinstance(change, Rollback)


def test_a_change_explores_and_settles_on_the_best():
    planner = StandIn([7, 8, 9, 2], best=Choice({'v': 8}, gain=0.1, why='best mean'))
    policy = started(planner, explore=3, dwell=1, confirm=2)
    watched(policy)
    actions = surprised(policy)
    for value in (7, 8, 9):
        assert sent(actions).configuration == {'v': value}
        confirm(policy, actions)
        assert policy.state is State.EXPLORING
        actions = watched(policy, time=15.0)
    assert sent(actions).configuration == {'v': 8}
    assert planner.accepted == 1
    confirm(policy, actions)
    assert (policy.state, policy.desired) == (State.SETTLING, {'v': 8})
    assert policy.status.explored == 3


def test_too_small_a_gain_goes_back_to_where_it_was():
    planner = StandIn([7], best=Choice({'v': 7}, gain=0.01))
    policy = started(planner, explore=1, confirm=1)
    confirm(policy, surprised(policy))
    change = sent(watched(policy))
    assert change.configuration == CHOSEN
    assert 'nothing better' in change.why


def test_exploring_nothing_settles_on_the_plan_alone():
    policy = started(StandIn([7], best=Choice({'v': 3}, gain=0.5)), explore=0, confirm=1)
    assert sent(surprised(policy)).configuration == {'v': 3}


def test_a_broken_limit_rolls_back_at_once_and_is_never_sent_again():
    policy = started(StandIn([], best=Choice(CHOSEN, gain=0.9)), confirm=2)
    actions = watched(policy, gap=0.01)
    assert isinstance(sent(actions), Rollback)
    assert sent(actions).configuration == DEFAULT
    confirm(policy, actions)
    assert policy.status.level is Level.WARN
    assert 'gap >= 0.1' in policy.status.reason
    watched(policy, time=30.0)
    assert sent(watched(policy, time=30.0)) is None, 'the best one is in quarantine'
    assert policy.current == DEFAULT


def test_the_last_good_configuration_comes_before_the_fallback():
    policy = started(StandIn([7], best=Choice({'v': 8}, gain=0.5)), explore=0, confirm=1)
    watched(policy)
    confirm(policy, surprised(policy))
    assert policy.current == {'v': 8}
    assert sent(watched(policy, gap=0.0)).configuration == CHOSEN


def test_the_robots_own_configuration_is_the_fallback():
    policy = make(confirm=3)
    confirm(policy, policy.handle(Start(found={'v': 4})))
    assert sent(watched(policy, gap=0.0)).configuration == {'v': 4}


def test_failed_missions_in_a_row_roll_back_and_plan():
    planner = StandIn([7])
    policy = started(planner, confirm=2)
    assert sent(watched(policy, time=99.0, outcome='timeout')) is None
    actions = surprised(policy, time=99.0, outcome='timeout')
    assert isinstance(sent(actions), Rollback)
    actions = confirm(policy, actions)
    assert policy.status.replans == 1
    assert sent(actions).configuration == {'v': 7}


def test_a_candidate_that_breaks_a_limit_is_left_for_the_anchor_first():
    planner = StandIn([7, 8], best=Choice({'v': 8}, gain=0.5))
    policy = started(planner, explore=2, confirm=1)
    confirm(policy, surprised(policy))
    actions = watched(policy, gap=0.0)
    assert (type(sent(actions)), sent(actions).configuration) == (Rollback, CHOSEN)
    confirm(policy, actions)
    assert (policy.state, policy.status.explored) == (State.EXPLORING, 1)
    actions = watched(policy, time=20.0)
    assert sent(actions).configuration == {'v': 8}
    confirm(policy, actions)
    assert sent(watched(policy)) is None
    assert policy.desired == {'v': 8}


def test_a_refused_candidate_counts_and_is_not_asked_for_again():
    planner = StandIn([7, 8], best=None)
    policy = started(planner, explore=2, confirm=1)
    change = sent(surprised(policy))
    result = ApplyResult(change.change, False, 'refused', CHOSEN, refused=True)
    actions = policy.handle(result)
    assert sent(actions).configuration == {'v': 8}
    assert policy.status.quarantined == 1


def test_a_refused_first_configuration_is_an_error_and_nothing_more_is_sent():
    policy = make()
    change = sent(policy.handle(Start(found=DEFAULT)))
    actions = policy.handle(ApplyResult(change.change, False, 'no', DEFAULT, refused=True))
    assert sent(actions) is None
    assert policy.status.level is Level.ERROR
    assert 'no' in policy.status.reason
    assert policy.desired == DEFAULT


def test_what_a_change_that_was_cut_short_left_is_no_fallback():
    policy = make()
    policy.handle(Start(found={'v': 7}, whole=False))
    assert policy.memory.fallback == DEFAULT


def test_a_failed_change_does_not_leave_the_robot_outside_of_the_space():
    policy = make()
    change = sent(policy.handle(Start(found={'v': 99})))
    actions = policy.handle(ApplyResult(change.change, False, 'no', {'v': 99}, refused=True))
    assert sent(actions).configuration == DEFAULT


def test_an_unknown_outcome_is_rolled_back_a_bounded_number_of_times():
    policy = make()
    actions = policy.handle(Start())
    tries = 0
    while (change := sent(actions)) is not None:
        tries += 1
        assert tries < 10
        actions = policy.handle(ApplyResult(change.change, False, 'no answer'))
    assert (policy.state, policy.status.level) == (State.IDLE, Level.ERROR)
    assert sent(policy.handle(Resumed())).configuration == CHOSEN


def test_what_a_node_lost_while_paused_is_set_again_by_resume():
    policy = started(StandIn([]))
    policy.handle(Paused())
    assert sent(policy.handle(NodeRestarted('/a'))) is None
    assert policy.current is None
    assert sent(policy.handle(Resumed())).configuration == policy.desired


def test_pause_sends_nothing_and_resume_goes_back_to_what_was_meant():
    policy = started(StandIn([7]), confirm=1)
    confirm(policy, surprised(policy))
    assert policy.current == {'v': 7}
    policy.handle(Paused())
    for event in (RollbackRequested(), Start(), Window({'gap': 0.0})):
        assert sent(policy.handle(event)) is None
    assert sent(watched(policy, gap=0.0)) is None
    assert sent(policy.handle(NodeRestarted('/a'))) is None
    assert sent(policy.handle(Resumed())).configuration == CHOSEN


def test_a_result_that_comes_while_paused_is_believed():
    policy = make()
    change = sent(policy.handle(Start()))
    policy.handle(Paused())
    policy.handle(ApplyResult(change.change, True, configuration=CHOSEN))
    assert (policy.current, policy.state) == (CHOSEN, State.PAUSED)
    assert sent(policy.handle(Resumed())) is None
    assert policy.state is State.WATCHING


def test_the_operators_rollback_bans_what_it_leaves():
    policy = started()
    assert sent(policy.handle(RollbackRequested())).configuration == DEFAULT
    assert policy.status.quarantined == 1


def test_a_foreign_change_is_respected_until_resume():
    policy = started()
    policy.handle(ForeignChange('/navigator max_vel_x'))
    assert policy.state is State.PAUSED
    assert 'max_vel_x' in policy.status.reason
    assert sent(policy.handle(Resumed())).configuration == CHOSEN


def test_a_restarted_node_gets_its_parameters_again():
    policy = started()
    assert sent(policy.handle(NodeRestarted('/navigator'))).configuration == CHOSEN


def test_windows_of_another_configuration_are_counted_but_not_judged():
    policy = started(confirm=1)
    for other in (None, {'v': 3}):
        assert sent(policy.handle(Window({'time': 99.0}, configuration=other))) is None
    assert (policy.status.windows, policy.status.judged) == (2, 0)


def test_metrics_that_could_not_be_had_are_left_out():
    policy = started(confirm=1)
    for metrics in ({}, {'time': math.nan}, {'unknown': 1.0}):
        assert sent(policy.handle(Window(metrics, configuration=CHOSEN))) is None
    assert policy.status.replans == 0


def test_a_model_that_can_not_predict_is_a_warning_but_limits_still_count():
    planner = StandIn()

    def fail(configuration):
        raise TlAdaptError('no fit')

    planner.bands = fail
    policy = started(planner)
    assert sent(watched(policy, time=99.0)) is None
    assert (policy.status.level, policy.status.reason) == (Level.WARN, 'no prediction: no fit')
    assert isinstance(sent(watched(policy, gap=0.0)), Rollback)


def test_a_planner_that_fails_leaves_the_robot_as_it_is():
    policy = started(StandIn([TlAdaptError('no model')]), confirm=1)
    assert sent(surprised(policy)) is None
    assert policy.current == CHOSEN


@pytest.mark.parametrize('outside', [{'v': 10}, {}, {'v': 1, 'w': 2}])
def test_nothing_outside_of_the_space_is_sent(outside):
    with pytest.raises(InputError, match='chosen'):
        Policy(planner=StandIn(), chosen=outside, fallback=DEFAULT, contains=contains,
               broken=broken, matters=[])
    policy = started(StandIn([11], best=Choice(outside, gain=1.0)), confirm=1)
    assert sent(surprised(policy)) is None


@pytest.mark.parametrize(
    'wrong', [{'band': 0.0}, {'band': math.nan}, {'false_alarms': 0.0}, {'false_alarms': 0.2},
              {'confirm': 0}, {'explore': -1}, {'dwell': -1}, {'minimum_gain': -0.1}])
def test_rules_that_make_no_sense_are_refused(wrong):
    with pytest.raises(InputError, match='adaptation'):
        Rules(**wrong)


def test_rules_come_from_the_study_section():
    rules = Rules.of({'band': 2.0, 'window': 'mission', 'environment': 'robot'})
    assert rules == Rules(band=2.0)


def test_a_log_band_is_given_in_the_metrics_unit():
    band = Band(math.log(10.0), 0.3, 0.4, log=True)
    assert band.std == pytest.approx(0.5)
    assert band.median == pytest.approx(10.0)
    assert band.scaled(40.0) == pytest.approx(math.log(40.0))
    assert math.isnan(band.scaled(0.0)), 'no number'
    assert Band(10.0, 1.0, 1.0).median == 10.0


def glanced(policy, gap):
    window = Window({'gap': gap}, '', 5.0, dict(policy.current), overlapping=True)
    return policy.handle(window)


def test_an_overlapping_window_is_for_the_limits_alone():
    policy = started(dwell=1)
    before = policy.status
    assert sent(glanced(policy, gap=0.5)) is None
    assert sent(glanced(policy, gap=20.0)) is None, 'far outside of its band'
    assert policy.status == before
    for _ in range(3):
        watched(policy, time=10.0)
    assert policy.status.replans == 0
    change = sent(glanced(policy, gap=0.05))
    assert isinstance(change, Rollback)
    assert change.configuration == DEFAULT
    assert policy.memory.avoided == [CHOSEN]
    confirm(policy, [change, Publish(policy.status)])
    assert policy.status.level is Level.WARN


def test_an_overlapping_window_ends_an_exploration_that_breaks_a_limit():
    planner = StandIn([7, 8])
    policy = started(planner, explore=2)
    confirm(policy, surprised(policy))
    assert (policy.state, policy.current) == (State.EXPLORING, {'v': 7})
    change = sent(glanced(policy, gap=0.05))
    assert isinstance(change, Rollback)
    assert change.configuration == CHOSEN
    assert policy.status.explored == 1
    confirm(policy, [change, Publish(policy.status)])
    assert {'v': 7} not in [w for seen in planner.seen for w in seen], 'it is no measurement'
    assert sent(watched(policy, time=20.0)).configuration == {'v': 8}
