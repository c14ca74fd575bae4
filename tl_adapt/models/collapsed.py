# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the mean prediction of a transfer model, collapsed into few sums of kernels.

Every hypothesis is a Gaussian process with known hyperparameters, so its mean is a constant plus
a sum of kernels around measured points (Rasmussen & Williams 2006, equation 2.27), and so is the
weighted mean of all of them, but for what forests of the sources add.
What is left is one sum for each set of length scales, however many hypotheses there are; that is
what makes very many points cheap to predict.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from tl_adapt.models.forest import Forest
from tl_adapt.models.gaussian_process import TREND
from tl_adapt.models.kernel import SCALES, Array, Features, components
from tl_adapt.models.relations import CONSTANT, INHERITED, PARTS, SLOPE
from tl_adapt.models.source import Columns, Seen, Source

if TYPE_CHECKING:
    from tl_adapt.models.transfer import TransferModel


@dataclasses.dataclass(frozen=True)
class View:
    """
    Hold a way to look at the target's points: as features, divided by length scales.

    `columns` leads to the source's cube where that is another, `scale` (D,) divides the features.
    """

    features: Features
    columns: Columns | None
    scale: Array

    @property
    def key(self) -> tuple[int, int, bytes]:
        """Return what equal views share, as long as their parts live."""
        return id(self.features), id(self.columns), self.scale.tobytes()

    def see(self, X: Array) -> Array:
        """Return features (n, D) of points X (n, d), not yet scaled."""
        return self.features(X if self.columns is None else self.columns(X))


@dataclasses.dataclass(frozen=True)
class Kernels:
    """
    Hold sum_s sum_m coefficient[s, m] exp(-SCALES[s] |x - centre m|^2 / 2) as a function of x.

    `centres` (m, D) are scaled features, `coefficient` is (len(SCALES), m).
    """

    view: View
    centres: Array
    coefficient: Array

    def at(self, features: Array, squares: Array | None = None) -> Array:
        """
        Return the sum (n,) at points with features (n, D), not yet scaled.

        `squares` are those of the features, where they are known.
        """
        # As kernel.squared_distance, but what divides goes to the few centres, not the points.
        scale = self.view.scale
        squared = features @ (-2.0 * scale * self.centres).T
        squares = features * features if squares is None else squares
        squared += (squares @ (scale * scale))[:, None]
        squared += (self.centres * self.centres).sum(axis=1)
        total = np.zeros(len(features))
        np.maximum(squared, 0.0, out=squared)
        for part, coefficient in zip(components(squared), self.coefficient):
            total += part @ coefficient
        return total

    def only(self, columns: NDArray[np.int_]) -> Kernels:
        """Return the same sum for points whose features are 0 in all but some columns."""
        left = np.ones(len(self.view.scale), dtype=bool)
        left[columns] = False
        rest = (self.centres[:, left] ** 2).sum(axis=1)
        view = dataclasses.replace(self.view, scale=self.view.scale[columns])
        coefficient = self.coefficient * np.array(components(rest))
        return Kernels(view, self.centres[:, columns], coefficient)


@dataclasses.dataclass(frozen=True)
class Leaves:
    """Hold `factor` times a forest as a function of the target's points; `columns` as in View."""

    forest: Forest
    columns: Columns | None
    factor: float

    def at(self, X: Array) -> Array:
        """Return the values (n,) at points X (n, d)."""
        return self.factor * self.forest(X if self.columns is None else self.columns(X))


