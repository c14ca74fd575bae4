# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for tl_adapt.policy under any row of events, faults included."""

import math

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from test_policy import CHOSEN, DEFAULT, StandIn, broken, contains, sent

from tl_adapt.adaptation.events import (
    ApplyResult,
    Choice,
    ForeignChange,
    NodeRestarted,
    Paused,
    Resumed,
    RollbackRequested,
    Rules,
    Start,
    State,
    Window,
)
from tl_adapt.policy import Policy


class Wild(StandIn):
    """A planner that proposes anything, also what it must not."""

    def __init__(self, draw):
        super().__init__()
        self.draw = draw

    def propose(self, evidence, avoid):
        value = self.draw()
        return None if value is None else Choice({'v': value})

    def best(self, evidence, anchor, avoid):
        value = self.draw()
        return None if value is None else Choice({'v': value}, gain=0.5)


class Machine(RuleBasedStateMachine):
    """Any row of events, faults included, against a robot that does what it is told or not."""

    @initialize(data=st.data(), rules=st.builds(
        Rules, confirm=st.integers(1, 3), explore=st.integers(0, 4), dwell=st.integers(0, 2)))
    def begin(self, data, rules):
        values = st.none() | st.integers(-2, 12)
        self.policy = Policy(
            planner=Wild(lambda: data.draw(values)), chosen=CHOSEN, fallback=DEFAULT,
            contains=contains, broken=broken, matters=['time', 'gap'], rules=rules)
        self.pending = None
        self.robot = DEFAULT  # what the robot really has
        self.paused = False
        self.ended = 0
        self.last = 0

    def give(self, event):
        banned = dict(self.policy.memory.quarantine)
        actions = self.policy.handle(event)
        change = sent(actions)
        assert change is None or not self.paused, 'nothing is sent while paused'
        if change is not None:
            assert contains(change.configuration)
            assert change.configuration not in [each for each, _ in banned.values()]
            assert change.configuration not in self.policy.memory.avoided
            assert change.change > self.last
            self.last = change.change
        assert change is None or change is self.policy.pending
        self.pending = self.policy.pending
        return actions

    @rule(found=st.none() | st.integers(-1, 10))
    def start(self, found):
        self.give(Start(None if found is None else {'v': found}))

    @rule(time=st.sampled_from([10.0, 10.0, 30.0, math.nan]),
          gap=st.sampled_from([0.5, 0.5, 0.5, 0.0, 99.0]),
          outcome=st.sampled_from(['', '', '', 'timeout']), whole=st.integers(0, 9))
    def window(self, time, gap, outcome, whole):
        configuration = self.policy.current if whole else None
        self.give(Window({'time': time, 'gap': gap}, outcome, 20.0, configuration))

    @precondition(lambda self: self.pending is not None)
    @rule(how=st.sampled_from(['ok', 'ok', 'ok', 'refused', 'fault', 'unknown']))
    def answer(self, how):
        change = self.pending
        before = self.robot
        if how == 'ok':
            self.robot = change.configuration
            self.give(ApplyResult(change.change, True, configuration=self.robot))
        elif how == 'unknown':
            self.robot = None
            self.give(ApplyResult(change.change, False, 'no answer'))
        else:
            self.give(ApplyResult(change.change, False, how, before, refused=how == 'refused'))

    @rule(number=st.integers(-5, 0))
    def stale(self, number):
        before = self.policy.current
        self.give(ApplyResult(number, True, configuration={'v': 3}))
        assert self.policy.current == before

    @rule()
    def pause(self):
        self.give(Paused())
        self.paused = True

    @rule()
    def resume(self):
        self.paused = False
        self.give(Resumed())

    @rule()
    def roll_back(self):
        self.give(RollbackRequested())

    @rule()
    def foreign(self):
        if self.policy.state is not State.IDLE:
            self.give(ForeignChange('/a b'))
            self.paused = True
            self.robot = None

    @rule()
    def restart(self):
        self.give(NodeRestarted('/a'))

    @invariant()
    def sane(self):
        if not hasattr(self, 'policy'):
            return
        status = self.policy.status
        assert (status.state is State.PAUSED) == self.paused
        assert status.state is not State.APPLYING or not status.settled
        assert status.judged <= status.windows
        if status.state in (State.WATCHING, State.SETTLING, State.EXPLORING):
            assert contains(self.policy.current), 'the robot is in a known configuration'
            assert self.policy.current == self.robot
        assert contains(self.policy.desired)


Machine.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
TestMachine = Machine.TestCase
