# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for what a configuration would give that was not driven, from recordings of others.

A model of the recorded missions (and of a source, if there is one) predicts the candidate: the
'direct method' of off-policy evaluation. Weighting by propensities, the other way, needs
configurations that were drawn at random, which those of a robot never are. The model's word is
held against recordings that it has not seen: recordings are left out, one group of them after the
other, and how far off the model is then widens its intervals (or not). A recording is left out as
a whole, because the missions in it share a day, a battery and a floor.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from tl_adapt.environments.base import Measurement
from tl_adapt.errors import InputError
from tl_adapt.models.kernel import Array
from tl_adapt.models.model_set import raise_to_positive
from tl_adapt.models.transfer import TransferModel
from tl_adapt.models.validity import ValidityModel

if TYPE_CHECKING:
    from tl_adapt.study import Study

LEVEL = 0.9
OBJECTIVE = 'objective'

_FOLDS = 8
_LEAST = 3  # valid missions without which nothing is said
_DIFFERENT = 5  # configurations from which on a constant may predict them
_SUPPORTED = 0.5  # support below which a warning is due
# Bounds of what the model's standard deviations are multiplied by: below the first, luck.
_NARROWEST, _WIDEST = 0.8, 10.0


@dataclasses.dataclass(frozen=True)
class Estimate:
    """
    Say what one metric should be for a candidate, in the metric's unit.

    `low` and `high` hold one mission with the probability asked for, `mean_low` and `mean_high`
    the mean of many. `support` is the share of the recorded missions' variance that the mean is
    known better by: 0 is no better than any recorded mission, 1 is known exactly.
    """

    metric: str
    mean: float
    low: float
    high: float
    mean_low: float
    mean_high: float
    support: float
    warnings: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Recorded:
    """
    Hold recorded missions: points `X` (n, d) of the unit cube, values `y` (n,), and `group` (n,).

    Missions of one group were recorded together. `source` are points and values of another
    environment, None if there is none.
    """

    X: Array
    y: Array
    group: NDArray[np.int_]
    source: tuple[Array, Array] | None = None


class _Constant:
    """Predict every configuration alike, by how recorded ones differ: what needs no model."""

    noise_variance = 0.0

    def fit(self, y: Array, group: NDArray[np.int_]) -> None:
        """Learn from values (n,), on the model's scale, of groups (n,)."""
        _, group = np.unique(group, return_inverse=True)
        sizes = np.bincount(group)
        means = np.bincount(group, y) / sizes
        many = len(y) > len(means)
        self.noise_variance = (
            float(((y - means[group]) ** 2).sum()) / (len(y) - len(means)) if many else 0.0
        )
        n = len(means)
        spread = float(means.var(ddof=1)) if n > 1 else 0.0
        self._mean = float(means.mean())
        # The groups' means have the noise of their missions in them.
        inner = self.noise_variance * float((1.0 / sizes).mean())
        self._var = max(spread - inner, 0.0) + (spread or 1.0) / n

    def latent(self, X: Array, *, noise: bool = True) -> tuple[Array, Array]:
        """Return mean and variance (n,) for points X (n, d), as a TransferModel does."""
        var = self._var + (self.noise_variance if noise else 0.0)
        return np.full(len(X), self._mean), np.full(len(X), max(var, 1e-12))