@dataclasses.dataclass
class Said:
    """
    Hold what one source contributes.

    That is `factor` times its mean, and `inherited` (n,) times its posterior covariance with the
    target's points `seen`.
    """

    source: Source
    seen: Seen
    factor: float
    inherited: Array

    @property
    def pull(self) -> Array:
        """Return coefficients (r,): the posterior covariance is the prior one less pull @ V."""
        return self.seen.V @ self.inherited

    @property
    def lean(self) -> float:
        """Return by how much more than the source the target follows its forest."""
        blend = self.source.blend
        return 0.0 if blend is None else blend.variance * float(self.seen.off @ self.inherited)

    @property
    def leaves(self) -> Leaves | None:
        """Return the forest's part of both, None without a forest."""
        blend = self.source.blend
        if blend is None:
            return None
        return Leaves(blend.forest, self.source.columns, self.factor * blend.share + self.lean)

    def spelled_mean(self) -> tuple[float, Kernels]:
        """Return constant and kernels of what `leaves` lacks of factor times the mean and lean."""
        process, leaves = self.source.process, self.leaves
        factor = self.factor - (0.0 if leaves is None else leaves.factor)
        return _spell(self.source, process.A, factor * process.alpha)

    def spelled_prior(self) -> tuple[float, Kernels]:
        """Return constant and kernels of the prior's part of the inherited covariance."""
        return _spell(self.source, self.seen.features, self.inherited)

    def spelled_pull(self) -> tuple[float, Kernels]:
        """Return constant and kernels of -pull @ V."""
        source = self.source
        weight = solve_triangular(source.L, -self.pull, lower=True, trans='T')
        return _spell(source, source.A, weight)


@dataclasses.dataclass(frozen=True)
class Collapsed:
    """
    Hold a model's mean prediction on the model's scale, before it is held in its bounds.

    It is `constant` + `kernels` + what the sources contribute.
    """

    constant: float
    kernels: list[Kernels]
    sources: list[Said]

    def spelled(self, *parts: tuple[float, Kernels]) -> tuple[float, list[Kernels]]:
        """Return constant and kernels with `parts` of the sources, one sum for each view."""
        constant = self.constant + sum(part[0] for part in parts)
        return constant, _merged([*self.kernels, *(part[1] for part in parts)])


def collapse(model: TransferModel) -> Collapsed:
    """Return the mean prediction of a fitted model; raises ValueError before the first fit."""
    if not model.weights:
        raise ValueError('fit must be called first')
    constant, kernels = 0.0, []
    said: dict[int, Said] = {}
    for mean, _ in model.voices:
        block = mean.block
        factor, coefficient = block.spread * mean.factor, block.spread * mean.coefficient
        constant += block.location * mean.total + float(coefficient[CONSTANT].sum())
        view = View(model.features, None, block.scale)
        kernels.append(Kernels(view, block.known.scaled, coefficient[PARTS:]))
        source, seen = block.source, block.known.seen
        if source is None or seen is None:
            continue
        one = said.setdefault(id(source), Said(source, seen, 0.0, np.zeros(len(seen.mean))))
        one.factor += factor + float(coefficient[SLOPE] @ block.known.mean)
        one.inherited = one.inherited + coefficient[INHERITED]
    return Collapsed(constant, kernels, list(said.values()))


def _spell(source: Source, features: Array, weight: Array) -> tuple[float, Kernels]:
    """Return constant and kernels of weight (m,) @ prior covariance with features (m, D)."""
    process = source.process
    scale = np.exp(-process.lengths)[process.features.owner]
    coefficient = np.tile(process.signal / len(SCALES) * weight, (len(SCALES), 1))
    view = View(process.features, source.columns, scale)
    return TREND * float(weight.sum()), Kernels(view, features * scale, coefficient)


def _merged(kernels: Iterable[Kernels]) -> list[Kernels]:
    """Return the same sum with one element for each view, in which no centre comes twice."""
    found: dict[tuple[int, int, bytes], list[Kernels]] = {}
    for one in kernels:
        if len(one.centres):
            found.setdefault(one.view.key, []).append(one)
    return [_joined(same) for same in found.values()]


def _joined(same: Sequence[Kernels]) -> Kernels:
    """Return the sum of kernels of one view."""
    centres, place = np.unique(
        np.vstack([one.centres for one in same]), axis=0, return_inverse=True
    )
    added = np.zeros((len(centres), len(SCALES)))
    np.add.at(added, place.reshape(-1), np.hstack([one.coefficient for one in same]).T)
    return Kernels(same[0].view, centres, np.ascontiguousarray(added.T))
