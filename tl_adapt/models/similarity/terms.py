# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the columns of a regression over options: main effects and pairwise interactions.

A numeric option is coded -1 at its low end and 1 at its high end, a categorical one by effect
contrasts (each level but the last against it; Cohen et al. 2003, section 8.3), so that main
effects are those in the middle of the space and interactions do not depend on which end is called
high.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from tl_adapt.models.kernel import Array


@dataclasses.dataclass(frozen=True)
class Coding:
    """
    Turn points (n, d) into main-effect columns (n, p); `owner` (p,) says of which option.

    `levels` has each categorical option's levels, None for a numeric one; an option that never
    changes has no column.
    """

    levels: tuple[Array | None, ...]
    varying: NDArray[np.bool_]

    @classmethod
    def of(cls, categorical: NDArray[np.bool_], *samples: Array) -> Coding:
        """Find the levels in samples of points (n, d), and which options change in one of them."""
        levels: list[Array | None] = []
        varying = []
        for j, unordered in enumerate(categorical):
            found = np.unique(np.concatenate([X[:, j] for X in samples]))
            levels.append(found if unordered and len(found) > 2 else None)
            varying.append(len(found) > 1)
        return cls(tuple(levels), np.array(varying, dtype=bool))

    @property
    def owner(self) -> NDArray[np.int_]:
        """Return the option of each column (p,)."""
        counts = [
            (1 if found is None else len(found) - 1) if moves else 0
            for found, moves in zip(self.levels, self.varying)
        ]
        return np.repeat(np.arange(len(self.levels)), counts)

    def main(self, X: Array) -> Array:
        """Return the main-effect columns (n, p) of points (n, d)."""
        columns = []
        for j in np.flatnonzero(self.varying):
            found = self.levels[j]
            if found is None:
                columns.append(2.0 * X[:, j, None] - 1.0)
            else:
                last = (X[:, j] == found[-1])[:, None].astype(float)
                columns.append((X[:, j, None] == found[:-1]).astype(float) - last)
        return np.hstack(columns) if columns else np.empty((len(X), 0))

    def pairs(self) -> NDArray[np.int_]:
        """Return the columns (q, 2) whose products are the interactions of two options."""
        owner = self.owner
        first, second = np.triu_indices(len(owner), 1)
        apart = owner[first] != owner[second]
        return np.column_stack([first[apart], second[apart]])
