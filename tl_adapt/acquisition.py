# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for how much a measurement is worth: expected improvement under constraints.

Jones et al. 1998 (expected improvement), Gardner et al. 2014 (times the probability of being
feasible), Picheny et al. 2013 (under noise the incumbent is judged by its posterior mean).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtri

from tl_adapt.models.kernel import Array, chunks

DRAWS = 256  # of each term
_CHUNK = 512  # configurations at once: 1 MiB, which stays in the processor's cache
_LIKELY = 400  # configurations among which the least value is drawn
_LEAST = 32  # draws of it
FEASIBLE = 0.5  # probability from which on a measured configuration counts as feasible


@dataclasses.dataclass(frozen=True)
class Mixture:
    """Hold what H hypotheses of some `weight` (H,) say: `mean` and `variance` (H, n)."""

    weight: Array
    mean: Array
    variance: Array

    def at(self, rows: NDArray[np.int_]) -> Mixture:
        """Return what they say of some of the n, by their indices (m,)."""
        return Mixture(self.weight, self.mean[:, rows], self.variance[:, rows])

    def joined(self, *others: Mixture) -> Mixture:
        """Return what the same hypotheses say of all."""
        parts = (self, *others)
        mean, variance = (np.hstack([getattr(part, name) for part in parts])
                          for name in ('mean', 'variance'))
        return Mixture(self.weight, mean, variance)

    def scaled(self, factor: float) -> Mixture:
        """Return what they say of `factor` times as much."""
        return Mixture(self.weight, factor * self.mean, factor**2 * self.variance)


@dataclasses.dataclass(frozen=True)
class Term:
    """
    Hold one addend of an objective: `factor` times a metric that is normal, or log-normal.

    `mean` and `variance` (n,) are those of the metric, or of its logarithm if `log` is true;
    `mixture` is what they are the moments of.
    """

    factor: float
    log: bool
    mean: Array
    variance: Array
    mixture: Mixture | None = None

    def at(self, rows: NDArray[np.int_]) -> Term:
        """Return the term for some of the configurations, by their indices (m,)."""
        mixture = None if self.mixture is None else self.mixture.at(rows)
        return Term(self.factor, self.log, self.mean[rows], self.variance[rows], mixture)

    def joined(self, other: Term) -> Term:
        """Return the term for the configurations of both."""
        mixture = None
        if self.mixture is not None and other.mixture is not None:
            mixture = self.mixture.joined(other.mixture)
        return Term(
            self.factor, self.log, np.concatenate([self.mean, other.mean]),
            np.concatenate([self.variance, other.variance]), mixture,
        )


@functools.lru_cache(maxsize=8)
def _normals(terms: int) -> Array:
    """Return standard normal numbers (terms, DRAWS), evenly spread and always the same."""
    from scipy.stats import qmc

    cube = qmc.Sobol(terms, seed=0).random(DRAWS)
    return np.asarray(ndtri(np.clip(cube, 1e-9, 1.0 - 1e-9)).T)


def expected_improvement(terms: Sequence[Term], best: float) -> Array:
    """
    Return E[max(best - f, 0)] (n,) of the sum f of independent terms, by quasi-Monte Carlo.

    A normal fitted to the sum's moments would not do: a long upper tail of a log-normal term
    would pass for a chance of improvement. All configurations share the draws, so that their
    order has no sampling noise of its own.
    """
    draws = _normals(len(terms))
    n = len(terms[0].mean)
    worth = np.empty(n)
    for part in chunks(n, _CHUNK):
        total = np.zeros((len(worth[part]), DRAWS))
        for term, normal in zip(terms, draws):
            deviation = np.sqrt(np.maximum(term.variance[part], 0.0))
            value = term.mean[part, None] + deviation[:, None] * normal
            total += term.factor * (np.exp(np.clip(value, -80.0, 80.0)) if term.log else value)
        worth[part] = np.maximum(best - total, 0.0).mean(axis=1)
    return worth


