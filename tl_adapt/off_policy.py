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


class Estimator:
    """Estimate one metric at configurations that were not recorded."""

    def __init__(
        self, data: Recorded, *, categorical: Any = None, log: bool = False, seed: int = 0,
        on_step: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Fit the model and calibrate it; `on_step` is called after each of `steps(data)` fits.

        Raises ValueError for fewer than three missions.
        """
        if len(data.y) < _LEAST:
            raise ValueError(f'at least {_LEAST} missions are needed, got {len(data.y)}')
        self.data = data
        self._log = log
        self._model = TransferModel(log=log, seed=seed, categorical=categorical)
        self.factor, self.farthest = self._calibrate(on_step)
        self._fit(np.ones(len(data.y), dtype=bool))
        on_step()

    @property
    def groups(self) -> int:
        """Return how many groups of missions there are."""
        return len(np.unique(self.data.group))

    def predict(self, X: Array, level: float = LEVEL) -> list[Estimate]:
        """Return the estimate at each point of X (n, d), without a metric's name."""
        mean, var = self._model.latent(X, noise=False)
        noise = self._model.noise_variance
        spread = float(np.var(self._scaled(self.data.y))) or 1e-12
        # Student's: the factor itself is known from as many groups.
        quantile = float(stdtrit(max(self.groups - 1, 2), 0.5 + 0.5 * level))
        found = []
        for middle, variance in zip(mean.tolist(), var.tolist()):
            known = self.factor * math.sqrt(variance)
            once = self.factor * math.sqrt(variance + noise)
            (low, high), (mean_low, mean_high) = (
                [self._unscaled(middle + sign * quantile * std) for sign in (-1.0, 1.0)]
                for std in (once, known)
            )
            found.append(Estimate(
                '', self._unscaled(middle), low, high, mean_low, mean_high,
                support=max(0.0, 1.0 - self.factor**2 * variance / spread),
                warnings=self._warnings(math.sqrt(variance + noise)),
            ))
        return found

    def _warnings(self, std: float) -> tuple[str, ...]:
        """Return what makes an estimate with this standard deviation doubtful."""
        if self.groups < 2:
            return ('all missions were recorded together: how recordings differ is not known',)
        if std > 1.001 * self.farthest:
            return ('farther from the recordings than any of them is from the others: '
                    'the interval is the word of the model alone',)
        return ()

    def _calibrate(self, on_step: Callable[[], None]) -> tuple[float, float]:
        """
        Return how much wider errors on unseen recordings are than the model says.

        And the largest standard deviation, on the model's scale, for which that was seen.
        """
        data = self.data
        if self.groups < 2:
            return 1.0, math.inf
        _, group = np.unique(data.group, return_inverse=True)
        fold = group % _FOLDS
        errors = np.zeros(len(data.y))
        stds = np.zeros(len(data.y))
        for number in range(min(self.groups, _FOLDS)):
            held = fold == number
            self._fit(~held)
            mean, var = self._model.latent(data.X[held])
            errors[held] = (self._scaled(data.y[held]) - mean) / np.sqrt(var)
            stds[held] = np.sqrt(var)
            on_step()
        # Each recording counts once, however many missions it has.
        weights = 1.0 / np.bincount(group)[group]
        # One very bad error among few would widen everything without bound.
        squares = np.minimum(errors**2, _WIDEST**2)
        rms = math.sqrt(float(weights @ squares) / float(weights.sum()))
        return min(max(rms, _NARROWEST), _WIDEST), float(stds.max())

    def _fit(self, keep: NDArray[np.bool_]) -> None:
        self._model.fit(self.data.source, (self.data.X[keep], self.data.y[keep]))

    def _scaled(self, values: Array) -> Array:
        return np.log(values) if self._log else values

    def _unscaled(self, value: float) -> float:
        return math.exp(value) if self._log else value


def steps(groups: int) -> int:
    """Return how many fits an estimator of so many groups makes."""
    return 1 + (min(groups, _FOLDS) if groups > 1 else 0)


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