class Estimator:
    """Estimate one metric at configurations that were not recorded."""

    def __init__(
        self, data: Recorded, *, categorical: Any = None, log: bool = False, seed: int = 0,
        on_step: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Fit the model and calibrate it; `on_step` is called after each fit, see `steps`.

        Raises ValueError for fewer than three missions.
        """
        if len(data.y) < _LEAST:
            raise ValueError(f'at least {_LEAST} missions are needed, got {len(data.y)}')
        self.data = data
        self._groups = len(np.unique(data.group))
        self._log = log
        self._values = np.log(data.y) if log else np.asarray(data.y, dtype=np.float64)
        self._model = TransferModel(log=log, seed=seed, categorical=categorical)
        self._constant = _Constant()
        foldings = _foldings(data.X, data.group)
        judged = [self._judge(fold, on_step) for fold in foldings]
        # Without several configurations nothing says how configurations differ.
        choose = bool(foldings) and len(np.unique(foldings[-1])) >= _DIFFERENT
        self.modelled = not choose or judged[-1].model.score >= judged[-1].constant.score
        chosen = [one.model if self.modelled else one.constant for one in judged]
        self.factor = 1.0
        self.farthest = math.inf
        if chosen:
            self.factor = min(max(_NARROWEST, *(one.factor for one in chosen)), _WIDEST)
            self.farthest = max(one.farthest for one in chosen)
        self._fit(np.ones(len(data.y), dtype=bool))
        on_step()

    def predict(self, X: Array, level: float = LEVEL) -> list[Estimate]:
        """Return the estimate at each point of X (n, d), without a metric's name."""
        chosen: Any = self._model if self.modelled else self._constant
        mean, var = chosen.latent(X, noise=False)
        noise = chosen.noise_variance
        spread = float(np.var(self._values)) or 1e-12
        # Student's: the factor itself is known from as many groups.
        quantile = float(stdtrit(max(self._groups - 1, 2), 0.5 + 0.5 * level))
        found = []
        for middle, variance in zip(mean.tolist(), var.tolist()):
            known = self.factor * math.sqrt(variance)
            once = self.factor * math.sqrt(variance + noise)
            (low, high), (mean_low, mean_high) = (
                [self._unscaled(middle + sign * quantile * std) for sign in (-1.0, 1.0)]
                for std in (once, known)
            )
            support = max(0.0, 1.0 - self.factor**2 * variance / spread)
            found.append(Estimate(
                '', self._unscaled(middle), low, high, mean_low, mean_high,
                support=support if self.modelled else 0.0,
                warnings=self._warnings(math.sqrt(variance + noise)),
            ))
        return found

    def _warnings(self, std: float) -> tuple[str, ...]:
        """Return what makes an estimate with this standard deviation doubtful."""
        if self._groups < 2:
            return ('all missions were recorded together: how recordings differ is not known',)
        if not self.modelled:
            return ('no model predicts the recordings better than their mean does: the interval '
                    'is that of a configuration like them',)
        if std > 1.001 * self.farthest:
            return ('farther from the recordings than any of them is from the others: '
                    'the interval is the word of the model alone',)
        return ()

    def _judge(self, fold: NDArray[np.int_], on_step: Callable[[], None]) -> _Judged:
        """Return how predictions of each fold by the others compare with what was recorded."""
        mean, var = np.zeros((2, 2, len(self._values)))
        for number in np.unique(fold):
            held = fold == number
            self._fit(~held)
            models: tuple[Any, ...] = (self._model, self._constant)
            for i, one in enumerate(models):
                mean[i, held], var[i, held] = one.latent(self.data.X[held])
            on_step()
        # Each recording counts once, however many missions it has.
        _, group = np.unique(self.data.group, return_inverse=True)
        weights = 1.0 / np.bincount(group)[group]
        weights /= weights.sum()
        model, constant = (
            _calibration(self._values - mean[i], np.sqrt(var[i]), weights) for i in (0, 1)
        )
        return _Judged(model, constant)

    def _fit(self, keep: NDArray[np.bool_]) -> None:
        self._model.fit(self.data.source, (self.data.X[keep], self.data.y[keep]))
        self._constant.fit(self._values[keep], self.data.group[keep])

    def _unscaled(self, value: float) -> float:
        return math.exp(min(value, 700.0)) if self._log else value


@dataclasses.dataclass(frozen=True)
class _Calibration:
    """
    Hold how predictions compare with what they had not seen.

    `factor` is what their standard deviations have to be multiplied by, `farthest` the largest of
    these, `score` the mean log density after that.
    """

    factor: float
    farthest: float
    score: float


@dataclasses.dataclass(frozen=True)
class _Judged:
    """Hold the calibration of the model and that of the constant."""

    model: _Calibration
    constant: _Calibration


def _calibration(errors: Array, stds: Array, weights: Array) -> _Calibration:
    """Return the calibration for errors (n,) of predictions that had these stds (n,)."""
    # One very bad error among few would widen everything without bound.
    squares = np.minimum((errors / stds) ** 2, _WIDEST**2)
    factor = min(max(math.sqrt(float(weights @ squares)), _NARROWEST), _WIDEST)
    wide = factor * stds
    score = float(weights @ (-0.5 * (errors / wide) ** 2 - np.log(wide)))
    return _Calibration(factor, float(stds.max()), score)


def steps(X: Array, group: NDArray[np.int_]) -> int:
    """Return how many fits an estimator of missions at X (n, d) of groups (n,) makes."""
    return 1 + sum(len(np.unique(fold)) for fold in _foldings(X, group))


def _foldings(X: Array, group: NDArray[np.int_]) -> list[NDArray[np.int_]]:
    """
    Return ways to leave out recordings, each as the number (n,) of a mission's fold.

    A configuration that was recorded is met on another day: recordings are left out one by one.
    One that was not recorded is new, too: all recordings that share one are left out together.
    """
    _, group = np.unique(group, return_inverse=True)
    _, place = np.unique(X, axis=0, return_inverse=True)
    joined = group.copy()
    for _ in range(len(joined)):
        before = joined
        for names in (place.reshape(-1), group):
            least = np.full(names.max() + 1, len(joined))
            np.minimum.at(least, names, joined)
            joined = least[names]
        if np.array_equal(before, joined):
            break
    _, joined = np.unique(joined, return_inverse=True)
    ways = [group] + [joined] * (not np.array_equal(group, joined))
    return [way % _FOLDS for way in ways if way.max() > 0]


@dataclasses.dataclass(frozen=True)
class Report:
    """
    Hold the estimates for one candidate, by metric.

    `valid` is the probability that a mission succeeds; `warnings` are those of the candidate
    itself, whatever the metric.
    """

    configuration: dict[str, Any]
    estimates: dict[str, Estimate]
    valid: float
    warnings: tuple[str, ...]


def estimate(
    study: Study, recorded: Sequence[Measurement], candidates: Sequence[Mapping[str, Any]], *,
    groups: Sequence[str], source: Sequence[Measurement] = (), metrics: Sequence[str] = (),
    level: float = LEVEL, seed: int = 0, on_step: Callable[[], None] = lambda: None,
) -> list[Report]:
    """
    Estimate metrics (those of objectives and limits, and the objective) of candidates.

    `groups` names for each recorded mission what it was recorded with. `on_step` is called after
    each fit, see `steps`. Raises InputError for a candidate outside of the space, an unknown
    metric, or one that too few missions have.
    """
    configurations = [study.space.validate(candidate) for candidate in candidates]
    X = study.space.encode([m.configuration for m in recorded]).reshape(-1, study.space.dim)
    Xs = study.space.encode([m.configuration for m in source]).reshape(-1, study.space.dim)
    points = study.space.encode(configurations)
    _, group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    names = list(metrics) or wanted_metrics(study)
    estimates: list[dict[str, Estimate]] = [{} for _ in configurations]
    for name in names:
        y, ys = (_values(study, rows, name) for rows in (recorded, source))
        log = name in study.metrics and study.metrics[name].scale == 'log'
        if log:
            y, ys = raise_to_positive(y, ys)
        keep, others = np.isfinite(y), np.isfinite(ys)
        if keep.sum() < _LEAST:
            raise InputError(
                f'at least {_LEAST} valid recorded missions must have the metric', key=name,
                value=int(keep.sum()),
            )
        data = Recorded(
            X[keep], y[keep], group[keep],
            (Xs[others], ys[others]) if others.sum() > 1 else None,
        )
        model = Estimator(
            data, categorical=study.space.categorical, log=log, seed=seed, on_step=on_step
        )
        for found, one in zip(estimates, model.predict(points, level)):
            found[name] = _named(name, one)
    validity = ValidityModel(study.space.categorical, seed=seed)
    validity.fit(Xs, [m.valid for m in source], target=(X, [m.valid for m in recorded]))
    valid = validity.probability(points)
    outside = [_unsupported(study, recorded, c, bool(len(source))) for c in configurations]
    return [
        Report(dict(configuration), found, float(probability), tuple(warnings))
        for configuration, found, probability, warnings in
        zip(configurations, estimates, valid, outside)
    ]


def planned_steps(
    study: Study, recorded: Sequence[Measurement], groups: Sequence[str], metrics: int
) -> int:
    """Return how many fits `estimate` makes at most for so many metrics."""
    X = study.space.encode([m.configuration for m in recorded]).reshape(-1, study.space.dim)
    _, group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    return metrics * steps(X, group)


def group_of(measurement: Measurement) -> str:
    """Name what a measurement was recorded with: its bag, or nothing but itself."""
    return str(measurement.provenance.get('bag') or measurement.key)


def wanted_metrics(study: Study) -> list[str]:
    """Return the metrics that decide: those of objectives and limits, and the objective."""
    names = [o.metric for o in study.objectives] + [limit.metric for limit in study.limits]
    return list(dict.fromkeys([*names, *[OBJECTIVE] * (len(study.objectives) > 1)]))


def _named(name: str, one: Estimate) -> Estimate:
    """Return the estimate of a metric, with a warning if little is known."""
    warnings = one.warnings
    if one.support < _SUPPORTED:
        warnings = (*warnings, f'the recordings hardly tell (support {one.support:.2f})')
    return dataclasses.replace(one, metric=name, warnings=warnings)


def _values(study: Study, measurements: Sequence[Measurement], metric: str) -> Array:
    """Return a metric (n,), nan where the mission failed or does not have it."""
    if metric not in study.metrics and metric != OBJECTIVE:
        known = ', '.join([*study.metrics, OBJECTIVE])
        raise InputError(f'unknown metric; known are {known}', key='metric', value=metric)
    found = []
    for measurement in measurements:
        value = math.nan
        if measurement.valid:
            if metric in study.metrics:
                value = measurement.metrics.get(metric, math.nan)
            elif all(o.metric in measurement.metrics for o in study.objectives):
                value = study.objective(measurement.metrics)
        found.append(value)
    return np.array(found, dtype=np.float64)


def _unsupported(
    study: Study, recorded: Sequence[Measurement], candidate: Mapping[str, Any], source: bool
) -> list[str]:
    """Return what of a candidate is outside of what was recorded."""
    never, outside = [], []
    for parameter in study.space.parameters:
        name, value = parameter.name, candidate[parameter.name]
        seen = [m.configuration[name] for m in recorded]
        if value in seen:
            continue
        if len(set(seen)) == 1:
            never.append(name)
        elif parameter.choices is not None or isinstance(value, (bool, str)):
            outside.append(f'{name} = {value} was never recorded')
        elif not min(seen) <= value <= max(seen):
            outside.append(f'{name} = {value:g} is outside of {min(seen):g} .. {max(seen):g}')
    warnings = []
    if never:
        only = 'only the source tells' if source else 'nothing tells'
        warnings.append(f'{only} what {", ".join(never)} does: no recording varied it')
    if outside:
        warnings.append('beyond the recordings: ' + '; '.join(outside))
    return warnings
