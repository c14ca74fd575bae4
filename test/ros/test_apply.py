# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for a change as one transaction, with nodes that are made up."""

import dataclasses
import math
import types

import pytest

pytestmark = pytest.mark.ros
pytest.importorskip('rclpy')

from rcl_interfaces.msg import Parameter as ParameterMsg  # noqa: E402
from rcl_interfaces.msg import ParameterEvent, SetParametersResult  # noqa: E402
from rcl_interfaces.srv import (  # noqa: E402
    GetParameters,
    ListParameters,
    SetParametersAtomically,
)

from tl_adapt.adaptation.events import ForeignChange  # noqa: E402
from tl_adapt.expressions import Expression  # noqa: E402
from tl_adapt.ros import parameter_watch  # noqa: E402
from tl_adapt.ros.apply import Applier  # noqa: E402
from tl_adapt.ros.parameter_watch import ParameterWatch  # noqa: E402
from tl_adapt.ros.parameters import NoAnswerError, ParameterClient, ParameterError  # noqa: E402
from tl_adapt.ros.values import from_message, to_message  # noqa: E402
from tl_adapt.space import Parameter, RosTarget, Space  # noqa: E402


def parameter(name, node, *, ros=None, **more):
    return Parameter(
        name=name, type='double', low=0.0, high=1.0, default=0.5,
        targets=(RosTarget(node=node, name=ros or name, **more),))


SPACE = Space([
    parameter('v', 'alpha'), parameter('w', 'alpha'), parameter('u', 'beta'),
    parameter('g', 'beta', ros='gains', index=1),
])
INITIAL = {'v': 0.25, 'w': 0.25, 'u': 0.25, 'g': 0.25}


class FakeNode:
    """Take sets and tell of them; `then` is called after each that is taken."""

    def __init__(self, name, tell, values):
        self.name, self.tell, self.values = name, tell, values
        self.limit, self.refuses, self.silent = {}, False, False
        self.sent = []
        self.identity = frozenset([name.encode()])
        self.then = lambda: None

    def answer(self, kind, request):
        if kind is ListParameters:
            answer = ListParameters.Response()
            answer.result.names = list(self.values)
            return answer
        if kind is GetParameters:
            values = [to_message(self.values[name]) for name in request.names]
            return GetParameters.Response(values=values)
        assert kind is SetParametersAtomically
        wanted = {each.name: from_message(each.value) for each in request.parameters}
        self.sent.append(wanted)
        if self.refuses:
            result = SetParametersResult(successful=False, reason='too much for me')
            self.then()
            return SetParametersAtomically.Response(result=result)
        self.set(**{name: self.limit.get(name, lambda v: v)(v) for name, v in wanted.items()})
        then, self.then = self.then, lambda: None
        then()
        return SetParametersAtomically.Response(result=SetParametersResult(successful=True))

    def set(self, **values):
        """Change values, be it by us or by someone else."""
        self.values.update(values)
        self.tell(ParameterEvent(node=self.name, changed_parameters=[
            ParameterMsg(name=name, value=to_message(value)) for name, value in values.items()]))


class FakeService:
    """Answer at once."""

    def __init__(self, answer):
        self.call_async = lambda request: types.SimpleNamespace(
            done=lambda: True, result=lambda: answer(request),
            add_done_callback=lambda call: call(None))


class FakeClient(ParameterClient):
    """Ask made-up nodes."""

    def __init__(self):
        super().__init__(types.SimpleNamespace(get_namespace=lambda: '/'))
        self.nodes = {}

    def count(self, node):
        return int(self.full_name(node) in self.nodes)

    def identities(self):
        return {name: node.identity for name, node in self.nodes.items()}

    def wait_for_nodes(self, nodes, *, deadline=None, alive=None):
        pass

    def service(self, kind, node):
        return FakeService(lambda request: self.nodes[node].answer(kind, request))

    def ask(self, requests, *, patience=None, deadline=None):
        answers, errors = {}, {}
        for name, (kind, request) in requests.items():
            node = self.nodes[self.full_name(name)]
            if node.silent:
                errors[node.name] = NoAnswerError(node.name, f'{node.name} gave no answer')
            else:
                answers[node.name] = node.answer(kind, request)
        return answers, errors


