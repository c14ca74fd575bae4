# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for draws of whole functions from a transfer's hypotheses.

A draw from the prior is corrected by what it gets wrong at the measured points (Matheron's rule;
Wilson et al. 2020: Efficiently sampling functions from Gaussian process posteriors). The prior's
parts are factorised once for all hypotheses of a block, which only weigh them differently.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tl_adapt.models.kernel import Array
from tl_adapt.models.likelihood import root
from tl_adapt.models.relations import (
    CONSTANT,
    INHERITED,
    PARTS,
    SLOPE,
    WIDTH,
    Block,
    Place,
    joined,
)

_JITTER = 1e-9  # of a part's variance; discrete options repeat points, so parts are singular


def draw_functions(
    block: Block, rows: NDArray[np.int_], place: Place, rng: np.random.Generator
) -> Array:
    """
    Return one draw (k, m) of the function at m points for each of the hypotheses `rows` (k,).

    Values are on the model's scale, without noise.
    """
    n, k = len(block.z), len(rows)
    grid, both = block.grid, joined(block.known, place)
    weight = grid.weight[rows]
    parts = block.parts(both, both)
    size = len(both.mean)
    drawn = grid.slope[rows, None] * both.mean
    drawn += np.sqrt(weight[:, [CONSTANT]]) * rng.standard_normal((k, 1))
    drawn += np.sqrt(weight[:, [SLOPE]]) * rng.standard_normal((k, 1)) * both.mean
    for part in (INHERITED, *range(PARTS, WIDTH)):
        if weight[:, part].any():
            K = parts[part].copy()
            K.flat[:: size + 1] += _JITTER * float(np.mean(np.diag(K)))
            drawn += np.sqrt(weight[:, [part]]) * (rng.standard_normal((k, size)) @ root(K).T)
    found = drawn[:, n:]
    if n:
        noise = np.sqrt(grid.noise[rows, None]) * rng.standard_normal((k, n))
        wrong = block.z - drawn[:, :n] - noise
        solved = block.solve(wrong, rows)
        for part in range(WIDTH):
            found = found + weight[:, [part]] * (solved @ parts[part, :n, n:])
    return np.asarray(block.location + block.spread * found)
