# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for simulated annealing (Kirkpatrick et al. 1983)."""

from __future__ import annotations

import numpy as np

from tl_adapt.baselines.base import Baseline
from tl_adapt.space import Configuration
from tl_adapt.tuning.measured import Loss

STEPS = (0.3, 0.05)  # standard deviation of a step in the unit cube, at the begin and the end
TEMPERATURES = (0.5, 0.01)  # of the objective's standard deviation so far
COOLED = 40  # measurements after which it is cold, whatever the budget
_ACCEPT = 1  # the stream of random numbers for acceptance


class SimulatedAnnealing(Baseline):
    """Walk by random steps; one for the worse is taken ever less likely, and steps shrink."""

    def propose(self, rng: np.random.Generator) -> tuple[Configuration, str]:
        """Return a random step from where the walk is."""
        if not self.told:
            why = 'where nothing is known' if self.index == 0 else 'by chance'
            return (self.search.start() if self.index == 0 else self.new()), why
        return self.near(self._here(), rng, self._cooled(STEPS, self.index)), 'a random step'

    def _cooled(self, ends: tuple[float, float], index: int) -> float:
        """Return a value that falls geometrically, at the same pace in a shorter search."""
        first, last = ends
        return float(first * (last / first) ** min(index / COOLED, 1.0))

    def _here(self) -> Configuration:
        """Return where the walk is after all that was told."""
        here = self.told[0]
        values = [here[1][1]]
        for index, run in enumerate(self.told[1:], 1):
            values.append(run[1][1])
            finite = [value for value in values if np.isfinite(value)]
            scale = float(np.std(finite)) if finite else 0.0
            temperature = scale * self._cooled(TEMPERATURES, index)
            if self._accepted(run[1], here[1], temperature, index):
                here = run
        return here[0]

    def _accepted(self, new: Loss, old: Loss, temperature: float, index: int) -> bool:
        """Say whether the walk goes on from the new run; never from a sound one to a broken."""
        if new <= old or new[0] > old[0]:
            return new <= old
        chance = np.random.default_rng([self.seed, index, _ACCEPT]).random()
        return bool(chance < np.exp((old[1] - new[1]) / max(temperature, 1e-300)))
