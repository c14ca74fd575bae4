# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for invalid configurations in two environments: M15 to M18 of Jamshidi et al. 2017 (ASE).

M17 is the share of the smaller set of invalid configurations that is also in the other (the
overlap coefficient: Szymkiewicz 1934); M18 the correlation of the coefficients of two logistic
classifiers of validity over the options' main effects, with a weak L2 penalty, so that classes
that a threshold divides have coefficients, too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from tl_adapt.models.kernel import Array
from tl_adapt.models.similarity.response import pearson
from tl_adapt.models.similarity.terms import Coding

Mask = NDArray[np.bool_]


def common_invalid(source: Mask, target: Mask) -> tuple[int, int]:
    """
    Return how many of the smaller set of invalid configurations are in both, and its size.

    `source`, `target` (n,) say which of the same configurations are valid.
    """
    both = int((~source & ~target).sum())
    return both, int(min((~source).sum(), (~target).sum()))


def classifier(X: Array, valid: Mask, coding: Coding) -> Array | None:
    """
    Return the coefficients (p,) of a logistic classifier of valid (n,) at points X (n, d).

    None unless there are two rows of each kind.
    """
    columns = coding.main(X)
    if min(valid.sum(), (~valid).sum()) < 2 or columns.shape[1] == 0:
        return None
    model = LogisticRegression(C=1.0, max_iter=1000).fit(columns, valid)
    return np.asarray(model.coef_[0], dtype=np.float64)


def classifier_correlation(
    source: tuple[Array, Mask], target: tuple[Array, Mask], categorical: Mask
) -> float:
    """Return M18 of points (n, d) and validity (n,); NaN if one side has one kind only."""
    coding = Coding.of(categorical, source[0], target[0])
    a, b = (classifier(X, valid, coding) for X, valid in (source, target))
    if a is None or b is None or len(a) < 3:
        return float('nan')
    return pearson(a, b)