class Rig:
    """Two nodes, what sets them, and what watches them."""

    def __init__(self, space=SPACE):
        self.client = FakeClient()
        self.alpha = self.add('/alpha', v=0.25, w=0.25)
        self.beta = self.add('/beta', u=0.25, gains=[0.0, 0.25])
        node = types.SimpleNamespace(
            create_subscription=lambda *args: None, destroy_subscription=lambda _: None)
        self.watch = ParameterWatch(node, self.client, space)
        self.applier = Applier(space, self.client, listener=self.watch)
        self.watch.in_force(self.applier.read_values())
        assert self.watch.poll() == []

    def add(self, name, **values):
        self.client.nodes[name] = FakeNode(name, self.tell, values)
        return self.client.nodes[name]

    def tell(self, event):
        self.watch._on_event(event)

    def apply(self, **values):
        outcome = self.applier.apply({**INITIAL, **values})
        self.watch.in_force(outcome.values, foreign=outcome.foreign)
        return outcome

    def told(self):
        # One reads all values, the next one looks at them; what is found is read once more.
        events = [event for _ in range(6) for event in self.watch.poll()]
        assert all(isinstance(event, ForeignChange) for event in events)
        return [event.what for event in events]


@pytest.fixture
def rig(monkeypatch):
    monkeypatch.setattr(parameter_watch, '_GRAPH', 0.0)
    monkeypatch.setattr(parameter_watch, '_READ', 0.0)
    monkeypatch.setattr(parameter_watch, '_CONFIRM', 0.0)
    return Rig()


@pytest.mark.parametrize('lost', [False, True])
@pytest.mark.parametrize('value', [0.75, 99.0])
def test_what_others_set_meanwhile_of_what_the_change_does_not_set_is_theirs(rig, lost, value):
    if lost:
        rig.tell = lambda event: None
        rig.alpha.tell = rig.beta.tell = rig.tell
    rig.beta.then = lambda: rig.alpha.set(w=value)
    outcome = rig.apply(v=0.5, u=0.5)
    assert outcome.ok and outcome.configuration == {**INITIAL, 'v': 0.5, 'u': 0.5}
    assert outcome.values['/alpha'] == {'v': 0.5, 'w': value} == rig.alpha.values
    assert rig.told() == [f'/alpha w: 0.25 -> {value}']
    assert rig.told() == []


def test_a_number_that_is_none_is_no_change(rig):
    rig.alpha.values['w'] = math.nan
    rig.watch.in_force(rig.applier.read_values())
    rig.alpha.refuses = True
    assert rig.apply(w=0.5).refused
    assert rig.told() == []


def test_what_was_in_between_is_told_too(rig):
    rig.beta.then = lambda: (rig.alpha.set(w=0.75), rig.alpha.set(w=0.625))
    assert rig.apply(u=0.5).ok
    assert rig.told() == ['/alpha w: 0.25 -> 0.75', '/alpha w: 0.75 -> 0.625']
    assert rig.told() == []


def test_elements_that_are_not_tuned_are_nobodys_business(rig):
    rig.beta.then = lambda: rig.beta.set(gains=[9.0, 0.25])
    outcome = rig.apply(v=0.5, u=0.5)
    assert outcome.ok and outcome.foreign == {}
    assert rig.told() == []


def test_a_new_process_is_no_change_by_someone_else(rig):
    def restart():
        rig.alpha.values.update(v=0.125, w=0.125)
        rig.alpha.identity = frozenset([b'another'])

    read = rig.applier._client.verify_each

    def verify(*args, **options):
        found = read(*args, **options)
        restart()
        return found

    rig.applier._client.verify_each = verify
    outcome = rig.applier.apply({**INITIAL, 'v': 0.5})
    assert outcome.ok and outcome.foreign == {}


