# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the loss by which configurations are compared before all is known of them.

It is the objective, where breaking a limit or failing doubles it: what `Tuner.best` reports by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import qmc

from tl_adapt.models import scale
from tl_adapt.models.joint import Joint, joint_moments
from tl_adapt.models.kernel import Array
from tl_adapt.models.likelihood import root
from tl_adapt.models.model_set import ModelSet, slack_of

#: Mean and variance of each metric, arrays (..., m) on the scale of its model.
Moments = Mapping[str, tuple[Array, Array]]


class Loss:
    """
    Judge m points X (m, d) of the target, with k runs S (k, d) of the source in mind.

    `joints` maps every metric that counts to its `Joint`.
    """

    def __init__(self, models: ModelSet, X: Array, S: Array) -> None:
        """Ask the models; raises InputError if a metric of the objective has none."""
        self.models, self.study = models, models.study
        found = models.assess(X)
        self.valid = found.valid
        names = [objective.metric for objective in self.study.objectives]
        names += [limit.metric for limit in self.study.limits if limit.metric in models.models]
        self.joints: dict[str, Joint] = {
            name: joint_moments(models.models[name], X, S) for name in dict.fromkeys(names)
        }
        self.now = {name: (joint.mean, joint.variance) for name, joint in self.joints.items()}
        self.penalty = abs(float(np.median(self.objective(self.now))))

    def objective(self, moments: Moments) -> Array:
        """Return the objective's mean (..., m)."""
        total: Array | float = 0.0
        for objective in self.study.objectives:
            factor = objective.weight / objective.reference
            log = self.models.models[objective.metric].log_scale
            mean, _ = scale.mean_and_std(*moments[objective.metric], log)
            total = total + self.study.metrics[objective.metric].sign * factor * mean
        return np.asarray(total)

    def feasible(self, moments: Moments) -> Array:
        """Return the probability (..., m) that a run is valid and keeps all limits."""
        sure = self.valid
        for limit in self.study.limits:
            if limit.metric in moments:
                slack = slack_of(limit, self.models.models[limit.metric], *moments[limit.metric])
                sure = sure * ndtr(slack.margin)
        return np.asarray(sure)

    def __call__(self, moments: Moments) -> Array:
        """Return the expected loss (..., m)."""
        return self.objective(moments) + self.penalty * (1.0 - self.feasible(moments))

    def after(self, gains: Mapping[str, Array], normals: Mapping[str, Array]) -> Array:
        """
        Return the expected loss (D, m) after runs, for D of their possible outcomes.

        `gains` (m, r) say how far each of r independent normal outcomes (D, r) moves the mean.
        """
        moved = {}
        for name, joint in self.joints.items():
            gain = gains[name]
            mean = joint.mean + normals[name] @ gain.T
            left = np.maximum(joint.variance - (gain**2).sum(axis=1), 1e-12)
            moved[name] = (mean, np.broadcast_to(left, mean.shape))
        return self(moved)

    def draws(self, n: int, seed: int) -> Array:
        """Return the loss (n, m) of draws of the functions, validity as it is believed in."""
        rng = np.random.default_rng(seed)
        drawn = {}
        for name, joint in self.joints.items():
            K = joint.covariance.copy()
            K.flat[:: len(K) + 1] += 1e-8 * float(np.mean(joint.variance)) + 1e-12
            values = joint.mean + rng.standard_normal((n, len(K))) @ root(K).T
            drawn[name] = (values, np.zeros_like(values))
        return self(drawn)

    def slopes(self) -> dict[str, Array]:
        """Return how much the loss changes (m,) with each metric, over its own uncertainty."""
        found = {}
        for name, (mean, variance) in self.now.items():
            deviation = np.sqrt(variance)
            ends = [
                self({**self.now, name: (mean + side * deviation, np.zeros_like(mean))})
                for side in (1.0, -1.0)
            ]
            found[name] = (ends[0] - ends[1]) / (2.0 * np.maximum(deviation, 1e-9))
        return found


def normals(names: Sequence[str], count: int, n: int, seed: int = 0) -> dict[str, Array]:
    """Return standard normal numbers (2 n, count) for each name, each with its negative."""
    cube = qmc.Sobol(len(names) * count, seed=seed).random(n)
    drawn = ndtri(np.clip(cube, 1e-9, 1.0 - 1e-9))
    both = np.vstack([drawn, -drawn])
    return {name: both[:, i * count: (i + 1) * count] for i, name in enumerate(names)}
