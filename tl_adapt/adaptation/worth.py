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

# Windows after a trial in which what it taught is made use of.
HORIZON = 10.0
# Trials that count as won, and as lost, before any: models flatter what they do not know.
_WON, _LOST = 1.0, 1.0
# Standard deviations by which what was not measured is taken to be worse than predicted: the best
# of many is likely flattered.
_DOUBT = 2.0


class Trial:
    """
    Say what it is worth to try configurations out, given those (k,) that were tried.

    The loss of breaking a limit for sure is the objective of the best one.
    """

    def __init__(self, told: Assessment, enough: float, minimum_gain: float) -> None:
        """
        Keep the best that is known to keep the limits with probability `enough`.

        What betters it by less than its share `minimum_gain` would not be chosen. The first of
        those that were tried is where it all began.
        """
        safe = told.feasible >= enough
        mean = np.where(safe, told.mean, np.inf) if safe.any() else told.mean
        index = int(np.argmin(mean))
        self.best = float(mean[index])
        self._kept = float(told.feasible[index])
        self._goal = self.best - minimum_gain * abs(self.best)
        self._enough = enough
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
        return np.where(found.feasible >= self._enough, worth, -np.inf)


class Settled:
    """Say what configurations are worth that are to stay: unsure ones are likely flattered."""

    def __init__(self, enough: float) -> None:
        """Keep the probability of keeping the limits that they have to have."""
        self._enough = enough

    def worth(self, found: Assessment) -> Array:
        """Return the worth (n,); it leads to what is safe where that is not."""
        lack = self._enough - found.feasible
        return np.where(lack <= 0.0, -careful(found), -1e6 * (1.0 + lack))


@dataclasses.dataclass(frozen=True)
class Seen:
    """Hold n configurations that were considered, and what a model says of them."""

    configurations: list[Configuration]
    said: Assessment

    @property
    def keys(self) -> list[str]:
        """Return a text for each that is equal for equal ones."""
        return keys_of(self.configurations)

    def free(self, avoid: Sequence[Configuration]) -> NDArray[np.bool_]:
        """Return which (n,) need not be avoided."""
        banned = set(keys_of(avoid))
        return np.array([key not in banned for key in self.keys], dtype=bool)


def keys_of(configurations: Sequence[Configuration]) -> list[str]:
    """Return a text for each configuration that is equal for equal ones."""
    return [configuration_key(one) for one in configurations]


def careful(found: Assessment, measured: NDArray[np.bool_] | bool = False) -> Array:
    """Return what to count on (n,), for what was `measured` (n,) and what was not."""
    return found.mean + np.where(measured, 1.0, _DOUBT) * found.std
