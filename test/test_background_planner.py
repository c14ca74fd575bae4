# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import threading

import pytest

from tl_adapt.adaptation.background import BackgroundPlanner, PlanAbandonedError, Worker
from tl_adapt.adaptation.events import Choice
from tl_adapt.errors import TlAdaptError


class SlowPlanner:
    """Plan when it is told to."""

    def __init__(self):
        self.go = threading.Event()
        self.asked = []
        self.error = None

    def bands(self, configuration):
        return {'bands': configuration}

    def outlook(self, configuration):
        return 'outlook'

    def branch(self):
        return self

    def propose(self, evidence, avoid):
        self.asked.append((list(evidence), threading.current_thread().name))
        assert self.go.wait(20.0)
        if self.error is not None:
            raise self.error
        return Choice({'v': 1.0})

    def best(self, evidence, anchor, avoid):
        return Choice(anchor, 0.5)

    def accept(self, evidence):
        self.asked.append('accept')


@pytest.fixture
def slow():
    slow = SlowPlanner()
    yield slow
    slow.go.set()


@pytest.fixture
def worker():
    worker = Worker()
    yield worker
    worker.close()


def test_a_plan_comes_from_another_thread_and_so_does_its_error(slow, worker):
    planner = BackgroundPlanner(slow, worker)
    slow.go.set()
    assert planner.propose([], []) == Choice({'v': 1.0})
    assert slow.asked == [([], 'planner')]
    assert planner.best([], {'v': 2.0}, []).gain == 0.5
    planner.accept([])
    assert slow.asked[-1] == 'accept'
    slow.error = TlAdaptError('no such model')
    with pytest.raises(TlAdaptError, match='no such model'):
        planner.propose([], [])
    assert planner.branch().outlook(3) == 'outlook'
    assert planner.bands(3) == {'bands': 3}


def test_what_is_urgent_does_not_wait_and_what_waits_behind_it_is_dropped(slow, worker):
    planner = BackgroundPlanner(slow, worker)
    worker.urgent = lambda: True
    for evidence in ('first', 'second'):
        with pytest.raises(PlanAbandonedError):
            planner.propose([evidence], [])
    worker.urgent = lambda: False
    slow.go.set()
    planner.propose(['third'], [])
    assert [evidence for evidence, _ in slow.asked] == [['first'], ['third']]


def test_preparing_waits_for_nothing_and_tells_its_error_later(slow, worker):
    done = threading.Event()

    def prepare():
        assert slow.go.wait(20.0)
        done.set()
        raise TlAdaptError('it does not fit')

    slow.prepare = prepare
    planner = BackgroundPlanner(slow, worker)
    planner.prepare()
    planner.prepare()
    assert not done.is_set()
    slow.go.set()
    planner.propose([], [])  # comes after it
    assert done.is_set()
    with pytest.raises(TlAdaptError, match='does not fit'):
        planner.prepare()
