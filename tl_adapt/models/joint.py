# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for what runs of the source and of the target would tell of the target's function.

Given all measurements, the target's function and the source's are jointly normal under each
hypothesis, with  cov(target(x), source(u)) = b C(x, u)  before the target's points are seen. Over
the hypotheses only the first two moments are kept, which is all that a linear update needs
(Goldstein & Wooff 2007: Bayes linear statistics). A hypothesis without the source in it takes its
share out of every covariance with the source.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from tl_adapt.models.kernel import Array
from tl_adapt.models.relations import INHERITED, Block
from tl_adapt.models.threads import single_thread
from tl_adapt.models.transfer import TransferModel


@dataclasses.dataclass(frozen=True)
class Joint:
    """
    Hold moments on the model's scale: of the target at m points, of the source at k points.

    `mean` (m,) and `covariance` (m, m) of the target's function, `cross` (m, k) with the source's
    function, `source` (k, k) of that function; `noise` and `source_noise` are what one run adds
    to a variance.
    """

    mean: Array
    covariance: Array
    cross: Array
    source: Array
    noise: float
    source_noise: float

    @property
    def variance(self) -> Array:
        """Return the variance (m,) of the target's function."""
        return np.diagonal(self.covariance)

    def gain(self, index: int) -> Array:
        """Return by how much (m,) a run of the target at a point moves the mean, per deviation."""
        column = self.covariance[:, index]
        return np.asarray(column / np.sqrt(column[index] + self.noise))


@single_thread
def joint_moments(model: TransferModel, X: Array, S: Array) -> Joint:
    """
    Return what is known of the target at X (m, d) and of the first source at S (k, d).

    Without a source there is nothing of it: k is 0.
    """
    first = model.sources[0] if model.sources else None
    S = S if first is not None else S[:0]
    m, size = len(X), len(X) + len(S)
    features = model.features(X)
    at = {id(source): source.at(X) for source in model.sources}
    there = None if first is None else first.at(S)
    total = np.zeros((size, size))
    centres, shares = [], []
    for block, _, (rows, share) in model.counted():
        if len(rows) == 0:
            continue
        linked = first is not None and block.source is first
        place = block.place(features, at.get(id(block.source)))
        slopes = _slopes(block, rows) if linked else np.zeros(len(rows))
        within = np.zeros((size, size))
        within[:m, :m] = np.tensordot(
            share @ block.grid.weight[rows], block.parts(place, place), 1
        )
        ours = np.zeros((len(block.z), size - m))
        units, zero = np.full(size, block.spread), np.full(size, block.location)
        prior = np.zeros(size - m)
        if first is not None and there is not None:
            units[m:], zero[m:], prior = first.spread, first.location, there.mean
            within[m:, m:] = share.sum() * first.covariance(there, there)
            if linked and place.seen is not None:
                within[:m, m:] = (share @ slopes) * first.covariance(place.seen, there)
                within[m:, :m] = within[:m, m:].T
                if block.known.seen is not None:
                    ours = first.covariance(block.known.seen, there)
        theirs = block.parts(block.known, place)
        for row, part, slope in zip(rows.tolist(), share, slopes):
            link = np.hstack([np.tensordot(block.grid.weight[row], theirs, 1), slope * ours])
            solved = block.half[row] @ link
            within -= part * (solved.T @ solved)
            start = np.concatenate([block.grid.slope[row] * place.mean, prior])
            centres.append(zero + units * (start + block.alpha[row] @ link))
            shares.append(part)
        total += units[:, None] * within * units
    weights, means = np.array(shares) / np.sum(shares), np.vstack(centres)
    means[:, :m] = np.clip(means[:, :m], model.low, model.high)
    mean = weights @ means
    total += ((means - mean) * weights[:, None]).T @ (means - mean)
    # Nothing is less sure than the range of what is plausible.
    bound = (model.high - model.low) / np.sqrt(np.maximum(np.diagonal(total)[:m], 1e-12))
    factor = np.append(np.minimum(bound, 1.0), np.ones(size - m))
    total *= factor[:, None] * factor
    noise = 0.0 if first is None else max(first.process.noise, 1e-6) * first.spread**2
    return Joint(
        mean[:m], total[:m, :m], total[:m, m:], total[m:, m:], model.noise_variance, noise
    )


def _slopes(block: Block, rows: NDArray[np.int_]) -> Array:
    """Return by how much (k,) the target follows the source under some hypotheses."""
    share = np.sqrt(block.grid.weight[rows, INHERITED])
    return np.asarray(np.clip(block.slopes()[rows], -1.0, 1.0) * share)
