# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for further runs of the source while the target is tuned.

They come in rounds: as many as cost what one run of the target does are chosen together, can be
measured side by side, and are learnt from together. What a round consists of follows from what
was measured before it alone, so a tuner that is resumed within a round goes on with it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tl_adapt.designs import fingerprint
from tl_adapt.models.kernel import Array
from tl_adapt.models.model_set import Assessment, ModelSet
from tl_adapt.space import Configuration
from tl_adapt.study import Study
from tl_adapt.tuning import allocation
from tl_adapt.tuning.loss import Loss
from tl_adapt.tuning.proposal import Proposal
from tl_adapt.tuning.search import Search

PROMISING = 64  # of the target's configurations: those of the largest worth, of the lowest mean
ELSEWHERE = 48  # further configurations that the source could measure
SHARE = 1.0  # of what the target has cost: as much may the source cost
RIVALS = 8  # runs of the target that stand up for it


@dataclasses.dataclass(frozen=True)
class View:
    """
    Hold what a choice between the environments is made from.

    `configurations` (n) and what the model says of them are those that were looked at, `worth`
    (n,) what the tuner ranks them by; `measured` are the target's, `run` the source's own.
    """

    model: ModelSet
    configurations: Sequence[Configuration]
    found: Assessment
    worth: Array
    measured: Sequence[Configuration]
    run: set[str]

    def loss(self, seed: int) -> tuple[Loss, list[Configuration], int]:
        """
        Return the loss of promising configurations, the source's, and how many rivals lead.

        The rivals are the configurations that the target could measure next.
        """
        promise = self.found.mean + np.where(self.found.feasible < 0.5, np.inf, 0.0)
        order = [
            *np.argsort(-self.worth, kind='stable')[:PROMISING].tolist(),
            *np.argsort(promise, kind='stable')[:PROMISING].tolist(),
        ]
        order = list(dict.fromkeys(order))
        rest = np.random.default_rng([seed, len(self.run)]).permutation(len(self.configurations))
        near = [*order[:PROMISING], *order[PROMISING:: 2], *rest[:ELSEWHERE].tolist()]
        runs = {
            key: self.configurations[i] for i in near
            if (key := fingerprint(self.configurations[i])) not in self.run
        }
        points = [*(self.configurations[i] for i in order), *self.measured]
        space = self.model.study.space
        source = list(runs.values())
        loss = Loss(self.model, space.encode(points),
                    space.encode(source).reshape(len(source), space.dim))
        return loss, source, min(RIVALS, len(order))


class SourceRuns:
    """
    Decide when the source is to be run again, and with what.

    `given` is how many of its runs are known beforehand; without any it is run by a design first.
    """

    def __init__(self, study: Study, search: Search, seed: int, given: int) -> None:
        """Keep the settings."""
        self.study, self.search, self.seed, self.given = study, search, seed, given
        self.spec = study.source
        self.size = allocation.round_size(self.spec.cost, study.target.cost)
        self.first = 0
        if given == 0 and self.size > 2:
            affordable = int(study.target.cost / self.spec.cost) if self.spec.cost else 2**20
            self.first = min(study.budget.source, 2 * affordable)
        self._plan: tuple[tuple[int, ...], list[Configuration], float] | None = None

    def settled(self, n: int) -> int:
        """Return how many of n runs belong to rounds that are complete."""
        base = self.given + self.first
        return 0 if n < base else base + (n - base) // self.size * self.size

    def under_way(self, n: int, numbers: tuple[int, ...], run: set[str]) -> Proposal | None:
        """
        Return the next run of a round that is not complete, None if there is no such round.

        Also None if it has yet to be planned: see `round_of`. `n` counts the source's runs with
        those that are pending, `numbers` the target's.
        """
        if n < self.given + self.first:
            return self._proposed(
                self.search.unseen('sobol', n, run), None, 'to know the source first'
            )
        if n == self.settled(n) or self._plan is None \
                or self._plan[0] != (*numbers, self.settled(n)):
            return None
        return self._planned(run)

    def _planned(self, run: set[str]) -> Proposal | None:
        if self._plan is None:
            return None
        _, configurations, gain = self._plan
        for configuration in configurations:
            if fingerprint(configuration) not in run:
                return self._proposed(
                    configuration, gain / max(len(configurations), 1),
                    f'it tells most of where the best is: {self.size} runs of the source should '
                    f'bring {gain:.2g}',
                )
        size = self.search.size
        if size is not None and len(run) >= size:
            return None
        unseen = self.search.unseen('sobol', len(run), run)
        return self._proposed(unseen, None, 'to cover the space')

    def instead(
        self, proposal: Proposal, view: View, n: int, numbers: tuple[int, ...], count: int, *,
        target: bool = True,
    ) -> Proposal:
        """
        Return the proposal for the target, or the first of a round of the source that pays more.

        At most `count` runs of the source fit the budget. Without `target` the target's proposal
        does not fit. A round that is not complete goes on in any case.
        """
        size = self.search.size
        settled = self.settled(n)
        begun = n > settled
        if count < 1 or (size is not None and size - len(view.run) < 1):
            return proposal
        loss, source, rivals = view.loss(self.seed)
        chosen, gains = allocation.best_runs(loss, min(self.size, count), self.seed)
        if not chosen and not begun:
            return proposal
        ours = allocation.of_source(loss, chosen, gains, self.spec.cost)
        least = self.study.tuning.minimum_gain * abs(float(np.min(loss(loss.now))))
        if not begun:
            # However much the source seems to tell, what the target says of it must keep up.
            spent = (n - self.given + len(chosen)) * self.spec.cost
            trusted = SHARE * sum(numbers) * proposal.cost
            if ours.gain < least or (target and spent > trusted):
                return proposal
            if target and ours.rate <= max(
                allocation.of_target(loss, index, proposal.cost).rate for index in range(rivals)
            ):
                return proposal
        key = (*numbers, settled)
        self._plan = key, [source[index] for index in chosen], ours.gain
        return self._planned(view.run) or proposal

    def _proposed(self, configuration: Configuration, worth: float | None, why: str) -> Proposal:
        return Proposal(dict(configuration), self.spec.name, worth, self.spec.cost, why)
