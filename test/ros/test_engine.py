# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for the adapter's thread, with everything around it made up."""

import collections
import dataclasses
import queue
import threading
import time

import pytest

pytestmark = pytest.mark.ros
pytest.importorskip('rclpy')

from tl_adapt.adaptation.background import BackgroundPlanner, Worker  # noqa: E402
from tl_adapt.adaptation.events import (  # noqa: E402
    Band,
    Choice,
    Exploration,
    ForeignChange,
    Level,
    NodeRestarted,
    Outlook,
    Paused,
    Resumed,
    RollbackRequested,
    Rules,
    RulesChanged,
    State,
    Window,
)
from tl_adapt.adaptation.records import Intent, Record  # noqa: E402
from tl_adapt.errors import MeasurementError, StoreError  # noqa: E402
from tl_adapt.memory_journal import NullJournal  # noqa: E402
from tl_adapt.policy import Policy  # noqa: E402
from tl_adapt.ros.apply import Change, Obstacle, Outcome  # noqa: E402
from tl_adapt.ros.engine import Engine  # noqa: E402
from tl_adapt.ros.nodes.adapter import obeyed  # noqa: E402
from tl_adapt.ros.parameters import ParameterError  # noqa: E402
from tl_adapt.ros.settings import Settings, SettingsChanged  # noqa: E402

FALLBACK, CHOSEN, NEXT = ({'v': value} for value in (0.0, 0.5, 1.0))


class Planner:
    """Predict a cost of 10, and propose when it is told to."""

    def __init__(self):
        self.asked, self.go = threading.Event(), threading.Event()
        self.late = lambda: None

    def bands(self, configuration):
        return {'cost': Band(10.0, 0.1, 1.0)}

    def outlook(self, configuration):
        return Outlook(10.0)

    def prepare(self):
        pass

    def propose(self, evidence, avoid):
        self.asked.set()
        assert self.go.wait(20.0)
        self.late()
        return Choice(NEXT)

    def best(self, evidence, anchor, avoid):
        return None

    def accept(self, evidence):
        pass


class Applier:
    """Be a robot that takes everything."""

    def __init__(self):
        self.values = {'/a': dict(FALLBACK)}
        self.sent = queue.Queue()

    def obstacle(self):
        return None

    def read(self):
        return self.decode(self.values)

    def read_values(self):
        return {node: dict(each) for node, each in self.values.items()}

    def decode(self, values):
        return dict(values['/a'])

    def waits_for_idle(self, configuration):
        return False

    def disturbs_mission(self, before, after):
        return False

    def start_gone(self, before, after):
        pass

    def put_back(self, before, after):
        self.values = {node: dict(each) for node, each in before.items()}
        self.sent.put(before)
        return Outcome(True, 'restored', self.read(), values=self.values)

    def plan(self, configuration):
        return Change(configuration, self.read_values(), self.values, {'/a': configuration})

    def carry_out(self, change):
        self.values = {'/a': dict(change.configuration)}
        self.sent.put(change.configuration)
        return Outcome(True, configuration=change.configuration, values=self.values)


class Monitor:
    """Give windows of what is in force."""

    goal_active = False
    doubts = {}
    pace = 0.1

    def __init__(self):
        self.windows = queue.Queue()
        self.configuration = None
        self.known = collections.deque(maxlen=1)

    def prepare(self):
        return ()

    def changing(self):
        self.configuration = None

    def in_force(self, configuration):
        self.configuration = configuration

    def certain(self, known):
        self.known.append(known)

    def poll(self):
        try:
            cost = self.windows.get_nowait()
        except queue.Empty:
            return None
        return Window({'cost': cost}, configuration=self.configuration)


class Watch:
    unsettled = ()

    def __init__(self):
        self.events = queue.Queue()

    def in_force(self, values, *, restarted=(), foreign=None):
        for node, each in (foreign or {}).items():
            for name, value in each.items():
                self.events.put(
                    ForeignChange(f'{node} {name}: {value} -> {values[node][name]}'))

    def poll(self):
        return [] if self.events.empty() else [self.events.get()]


