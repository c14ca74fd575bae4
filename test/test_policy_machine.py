# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Tests for tl_adapt.policy under any row of events, faults included.

The environment variable TL_ADAPT_SEQUENCES asks for more rows than the usual few, say 10000.
"""

import math
import os

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from test_policy import CHOSEN, DEFAULT, StandIn, broken, contains, sent

from tl_adapt.adaptation.contexts import Refusal
from tl_adapt.adaptation.events import (
    ApplyResult,
    Band,
    Choice,
    ContextChanged,
    Exploration,
    ForeignChange,
    NodeRestarted,
    Outlook,
    Paused,
    Resumed,
    RollbackRequested,
    Rules,
    Start,
    State,
    Window,
    Write,
)
from tl_adapt.adaptation.records import ACTORS
from tl_adapt.errors import TlAdaptError
from tl_adapt.policy import Policy


class Wild(StandIn):
    """A planner that proposes and predicts anything, also what it must not, and may fail."""

    def __init__(self, draw):
        super().__init__()
        self.draw = draw

    def branch(self):
        return Wild(self.draw)

    def bands(self, configuration):
        if configuration.get('v', 0) == 9:
            raise TlAdaptError('no fit')
        return {
            'time': Band(10.0 + 3.0 * configuration.get('v', 0), 0.1, 1.0),
            'gap': Band(0.5, 0.1, 1.0),
        }

    def outlook(self, configuration):
        value = configuration.get('v', 0)
        return Outlook(10.0 + 3.0 * value, valid=0.9, kept=0.2 + 0.07 * value)

    def chosen(self):
        value = self.draw()
        if value == -2:
            raise TlAdaptError('no model')
        return value

    def propose(self, evidence, avoid):
        value = self.chosen()
        return None if value is None else Choice({'v': value})

    def best(self, evidence, anchor, avoid):
        value = self.chosen()
        if value is None:
            return None
        kept = 0.99 if value % 2 else 0.5
        return Choice({'v': value}, gain=0.5 if value % 3 else 0.0, kept=kept)

    def accept(self, evidence):
        self.chosen()


class Machine(RuleBasedStateMachine):
    """Any row of events, faults included, against a robot that does what it is told or not."""

    @initialize(data=st.data(), rules=st.builds(
        Rules, confirm=st.integers(1, 3), explore=st.integers(0, 4), dwell=st.integers(0, 2),
        false_alarms=st.sampled_from([0.002, 0.1])), running=st.integers(0, 4),
        refused=st.lists(st.builds(
            Refusal, st.builds(dict, v=st.integers(0, 9)), st.just('before'),
            st.sampled_from([None, '', 'kitchen'])), max_size=3))
    def begin(self, data, rules, running, refused):
        values = st.integers(-2, 12).map(lambda v: None if v == 12 else v)
        self.policy = Policy(
            planner=Wild(lambda: data.draw(values)), chosen=CHOSEN, fallback=DEFAULT,
            contains=contains, broken=broken, matters=['time', 'gap'], rules=rules,
            objective=lambda metrics: metrics['time'], refused=refused)
        self.refused = refused
        self.pending = None
        self.robot = DEFAULT  # what the robot really has
        self.paused = False
        self.allowed = True  # whether exploring is
        self.last = 0
        self.recorded = set()
        self.earlier = DEFAULT  # what it had before the last change
        self.load = 0.0
        if running:
            self.give(Start(DEFAULT))
            self.obey(1)

    def give(self, event):
        policy = self.policy
        banned, context = policy.memory.avoided, policy.context
        doubted = policy.memory.doubted
        actions = policy.handle(event)
        change = sent(actions)
        records = [action.record for action in actions if isinstance(action, Write)]
        lifted = [record.configuration for record in records if record.what == 'lifted']
        assert all(one in doubted and one['v'] % 2 for one in lifted), (
            'only what is likely to keep the limits after all is allowed again')
        assert all(record.who in ACTORS and record.why and record.what for record in records)
        self.recorded |= {r.change for r in records if r.what in ('change', 'rollback')}
        assert change is None or not self.paused, 'nothing is sent while paused'
        if change is not None:
            assert contains(change.configuration)
            known = policy.current is not None and contains(policy.current)
            if change.configuration != policy.memory.fallback or known:
                assert policy.context is not context or change.configuration in lifted \
                    or change.configuration not in banned
                assert change.configuration not in policy.memory.avoided
                for one in self.refused:
                    assert change.configuration != one.configuration or (
                        one.context not in (None, policy.context.name))
            assert change.change > self.last
            assert change.change in self.recorded, 'every change is recorded'
            assert self.allowed or not change.why.startswith('exploring')
            self.last = change.change
        assert change is None or change is policy.pending
        self.pending = policy.pending
        return actions

    @rule(found=st.none() | st.integers(-1, 10))
    def start(self, found):
        self.give(Start(None if found is None else {'v': found}))

    def window(self, time, gap=0.5, outcome='', context=None, mixed=False):
        context = self.policy.status.context if context is None else context
        configuration = self.policy.current
        self.give(Window(
            {'time': time, 'gap': gap}, outcome, 20.0, configuration, context, mixed=mixed))

    @rule(off=st.sampled_from([0.0, 20.0, -9.0, math.nan]),
          gap=st.sampled_from([0.5, 0.5, 0.5, 0.0, 99.0]),
          outcome=st.sampled_from(['', '', '', 'timeout']), whole=st.integers(0, 9))
    def odd_window(self, off, gap, outcome, whole):
        time = 10.0 + 3.0 * (self.policy.current or {'v': 0})['v'] + off
        self.window(time, gap, outcome, 'elsewhere' if whole == 0 else None, whole == 1)

    @rule(number=st.integers(1, 5), deaf=st.integers(0, 3))
    def drive(self, number, deaf):
        """Drive as ever, or like a robot that ignored what was set last."""
        for _ in range(number):
            has = (self.policy.current if deaf else self.earlier) or self.earlier
            self.window(10.0 + 3.0 * has['v'] + self.load)
            if self.pending is not None:
                break

    @rule(load=st.sampled_from([0.0, 15.0, 30.0]), failing=st.integers(0, 5))
    def surprise(self, load, failing):
        """Let the environment change until the policy does something."""
        self.load = load
        for _ in range(6):
            if self.pending is not None or self.policy.current is None:
                break
            time = 10.0 + 3.0 * self.policy.current['v'] + self.load
            self.window(time, outcome='' if failing else 'timeout')

    @rule(number=st.integers(1, 8), gap=st.sampled_from([0.5, 0.5, 0.5, 0.0]))
    def obey(self, number, gap=0.5):
        """Do what is asked for, and drive a window after each change."""
        for _ in range(number):
            if self.pending is None or self.paused:
                break
            self.answer('ok')
            if self.policy.current is not None and number > 1:
                self.window(10.0 + 3.0 * self.policy.current['v'] + self.load, gap)

    @rule(how=st.sampled_from(['refused', 'fault', 'unknown']))
    def fail(self, how):
        """Let everything fail for a while."""
        for _ in range(4):
            if self.pending is not None:
                self.answer(how)

    @precondition(lambda self: self.pending is not None)
    @rule(how=st.sampled_from(['ok', 'ok', 'ok', 'ok', 'refused', 'fault', 'unknown']))
    def answer(self, how):
        change = self.pending
        before = self.robot
        if how == 'ok':
            self.earlier = self.robot or self.earlier
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

    @rule(context=st.sampled_from(['', 'loaded', 'kitchen']))
    def context(self, context):
        self.give(ContextChanged(context))
        assert self.policy.state is State.APPLYING or self.policy.status.context == context

    @rule(allowed=st.booleans())
    def exploration(self, allowed):
        self.allowed = allowed
        self.give(Exploration(allowed, 'a mission'))
        if not allowed:
            assert self.policy.state is not State.EXPLORING
            tried = self.pending is not None and self.pending.why.startswith('exploring')
            assert self.paused or not tried

    @rule(told=st.booleans())
    def resume(self, told):
        self.paused = False
        self.give(Resumed(self.robot if told else None))

    @rule(what=st.sampled_from(['pause', 'roll back', 'foreign', 'restart']),
          value=st.none() | st.integers(-1, 10))
    def interfere(self, what, value):
        if what == 'pause':
            self.give(Paused())
            self.paused = True
        elif what == 'roll back':
            self.give(RollbackRequested())
        elif what == 'restart':
            self.robot = None
            self.give(NodeRestarted('/a'))
        elif self.policy.state is not State.IDLE:
            self.give(ForeignChange('/a b'))
            self.paused = True
            self.robot = None if value is None else {'v': value}

    @invariant()
    def sane(self):
        if not hasattr(self, 'policy'):
            return
        status = self.policy.status
        assert (status.state is State.PAUSED) == self.paused
        assert status.state is not State.APPLYING or not status.settled
        assert (status.state is State.APPLYING) == (self.pending is not None) or self.paused
        assert status.judged <= status.windows
        if status.state in (State.WATCHING, State.SETTLING, State.EXPLORING):
            assert contains(self.policy.current), 'the robot is in a known configuration'
            assert self.policy.current == self.robot
        assert contains(self.policy.desired)
        for context in self.policy.contexts.all():
            assert contains(context.best)

    def teardown(self):
        """Let the robot do what it is told from now on, and see where it ends."""
        if not hasattr(self, 'policy'):
            return
        self.paused = False
        for event in (Resumed(), Start(), Resumed()):
            self.give(event)
            for _ in range(20):
                if self.pending is None:
                    break
                self.answer('ok')
            assert self.pending is None, 'it comes to an end'
        assert self.policy.state is not State.PAUSED
        assert contains(self.robot), 'the robot ends in a known configuration in the space'
        assert self.policy.current == self.robot


SEQUENCES = int(os.environ.get('TL_ADAPT_SEQUENCES', '150'))
# To make a failing row shorter takes minutes; it is worth that where few are tried.
PHASES = [Phase.explicit, Phase.reuse, Phase.generate]
if SEQUENCES < 200:
    PHASES.append(Phase.shrink)
Machine.TestCase.settings = settings(
    max_examples=SEQUENCES, stateful_step_count=40, deadline=None, phases=PHASES,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
TestMachine = Machine.TestCase
