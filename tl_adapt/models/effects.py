# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the influence of options and of pairs of options on a predicted number.

The functional ANOVA (Hooker 2007: Generalized functional ANOVA diagnostics; Sobol' 1993) of every
draw of a model's function, so that each figure has the interval that the model's uncertainty gives
it (Oakley & O'Hagan 2004: Probabilistic sensitivity analysis of complex models). Options count as
independent and uniformly distributed over their values; constraints are not looked at.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tl_adapt.models.basis import Basis, Term
from tl_adapt.models.draws import Belief
from tl_adapt.models.kernel import Array
from tl_adapt.models.threads import single_thread
from tl_adapt.statistics import Interval

LEVEL = 0.9
_ROUNDING = 1e-9
_NEGLIGIBLE = 0.001  # share of the variance under which no effect is worth a claim
_WRONG_SIGN = 0.05  # probability of the other sign up to which an effect is claimed


@dataclasses.dataclass(frozen=True)
class Effect:
    """
    Hold what one option, or the interaction of two, does to a number.

    `change` is in the number's unit: of an option, from its level `low` to `high` (its first and
    last value, or the best and worst of values without order), averaged over all others; of a
    pair, by how much the change of one option grows as the other goes from low to high. `factor`
    is the same on the log scale (1.8: times 1.8), None where that is not modelled. `share` is
    that of the number's variance over the space. `low` and `high` are places in the unit cube.
    """

    names: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    change: Interval
    factor: Interval | None
    share: Interval
    conclusive: bool

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Curve:
    """Hold a main effect over an option's levels: each (k,), `low` and `high` its interval."""

    name: str
    levels: Array
    mean: Array
    low: Array
    high: Array


class Effects:
    """
    Decompose a belief into main effects and pairwise interactions.

    `mains` and `pairs` have the largest share first. `level` is the number's mean over the space,
    `spread` its standard deviation, `rest` the share that is neither main effect nor pair.
    `changes` and `shares` (m draws, terms) are what the intervals come from, `logged` the changes
    of the logarithm (None without `log`).
    """

    @single_thread
    def __init__(
        self,
        belief: Belief,
        basis: Basis,
        *,
        log: bool = False,
        like: Effects | None = None,
        seed: int = 0,
    ) -> None:
        """
        Decompose; with `log` (of positive numbers) the factors are found as well.

        `like` are effects over the same basis whose low and high levels are taken.
        """
        self.basis = basis
        self.seed = seed
        values = belief(self.basis.points)
        coefficients, rest = self.basis.coefficients(values)
        parts = np.stack(
            [self.basis.variance(term, coefficients, rest) for term in self.basis.terms], axis=1
        ) if self.basis.terms else np.empty((len(values), 0))
        # What a constant leaves is rounding.
        real = parts.sum(axis=1) + rest > (_ROUNDING * np.abs(coefficients[:, 0])) ** 2
        parts, rest = parts * real[:, None], rest * real
        total = parts.sum(axis=1) + rest
        scale = np.where(total > 0.0, total, 1.0)
        self.level = interval(coefficients[:, 0])
        self.spread = interval(np.sqrt(total))
        self.rest = interval(rest / scale)
        self.shares = parts / scale[:, None]
        self.log = log
        middle = np.median(coefficients, axis=0)[None, :]
        self.ends: list[tuple[tuple[int, int], ...]] = like.ends if like is not None else [
            self._extremes(term, middle) for term in self.basis.terms
        ]
        self.changes = self._contrasts(coefficients, rest)
        self.logged: Array | None = None
        if log:
            logged = self.basis.coefficients(np.log(np.maximum(values, 1e-300)))
            self.logged = self._contrasts(*logged)
        self.curves = [
            self._curve(term, coefficients) for term in self.basis.terms if len(term.columns) == 1
        ]
        sure = conclusive(self.scaled) & conclusive(self.changes)
        sure &= np.median(self.shares, axis=0) >= _NEGLIGIBLE
        found = [self._effect(i, bool(sure[i])) for i in range(len(self.basis.terms))]
        found.sort(key=lambda one: -one.share.estimate)
        self.mains = [one for one in found if len(one.names) == 1]
        self.pairs = [one for one in found if len(one.names) == 2]

    @property
    def scaled(self) -> Array:
        """Return the changes (m, terms) on the scale that is modelled, the logarithm if `log`."""
        return self.changes if self.logged is None else self.logged

    @property
    def names(self) -> list[tuple[str, ...]]:
        """Return the names of the option or options of each term."""
        return [tuple(self.basis.axes[j].name for j in t.columns) for t in self.basis.terms]

    def _extremes(self, term: Term, middle: Array) -> tuple[tuple[int, int], ...]:
        """
        Return the indices of the low and the high level of each of a term's options.

        `middle` (1, terms of the basis) are the coefficients' medians.
        """
        ends = [(0, len(self.basis.axes[j].levels) - 1) for j in term.columns]
        for place, j in enumerate(term.columns):
            if not self.basis.axes[j].categorical:
                continue
            if len(term.columns) == 1:
                curve = self.basis.curve(term, middle)[0]
            else:
                # Of values without order, the two between which the other's effect differs most.
                surface = self.basis.surface(term, middle)[0]
                surface = surface if place == 0 else surface.T
                curve = surface[:, int(np.argmax(np.ptp(surface, axis=0)))]
            ends[place] = (int(np.argmin(curve)), int(np.argmax(curve)))
        return tuple(ends)

    def _contrasts(self, coefficients: Array, rest: Array) -> Array:
        """Return the change (m, terms) from low to high of every term, blurred by its error."""
        found = np.empty((len(coefficients), len(self.basis.terms)))
        rng = np.random.default_rng([self.seed, len(self.basis.terms)])
        for i, (term, ends) in enumerate(zip(self.basis.terms, self.ends)):
            weights = self.basis.contrast(term, ends)
            found[:, i] = coefficients[:, term.begin:term.end] @ weights
            blur = self.basis.error(term, weights, rest)
            found[:, i] += blur * rng.standard_normal(len(found))
        return found

    def _curve(self, term: Term, coefficients: Array) -> Curve:
        axis = self.basis.axes[term.columns[0]]
        values = self.basis.curve(term, coefficients) + coefficients[:, :1]
        low, mean, high = np.percentile(values, [_TAIL, 50.0, 100.0 - _TAIL], axis=0)
        return Curve(axis.name, axis.levels, mean, low, high)

    def _effect(self, i: int, sure: bool) -> Effect:
        term = self.basis.terms[i]
        ends = [
            (float(self.basis.axes[j].levels[a]), float(self.basis.axes[j].levels[b]))
            for j, (a, b) in zip(term.columns, self.ends[i])
        ]
        return Effect(
            names=self.names[i],
            low=tuple(a for a, _ in ends),
            high=tuple(b for _, b in ends),
            change=interval(self.changes[:, i]),
            factor=None if self.logged is None else interval(np.exp(self.logged[:, i])),
            share=interval(self.shares[:, i]),
            conclusive=sure,
        )


_TAIL = 50.0 * (1.0 - LEVEL)


def interval(draws: Array, error: float = 0.0) -> Interval:
    """
    Return median and 90 % interval of draws (m,).

    `error` is a standard error that the draws do not know of; it widens both halves.
    """
    low, middle, high = (float(v) for v in np.percentile(draws, [_TAIL, 50.0, 100.0 - _TAIL]))
    extra = 1.645 * error
    return Interval(
        middle, middle - float(np.hypot(middle - low, extra)),
        middle + float(np.hypot(high - middle, extra)),
    )


def conclusive(draws: Array) -> NDArray[np.bool_]:
    """
    Say which of many effects (draws (m, k)) have a sign that can be claimed.

    Their local false sign rate is at most 5 %, which is that the 90 % interval leaves zero out. So
    of all that are claimed, however many are looked at, the model expects one in twenty at most
    to have the other sign (Stephens 2017: False discovery rates: a new deal).
    """
    agree = np.maximum((draws > 0.0).sum(axis=0), (draws < 0.0).sum(axis=0))
    return np.asarray((len(draws) - agree + 0.5) / (len(draws) + 1.0) <= _WRONG_SIGN)
