# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for Latin hypercube sampling: each part of each range once (McKay et al. 1979)."""

from __future__ import annotations

import functools

import numpy as np

from tl_adapt.baselines.base import Baseline
from tl_adapt.space import Configuration


class LatinHypercube(Baseline):
    """
    Measure a Latin hypercube of as many points as the budget allows.

    Another budget is another hypercube: this is the one search whose beginning depends on it.
    """

    @functools.cached_property
    def _design(self) -> list[Configuration]:
        return self.space.sample(self.budget, seed=self.seed, method='lhs')

    def propose(self, rng: np.random.Generator) -> tuple[Configuration, str]:
        """Return the next point of the design, or a random one beyond its end."""
        if self.index < len(self._design):
            return self._design[self.index], 'to cover the space'
        return self.new(), 'by chance: the design is measured'
