# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for small made-up transfers of a solver with discrete options."""

import numpy as np

from tl_adapt.models.transfer import TransferModel


def runs(rng, rows, dim, shift=0.0, levels=2):
    """Return points (rows, dim) with that many levels in each column, and times (rows,)."""
    X = rng.integers(0, levels, (rows, dim)) / (levels - 1)
    f = (1.0 + shift) * X[:, 0] - X[:, 1] + 0.7 * X[:, 2] * X[:, -1] + shift
    return X, np.exp(f + 0.05 * rng.standard_normal(rows))


def fitted(dim, *, sources=1, known=6, seed=0, levels=2, rows=60, **more):
    """Return a model of `known` target points and some sources, each less like the target."""
    rng = np.random.default_rng(seed)
    given = [runs(rng, rows, dim, 0.3 * number, levels) for number in range(sources)]
    target = runs(rng, known, dim, 0.4, levels) if known else None
    return TransferModel(log=True, seed=seed, **more).fit(given or None, target)
