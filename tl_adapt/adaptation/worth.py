# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for what a configuration is worth to a robot that works while it is tuned.

To try one out costs what it does worse than the best known one, for as long as it is tried, and
brings what it is expected to do better, for as long as the environment stays as it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from tl_adapt import acquisition
from tl_adapt.adaptation.events import Configuration
from tl_adapt.adaptation.memory import configuration_key
from tl_adapt.models.kernel import Array
from tl_adapt.models.model_set import Assessment
from tl_adapt.tuning import repeats
from tl_adapt.tuning.safety import REACH

# Windows after a trial in which what it taught is made use of.
HORIZON = 10.0
# Trials that count as won, and as lost, before any: models flatter what they do not know.
_WON, _LOST = 1.0, 1.0
# Standard deviations by which what was not measured is taken to be worse than predicted: the best
# of many is likely flattered.
_DOUBT = 2.0


class Sure:
    """
    Say which configurations keep the limits surely enough: with probability 1 - risk.

    Where none of those that are asked about first does, as surely as the surest of them.
    """

    def __init__(self, risk: float) -> None:
        """Keep the risk."""
        self._enough = 1.0 - risk
        self._asked = False

    def lack(self, found: Assessment) -> Array:
        """Return by how much the probability of each (n,) is too low, at most 0 if it is not."""
        if not self._asked:
            self._asked = True
            self._enough = min(self._enough, float(found.feasible.max()))
        return self._enough - found.feasible


class Trial:
    """
    Say what it is worth to try configurations out, given those (k,) that were tried.

    The loss of breaking a limit for sure is the objective of the best one.
    """

    def __init__(self, told: Assessment, risk: float, minimum_gain: float) -> None:
        """
        Keep the best that breaks a limit with probability `risk` at most, if there is one.

        What betters it by less than its share `minimum_gain` would not be chosen. The first of
        those that were tried is where it all began.
        """
        self._sure = Sure(risk)
        safe = Sure(risk).lack(told) <= 0.0
        index = int(np.argmin(np.where(safe, told.mean, np.inf)))
        self.best = float(told.mean[index])
        self._kept = float(told.feasible[index])
        self._goal = self.best - minimum_gain * abs(self.best)
        won = self.best < told.mean[0] - minimum_gain * abs(told.mean[0])
        tried = len(told.mean) - 1
        self._trust = (_WON + won) / (_WON + _LOST + tried)

    def gain(self, found: Assessment) -> Array:
        """Return by how much a run of each (n,) is expected to better the least that pays."""
        return acquisition.expected_improvement(repeats.told(found), self._goal)

    def worth(self, found: Assessment) -> Array:
        """Return what a trial of each (n,) is worth, -inf where it is not safe enough."""
        std = np.maximum(found.std, 1e-300)
        z = (found.mean - self.best) / std
        density = np.exp(-0.5 * np.minimum(z * z, 1400.0)) / np.sqrt(2.0 * np.pi)
        loss = std * (density + z * ndtr(z))
        loss += abs(self.best) * np.maximum(self._kept - found.feasible, 0.0)
        worth = HORIZON * self._trust * self.gain(found) - loss
        return np.where(self._sure.lack(found) <= 0.0, worth, -np.inf)


class Settled:
    """
    Say what configurations are worth that are to stay, given those (k, d) that were tried.

    Breaking a limit for sure is as bad as `unit`. Unsure ones are likely flattered, and those that
    are far from all that were tried are not considered.
    """

    def __init__(self, risk: float, unit: float, tried: Array) -> None:
        """Keep the probability of breaking a limit that they may have."""
        self._sure = Sure(risk)
        self._unit = abs(unit)
        self._tried = tried

    def loss(self, found: Assessment) -> Array:
        """Return the expected loss (n,), in the objective's unit."""
        return found.mean + self._unit * (1.0 - found.feasible)

    def careful(self, found: Assessment) -> Array:
        """Return the loss (n,) to count on."""
        doubt = np.where(self._apart(found) > 0.0, _DOUBT, 1.0)
        return self.loss(found) + doubt * found.std

    def worth(self, found: Assessment) -> Array:
        """Return the worth (n,); it leads to what is safe where that is not."""
        lack = np.maximum(self._sure.lack(found), self._apart(found) - REACH)
        return np.where(lack <= 0.0, -self.careful(found), -1e6 * (1.0 + lack))

    def safe(self, found: Assessment) -> NDArray[np.bool_]:
        """Return which (n,) keep the limits surely enough, and are not too far away."""
        return np.asarray((self._sure.lack(found) <= 0.0) & (self._apart(found) <= REACH))

    def _apart(self, found: Assessment) -> Array:
        """Return how far (n,) the nearest one is that was tried, as a root mean square."""
        apart = [np.square(found.points - one).mean(axis=1) for one in self._tried]
        return np.sqrt(np.min(apart, axis=0))


@dataclasses.dataclass(frozen=True)
class Seen:
    """Hold n configurations that were considered, and what a model says of them."""

    configurations: list[Configuration]
    said: Assessment

    def free(self, avoid: Sequence[Configuration]) -> NDArray[np.bool_]:
        """Return which (n,) need not be avoided."""
        banned = set(map(configuration_key, avoid))
        return np.array(
            [configuration_key(one) not in banned for one in self.configurations], dtype=bool
        )

