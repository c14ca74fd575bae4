# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for what another run of a configuration that is measured already is worth.

Frazier 2009, Scott et al. 2011 (knowledge gradient): a run is worth how much better it makes, in
expectation, what is chosen by posterior means afterwards. A lucky run looks best until it is
repeated; the value of finding that out is in the same unit as the expected improvement of a new
configuration, so that both compete. What is repeated early may be outdone before it counts, and
can be repeated later as well: search first, then clean up (Boesel et al. 2003).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr

from tl_adapt.acquisition import Term
from tl_adapt.designs import fingerprint
from tl_adapt.environments.base import Measurement
from tl_adapt.models.kernel import Array
from tl_adapt.models.model_set import Assessment

if TYPE_CHECKING:
    from tl_adapt.study import Study

_DOUBT = 2.0  # times the variance that the model states; see `worth`


def _density(z: Array) -> Array:
    return np.asarray(np.exp(-0.5 * np.minimum(np.abs(z), 40.0) ** 2) / np.sqrt(2.0 * np.pi))


def worth(found: Assessment) -> Array:
    """
    Return what one more run of each of k measured configurations is worth, shape (k,).

    They are compared by the loss that `acquisition.lowest_loss` chooses by. A run moves its own
    loss, by the objective and by the probability of keeping the limits. The variance of what is
    known counts more than the model states: it takes the noise for the same everywhere, and a
    configuration that looks best is one where the noise was large.
    """
    k = len(found.mean)
    if k < 2:
        return np.zeros(k)
    penalty = abs(float(np.median(found.mean)))
    loss = found.mean + penalty * (1.0 - found.feasible)
    doubted = _DOUBT * found.std**2
    moved = doubted**2 / np.maximum(doubted + found.noise**2, 1e-300)
    moved = moved + limit_term(found, penalty).variance
    deviation = np.maximum(np.sqrt(moved), 1e-300)
    first, second = np.argsort(loss, kind='stable')[:2]
    gap = loss - loss[first]
    gap[first] = loss[second] - loss[first]
    z = gap / deviation
    return np.asarray(deviation * _density(z) - gap * ndtr(-z))


def lasting(new: Assessment, reached: Array, left: int) -> float:
    """
    Return the probability that no later run outdoes the choice, which makes a repeat vain.

    `new` is the configuration (1,) that is the best to measure instead, `reached` what
    `WeightedSum.reached` returns, `left` the number of runs that come after the next one.
    """
    _, lowest, penalty = reached.tolist()
    loss = float(new.mean[0]) + penalty * (1.0 - float(new.feasible[0]))
    share = new.std**2 / np.maximum(new.std**2 + new.noise**2, 1e-300)
    variance = float((share * new.std**2 + limit_term(new, penalty).variance)[0])
    outdone = float(ndtr((lowest - loss) / max(math.sqrt(variance), 1e-12)))
    return (1.0 - outdone) ** left


def limit_term(found: Assessment, penalty: float) -> Term:
    """
    Return what the limits add to the loss (n,), with the variance that one run can take away.

    A run moves the margin of a limit by the share of its spread that is not noise.
    """
    variance = np.zeros(len(found.mean))
    for slack in found.slacks:
        if slack is not None:
            share = slack.variance / (slack.variance + slack.noise)
            variance += (penalty * found.valid * _density(slack.margin) * share) ** 2
    return Term(1.0, False, penalty * (1.0 - found.feasible), variance)


def exact(study: Study, target: Iterable[Measurement]) -> bool:
    """Say whether repeats have shown that there is no noise: each gave the same numbers again."""
    groups: dict[str, set[tuple[float, ...]]] = {}
    count = 0
    for run in target:
        if run.valid:
            values = tuple(run.metrics.get(o.metric, math.nan) for o in study.objectives)
            groups.setdefault(fingerprint(run.configuration), set()).add(values)
            count += 1
    return count > len(groups) and all(len(values) == 1 for values in groups.values())


def told(found: Assessment) -> tuple[Term, ...]:
    """
    Return the objective's terms with the variance that one run of each can take away.

    What a run cannot tell for its noise is no reason to measure (Huang et al. 2006: augmented
    expected improvement).
    """
    share = found.std**2 / np.maximum(found.std**2 + found.noise**2, 1e-300)
    return tuple(
        dataclasses.replace(term, variance=term.variance * share, mixture=None)
        for term in found.terms
    )
