# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for bad runs: does the configuration explain them, and which changes would mend them.

A run's standardised residual is judged against the predictive distribution of a model that has
not seen the run (Chandola et al. 2009: Anomaly detection, a survey). What would mend it is a
counterfactual (Wachter et al. 2018): the fewest changed options with which the model is sure
enough of a good result.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from tl_adapt.models.basis import Axis
from tl_adapt.models.kernel import Array
from tl_adapt.models.scale import forward

EXPLAINED = 'explained by the configuration'
WORSE = 'worse than the configuration explains: the environment or chance'
BETTER = 'better than the configuration explains'
UNDECIDED = 'the model knows too little of this configuration to tell'
_RARE = 0.05  # two-sided probability under which a residual is not explained
_BEAM = 12
_CHANGES = 5
_VALUES = 5  # tried of an option with many
_SURE = 0.8

#: Map points (n, d) to the probability (n,) that a number there is good enough.
Chance = Callable[[Array], Array]


@dataclasses.dataclass(frozen=True)
class Surprise:
    """
    Hold how a measured value stands to what was predicted.

    `low`, `median`, `high` are the 90 % interval of one run, in the metric's unit; `residual` is
    in standard deviations on the model's scale; `probability` is that of a residual at least as
    large, to either side.
    """

    measured: float
    median: float
    low: float
    high: float
    residual: float
    probability: float
    verdict: str

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return dataclasses.asdict(self)


def residuals(model: Any, X: Array, y: Array) -> Array:
    """
    Return the standardised residuals (n,) of values y (n,) at points X (n, d).

    They are on the model's scale. The model must not have seen these runs, or it flatters them.
    """
    mean, var = model.latent(X, noise=True)
    values = forward(np.maximum(y, 1e-300), True) if model.log_scale else np.asarray(y)
    return np.asarray((values - mean) / np.sqrt(var))


def held_out_residuals(
    fit: Callable[[NDArray[np.bool_]], Any], X: Array, y: Array, *, folds: int = 5, seed: int = 0
) -> Array:
    """
    Return the residuals (n,) of all runs, each by a model that has not seen it.

    `fit` gets a mask (n,) of the runs to learn from. One run alone has the residual nan.
    """
    found = np.full(len(y), np.nan)
    if len(y) < 2:
        return found
    rng = np.random.default_rng(seed)
    # Runs of one configuration stay together: its others would tell what this one gave.
    _, group = np.unique(X, axis=0, return_inverse=True)
    group = np.ravel(group)
    place = rng.permutation(group.max() + 1) % min(folds, len(y))
    for fold in np.unique(place):
        out = place[group] == fold
        if out.all():
            continue
        found[out] = residuals(fit(~out), X[out], y[out])
    return found


def judge(
    model: Any, point: Array, measured: float, *, sign: float = 1.0, good: float | None = None
) -> Surprise:
    """
    Tell whether the configuration explains a run, by a model that has not seen it.

    `point` (d,), `sign` 1 where more is worse. `good` is a value that would have been no cause
    for asking: where it is as plausible as the measured one, the model can't tell.
    """
    mean, var = (float(v[0]) for v in model.latent(point[None, :], noise=True))
    std = var**0.5
    residual = float(residuals(model, point[None, :], np.array([measured]))[0])
    probability = float(2.0 * ndtr(-abs(residual)))
    ends = np.array([mean - 1.645 * std, mean, mean + 1.645 * std])
    low, median, high = np.exp(np.clip(ends, -80.0, 80.0)) if model.log_scale else ends
    if probability < _RARE:
        verdict = WORSE if sign * residual > 0 else BETTER
    elif good is not None and low <= good <= high and low <= measured <= high:
        verdict = UNDECIDED
    else:
        verdict = EXPLAINED
    return Surprise(
        float(measured), float(median), float(low), float(high), residual, probability, verdict
    )