# --- what the change sets is set by others, too --------------------------------------------------


def test_what_others_set_of_what_the_change_sets_is_no_refusal(rig):
    rig.beta.then = lambda: rig.alpha.set(v=0.375)
    outcome = rig.apply(v=0.5, w=0.5, u=0.5)
    assert outcome.ok and not outcome.refused
    assert rig.alpha.values == {'v': 0.375, 'w': 0.5} and len(rig.alpha.sent) == 1
    assert rig.told() == ['/alpha v: 0.5 -> 0.375']


def test_what_others_set_back_is_no_refusal(rig):
    rig.beta.then = lambda: rig.alpha.set(v=0.25)
    assert rig.apply(v=0.5, u=0.5).ok
    assert rig.told() == ['/alpha v: 0.5 -> 0.25']


@pytest.mark.parametrize('name, was', [('v', 0.5), ('w', 0.25)])
def test_what_others_set_stays_when_a_change_is_undone(rig, name, was):
    rig.beta.refuses = True
    rig.beta.then = lambda: rig.alpha.set(**{name: 0.375})
    outcome = rig.apply(v=0.5, u=0.5)
    assert (outcome.ok, outcome.refused) == (False, True)
    assert rig.alpha.values == {'v': 0.25, 'w': 0.25, name: 0.375}
    assert outcome.configuration == {**INITIAL, name: 0.375}
    assert rig.told() == [f'/alpha {name}: {was} -> 0.375']


def test_what_others_set_on_a_node_that_refuses_is_theirs(rig):
    rig.beta.refuses = True
    rig.beta.then = lambda: rig.beta.set(u=0.375)
    assert rig.apply(v=0.5, u=0.5).refused
    assert (rig.alpha.values['v'], rig.beta.values['u']) == (0.25, 0.375)
    assert rig.told() == ['/beta u: 0.25 -> 0.375']


@pytest.mark.parametrize('limit', [lambda v: min(v, 0.375), lambda v: 0.25])
def test_a_node_that_limits_or_ignores_a_value_refused_it(rig, limit):
    rig.alpha.limit['v'] = limit
    outcome = rig.apply(v=0.5, u=0.5)
    assert outcome.refused and 'v was not taken: set 0.5' in outcome.reason
    assert outcome.configuration == INITIAL
    assert rig.alpha.values['v'] == rig.beta.values['u'] == 0.25
    assert rig.told() == []


def test_our_own_undo_is_never_someone_elses(rig):
    before = rig.applier.read_values()
    rig.client.set('alpha', {'v': 0.75})
    rig.alpha.set(v=0.375)
    rig.client.restore(before)
    rig.watch.in_force(rig.applier.read_values())
    assert rig.told() == ['/alpha v: 0.25 -> 0.375']
    assert rig.told() == []


# --- what was there is no configuration of the space ---------------------------------------------


class Limited(Rig):
    """Let w be no more than v."""

    def __init__(self, v, w):
        super().__init__(Space(SPACE.parameters, [Expression('w <= v')]))
        self.alpha.values.update(v=v, w=w)
        self.watch.in_force(self.applier.read_values())

    @property
    def sent(self):
        return [each for node in (self.alpha, self.beta) for each in node.sent]


@pytest.mark.parametrize('v, w', [(9.0, 0.75), (0.25, 0.75)])
def test_nothing_comes_back_piece_by_piece_that_breaks_a_constraint(v, w):
    rig = Limited(v, w)
    rig.beta.refuses = True
    outcome = rig.apply(v=0.5, w=0.5, u=0.5)
    assert outcome.refused and 'is not restored' in outcome.reason
    assert rig.sent == [{'v': 0.5, 'w': 0.5}, {'u': 0.5}]
    assert outcome.configuration is None, 'so that a known one is set'
    assert outcome.values['/alpha'] == {'v': 0.5, 'w': 0.5}
    assert not outcome.open and rig.told() == []


