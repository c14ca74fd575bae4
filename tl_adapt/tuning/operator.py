# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for who is asked before each run of the target: nobody, or an operator at a terminal."""

from __future__ import annotations

import dataclasses
import enum
import sys
from typing import TYPE_CHECKING, Protocol

from tl_adapt.environments.base import Measurement
from tl_adapt.errors import TlAdaptError
from tl_adapt.parameter_file import configuration_lines
from tl_adapt.progress import duration
from tl_adapt.tuning.forecast import Forecast
from tl_adapt.tuning.measured import loss
from tl_adapt.tuning.optimiser import Optimiser
from tl_adapt.tuning.proposal import Choice, Proposal

if TYPE_CHECKING:
    from tl_adapt.study import Study


class Answer(enum.Enum):
    """
    Say what becomes of a run that was proposed.

    SKIP takes back the configuration for good; LATE is no answer in time, to be asked again.
    """

    RUN = 'run'
    SKIP = 'skip'
    ABORT = 'abort'
    LATE = 'late'


@dataclasses.dataclass(frozen=True)
class Left:
    """Hold what is left of the budget: runs, cost units and seconds (None: no bound)."""

    runs: int
    cost: float | None
    time: float | None

    def __str__(self) -> str:
        parts = [f'{self.runs} run{"s" if self.runs != 1 else ""}']
        if self.cost is not None:
            parts.append(f'{self.cost:g} cost units')
        if self.time is not None:
            parts.append(duration(self.time))
        return ', '.join(parts)


def left(study: Study, tuner: Optimiser, runs: int) -> Left:
    """Return what is left where `runs` runs of the target are."""
    cost, time = study.budget.cost, study.budget.time
    if cost is not None:
        cost = max(cost - tuner.spent, 0.0)
    if time is not None:
        time = max(time - tuner.time, 0.0)
    return Left(max(runs, 0), cost, time)


@dataclasses.dataclass(frozen=True)
class Question:
    """Hold the run number `number` of `total` that is proposed, and what is left before it."""

    number: int
    total: int
    proposal: Proposal
    left: Left

    def __str__(self) -> str:
        """Return it as one line."""
        why, worth = self.proposal.why, self.proposal.worth
        if worth is not None:
            why = f'expected gain {worth:.2g} ({why})'
        return f'next {self.number}/{self.total}: {why}; left: {self.left}'


@dataclasses.dataclass(frozen=True)
class Report:
    """
    Hold what run `number` of `total` gave, and the best configuration after it.

    `forecast` is what the rest of the budget should bring (None: nothing is left, or no model).
    """

    number: int
    total: int
    measurement: Measurement
    incumbent: Choice
    forecast: Forecast | None = None

    def text(self, study: Study) -> str:
        """Return it as a line, and one more with the metrics."""
        run, got = self.measurement, outcome(study, self.measurement)
        metrics = ', '.join(
            f'{name} {run.metrics[name]:.4g} {metric.unit if metric.unit != "1" else ""}'.rstrip()
            for name, metric in study.metrics.items() if name in run.metrics
        )
        broken = study.broken_limits(run.metrics) if run.valid else []
        lines = [f'{self.number}/{self.total}: {got}; {self.incumbent.why}']
        if metrics:
            lines.append(f'  {metrics}')
        if broken:
            lines.append(f'  limits broken: {", ".join(broken)}')
        if self.forecast is not None:
            lines.append(f'  {self.forecast}')
        return '\n'.join(lines)


def outcome(study: Study, run: Measurement) -> str:
    """Return what a run gave, in a few words."""
    if not run.valid:
        return f'failed: {run.reason}'
    bad, objective = loss(study, run)
    return 'no objective: a metric is missing' if bad == 2 else f'objective {objective:.3f}'


class Operator(Protocol):
    """Be asked before each run of the target, and told what it gave."""

    def ask(self, question: Question) -> Answer:
        """Return what becomes of the run."""

    def tell(self, report: Report) -> None:
        """Take note of what the run gave."""

    def close(self) -> None:
        """End; a second call does nothing."""


class Unattended:
    """Say what comes next and let everything run."""

    def __init__(self, study: Study) -> None:
        """Keep the study, for its units."""
        self.study = study

    def ask(self, question: Question) -> Answer:
        """Show the question; the answer is always to run."""
        print(question, flush=True)
        return Answer.RUN

    def tell(self, report: Report) -> None:
        """Show the report."""
        print(report.text(self.study), flush=True)

    def close(self) -> None:
        """Do nothing."""


class AtTerminal(Unattended):
    """Ask on standard input; any answer but yes and skip ends the tuning."""

    def ask(self, question: Question) -> Answer:
        """Show the configuration and wait; raises TlAdaptError without a terminal."""
        if not sys.stdin.isatty():
            raise TlAdaptError(
                '--confirm needs a terminal to ask the operator; '
                'with --confirm service the answer comes from another one'
            )
        print(question)
        for line in configuration_lines(self.study, question.proposal.configuration):
            print(f'  {line}')
        try:
            answer = input('run it, or skip this configuration for good? [y/s/N] ').strip().lower()
        except EOFError:
            print()
            answer = ''
        if answer in ('y', 'yes'):
            return Answer.RUN
        return Answer.SKIP if answer in ('s', 'skip') else Answer.ABORT
