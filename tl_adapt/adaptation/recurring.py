# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for which windows are of the present environment, and whether it was met before.

Both are asked when something is learnt: the environment may change, or change back, at any time,
also while configurations are being tried out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from tl_adapt.adaptation.events import Band, Configuration, Window
from tl_adapt.adaptation.memory import configuration_key
from tl_adapt.models.kernel import Array
from tl_adapt.models.model_set import ModelSet
from tl_adapt.study import Study

# Standard deviations that a metric counts as off at most: one odd metric must not decide.
_FAR_OFF = 3.0
# Standard deviations by which the mean of a metric must have moved for the windows before to be
# taken for those of another environment.
_MOVED = 4.0
# Difference of logarithms of the likelihood from which on an earlier model is surely the better.
_SURELY = 3.0


def bands_of(
    study: Study, models: ModelSet, configuration: Configuration, names: Iterable[str] = ()
) -> dict[str, Band]:
    """Return what models predict of one run of a configuration, per metric (none: each)."""
    X = study.space.encode([configuration])
    found = {}
    for name in names or models.models:
        model = models.models[name]
        mean, var = model.latent(X, noise=False)
        found[name] = Band(
            float(mean[0]), float(np.sqrt(var[0])), float(np.sqrt(model.noise_variance)),
            bool(model.log_scale),
        )
    return found


def explains(
    study: Study, models: Sequence[ModelSet], evidence: Sequence[Window]
) -> ModelSet:
    """Return the model that explains the windows best, the first one where none surely does."""
    first = models[0]
    if len(models) < 2 or not evidence:
        return first
    scores = [likelihood(study, one, evidence) for one in models]
    best = max(range(len(models)), key=lambda i: scores[i])
    return models[best] if scores[best] >= scores[0] + _SURELY else first


def likelihood(study: Study, models: ModelSet, evidence: Sequence[Window]) -> float:
    """
    Return the logarithm of the likelihood of windows under models, in the metrics that decide.

    The windows of one configuration count by their mean, as they share the model's error there.
    """
    groups: dict[str, list[Window]] = {}
    for window in evidence:
        if window.configuration and _tells(window):
            groups.setdefault(configuration_key(window.configuration), []).append(window)
    total = 0.0
    for windows in groups.values():
        bands = bands_of(study, models, dict(windows[0].configuration or {}), models.needed)
        for name in models.needed:
            band = bands[name]
            values = [band.scaled(w.metrics[name]) for w in windows if name in w.metrics]
            values = [value for value in values if math.isfinite(value)]
            if values:
                std = math.hypot(band.model_std, band.noise_std / math.sqrt(len(values)))
                off = abs(sum(values) / len(values) - band.mean) / max(std, 1e-12)
                total -= math.log(max(std, 1e-12)) + 0.5 * min(off, _FAR_OFF) ** 2
    return total


def last_change(study: Study, models: ModelSet, evidence: Sequence[Window]) -> int:
    """
    Return from which window on the evidence is of one environment, 0 for all of it.

    Windows are compared by how far they are from the model at their configuration; what it does
    not know of each counts as noise. The split is where the means differ most, but never after a
    window that broke a limit: that it was far off is no reason to forget it.
    """
    n = len(evidence)
    last = max(
        (i for i, window in enumerate(evidence)
         if study.broken_limits(window.metrics, known=True)), default=n - 1,
    )
    configurations = {
        configuration_key(window.configuration): dict(window.configuration)
        for window in evidence if window.configuration and _tells(window)
    }
    places = {
        key: bands_of(study, models, one, models.needed) for key, one in configurations.items()
    }
    found, most = 0, _MOVED
    for name in models.needed:
        off, variance = np.full(n, np.nan), np.full(n, np.nan)
        for i, window in enumerate(evidence):
            if not window.configuration or not _tells(window) or name not in window.metrics:
                continue
            band = places[configuration_key(window.configuration)][name]
            off[i] = band.scaled(window.metrics[name]) - band.mean
            variance[i] = band.std**2
        off[~np.isfinite(off)] = np.nan
        for split in range(1, last + 1):
            z = _difference(off, variance, split)
            if z > most:
                found, most = split, z
    return found


def _tells(window: Window) -> bool:
    """Say whether a window is one of full length that ended well."""
    return not window.outcome and not window.overlapping


def _difference(off: Array, variance: Array, split: int) -> float:
    """Return by how many standard deviations the weighted means before and after differ."""
    sums = []
    for part in (slice(None, split), slice(split, None)):
        good = np.isfinite(off[part])
        weight = 1.0 / np.maximum(variance[part][good], 1e-24)
        if not good.any():
            return 0.0
        sums.append((float((weight * off[part][good]).sum() / weight.sum()), 1.0 / weight.sum()))
    (before, a), (after, b) = sums
    return abs(after - before) / math.sqrt(a + b)