def constrained_improvement(
    terms: Sequence[Term], mean: Array, feasible: Array, best: float | None
) -> Array:
    """
    Return the worth (n,) of measuring, in the objective's unit; `mean` is the objective's.

    Without a feasible incumbent (`best` None) the probability of being feasible comes first, and
    among equals the lower mean: the worth is then in (0, 2).
    """
    if best is not None:
        return np.asarray(feasible * expected_improvement(terms, best))
    order = np.empty(len(mean))
    order[np.argsort(mean, kind='stable')] = np.arange(len(mean), 0, -1)
    return np.asarray(feasible * (1.0 + order / max(len(mean), 1)))


class MinimumInformation:
    """
    Say how much a run of each configuration tells of the least value there is, in nats.

    Wang & Jegelka 2017 (max-value entropy search), for exact runs. Unlike the expected improvement
    it does not spend runs on what is sure to be a little better than the best so far. Hypotheses
    are asked one by one: where they disagree about what all of them say is bad, a normal with the
    moments of their mixture would take that for a chance. The first call, with all that is
    considered, draws the least values; their order has no sampling noise.
    """

    def __init__(self, best: float) -> None:
        """Keep the least value (on the scale of the configurations' means) that was measured."""
        self.best = best
        self._drawn: tuple[NDArray[np.int_], Array, Array] | None = None

    def __call__(self, said: Mixture) -> Array:
        """Return the information (n,) on the least of independent values, normal by hypothesis."""
        deviation = np.sqrt(np.maximum(said.variance, 1e-24))
        if self._drawn is None:
            self._drawn = self._draw(said, deviation)
        owner, share, least = self._drawn
        n = said.mean.shape[1]
        total = np.empty(n)
        for part in chunks(n, _CHUNK):
            # What is found later may lie far below all draws: more than this tells nothing more.
            z = (said.mean[owner, part] - least[:, None]) / deviation[owner, part]
            z = np.minimum(np.maximum(z, -30.0), 30.0)
            inside = log_ndtr(z)
            density = np.exp(-0.5 * z**2 - inside) / np.sqrt(2.0 * np.pi)
            total[part] = (share[:, None] * (0.5 * z * density - inside)).sum(axis=0)
        return total

    def _draw(self, said: Mixture, deviation: Array) -> tuple[NDArray[np.int_], Array, Array]:
        """
        Return draws of the least value, more under the hypotheses that count.

        Of each these are (k,) the hypothesis's index, its share of all weights, and the value.
        """
        rng = np.random.default_rng(0)
        count = np.ceil(said.weight * _LEAST).astype(int)
        found = []
        for number, mean, std in zip(count.tolist(), said.mean, deviation):
            reach = mean - 3.0 * std
            low = np.argsort(reach, kind='stable')[:_LIKELY]
            drawn = mean[low, None] + std[low, None] * rng.standard_normal((len(low), number))
            found.append(np.minimum(drawn.min(axis=0), self.best))
        owner = np.repeat(np.arange(len(count)), count)
        return owner, np.repeat(said.weight / np.maximum(count, 1), count), np.concatenate(found)


def predicted_best(mean: Array, feasible: Array, *, sure: float = 0.8) -> int:
    """
    Return the index of the lowest mean among those that are feasible with probability `sure`.

    If none is that sure, those near the surest are taken.
    """
    enough = feasible >= min(sure, 0.95 * float(feasible.max()))
    return int(np.argmin(np.where(enough, mean, np.inf)))


def lowest_loss(mean: Array, feasible: Array) -> int:
    """
    Return the index of the lowest expected loss, where breaking a limit doubles the objective.

    A threshold on the probability would rather take a far worse configuration than one that is a
    little less sure.
    """
    penalty = abs(float(np.median(mean)))
    return int(np.argmin(mean + penalty * (1.0 - feasible)))


def incumbent(mean: Array, feasible: Array) -> int | None:
    """Return the index of the lowest posterior mean among the feasible, None without any."""
    if len(mean) == 0 or not (feasible >= FEASIBLE).any():
        return None
    return int(np.argmin(np.where(feasible >= FEASIBLE, mean, np.inf)))
