# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the measurements a transfer learns from: how they are given, read and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tl_adapt.models import scale
from tl_adapt.models.kernel import Array, as_points
from tl_adapt.models.source import Source

if TYPE_CHECKING:
    from tl_adapt.space import Space

_FAR = 10.0  # of the source's spreads; from there on an offset's prior is flat anyway

_LARGEST = 1e100  # size of what can be squared, and added up


class Measured(NamedTuple):
    """
    Hold measurements of one environment.

    `X` are points (n, d) of the unit cube or n configurations, `y` (n,) values; nan is a run that
    failed. `space` is the environment's own, None for the model's.
    """

    X: Any
    y: ArrayLike
    space: Space | None = None


Data = tuple[Any, ArrayLike] | Measured


class Runs(NamedTuple):
    """Hold points (n, d), values (n,) with nan for failed runs, and the space if another."""

    X: Array
    y: Array
    space: Space | None

    def valid(self) -> Runs:
        """Return the runs that did not fail."""
        keep = ~np.isnan(self.y)
        return Runs(self.X[keep], self.y[keep], self.space)


def read_all(source: Data | Sequence[Data] | None, space: Space | None) -> list[Runs]:
    """Return the runs of every source; a tuple is one source, a list several."""
    if source is None:
        return []
    listed = source if isinstance(source, list) else [source]
    return [read(one, space) for one in listed]  # type: ignore[arg-type]


def read(data: Data | None, space: Space | None) -> Runs:
    """
    Return the runs of one environment whose space is `space` unless `data` brings its own.

    Raises ValueError for shapes that do not fit, and infinite or huge values.
    """
    if data is None:
        return Runs(np.empty((0, 0)), np.empty(0), None)
    if not isinstance(data, tuple) or len(data) not in (2, 3):
        raise ValueError(f'measurements must be a tuple (X, y), got {type(data).__name__}')
    own = data[2] if len(data) > 2 else None
    if own is not None and not hasattr(own, 'encode'):
        raise ValueError(f'the third of (X, y, space) must be a space, got {type(own).__name__}')
    other = None if own is space else own
    points = as_cube(data[0], space if own is None else own)
    values = np.array(data[1], dtype=np.float64)
    failed = np.isnan(values)
    known = scale.as_values(np.where(failed, 1.0, values), len(points))
    if (np.abs(known) > _LARGEST).any():
        raise ValueError(f'y must be at most {_LARGEST:g} in size, got {np.abs(known).max():g}')
    return Runs(points, values, other)


def as_cube(X: Any, space: Space | None) -> Array:
    """Return points (n, d) of the unit cube for such points or for configurations of `space`."""
    if len(X) and isinstance(X[0], Mapping):
        if space is None:
            raise ValueError('configurations need a space; points of the unit cube do not')
        X = space.encode(X)
    points = np.asarray(X, dtype=np.float64)
    dim = None if space is None else space.dim
    if len(points) == 0:
        width = points.shape[1] if points.ndim == 2 else dim or 0
        points = points.reshape(0, width)
    points = as_points(points, dim)
    if (np.abs(points) > _LARGEST).any():
        raise ValueError(f'X must be at most {_LARGEST:g} in size, got {np.abs(points).max():g}')
    return points


def units(y: Array, log: bool, sources: Sequence[Source]) -> list[tuple[float, float]]:
    """
    Return what is measured in what: location, spread, and prior variances from the target's y.

    The first pair is the target's own location and spread, then for each source the variances
    of the offset and of the target's values in the source's units.
    """
    n = len(y)
    middle = float(np.median(y)) if n else 0.0
    usual = 0.3 if log else 0.3 * abs(middle)
    few = float(y.std()) if n > 1 else 0.0
    # Two or three values say little of the spread: the usual one counts like one of them.
    spread = float(np.sqrt((n * few**2 + usual**2) / (n + 1))) or 1.0
    found = [(middle, spread)]
    for source in sources:
        z = (y - source.location) / source.spread
        mean = float(z.mean()) if n else 0.0
        # A target that varies as the source does counts like two measurements.
        variance = (float(((z - mean) ** 2).sum()) + 2.0) / (n + 1.0)
        # A wider prior of the offset is no wider in effect, but costs digits.
        found.append((9.0 + 100.0 * min(mean**2, _FAR**2), variance))
    return found
