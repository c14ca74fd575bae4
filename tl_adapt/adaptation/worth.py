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

from tl_adapt import acquisition
from tl_adapt.adaptation.events import Configuration
from tl_adapt.adaptation.memory import configuration_key
from tl_adapt.models.kernel import Array
from tl_adapt.models.model_set import Assessment
from tl_adapt.tuning import repeats

# Windows after a trial in which what it taught is made use of.
HORIZON = 10.0


class Trial:
    """Say what it is worth to try configurations out, given those (k,) that were tried."""

    def __init__(self, told: Assessment, enough: float, minimum_gain: float) -> None:
        """
        Keep the best that is known to keep the limits with probability `enough`.

        What betters it by less than its share `minimum_gain` would not be chosen.
        """
        safe = told.feasible >= enough
        mean = np.where(safe, told.mean, np.inf) if safe.any() else told.mean
        self.best = float(mean.min())
        self._goal = self.best - minimum_gain * abs(self.best)
        self._enough = enough

    def gain(self, found: Assessment) -> Array:
        """Return by how much a run of each (n,) is expected to better the least that pays."""
        return acquisition.expected_improvement(repeats.told(found), self._goal)

    def worth(self, found: Assessment) -> Array:
        """Return what a trial of each (n,) is worth, -inf where it is not safe enough."""
        worth = HORIZON * self.gain(found) - np.maximum(found.mean - self.best, 0.0)
        return np.where(found.feasible >= self._enough, worth, -np.inf)


class Settled:
    """Say what configurations are worth that are to stay: unsure ones are likely flattered."""

    def __init__(self, enough: float) -> None:
        """Keep the probability of keeping the limits that they have to have."""
        self._enough = enough

    def worth(self, found: Assessment) -> Array:
        """Return the worth (n,); it leads to what is safe where that is not."""
        lack = self._enough - found.feasible
        return np.where(lack <= 0.0, -(found.mean + found.std), -1e6 * (1.0 + lack))


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


def most_promising(
    said: Assessment, safe: NDArray[np.bool_], measured: NDArray[np.bool_]
) -> int:
    """
    Return which of those that are `safe` (n,) to settle on; one at least is.

    The best of those that were measured (n,) by its mean; another is taken if it is surely
    better, or none of them safe.
    """
    mean = np.where(safe & measured, said.mean, np.inf)
    careful = np.where(safe, said.mean + said.std, np.inf)
    best, new = int(np.argmin(mean)), int(np.argmin(careful))
    sure = said.mean[new] + 2.0 * said.std[new] < said.mean[best] - said.std[best]
    return best if np.isfinite(mean[best]) and not sure else new
