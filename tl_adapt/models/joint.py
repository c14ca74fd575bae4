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

from tl_adapt.models.kernel import Array
from tl_adapt.models.relations import INHERITED, Block, Place
from tl_adapt.models.source import Seen
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

    Without a source all that concerns it is zero.
    """
    A, B = model.features(X), model.features(S)
    sources = {id(one): (one.at(X), one.at(S)) for one in model.sources}
    first = model.sources[0] if model.sources else None
    m, k = len(X), len(S)
    covariance, cross, own = np.zeros((m, m)), np.zeros((m, k)), np.zeros((k, k))
    centres, weights = [], []
    if first is not None:
        at, there = sources[id(first)]
        prior = first.spread**2 * first.covariance(there, there)
        expected = first.location + first.spread * there.mean
    for block, _, (rows, part) in model.counted():
        if len(rows) == 0:
            continue
        seen = sources.get(id(block.source), (None, None))
        place = block.place(A, seen[0])
        parts = block.parts(block.known, place)
        means, _ = block.each(place, rows.tolist(), parts)
        weight = block.grid.weight[rows]
        own_part = np.tensordot(part @ weight, block.parts(place, place), 1)
        linked = np.zeros((k, len(block.z)))
        slopes = np.zeros(len(rows))
        if first is not None and block.source is first:
            linked = _linked(block, seen[1])
            slopes = np.clip(block.slopes()[rows], -1.0, 1.0) * np.sqrt(weight[:, INHERITED])
            between = first.covariance(at, there)
        for i, row in enumerate(rows.tolist()):
            towards = np.tensordot(weight[i], parts, 1)
            solved = block.inverse[row] @ towards
            own_part -= part[i] * (towards.T @ solved)
            centre = np.concatenate([means[i], expected if first is not None else np.zeros(k)])
            if first is not None:
                own += part[i] * prior
            if slopes[i]:
                b = float(slopes[i])
                cross += part[i] * block.spread**2 * b * (between - solved.T @ linked.T)
                own -= part[i] * block.spread**2 * b**2 * (linked @ block.inverse[row] @ linked.T)
                centre[m:] += block.spread * b * (linked @ block.alpha[row])
            centres.append(centre)
            weights.append(part[i])
        covariance += block.spread**2 * own_part
    share = np.array(weights) / np.sum(weights)
    found = np.vstack(centres)
    found[:, :m] = np.clip(found[:, :m], model.low, model.high)
    mean = share @ found
    away = found - mean
    spread = (away * share[:, None]).T @ away
    covariance, cross, own = covariance + spread[:m, :m], cross + spread[:m, m:], \
        own + spread[m:, m:]
    # No prediction is less sure than the range of what is plausible.
    bound = (model.high - model.low) / np.sqrt(np.maximum(np.diagonal(covariance), 1e-12))
    factor = np.minimum(bound, 1.0)
    noise = 0.0 if first is None else max(first.process.noise, 1e-6) * first.spread**2
    return Joint(
        mean[:m], covariance * factor[:, None] * factor, cross * factor[:, None], own,
        model.noise_variance, noise,
    )


def _linked(block: Block, there: Seen) -> Array:
    """Return the source's covariance (k, n) between runs of it and the target's known points."""
    known: Place = block.known
    if block.source is None or known.seen is None:
        return np.zeros((len(there.mean), len(block.z)))
    return block.source.covariance(there, known.seen)
