# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for how much each parameter moves a predicted number: partial dependence.

Friedman 2001: Greedy function approximation: a gradient boosting machine, section 8.2.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from tl_adapt.space import Configuration, Space


@dataclasses.dataclass(frozen=True)
class Influence:
    """Hold one parameter's main effect: its span, and the change from its low to its high end."""

    parameter: str
    span: float
    change: float


def influences(
    space: Space,
    predict: Callable[[Sequence[Configuration]], np.ndarray],
    *,
    seed: int = 0,
    samples: int = 64,
    levels: int = 7,
) -> list[Influence]:
    """
    Return every parameter's main effect on `predict`, the largest span first.

    `predict` maps configurations to an array of shape (n,). Each parameter is swept over `levels`
    values while the others stay at `samples` random configurations; the average over those is
    the parameter's partial dependence. Constraints are not applied: a swept value may lie
    where the constraints forbid to measure, which the model can still predict.
    """
    rng = np.random.default_rng(seed)
    base = rng.random((samples, space.dim))
    grid = np.linspace(0.0, 1.0, levels)
    found = []
    for column, name in enumerate(space.names):
        cube = np.repeat(base[None, :, :], levels, axis=0)
        cube[:, :, column] = grid[:, None]
        values = np.asarray(predict(space.decode(cube.reshape(-1, space.dim))))
        curve = values.reshape(levels, samples).mean(axis=1)
        found.append(Influence(name, float(np.ptp(curve)), float(curve[-1] - curve[0])))
    return sorted(found, key=lambda one: -one.span)
