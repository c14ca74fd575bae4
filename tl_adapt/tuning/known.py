# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what ran validly on the target: each configuration once, and what was measured."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tl_adapt.designs import fingerprint
from tl_adapt.environments.base import Measurement
from tl_adapt.models.model_set import Assessment, ModelSet
from tl_adapt.space import Configuration
from tl_adapt.tuning.search import Search

if TYPE_CHECKING:
    from tl_adapt.study import Study


@dataclasses.dataclass(frozen=True)
class Known:
    """Hold k configurations, how often (k,) each was run, and what the models say of them."""

    configurations: list[Configuration]
    runs: NDArray[np.int_]
    found: Assessment

    def at(self, rows: NDArray[np.int_]) -> Known:
        """Return some of them, by their indices."""
        configurations = [self.configurations[row] for row in rows.tolist()]
        return Known(configurations, self.runs[rows], self.found.at(rows))


def look_back(model: ModelSet, target: Iterable[Measurement], search: Search) -> Known:
    """Return what ran validly and can be run again."""
    groups: dict[str, list[Configuration]] = {}
    for measurement in target:
        configuration = search.space.validate(measurement.configuration)
        if measurement.valid and configuration in search:
            groups.setdefault(fingerprint(configuration), []).append(configuration)
    configurations = [group[0] for group in groups.values()]
    runs = np.array([len(group) for group in groups.values()], dtype=int)
    return Known(configurations, runs, model.assess(search.space.encode(configurations)))


def as_measured(study: Study, found: Assessment, runs: Sequence[Measurement]) -> Assessment:
    """
    Return an assessment (n,) whose first configurations have the objective of their runs.

    That is the incumbent where a run has no noise that another one would average out: then the
    model, which smooths, knows less of what was measured than the measurement says.
    """
    mean = found.mean.copy()
    whole = np.array([all(
        math.isfinite(run.metrics.get(o.metric, math.nan)) for o in study.objectives
    ) for run in runs])
    rows = np.flatnonzero(whole)
    told = [runs[row].metrics for row in rows.tolist()]
    mean[rows] = [study.objective(metrics) for metrics in told]
    terms = []
    for term, objective in zip(found.terms, study.objectives):
        values = term.mean.copy()
        seen = np.array([metrics[objective.metric] for metrics in told], dtype=float)
        good = seen > 0.0 if term.log else np.ones(len(rows), dtype=bool)
        values[rows[good]] = np.log(seen[good]) if term.log else seen[good]
        terms.append(dataclasses.replace(term, mean=values, mixture=None))
    return dataclasses.replace(found, mean=mean, terms=tuple(terms))


def best_runs(study: Study, runs: Iterable[Measurement], n: int) -> list[Measurement]:
    """Return up to n of the best runs by what was measured, those within all limits first."""
    usable = [
        m for m in runs if m.valid and all(o.metric in m.metrics for o in study.objectives)
    ]
    usable.sort(key=lambda m: (bool(study.broken_limits(m.metrics)), study.objective(m.metrics)))
    return usable[:n]
