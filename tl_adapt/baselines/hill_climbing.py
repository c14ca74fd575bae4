# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for hill climbing with random restarts."""

from __future__ import annotations

import numpy as np

from tl_adapt.baselines.base import Baseline
from tl_adapt.space import Configuration
from tl_adapt.tuning.measured import Loss

STEP = 0.1  # standard deviation of a neighbour's step in the unit cube
PATIENCE = 10  # measurements without an improvement after which it begins elsewhere


class HillClimbing(Baseline):
    """Measure neighbours of the best of this climb, and move to the first that is better."""

    def propose(self, rng: np.random.Generator) -> tuple[Configuration, str]:
        """Return a neighbour of where the climb is, or where to begin one."""
        here = self._here()
        if here is not None:
            return self.near(here, rng, STEP), 'near the best of this climb'
        if self.index == 0:
            return self.search.start(), 'where nothing is known'
        return self.new(), 'a new beginning by chance'

    def _here(self) -> Configuration | None:
        """Return where the climb is after all that was told, None where one begins."""
        here: tuple[Configuration, Loss] | None = None
        failures = 0
        for run in self.told:
            if here is None or run[1] < here[1]:
                here, failures = run, 0
                continue
            failures += 1
            if failures >= PATIENCE:
                here, failures = None, 0
        return None if here is None else here[0]
