# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the configurations that ran validly on the target, each once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from tl_adapt.designs import fingerprint
from tl_adapt.environments.base import Measurement
from tl_adapt.models.model_set import Assessment, ModelSet
from tl_adapt.space import Configuration
from tl_adapt.tuning.search import Search


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
