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

import numpy as np

from tl_adapt.designs import fingerprint
from tl_adapt.space import Configuration
from tl_adapt.study import Study
from tl_adapt.tuning import allocation
from tl_adapt.tuning.book import Book
from tl_adapt.tuning.proposal import Proposal
from tl_adapt.tuning.search import Search
from tl_adapt.tuning.view import RIVALS, View

SHARE = 1.0  # of what the target has cost: as much may the source cost


@dataclasses.dataclass(frozen=True)
class _Plan:
    """Hold the runs of a round, what they should bring together, and which round it is."""

    key: tuple[int, ...]
    runs: list[Configuration]
    gain: float


def _count(book: Book) -> int:
    """Return how many runs of the source there are, pending ones too."""
    return len(book.source) + len(book.of(True))


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
        self._plan: _Plan | None = None

    def forget(self) -> None:
        """Forget what was planned: the target begins anew."""
        self._plan = None

    def settled(self, n: int) -> int:
        """Return how many of n runs belong to rounds that are complete."""
        base = self.given + self.first
        return 0 if n < base else base + (n - base) // self.size * self.size

    def under_way(self, book: Book) -> Proposal | None:
        """
        Return the next run of a round that is not complete, None if there is no such round.

        Also None if the budget does not pay for it, or if it has yet to be planned anew.
        """
        n, run = _count(book), book.seen(simulated=True)
        if book.lack(self.spec.name):
            return None
        if n < self.given + self.first:
            unseen = self.search.unseen('sobol', n, run)
            return self._proposed(unseen, None, 'to know the source first')
        if n > self.settled(n) and self._plan is not None and self._plan.key == self._key(book):
            return self._planned(self._plan, run)
        return None

    def instead(self, proposal: Proposal, view: View) -> Proposal:
        """
        Return the proposal for the target, or the first of a round of the source that pays more.

        A round that is not complete goes on in any case, and what the budget does not pay for
        has no say.
        """
        book, run = view.book, view.book.seen(simulated=True)
        n = _count(book)
        done = n - self.settled(n)
        fitting = book.affordable(self.spec.name, self.size - done)
        size = self.search.size
        if not fitting or (size is not None and len(run) >= size):
            return proposal
        # Runs of the round that is under way are among what it is planned from.
        before = [*book.configurations(True), *(one.configuration for one in book.of(True))]
        loss, source = view.loss(
            self.seed, [fingerprint(one) for one in before[:n - done]]
        )
        chosen, gains = allocation.best_runs(loss, done + fitting, self.seed)
        ours = allocation.of_source(loss, gains, self.spec.cost)
        if done == 0:
            if ours.gain <= self.study.tuning.minimum_gain * abs(float(np.min(loss(loss.now)))):
                return proposal
            if not book.lack(proposal.environment):
                # However much the source seems to tell, what the target says must keep up.
                spent = (n - self.given) * self.spec.cost + ours.cost
                if spent > SHARE * sum(book.numbers) * proposal.cost:
                    return proposal
                # Where a run of the source costs nothing, one round for each of the target's.
                if n - self.given - self.first > self.size * sum(book.numbers):
                    return proposal
                theirs = max(
                    allocation.of_target(loss, i, proposal.cost).rate
                    for i in range(min(RIVALS, len(loss.valid)))
                )
                if ours.rate <= theirs:
                    return proposal
        runs = [source[index] for index in chosen]
        self._plan = _Plan(self._key(book), runs, ours.gain)
        return self._planned(self._plan, run)

    def _key(self, book: Book) -> tuple[int, ...]:
        """Return what tells the plans of two rounds apart."""
        return (*book.numbers, self.settled(_count(book)))

    def _planned(self, plan: _Plan, run: set[str]) -> Proposal:
        """Return the first run of a plan that was not made yet."""
        for configuration in plan.runs:
            if fingerprint(configuration) not in run:
                return self._proposed(
                    configuration, plan.gain / len(plan.runs),
                    f'{len(plan.runs)} runs of {self.spec.name} should lower the objective by '
                    f'{plan.gain:.2g}',
                )
        unseen = self.search.unseen('sobol', len(run), run)
        return self._proposed(unseen, None, 'to cover the space')

    def _proposed(self, configuration: Configuration, worth: float | None, why: str) -> Proposal:
        return Proposal(dict(configuration), self.spec.name, worth, self.spec.cost, why)