class Journal(NullJournal):
    """Remember what is noted; wait before that if told to."""

    def __init__(self):
        self.noted, self.records = [], []
        self.left = None
        self.asked, self.go = threading.Event(), threading.Event()
        self.go.set()
        self.error = None

    def unfinished(self):
        return self.left

    def begin(self, intent):
        self.asked.set()
        assert self.go.wait(20.0)
        if self.error is not None:
            raise self.error
        self.noted.append(('begin', intent.configuration))

    def end(self, intent, *, ok, reason=''):
        self.noted.append(('end', ok, reason))

    def add(self, record):
        self.noted.append((record.who, record.what))
        self.records.append(record)


class Log:
    def __init__(self):
        self.infos, self.errors = [], []
        self.info, self.error = self.infos.append, self.errors.append


class Rig:
    def __init__(self):
        self.planner, self.applier, self.monitor = Planner(), Applier(), Monitor()
        self.watch, self.journal, self.log = Watch(), Journal(), Log()
        worker = Worker()
        self.close = worker.close

        def broken(metrics):
            return ['cost <= 60'] if metrics.get('cost', 0.0) > 60.0 else []

        self.policy = Policy(
            planner=BackgroundPlanner(self.planner, worker), chosen=CHOSEN, fallback=FALLBACK,
            contains=lambda configuration: 0.0 <= configuration['v'] <= 1.0, broken=broken,
            matters=['cost'], rules=Rules(confirm=1, dwell=0, explore=2),
        )
        self.engine = Engine(
            self.policy, self.applier, self.monitor, watch=self.watch, journal=self.journal,
            broken=broken, report=lambda report: None, applied=lambda values: None, log=self.log,
        )
        worker.urgent = self.engine.urgent

    def start(self):
        self.engine.start()
        assert self.sent() == CHOSEN

    def sent(self):
        return self.applier.sent.get(timeout=20.0)

    def plan(self):
        """Let the environment change, so that a plan is made."""
        for _ in range(20):
            self.monitor.windows.put(30.0)
            if self.planner.asked.wait(0.5):
                return
        raise AssertionError('no plan was made')

    def command(self, event):
        """Return what the engine says when it has dealt with an event."""
        answers = queue.Queue()
        self.engine.post(event, answers.put)
        return answers.get(timeout=20.0)


@pytest.fixture
def rig():
    rig = Rig()
    yield rig
    rig.planner.go.set()
    rig.journal.go.set()
    assert rig.engine.stop()
    rig.close()


def test_a_plan_is_carried_out(rig):
    rig.start()
    rig.plan()
    rig.planner.go.set()
    assert rig.sent() == NEXT


def test_the_monitor_is_told_of_nodes_that_are_away(rig):
    rig.start()
    for unsettled in ((), ('/a',), ()):
        rig.watch.unsettled = unsettled
        rig.command(Exploration(True))
        assert [*rig.monitor.known] == [not unsettled]


def test_what_someone_set_stays_and_is_watched_where_nothing_else_is_good(rig):
    rig.start()
    for what in (CHOSEN, FALLBACK):
        rig.policy.memory.ban(what, 'it broke a limit')
    rig.applier.values = {'/a': {'v': 0.25}}
    rig.watch.events.put(ForeignChange('/a v: 0.5 -> 0.25'))
    rig.engine.wake()
    end = time.monotonic() + 20.0
    while rig.policy.state is not State.PAUSED:
        assert time.monotonic() < end
    report = rig.command(Resumed())
    assert report.status.configuration == {'v': 0.25}
    assert report.level is Level.WARN and 'what is there stays' in report.message
    assert rig.monitor.configuration == {'v': 0.25}
    assert rig.applier.sent.empty()
    report = rig.command(RollbackRequested())
    assert report.level is Level.WARN and not obeyed(RollbackRequested, report)
    before = report.status.judged
    rig.monitor.windows.put(10.0)
    while rig.command(RulesChanged(rig.policy.rules)).status.judged == before:
        assert time.monotonic() < end


