# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for hypotheses whose length scales are learnt from the target's own points.

Three differ in what they start from: the source's function and length scales, its length scales
alone, or nothing of it at all.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from tl_adapt.models.kernel import SCALES, Array
from tl_adapt.models.likelihood import LENGTH, Posterior, make_prior, maximise, starting_points
from tl_adapt.models.relations import (
    ALONE,
    CONSTANT,
    INHERITED,
    PARTS,
    RELEVANCE,
    RESIDUAL,
    SLOPE,
    WIDTH,
    Block,
    Grid,
    Place,
)
from tl_adapt.models.source import Source


@dataclasses.dataclass(frozen=True)
class Kind:
    """
    Say what a hypothesis starts from.

    `related` whether the source's function is in it, `near` whether its length scales are where
    the search starts and stays near, `signal` mean and deviation of the log variance of the
    difference, in units of the target's variance. `log_prior` is lower for what fits more, `own`
    is the scale of a column's own deviation, of the log length scale, where the search is not near
    the source's.
    """

    name: str
    related: bool
    near: bool
    signal: tuple[float, float]
    log_prior: float
    starts: int
    own: float = LENGTH[1]


KINDS = (
    Kind(RESIDUAL, related=True, near=True, signal=(-1.5, 1.2), log_prior=-1.5, starts=1),
    Kind(RELEVANCE, related=False, near=True, signal=(-0.3, 1.0), log_prior=-3.5, starts=1),
    Kind(ALONE, related=False, near=False, signal=(-0.3, 1.0), log_prior=-3.0, starts=2),
)
# Without any source two settings count alike: if columns may well be irrelevant, few points tell
# better what is good; if they seldom are, better how sure that is.
UNINFORMED = (KINDS[-1], dataclasses.replace(KINDS[-1], own=1.0))
_NOISE = (-5.0, 1.5)  # of the log of the noise's share of the target's variance
_NEAR = (0.6, 0.5)  # scale of a column's own deviation from the source, deviation that all share


def refine(
    kind: Kind, source: Source | None, lengths: Array, owner: NDArray[np.int_], features: Array,
    known: Place, y: Array, *, location: float, spread: float, offset: float, variance: float,
    seed: int = 0, theta: Array | None = None,
) -> tuple[Block, Array]:
    """
    Return a block of one hypothesis, fitted to y (n,), and its theta.

    `features` (n, D) of the target's points, `known` the points by the source's length scales;
    `lengths` (d,) are the source's. Theta is (log lengths, log signal, log noise) and is learnt
    unless it is given.
    """
    weight = np.zeros(WIDTH)
    weight[CONSTANT] = offset
    if kind.related:
        weight[SLOPE], weight[INHERITED] = 0.25, 1.0
    slope = 1.0 if kind.related else 0.0
    if theta is None:
        theta = _search(
            kind, source, lengths, owner, features, known, (y - location) / spread, weight, slope,
            variance, seed,
        )
    signal, noise = (float(v) for v in np.exp(theta[-2:]))
    weight[PARTS:] = signal / len(SCALES)
    grid = Grid(
        (kind.name,), np.array([slope]), weight[None, :], np.array([noise]),
        np.array([float(kind.log_prior)]),
    )
    block = Block(grid, source if kind.related else None, theta[:-2], owner, location, spread)
    return block.fit(block.place(features, known.seen if kind.related else None), y), theta


def _search(
    kind: Kind, source: Source | None, lengths: Array, owner: NDArray[np.int_], features: Array,
    known: Place, z: Array, weight: Array, slope: float, variance: float, seed: int,
) -> Array:
    """Return the most probable theta."""
    n, dim = len(z), len(lengths)
    level = float(np.log(variance))
    prior = make_prior(
        dim, signal=(kind.signal[0] + level, kind.signal[1]),
        noise=(_NOISE[0] + level, _NOISE[1]), length=(LENGTH[0], kind.own, LENGTH[2]),
    )
    if kind.near:
        mean, std = prior.mean.copy(), prior.std.copy()
        mean[:dim] = np.clip(lengths, prior.low[:dim], prior.high[:dim])
        std[:dim] = _NEAR[0]
        prior = dataclasses.replace(prior, mean=mean, std=std, shared=_NEAR[1])
    if n == 0:
        return prior.mean.copy()
    base = np.full((n, n), weight[CONSTANT])
    if kind.related and source is not None and known.seen is not None:
        base = base + weight[SLOPE] * np.outer(known.mean, known.mean)
        base = base + weight[INHERITED] * source.covariance(known.seen, known.seen)
    posterior = Posterior(features, owner, z - slope * known.mean, base, prior)
    rng = np.random.default_rng(seed)
    starts = starting_points(prior, kind.starts, rng)
    return maximise(posterior, starts, iterations=40, tolerance=1e-5)[0]
