# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the node `transfer`: an operator answers from another terminal, or a user interface.

Under `ros2 launch` no terminal is there to ask. `~/proposal` says what waits for an answer, what
runs and what was found; `~/confirm`, `~/skip` and `~/abort` answer.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from std_srvs.srv import Trigger

from tl_adapt.parameter_file import value_text
from tl_adapt.ros.spinning import Spinner
from tl_adapt.study import Study
from tl_adapt.tuning.measured import loss
from tl_adapt.tuning.operator import Answer, Question, Report

_DONE = {
    Answer.RUN: 'the run begins',
    Answer.SKIP: 'this configuration will not be proposed again',
    Answer.ABORT: 'ended; what was measured is kept, and the same command goes on',
}
WAITING, RUNNING, CHOOSING, ENDED = 'waiting', 'running', 'choosing', 'ended'
_LATCHED = QoSProfile(
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
_GRACE = 0.3  # s until the last answer has gone out; it would be lost with its writer
_LOOK = 0.5  # s between looks whether a signal or the end of the wait has come


class ByServices:
    """
    Be an operator who is asked by a topic and answers by services; the node has its own thread.

    `timeout` is how long an answer is waited for, in s (0: for ever). `give_up` is called when
    the operator aborts while a run is under way.
    """

    def __init__(
        self, study: Study, *, namespace: str = '', timeout: float = 0.0,
        give_up: Callable[[], None] = lambda: None,
    ) -> None:
        """Join the graph."""
        self._study, self._timeout, self._give_up = study, timeout, give_up
        self._changed = threading.Condition()
        self._state = CHOOSING
        self._answer: Answer | None = None
        self._aborted = False
        self._asked: dict[str, str] = {}
        self._found: dict[str, str] = {}
        context = rclpy.Context()
        rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = Node('transfer', context=context, namespace=namespace)
        self._topic = self._node.create_publisher(DiagnosticArray, '~/proposal', _LATCHED)
        for name, answer in (
            ('confirm', Answer.RUN), ('skip', Answer.SKIP), ('abort', Answer.ABORT)
        ):
            self._node.create_service(Trigger, f'~/{name}', self._serve(answer))
        self._spinner = Spinner(self._node)
        self._spinner.start()

    # --- as an operator ------------------------------------------------------------------------

    def ask(self, question: Question) -> Answer:
        """Publish the question and wait for an answer."""
        name = self._node.get_fully_qualified_name()
        print(question)
        print(
            f'  waiting: ros2 topic echo --once {name}/proposal shows it; '
            f'ros2 service call {name}/confirm std_srvs/srv/Trigger runs it, {name}/skip refuses '
            f'this configuration for good, {name}/abort ends', flush=True,
        )
        self._asked = question_values(self._study, question)
        end = time.monotonic() + self._timeout if self._timeout else math.inf
        with self._changed:
            if self._aborted:
                return Answer.ABORT
            self._answer = None
            self._set(WAITING)
            while self._answer is None and time.monotonic() < end:
                self._changed.wait(min(_LOOK, max(end - time.monotonic(), 0.0)))
            answer = self._answer or Answer.LATE
            self._set(RUNNING if answer is Answer.RUN else CHOOSING)
        return answer

    def tell(self, report: Report) -> None:
        """Publish what the run gave."""
        print(report.text(self._study), flush=True)
        with self._changed:
            self._found = report_values(self._study, report)
            self._set(CHOOSING)

    def close(self) -> None:
        """Say that it has ended and leave the graph; a second call does nothing."""
        with self._changed:
            if self._state == ENDED:
                return
            self._set(ENDED)
        time.sleep(_GRACE)
        self._spinner.close()

    # --- the node ------------------------------------------------------------------------------

    def _serve(self, answer: Answer) -> Any:
        """Return the callback of the service that gives an answer."""

        def serve(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            with self._changed:
                state = self._state
                waits = state == WAITING and self._answer is None
                if not waits and (answer is not Answer.ABORT or state == ENDED):
                    response.message = f'no run waits for an answer: {state}'
                    return response
                self._aborted = answer is Answer.ABORT
                if waits:
                    self._answer = answer
                    self._changed.notify_all()
            if not waits:
                # Not here: whoever called must have the answer before all ends.
                threading.Thread(target=self._give_up, daemon=True).start()
            response.success, response.message = True, _DONE[answer]
            return response

        return serve

    def _set(self, state: str) -> None:
        """Publish a state; the lock is held."""
        self._state = state
        values = {'state': state, **self._asked, **self._found}
        status = DiagnosticStatus(
            level=DiagnosticStatus.OK, name=f'{self._node.get_name()}: {self._study.name}',
            message=f'{state}: run {values.get("run", "1")} of {values.get("of", "?")}',
            hardware_id=self._study.target.identity.get('hardware', self._study.target.name),
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )
        message = DiagnosticArray(status=[status])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._topic.publish(message)


def question_values(study: Study, question: Question) -> dict[str, str]:
    """Return the key-values of a proposal, as texts."""
    proposal, remaining = question.proposal, question.left
    values = {
        'run': str(question.number), 'of': str(question.total),
        'environment': proposal.environment, 'why': proposal.why,
        'expected_improvement': _text(proposal.worth), 'cost': _text(proposal.cost),
        'left.runs': str(remaining.runs), 'left.cost': _text(remaining.cost),
        'left.time': _text(remaining.time),
        'configuration': json.dumps(proposal.configuration),
    }
    for parameter in study.space.parameters:
        value = value_text(proposal.configuration[parameter.name])
        values[f'parameter.{parameter.name}'] = f'{value} {parameter.unit}'.rstrip()
    return values


def report_values(study: Study, report: Report) -> dict[str, str]:
    """Return the key-values of the last run and of the incumbent, as texts."""
    run, best = report.measurement, report.incumbent
    bad, objective = loss(study, run)
    values = {
        'last.run': str(report.number), 'last.valid': str(run.valid).lower(),
        'last.reason': run.reason,
        'last.objective': _text(None if bad == 2 else objective),
        'incumbent.mean': _text(best.mean), 'incumbent.std': _text(best.std),
        'incumbent.configuration': json.dumps(best.configuration),
    }
    if report.forecast is not None:
        values['forecast'] = str(report.forecast)
    return values | {f'last.metric.{name}': _text(value) for name, value in run.metrics.items()}


def _text(value: float | None) -> str:
    """Return a number for the reader; nothing where there is none."""
    return '' if value is None or math.isnan(value) else f'{value:.6g}'