def test_a_broken_limit_does_not_wait_for_a_plan(rig):
    rig.start()
    rig.plan()
    rig.monitor.windows.put(99.0)
    assert rig.sent() == FALLBACK
    assert not rig.planner.go.is_set()


def test_the_operator_does_not_wait_for_a_plan(rig):
    rig.start()
    rig.plan()
    report = rig.command(Paused())
    assert report.status.state is State.PAUSED
    rig.planner.go.set()
    rig.monitor.windows.put(99.0)
    assert rig.command(RollbackRequested()).status.state is State.PAUSED
    assert rig.applier.sent.empty()


def break_pause(rig, monkeypatch, text):
    """Let the policy fail whenever it is to pause."""
    handle = rig.policy.handle

    def fail(event):
        if isinstance(event, Paused):
            raise RuntimeError(text)
        return handle(event)

    monkeypatch.setattr(rig.policy, 'handle', fail)


def test_an_event_that_fails_is_answered_and_halts_nothing(rig, monkeypatch):
    rig.start()
    break_pause(rig, monkeypatch, 'a bug')
    report = rig.command(Paused())
    assert report.status.state is not State.PAUSED and 'a bug' in report.message
    monkeypatch.undo()
    rig.monitor.windows.put(99.0)
    assert rig.sent() == FALLBACK, 'it goes on'


@pytest.mark.parametrize('event', [ForeignChange('/a v: 0.5 -> 0.75'), NodeRestarted('/a')])
def test_what_others_do_does_not_wait_for_a_plan(rig, event):
    rig.start()
    rig.plan()
    rig.watch.events.put(event)
    if isinstance(event, NodeRestarted):
        assert rig.sent() == CHOSEN
    else:
        while rig.command(Paused()).status.state is not State.PAUSED:
            pass
        assert ('someone else', 'foreign change') in rig.journal.noted
    assert not rig.planner.go.is_set()


def test_what_may_not_be_tried_any_more_is_not_sent(rig):
    rig.start()
    rig.plan()
    # It comes while the plan is being made, and is handled after that.
    rig.planner.late = lambda: rig.engine.post(Exploration(False, 'a mission runs'))
    rig.planner.go.set()
    report = rig.command(Exploration(False))
    assert report.status.state is not State.EXPLORING
    assert rig.command(Exploration(False)).status.configuration == CHOSEN
    assert rig.applier.sent.empty()


def test_a_restart_while_paused_is_made_good_by_resume(rig):
    rig.start()
    assert rig.command(Paused()).status.state is State.PAUSED
    rig.applier.values = {'/a': dict(FALLBACK)}
    rig.watch.events.put(NodeRestarted('/a'))
    while ('node', 'restart') not in rig.journal.noted:
        rig.command(Paused())
    rig.command(Resumed())
    assert rig.sent() == CHOSEN


def test_a_change_during_which_others_set_something_is_made_and_the_adapter_stands_back(
    rig, monkeypatch
):
    monkeypatch.setattr(rig.applier, 'carry_out', lambda change: Outcome(
        True, configuration=CHOSEN, values={'/a': {'v': 0.75}}, foreign={'/a': {'v': 0.5}}))
    rig.engine.start()
    while ('someone else', 'foreign change') not in rig.journal.noted:
        rig.command(RulesChanged(rig.policy.rules))
    report = rig.command(RulesChanged(rig.policy.rules))
    assert report.status.state is State.PAUSED and report.status.quarantined == 0
    assert 'v: 0.5 -> 0.75; standing back' in report.message
    assert ('end', True, '') in rig.journal.noted
    assert rig.monitor.configuration is None


