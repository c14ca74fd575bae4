# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for how tl_adapt.policy answers what its changes did, and for what it records."""

from test_policy import CHOSEN, DEFAULT, StandIn, broken, contains, sent

from tl_adapt.adaptation.events import (
    ApplyResult,
    Band,
    Choice,
    ForeignChange,
    Level,
    NodeRestarted,
    Paused,
    Resumed,
    Rollback,
    RollbackRequested,
    Rules,
    Start,
    Window,
    Write,
)
from tl_adapt.adaptation.records import ACTORS
from tl_adapt.policy import Policy

# What the model says of the time, by the value of v.
TIMES = {1: 30.0, 5: 20.0, 8: 14.0, 3: 15.0}


class Predicting(StandIn):
    """A planner whose model knows by which factor the times have changed once it has learnt."""

    factor, learns = 1.0, 1.0

    def bands(self, configuration):
        return {'time': Band(self.factor * TIMES.get(configuration['v'], 25.0), 0.2, 0.5)}

    def accept(self, evidence):
        super().accept(evidence)
        self.factor = self.learns


class Robot:
    """A policy, and a robot that may ignore what is set."""

    def __init__(self, deaf=(), **rules):
        self.planner = Predicting()
        self.policy = Policy(
            planner=self.planner, chosen=CHOSEN, fallback=DEFAULT, contains=contains,
            broken=broken, matters=['time'], rules=Rules(**{'dwell': 0, 'explore': 0, **rules}),
            objective=lambda metrics: metrics['time'])
        self.deaf = deaf
        self.factor = 1.0
        self.has = dict(DEFAULT)
        self.records = []
        self.give(Start())

    def give(self, event):
        actions = self.policy.handle(event)
        self.records += [action.record for action in actions if isinstance(action, Write)]
        change = sent(actions)
        if change is not None:
            if change.configuration['v'] not in self.deaf:
                self.has = dict(change.configuration)
            self.give(ApplyResult(change.change, True, configuration=change.configuration))
        return change

    def drive(self, number=1):
        for _ in range(number):
            time = self.factor * TIMES[self.has['v']]
            self.give(Window({'time': time}, '', 20.0, dict(self.policy.current)))

    def adapt(self, to):
        """Let times double; the policy learns that and changes over to `to`."""
        self.planner.choice = Choice({'v': to}, gain=0.3)
        self.factor = self.planner.learns = 2.0
        before = self.policy.status.changes
        for _ in range(6):
            self.drive()
            if self.policy.status.changes > before:
                return
        raise AssertionError('nothing was done')

    def of(self, what):
        return [record for record in self.records if record.what == what]


def test_a_change_that_does_what_was_predicted_is_recorded():
    robot = Robot()
    robot.drive(5)
    robot.adapt(8)
    robot.drive(3)
    effects = robot.of('effect')
    assert [(one.effect, one.change) for one in effects] == [('as predicted', 2)]
    assert effects[0].configuration == {'v': 8}
    assert effects[0].before == CHOSEN
    assert '-> 28' in effects[0].why
    assert robot.policy.current == {'v': 8}


def test_a_change_without_an_effect_is_reported_and_taken_back():
    robot = Robot(deaf=(8,))
    robot.drive(5)
    robot.adapt(8)
    robot.drive(4)
    assert robot.of('effect')[0].effect == 'no effect'
    assert robot.policy.status.level in (Level.OK, Level.WARN)
    assert robot.policy.current == CHOSEN
    assert {'v': 8} in robot.policy.memory.avoided
    assert robot.of('rollback')[0].configuration == CHOSEN
    assert 'no effect' in robot.of('rollback')[0].why
    changes = robot.policy.status.changes
    robot.drive(30)
    assert robot.policy.status.changes == changes, 'it does not go round in circles'


def test_a_missing_effect_is_a_warning():
    robot = Robot(deaf=(8,))
    robot.drive(5)
    robot.adapt(8)
    levels = []
    for _ in range(3):
        robot.drive()
        levels.append((robot.policy.status.level, robot.policy.status.reason))
    assert any(level is Level.WARN and 'no effect' in reason for level, reason in levels)


def test_a_change_for_the_worse_is_taken_back():
    robot = Robot()
    robot.drive(5)
    robot.adapt(8)
    robot.factor = 5.0
    robot.drive(4)
    assert [one.effect for one in robot.of('effect')][0] == 'worse than predicted'
    assert {'v': 8} in robot.policy.memory.avoided
    assert robot.policy.current == CHOSEN


def test_without_windows_before_the_effect_is_said_to_be_unknown():
    robot = Robot()
    robot.give(NodeRestarted('/a'))
    assert robot.of('effect') == [], 'nothing was changed'
    robot.drive(2)
    robot.give(RollbackRequested())
    robot.drive(3)
    robot.give(RollbackRequested())
    assert all(one.change for one in robot.of('effect'))


def test_every_decision_is_recorded_with_who_and_why():
    robot = Robot()
    robot.drive(3)
    robot.give(Paused('paused by Ada'))
    robot.give(Resumed())
    robot.give(NodeRestarted('/navigator'))
    robot.give(Window({'time': 20.0, 'gap': 0.0}, '', 20.0, CHOSEN))
    robot.give(ForeignChange('/navigator max_vel_x'))
    robot.give(Resumed())
    robot.give(RollbackRequested())
    told = [(record.who, record.what) for record in robot.records if record.what != 'effect']
    assert told == [
        ('adapter', 'change'), ('operator', 'pause'), ('operator', 'resume'),
        ('node', 'restart'), ('node', 'change'), ('adapter', 'quarantine'),
        ('adapter', 'rollback'), ('someone else', 'foreign change'), ('operator', 'resume'),
        ('operator', 'change'), ('operator', 'no rollback'),
    ]
    assert all(record.who in ACTORS and record.why for record in robot.records)
    rollback = robot.of('rollback')[0]
    assert (rollback.before, rollback.configuration) == (CHOSEN, DEFAULT)
    assert 'gap >= 0.1' in rollback.why
    numbers = [record.change for record in robot.records if record.what in ('change', 'rollback')]
    assert numbers == sorted(set(numbers))


def test_a_failed_change_and_a_refusal_are_recorded():
    policy = Robot().policy
    change = next(a for a in policy.handle(NodeRestarted('/a')) if hasattr(a, 'change'))
    actions = policy.handle(ApplyResult(change.change, False, 'no', CHOSEN, refused=True))
    told = [a.record.what for a in actions if isinstance(a, Write)]
    assert told[:2] == ['change failed', 'quarantine']
    assert not [a for a in actions if isinstance(a, Rollback)] or policy.pending is not None
