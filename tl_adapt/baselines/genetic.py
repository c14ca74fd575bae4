# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for a genetic algorithm: steady state, uniform crossover (Syswerda 1989)."""

from __future__ import annotations

import functools

import numpy as np

from tl_adapt.baselines.base import Baseline
from tl_adapt.space import Configuration

PARENTS = 8  # the best so far, from which children come
STEP = 0.1  # standard deviation of a mutation in the unit cube
TRIES = 32  # children until one keeps the constraints


class GeneticAlgorithm(Baseline):
    """
    Measure children of the best: each value from either parent, some moved by a mutation.

    The first generation has PARENTS configurations whatever the budget is, so that a longer
    search begins as a shorter one does.
    """

    @functools.cached_property
    def _beginning(self) -> list[Configuration]:
        others = self.space.sample(PARENTS - 1, seed=self.seed, method='lhs')
        return [self.search.start(), *others]

    def propose(self, rng: np.random.Generator) -> tuple[Configuration, str]:
        """Return one of the beginning, then a child of two of the best."""
        if self.index < len(self._beginning):
            return self._beginning[self.index], 'one of the first generation'
        if not self.told:
            return self.new(), 'by chance'
        ranked = sorted(self.told, key=lambda run: run[1])[:PARENTS]
        for _ in range(TRIES):
            mother, father = (
                self.space.encode([ranked[self._tournament(len(ranked), rng)][0]])[0]
                for _ in range(2)
            )
            places = np.where(rng.random(self.space.dim) < 0.5, mother, father)
            moved = rng.random(self.space.dim) < 1.0 / self.space.dim
            # The order of words means nothing: a mutation gives any of them.
            fresh = np.where(
                self.space.categorical, rng.random(self.space.dim),
                places + rng.normal(0.0, STEP, self.space.dim),
            )
            child = self.space.decode(np.where(moved, fresh, places))[0]
            if self.space.satisfied(child):
                return child, 'a child of two of the best'
        return self.near(ranked[0][0], rng, STEP), 'near the best: no child keeps the constraints'

    @staticmethod
    def _tournament(n: int, rng: np.random.Generator) -> int:
        """Return the better of two random ranks."""
        return int(rng.integers(n, size=2).min())