@pytest.mark.parametrize('what', ['pause', 'foreign change'])
def test_nothing_is_sent_that_was_called_off_while_it_was_noted(rig, what):
    rig.journal.go.clear()
    rig.engine.start()
    assert rig.journal.asked.wait(20.0)
    answers = queue.Queue()
    if what == 'pause':
        rig.engine.post(Paused(), answers.put)
    else:
        rig.watch.events.put(ForeignChange('/a v: 0.0 -> 0.75'))
    rig.journal.go.set()
    if what == 'pause':
        answers.get(timeout=20.0)
    assert rig.command(Paused()).status.state is State.PAUSED
    assert rig.applier.sent.empty()
    assert ('end', False, 'nothing was sent: it was called off') in rig.journal.noted


def leave_open(rig, monkeypatch, refused=None):
    """Let the first change fail, and one node not answer; return the event that ends that."""
    answers = threading.Event()
    left = {'/a': dict(FALLBACK)}

    def read():
        if not answers.is_set():
            raise ParameterError('/a', 'no answer')
        return dict(FALLBACK)

    monkeypatch.setattr(rig.applier, 'read', read)
    monkeypatch.setattr(rig.applier, 'carry_out', lambda change: Outcome(
        False, 'no answer', open=left), raising=False)
    monkeypatch.setattr(
        rig.applier, 'reopen',
        lambda nodes: ({}, refused or {}) if answers.is_set() else (nodes, {}), raising=False)
    monkeypatch.setattr(rig.applier, 'restarting', lambda values: ['/a'], raising=False)
    rig.engine.start()
    while 'change 1 is open: no answer' not in rig.log.errors:
        rig.command(RulesChanged(rig.policy.rules))
    return answers


def test_a_known_configuration_is_set_after_a_node_that_hung_refused_what_it_had(
    rig, monkeypatch
):
    carry_out = rig.applier.carry_out
    answers = leave_open(rig, monkeypatch, {'/a': 'it refuses'})
    told = []
    monkeypatch.setattr(rig.watch, 'in_force', lambda values, **more: told.append(more))
    monkeypatch.setattr(rig.applier, 'carry_out', carry_out)
    answers.set()
    rig.engine._execution._open.next_try = 0.0
    assert rig.sent() == FALLBACK
    assert ('end', False, 'no answer; it refuses') in rig.journal.noted
    assert told[0] == {'restarted': ('/a',)}, 'nobody else restarted it'


@pytest.mark.parametrize('refused', [False, True])
def test_what_a_killed_change_left_where_a_node_refuses_is_not_known_to_be_good(rig, refused):
    rig.applier.values = {'/a': {'v': 0.25}}
    rig.applier.put_back = lambda before, after: Outcome(
        not refused, 'it refuses', {'v': 0.25}, values=rig.applier.values)
    rig.journal.left = Intent(1, 'why', {'/a': FALLBACK}, {'/a': {'v': 0.25}}, {'v': 0.25})
    rig.start()
    assert (rig.policy.memory.fallback == FALLBACK) is refused


def test_what_is_left_half_done_at_the_end_is_told(rig, monkeypatch):
    leave_open(rig, monkeypatch)
    assert rig.engine.stop()
    assert rig.log.errors[-1] == (
        'change 1 was cut short on /a, as the adapter ends; it is put back at the next start')
    assert not [entry for entry in rig.journal.noted if entry[0] == 'end']


@pytest.mark.parametrize('event, back', [
    (Paused(), Resumed()),
    (SettingsChanged(Settings(dry_run=True), 'dry_run: true'),
     SettingsChanged(Settings(), 'dry_run: false')),
])
def test_what_a_node_that_hung_is_still_to_get_waits_until_something_may_be_sent(
    rig, monkeypatch, event, back
):
    answers = leave_open(rig, monkeypatch)
    report = rig.command(event)
    answers.set()
    for _ in range(5):
        rig.engine._execution._open.next_try = 0.0
        report = rig.command(RulesChanged(rig.policy.rules))
    assert report.waiting, 'that is told'
    assert not [entry for entry in rig.journal.noted if entry[0] == 'end']
    rig.command(back)
    end = time.monotonic() + 20.0
    while not [entry for entry in rig.journal.noted if entry[0] == 'end']:
        assert time.monotonic() < end, 'it is not undone'
        rig.command(RulesChanged(rig.policy.rules))
    assert ('end', False, 'no answer; restored later') in rig.journal.noted


