# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for where the next cost units are spent: on a run of the target, or on runs of the source.

Both are worth what they should lower the lowest expected loss on the target by: the knowledge
gradient (Frazier et al. 2009), of several information sources (Poloczek et al. 2017), per cost.
One run of the source alone often tells nothing that would change a choice, while twenty would;
so as many of them are weighed as one run of the target costs.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from tl_adapt.models.kernel import Array
from tl_adapt.tuning.loss import Loss, normals

ROUND = 16  # runs of the source that are chosen together, at most
OUTCOMES = 64  # of the runs, and as many mirrored
_DRAWS = 256  # of the loss, to see where the best may be


@dataclasses.dataclass(frozen=True)
class Worth:
    """Hold by how much runs should lower the lowest expected loss, and what they cost."""

    gain: float
    cost: float

    @property
    def rate(self) -> float:
        """Return the gain per cost unit; what costs nothing is worth any gain."""
        return self.gain / max(self.cost, 1e-12)


def round_size(source_cost: float, target_cost: float) -> int:
    """Return how many runs of the source are chosen together: what one of the target costs."""
    if source_cost <= target_cost / ROUND:
        return ROUND
    return max(1, int(target_cost / source_cost))


def of_target(loss: Loss, index: int, cost: float) -> Worth:
    """Return the worth of a run of the target at point `index`."""
    gains = {name: joint.gain(index)[:, None] for name, joint in loss.joints.items()}
    return Worth(_gain(loss, gains), cost)


def of_source(loss: Loss, gains: dict[str, Array], cost: float) -> Worth:
    """Return the worth of the runs that `best_runs` has chosen, `cost` each."""
    return Worth(_gain(loss, gains), cost * next(iter(gains.values())).shape[1])


def _gain(loss: Loss, gains: dict[str, Array]) -> float:
    count = next(iter(gains.values())).shape[1]
    if count == 0:
        return 0.0
    after = loss.after(gains, normals(list(gains), count, OUTCOMES))
    now = int(np.argmin(loss(loss.now)))
    # Against the same outcome of what would be chosen now: what can not change the choice is 0.
    return float(np.mean(after[:, now] - after.min(axis=1)))


def best_runs(loss: Loss, count: int, seed: int) -> tuple[list[int], dict[str, Array]]:
    """
    Choose runs of the source one after the other, by how well they tell where the best is.

    That is by how far they should move the losses apart, where the best may be. Returns the
    indices of at most `count` and for each metric what they move its mean by, (m, chosen).
    """
    best = np.bincount(
        np.argmin(loss.draws(_DRAWS, seed), axis=1), minlength=len(loss.valid)
    ) / _DRAWS
    slopes = loss.slopes()
    cross = {name: joint.cross.copy() for name, joint in loss.joints.items()}
    own = {name: joint.source.copy() for name, joint in loss.joints.items()}
    noise = {name: joint.source_noise for name, joint in loss.joints.items()}
    size = next(iter(cross.values())).shape[1]
    free: NDArray[np.bool_] = np.ones(size, dtype=bool)
    chosen: list[int] = []
    moved: dict[str, list[Array]] = {name: [] for name in cross}
    for _ in range(min(count, size)):
        score = np.zeros(size)
        for name, gain in cross.items():
            total = np.maximum(np.diagonal(own[name]), 0.0) + noise[name]
            effect = slopes[name][:, None] * gain / np.sqrt(np.maximum(total, 1e-300))
            score += best @ (effect - best @ effect) ** 2
        index = int(np.argmax(np.where(free, score, -np.inf)))
        if score[index] <= 0.0:
            break
        free[index] = False
        chosen.append(index)
        for name in cross:
            total = float(np.sqrt(max(own[name][index, index], 0.0) + noise[name]))
            step, link = cross[name][:, index] / total, own[name][index] / total
            moved[name].append(step)
            cross[name] -= step[:, None] * link
            own[name] -= link[:, None] * link
    gains = {
        name: np.array(steps).T.reshape(len(loss.valid), len(chosen))
        for name, steps in moved.items()
    }
    return chosen, gains
