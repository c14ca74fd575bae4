# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the number that is explained, a metric or the objective, and its models."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tl_adapt.comparison import OBJECTIVE
from tl_adapt.environments.base import Measurement
from tl_adapt.errors import InputError
from tl_adapt.models import scale
from tl_adapt.models.gaussian_process import GaussianProcess
from tl_adapt.models.kernel import Array
from tl_adapt.models.model_set import metric_values, raise_to_positive
from tl_adapt.models.transfer import TransferModel

if TYPE_CHECKING:
    from tl_adapt.study import Study


@dataclasses.dataclass(frozen=True)
class Number:
    """
    Name what is explained.

    `sign` is 1 where less is better. `log` is whether it is modelled as a logarithm, None if the
    measurements decide that.
    """

    name: str
    unit: str
    sign: float
    log: bool | None

    def values(self, study: Study, measurements: Sequence[Measurement]) -> Array:
        """Return the number (n,) of each measurement; nan where it is invalid or lacks it."""
        if self.name != OBJECTIVE:
            return metric_values(measurements, self.name)
        needed = {objective.metric for objective in study.objectives}
        return np.array([
            study.objective(m.metrics) if m.valid and needed <= set(m.metrics) else math.nan
            for m in measurements
        ], dtype=np.float64)


def find_number(study: Study, name: str) -> Number:
    """Return the metric of that name, or the objective; raises InputError with what is known."""
    if name == OBJECTIVE:
        return Number(OBJECTIVE, '', 1.0, None)
    if name not in study.metrics:
        known = ', '.join([OBJECTIVE, *study.metrics])
        raise InputError(f'unknown metric; known are {known}', key='--metric', value=name)
    metric = study.metrics[name]
    unit = '' if metric.unit == '1' else metric.unit
    return Number(name, unit, metric.sign, metric.scale == 'log')


@dataclasses.dataclass
class Data:
    """
    Hold the measurements of one environment.

    `X` (n, d) are their points, `y` (n,) the number, nan where there is none.
    """

    environment: str
    measurements: list[Measurement]
    X: Array
    y: Array

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Return the mask (n,) of measurements that have the number."""
        return np.isfinite(self.y)

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Return the mask (n,) of valid measurements."""
        return np.array([m.valid for m in self.measurements], dtype=bool)


def collect(
    study: Study, number: Number, measurements: dict[str, list[Measurement]]
) -> dict[str, Data]:
    """
    Return the data of each environment.

    On a log scale, values of 0 and below become half of the smallest positive one, as the models
    of a tuning have it.
    """
    space = study.space
    found = {
        name: Data(
            name, rows, space.encode([m.configuration for m in rows]).reshape(-1, space.dim),
            number.values(study, rows),
        )
        for name, rows in measurements.items()
    }
    if number.log:
        for data, y in zip(found.values(), raise_to_positive(*(d.y for d in found.values()))):
            data.y = y
    return found


def choose_log(number: Number, data: Sequence[Data]) -> bool:
    """Say whether the number is modelled as a logarithm, for all environments alike."""
    samples = [one.y[one.usable] for one in data]
    return scale.choose_log('auto' if number.log is None else number.log, *samples)


def fit_model(
    study: Study, data: Data, *, log: bool, source: Data | None = None,
    rows: NDArray[np.bool_] | None = None, seed: int = 0,
) -> Any:
    """
    Return a model of the number in one environment, transferred from `source` if that is given.

    Only the usable measurements of the mask `rows` (n,) are learnt from.
    """
    chosen = data.usable if rows is None else data.usable & rows
    own = (data.X[chosen], data.y[chosen])
    categorical = study.space.categorical
    if source is None:
        return GaussianProcess(categorical, log=log, seed=seed).fit(*own)
    usable = source.usable
    return TransferModel(categorical=categorical, log=log, seed=seed).fit(
        source=(source.X[usable], source.y[usable]), target=own
    )
