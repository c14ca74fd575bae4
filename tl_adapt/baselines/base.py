# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what the baselines share: searches that learn no model from what they measure."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tl_adapt.designs import fingerprint
from tl_adapt.environments.base import Measurement
from tl_adapt.errors import InputError
from tl_adapt.models.model_set import ModelSet
from tl_adapt.space import Configuration
from tl_adapt.tuning.book import Book, Booked
from tl_adapt.tuning.measured import Loss, best_measured, loss
from tl_adapt.tuning.proposal import Choice, Proposal
from tl_adapt.tuning.search import Search

if TYPE_CHECKING:
    from tl_adapt.study import Study

NEAR = 16  # neighbours that are looked at for one that is new
WIDER = (1.0, 2.0, 4.0)  # by how much their steps grow if none is


class Baseline(Booked, ABC):
    """
    Choose target measurements as an Optimiser, without a model.

    What is proposed follows from the seed and from what was told, in its order: a search that is
    resumed goes on as it would have. While something is unmeasured, nothing comes twice. Where
    `candidates` are all that can be measured, the nearest of them stands for what a search wants.
    """

    def __init__(
        self,
        study: Study,
        *,
        seed: int = 0,
        budget: int | None = None,
        candidates: Sequence[Configuration] | None = None,
    ) -> None:
        """
        Keep the settings; `budget` is a number of measurements (the study's if None).

        Raises ValueError for a budget below 0 or no candidate, InputError for a candidate outside
        of the study's space and in a study that is safe, which takes a model.
        """
        if study.tuning.safe:
            rule = 'a search without a model can not tell what is safe'
            raise InputError(rule, key='tuning.safe', value=True)
        self.study = study
        self.space = study.space
        self.seed = seed
        self.budget = study.budget.target if budget is None else budget
        if not self.budget >= 0:
            raise ValueError(f'budget must be 0 or more, got {budget}')
        self.search = Search(self.space, seed, candidates)
        self.book = Book(study, (), simulate=False)
        self.told: list[tuple[Configuration, Loss]] = []

    @property
    def model(self) -> ModelSet:
        """Return models fitted to what was told; the search itself does not use them."""
        return ModelSet(self.study, seed=self.seed).fit((), self.target)

    def tell(self, measurement: Measurement, *, charged: bool = True) -> None:
        """
        Take note of a target measurement, asked for or not, in any order.

        Its cost and time are `charged` to the budget. Raises InputError if its configuration is
        outside of the study's space.
        """
        self.book.tell(measurement, charged=charged)
        configuration = self.space.validate(measurement.configuration)
        self.told.append((configuration, loss(self.study, measurement)))

    def ask(self, n: int = 1) -> list[Proposal]:
        """
        Return the n next runs to measure; they count as pending until told or withdrawn.

        They are fewer where the budget in cost units or time does not pay for n, or where all
        that is left was refused. Raises ValueError for n below 0.
        """
        if n < 0:
            raise ValueError(f'n must be 0 or more, got {n}')
        asked: list[Proposal] = []
        target = self.study.target
        for _ in range(n):
            if self.book.lack(target.name):
                break
            rng = np.random.default_rng([self.seed, len(self.target), len(self.pending)])
            wanted, why = self.propose(rng)
            configuration = self._allowed(wanted, rng)
            if configuration in self.refused:
                break
            asked.append(Proposal(configuration, target.name, None, target.cost, why))
            self.pending.append(asked[-1])
        return asked

    @abstractmethod
    def propose(self, rng: np.random.Generator) -> tuple[Configuration, str]:
        """Return what to measure next, if it can be and is new, and why."""

    def should_stop(self) -> str | None:
        """Return why no more should be measured, or None."""
        if self.book.charged >= self.budget:
            return f'the budget of {self.budget} target measurements is spent'
        lack = self.book.lack(self.study.target.name)
        if lack:
            return lack
        size = self.search.size
        if self.search.exhausted(self.seen):
            refused = ' or refused' if self.refused else ''
            return f'all {size} configurations are measured{refused}'
        return None

    def best(self) -> Choice:
        """Return the configuration with the lowest objective measured, within limits if any is."""
        valid = [
            m for m, (configuration, (rank, _)) in zip(self.target, self.told)
            if rank < 2 and configuration in self.search
        ]
        found = best_measured(
            self.study, [m for m in valid if m.configuration not in self.refused] or valid
        )
        if found is not None:
            return found
        why = 'a first guess: nothing valid was measured'
        return Choice(self.search.start(), math.nan, 0.0, why)

    # --------------------------------------------------------------------- for the searches
    @property
    def index(self) -> int:
        """Return how many measurements have been asked for or told."""
        return len(self.target) + len(self.pending)

    @property
    def seen(self) -> set[str]:
        """Return the fingerprints of what is measured, pending or refused."""
        return self.book.seen()

    def new(self) -> Configuration:
        """Return a random configuration that is neither measured, pending nor refused."""
        return self.search.unseen('random', self.index, self.seen, self._refused)

    def near(
        self, configuration: Configuration, rng: np.random.Generator, step: float
    ) -> Configuration:
        """Return a neighbour that is neither measured nor pending, if there is one in reach."""
        seen = self.seen
        for wider in WIDER:
            for neighbour in self.space.neighbours(configuration, rng, NEAR, step * wider):
                if fingerprint(neighbour) not in seen:
                    return neighbour
        return self.new()

    @property
    def _refused(self) -> set[str]:
        return {fingerprint(one) for one in self.refused}

    def _allowed(self, wanted: Configuration, rng: np.random.Generator) -> Configuration:
        """Return the nearest that can be measured and is new, else one to run again."""
        seen, among = self.seen, self.search.among
        if among is not None:
            # In an exhausted list a repeat is all that is left, but not of what was refused.
            return among.nearest(wanted, self._refused if seen >= set(among.keys) else seen)
        return self.near(wanted, rng, 0.05) if fingerprint(wanted) in seen else dict(wanted)
