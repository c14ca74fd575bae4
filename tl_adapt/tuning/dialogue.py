# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what passes between a tuning run, its operator and its history."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard

from tl_adapt.environments.base import Measurement
from tl_adapt.tuner import Tuner
from tl_adapt.tuning.history import History
from tl_adapt.tuning.operator import Answer, Operator, Question, Report, left, outcome
from tl_adapt.tuning.optimiser import Optimiser
from tl_adapt.tuning.proposal import Proposal

if TYPE_CHECKING:
    from tl_adapt.study import Study


class Dialogue:
    """Ask the operator before each run, tell what it gave, and keep both in the history."""

    def __init__(self, study: Study, total: int, operator: Operator, history: History) -> None:
        """Keep who takes part; `total` is the budget in runs of the target."""
        self.study, self.total = study, total
        self.operator, self.history = operator, history
        self._question: Question | None = None

    def confirm(self, index: int, proposal: Proposal, tuner: Optimiser) -> Answer:
        """Ask whether the run is to be made; what is refused is kept at once."""
        remaining = left(self.study, tuner, self.total - index)
        self._question = Question(index + 1, self.total, proposal, remaining)
        answer = self.operator.ask(self._question)
        if answer is Answer.SKIP:
            self.history.refuse(proposal.configuration)
        return answer

    def tell(self, index: int, measurement: Measurement, tuner: Optimiser) -> None:
        """Tell what the run gave."""
        forecast = tuner.forecast() if index + 1 < self.total and _learns(tuner) else None
        if forecast is not None and forecast.runs == 0:
            forecast = None
        report = Report(index + 1, self.total, measurement, tuner.best(), forecast)
        if self._question is not None:
            self.history.add(self._question, report)
        self.operator.tell(report)

    def simulated(self, index: int, measurement: Measurement, tuner: Optimiser) -> None:
        """Show a run of the source, which needs no operator."""
        got = outcome(self.study, measurement)
        print(f'{self.study.source.name} {index + 1}: {got}', flush=True)


def _learns(tuner: Optimiser) -> TypeGuard[Tuner]:
    """Say whether a model chooses, and knows something of the target."""
    return isinstance(tuner, Tuner) and tuner.model.ready and any(m.valid for m in tuner.target)