def test_a_change_waits_for_the_store_and_a_rollback_does_not(rig):
    rig.start()
    rig.journal.error = StoreError('it is full')
    assert rig.command(RollbackRequested()).status.configuration == FALLBACK
    assert rig.sent() == FALLBACK
    assert ('adapter', 'rollback') in rig.journal.noted
    rig.plan()
    rig.planner.go.set()
    report = rig.command(NodeRestarted('/a'))
    assert report.waiting == 'waits for the store: it is full'
    assert rig.applier.sent.empty()
    rig.journal.error = None
    assert rig.sent() is not None


def test_what_shows_only_when_it_is_tried_is_waited_for_all_the_time(rig):
    """What comes and goes in the status would never be late, and would fill the log."""
    said, tries = [], threading.Semaphore(0)

    def read_values():
        tries.release()
        raise ParameterError('/a', 'node /a has no parameter v')

    there, rig.applier.read_values = rig.applier.read_values, read_values
    rig.engine._report = lambda report: said.append(report.waiting)
    rig.engine._obstruction._deadline = 0.1
    rig.engine.start()
    for _ in range(3):
        assert tries.acquire(timeout=20.0)
    report = rig.command(RulesChanged(rig.policy.rules))
    assert (report.waiting, report.level) == ('node /a has no parameter v', Level.ERROR)
    assert '' not in said[said.index('node /a has no parameter v'):]
    rig.applier.read_values = there
    assert rig.sent() == CHOSEN
    assert rig.command(RulesChanged(rig.policy.rules)).waiting == ''


@pytest.mark.parametrize('waits', [True, False])
def test_a_rollback_before_the_robot_is_there_is_not_obeyed(rig, waits):
    there, rig.applier.obstacle = rig.applier.obstacle, lambda: Obstacle('node /a is not there')
    if not waits:
        rig.engine._may_change = lambda: False  # before the first look
    rig.engine.start()
    for kind, ok in ((RollbackRequested, False), (Paused, True), (Resumed, True)):
        report = rig.command(kind())
        assert obeyed(kind, report) is ok
        if kind is RollbackRequested:
            reason = 'node /a is not there' if waits else 'nothing to roll back: waiting for'
            assert reason in report.message
    assert rig.applier.sent.empty()
    if waits:
        rig.applier.obstacle = there
        assert rig.sent() == CHOSEN
        assert obeyed(RollbackRequested, rig.command(RollbackRequested()))
        assert rig.sent() == FALLBACK


def test_a_context_that_can_not_be_told_is_a_warning(rig):
    rig.monitor.doubts = {'scan': 'context c: topic scan has no field x'}
    rig.start()
    report = rig.command(RulesChanged(rig.policy.rules))
    assert (report.level, report.message) == (Level.WARN, rig.monitor.doubts['scan'])


@pytest.mark.parametrize('kind', [MeasurementError, ValueError])
def test_topics_that_do_not_fit_are_one_line_and_one_status(rig, kind):
    tries = []

    def prepare():
        tries.append(time.monotonic())
        raise kind('topic scan has publishers of several types')

    there, rig.monitor.prepare = rig.monitor.prepare, prepare
    rig.start()  # the robot is set all the same
    reports = [rig.command(RulesChanged(rig.policy.rules)) for _ in range(30)]
    ((level, message),) = {(report.level, report.message) for report in reports}
    assert level is Level.ERROR and message.endswith('topic scan has publishers of several types')
    (line,) = rig.log.errors
    assert line.endswith(': topic scan has publishers of several types')
    assert len(tries) <= 3 + tries[-1] - tries[0]
    assert obeyed(RollbackRequested, rig.command(RollbackRequested())), 'that hinders nothing'
    assert rig.sent() == FALLBACK
    rig.monitor.prepare = there
    rig.engine._next_prepare = 0.0
    while rig.command(RulesChanged(rig.policy.rules)).level is Level.ERROR:
        pass


