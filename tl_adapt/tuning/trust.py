# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for whether the target has confirmed what the source says.

Runs that all went where the source points say little of whether it is right: what is near each
other is alike in any case. So the first few are spread until the two agree. That pays where the
source can be run again, as it is trusted with more; else a test that agrees by chance makes an
unrelated source only more believable, and one of a related source is a run lost.
"""

from __future__ import annotations

import math

import numpy as np

from tl_adapt.models.model_set import ModelSet
from tl_adapt.models.transfer import TransferModel

_CONFIRMED = 0.5  # correlation that must be exceeded
_FEWEST = 3  # runs that can confirm anything


def confirmed(models: ModelSet) -> bool:
    """
    Say whether source and target agree at the target's points, for every metric that counts.

    Their correlation must be above a threshold by a standard error (Fisher's transformation).
    """
    return all(
        _agreement(models.models[objective.metric]) > _CONFIRMED
        for objective in models.study.objectives
    )


def _agreement(model: TransferModel) -> float:
    """Return the correlation of source and target, less a standard error."""
    n = len(model.y)
    if n < _FEWEST or not model.sources:
        return -1.0
    expected = model.sources[0].at(model.X).mean
    if float(np.std(expected)) <= 1e-12 or float(np.std(model.y)) <= 1e-12:
        return -1.0
    correlation = float(np.clip(np.corrcoef(expected, model.y)[0, 1], -0.999, 0.999))
    return math.tanh(math.atanh(correlation) - 1.0 / math.sqrt(n - 1.5))