def test_what_fits_with_what_stays_comes_back():
    rig = Limited(9.0, 0.25)
    rig.beta.refuses = True
    outcome = rig.apply(v=0.5, w=0.5, u=0.5)
    assert outcome.configuration == {**INITIAL, 'v': 0.5}
    assert rig.alpha.values == {'v': 0.5, 'w': 0.25}


def test_a_node_that_refuses_what_it_had_does_not_keep_the_others_from_it(rig):
    before = rig.applier.read_values()
    rig.apply(v=0.5, u=0.5)
    after = rig.applier.read_values()
    rig.beta.refuses = True
    outcome = rig.applier.put_back(before, after)
    assert not outcome.ok and not outcome.open
    assert outcome.reason == (
        'restored /alpha v; set of /beta u refused: too much for me')
    assert outcome.configuration == {**INITIAL, 'u': 0.5}
    rig.beta.silent = True
    with pytest.raises(ParameterError, match='gave no answer'):
        rig.applier.put_back(before, after)


def test_a_node_that_answers_late_and_refuses_what_it_had_is_not_asked_again(rig):
    open_nodes = {'/alpha': {'v': 0.5}, '/beta': {'u': 0.5}}
    rig.alpha.silent, rig.beta.refuses = True, True
    left, refused = rig.applier.reopen(open_nodes)
    assert left == {'/alpha': {'v': 0.5}}
    assert refused == {'/beta': 'set of /beta u refused: too much for me'}
    rig.alpha.silent = False
    assert rig.applier.reopen(left) == ({}, {})
    assert rig.alpha.values['v'] == 0.5


def test_a_killed_change_is_not_put_back_to_what_breaks_a_constraint():
    rig = Limited(0.5, 0.5)
    before = {'/alpha': {'v': 9.0, 'w': 0.75}, '/beta': {'u': 0.25, 'gains': [0.0, 0.25]}}
    after = rig.applier.read_values()
    outcome = rig.applier.put_back(before, after)
    assert rig.sent == [] and 'nothing was left' in outcome.reason
    before['/alpha']['w'] = 0.25
    assert rig.applier.put_back(before, after).reason == 'restored /alpha w'


@pytest.mark.parametrize('w, gets', [
    (0.75, {'v': 0.5, 'w': 0.5}), (0.25, {'v': 0.625, 'w': 0.25}),
])
def test_a_node_whose_restart_failed_comes_up_with_what_fits(w, gets):
    rig = Limited(9.0, w)
    given = []
    rig.applier._restarts = types.SimpleNamespace(
        possible=lambda node: True,
        give=lambda values, every: given.append(every['/alpha']) or (
            {'/alpha': ParameterError('/alpha', 'it did not come up')} if len(given) < 2 else {}))
    change = rig.applier.plan({**INITIAL, 'v': 0.625, 'w': 0.5, 'u': 0.5})
    outcome = rig.applier.carry_out(dataclasses.replace(change, restarting=('/alpha',)))
    assert given == [{'v': 0.625, 'w': 0.5}, gets]
    assert (outcome.configuration is None) is (w == 0.75) and outcome.refused


@pytest.mark.parametrize('w, gets', [(0.75, 0.5), (0.25, 0.25)])
def test_a_node_that_is_started_again_gets_what_fits(w, gets):
    rig = Limited(0.5, 0.5)
    after = rig.applier.read_values()
    before = {**after, '/alpha': {'v': 9.0, 'w': w}}
    given = []
    rig.applier._restarts = types.SimpleNamespace(
        possible=lambda node: True, starts=lambda node: True,
        give=lambda values, every: given.append(every) or {})
    rig.applier.restarting = lambda values: list(values)
    del rig.client.nodes['/alpha']
    rig.applier.start_gone(before, after)
    assert given == [{'/alpha': {'v': 0.5, 'w': gets}}]