def test_an_error_that_repeats_is_logged_once(rig, monkeypatch):
    rig.start()
    break_pause(rig, monkeypatch, 'a\nbug')
    for _ in range(5):
        assert 'a bug' in rig.command(Paused()).message
        assert 'a bug' not in rig.command(RulesChanged(rig.policy.rules)).message
    (line,) = rig.log.errors
    assert line.endswith(': RuntimeError: a bug')


def test_the_same_advice_is_written_once(rig):
    advising = rig.engine._advising

    def told(what, configuration, before=CHOSEN):
        found = advising.record(Record(
            'adapter', what, 'limit broken', 3, configuration=configuration, before=before))
        return found and (found.what, found.configuration, found.change)

    advice = ('advice', FALLBACK, None)
    assert [told('rollback', FALLBACK) for _ in range(3)] == [advice, None, None]
    assert told('change', NEXT) == ('advice', NEXT, None)
    assert told('rollback', FALLBACK) == advice
    assert told('change', CHOSEN) is None, 'it is there'
    assert told('change failed', NEXT) is None
    assert told('quarantine', CHOSEN) == ('quarantine', CHOSEN, 3)


def test_a_rollback_that_is_refused_is_written_down_as_that(rig):
    rig.start()
    rig.command(Paused())
    rig.command(RollbackRequested())
    record = rig.journal.records[-1]
    assert (record.who, record.what) == ('operator', 'rollback')
    assert record.effect == 'nothing was done: the adapter is paused'
    rig.command(Resumed())
    rig.command(RollbackRequested())
    assert rig.sent() == FALLBACK
    assert [r.effect for r in rig.journal.records if r.what == 'rollback'][1:] == ['']


def test_a_change_that_the_end_overtakes_is_called_off(rig):
    rig.journal.error = StoreError('full')
    rig.engine.start()
    assert rig.journal.asked.wait(20.0)
    assert rig.engine.stop()
    change, called_off, stop = rig.journal.records[-3:]
    assert [r.what for r in (change, called_off, stop)] == ['change', 'change called off', 'stop']
    assert called_off.change == change.change is not None
    assert called_off.effect == 'nothing of it was sent'


def test_a_dry_run_writes_the_first_advice_once(rig):
    rig.engine.settings = Settings(rig.policy.rules, dry_run=True)
    rig.engine._execution.dry_run = True
    rig.engine.start()
    rig.command(Exploration(True))
    again = Record('adapter', 'change', 'better', 1, configuration=CHOSEN, before=FALLBACK)
    assert rig.engine._advising.record(again) is None
    assert [r.configuration for r in rig.journal.records if r.what == 'advice'] == [CHOSEN], (
        'what is there already is no advice')


def test_a_change_that_was_cut_short_is_put_back_once_a_dry_run_ends(rig):
    half = {'v': 0.25}
    rig.applier.values = {'/a': dict(half)}
    before, after = {'/a': dict(FALLBACK)}, {'/a': dict(CHOSEN)}
    rig.journal.left = Intent(7, 'chosen', before, after, CHOSEN)
    rig.engine.settings = dry = Settings(rig.policy.rules, dry_run=True)
    rig.engine._execution.dry_run = True
    rig.engine.start()
    assert rig.command(Exploration(True)).status.configuration == half
    assert rig.applier.sent.empty(), 'a dry run sends nothing'
    assert rig.policy.memory.fallback == FALLBACK, 'nobody chose what is half made'
    rig.engine.post(SettingsChanged(dataclasses.replace(dry, dry_run=False), 'dry_run'))
    assert [rig.sent(), rig.sent()] == [before, CHOSEN]
    assert ('end', False, 'cut short; restored') in rig.journal.noted