def chance_below(model: Any, goal: float, *, sign: float = 1.0) -> Chance:
    """Return the probability that the model's function is at least as good as `goal`."""
    def chance(X: Array) -> Array:
        mean, var = model.latent(X, noise=False)
        aim = np.log(max(goal, 1e-300)) if model.log_scale else goal
        return np.asarray(ndtr(sign * (aim - mean) / np.sqrt(var)))

    return chance


@dataclasses.dataclass(frozen=True)
class Remedy:
    """
    Hold the fewest changes found that mend a configuration.

    `changes` maps names to places in the unit cube; `point` (d,) has them all. `chance` is the
    model's probability that the result is good enough then, `before` the one without changes;
    `reached` says whether it is high enough.
    """

    changes: dict[str, float]
    point: Array
    before: float
    chance: float
    reached: bool


def mend(
    chance: Chance,
    point: Array,
    axes: Sequence[Axis],
    *,
    reference: Array | None = None,
    allowed: Callable[[Array], NDArray[np.bool_]] | None = None,
    sure: float = _SURE,
    most: int = _CHANGES,
) -> Remedy:
    """
    Search for the fewest option changes after which `chance` is at least `sure`.

    A beam search from `point` (d,) over single changes to the levels of the axes and to the values
    of `reference` (d,). `allowed` maps points (n, d) to a mask of those that keep the constraints.
    """
    before = float(chance(point[None, :])[0])
    moves = _moves(point, axes, reference)
    beam = [point.copy()]
    best, best_chance = point.copy(), before
    # The start may break a constraint, which no change before the last has to mend.
    for _ in range(most if before < sure else 0):
        candidates = np.array([
            _moved(state, j, value) for state in beam for j, value in moves
            if state[j] == point[j] != value
        ]).reshape(-1, len(point))
        if allowed is not None and len(candidates):
            candidates = candidates[allowed(candidates)]
        if not len(candidates):
            break
        candidates = np.unique(candidates, axis=0)
        found = chance(candidates)
        order = np.argsort(-found, kind='stable')
        # One more change that gains nothing is no remedy.
        if found[order[0]] > best_chance + 1e-6:
            best, best_chance = candidates[order[0]], float(found[order[0]])
        if best_chance >= sure:
            break
        beam = list(candidates[order[:_BEAM]])
    changed = np.flatnonzero(best != point)
    return Remedy(
        {axes[int(j)].name: float(best[j]) for j in changed}, best, before, best_chance,
        best_chance >= sure,
    )


def single_changes(
    number: Callable[[Array], Array], point: Array, axes: Sequence[Axis], *, sign: float = 1.0,
    reference: Array | None = None,
) -> list[tuple[str, float, float]]:
    """
    Return for every option its best single change: name, new place, predicted improvement.

    `number` maps points (n, d) to predictions (n,); the largest improvement comes first.
    """
    moves = [(j, v) for j, v in _moves(point, axes, reference) if v != point[j]]
    if not moves:
        return []
    values = number(np.array([point, *(_moved(point, j, value) for j, value in moves)]))
    best: dict[int, tuple[float, float]] = {}
    for (j, value), predicted in zip(moves, values[1:]):
        gain = float(sign * (values[0] - predicted))
        if j not in best or gain > best[j][0]:
            best[j] = (gain, value)
    found = [(axes[j].name, value, gain) for j, (gain, value) in best.items()]
    return sorted(found, key=lambda one: -one[2])


def _moves(
    point: Array, axes: Sequence[Axis], reference: Array | None
) -> list[tuple[int, float]]:
    """Return all columns with the values that are tried of them."""
    found = []
    for j, axis in enumerate(axes):
        levels = axis.levels
        if len(levels) > _VALUES and not axis.categorical:
            levels = levels[np.linspace(0, len(levels) - 1, _VALUES).round().astype(int)]
        extra = [] if reference is None else [float(reference[j])]
        found += [(j, value) for value in sorted({*map(float, levels), *extra})]
    return found


def _moved(point: Array, column: int, value: float) -> Array:
    moved = point.copy()
    moved[column] = value
    return moved
