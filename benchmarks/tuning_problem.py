# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Make a study of a pair of tables, and let an ask/tell optimiser of the package tune on it.

Options are where they are in the unit cube; one with few, evenly spaced values has these for
choices, so that a place and its value are the same number in all models. The tables have no noise
that a second look could average out: the study allows no repeats. No row is known to be the
default: a random one is, the first that the peers measure that begin by chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tl_adapt.designs import fingerprint
from tl_adapt.environments.base import Measurement
from tl_adapt.space import Configuration
from tl_adapt.study import Study, study_from_dict

CHOICES = 12  # values up to which an option is discrete


def parameter(values: np.ndarray, default: float) -> dict[str, Any]:
    """Return an option's part of a study, from all its values (n,) in both environments."""
    levels = np.unique(values)
    even = len(levels) <= CHOICES and np.allclose(levels, np.linspace(0.0, 1.0, len(levels)))
    if even and len(levels) > 1:
        return {'type': 'double', 'choices': levels.tolist(), 'default': default}
    return {'type': 'double', 'range': [0.0, 1.0], 'default': default}


class Problem:
    """
    Hold tables of the same options: X (n, d) in the unit cube, and columns (n,) by metric.

    `study` has the metrics for objectives of equal weight, on a log scale.
    """

    def __init__(
        self, source: tuple[np.ndarray, Mapping[str, np.ndarray]],
        target: tuple[np.ndarray, Mapping[str, np.ndarray]], budget: int, seed: int,
        **tuning: Any,
    ) -> None:
        """Make the study; `tuning` are settings of its section of that name."""
        (Xs, self._source), (Xt, self._target) = source, target
        start = np.random.default_rng([seed, 7]).permutation(len(Xt))[0]
        self.study = study_of(np.vstack([Xs, Xt]), Xt[start], list(self._target), budget, tuning)
        space = self.study.space
        self.configurations = space.decode(Xt)
        self._sources = space.decode(Xs)
        # Some tables have a configuration in several rows: each time it is asked gives the next.
        self._rows: dict[str, list[int]] = {}
        for row, configuration in enumerate(self.configurations):
            self._rows.setdefault(fingerprint(configuration), []).append(row)

    def source_runs(self, rows: np.ndarray) -> list[Measurement]:
        """Return rows of the source as measurements."""
        return [
            Measurement('source', self._sources[row], 0,
                        {name: float(column[row]) for name, column in self._source.items()})
            for row in rows
        ]

    def measure(self, row: int, configuration: Configuration) -> Measurement:
        """Return a row of the target as a measurement."""
        metrics = {name: float(column[row]) for name, column in self._target.items()}
        return Measurement('target', dict(configuration), 0, metrics, cost=1.0)

    def tune(self, optimiser: Any, budget: int) -> list[int]:
        """Ask and tell until the budget is spent; return the rows measured, in order."""
        order: list[int] = []
        asked: dict[str, int] = {}
        while len(order) < min(budget, len(self.configurations)):
            configuration = optimiser.ask()[0].configuration
            key = fingerprint(configuration)
            rows = self._rows[key]
            row = rows[asked.get(key, 0) % len(rows)]
            asked[key] = asked.get(key, 0) + 1
            order.append(row)
            optimiser.tell(self.measure(row, configuration))
        return order


def study_of(
    X: np.ndarray, default: np.ndarray, metrics: list[str], budget: int, tuning: dict[str, Any]
) -> Study:
    """Return the study of tables with all these options (n, d) and defaults (d,)."""
    nothing = {'kind': 'command', 'command': ['true']}  # the tables are asked, not it
    digits = len(str(X.shape[1] - 1))  # a study sorts its parameters by name
    return study_from_dict({
        'version': 1, 'name': 'table',
        'parameters': {
            f'o{j:0{digits}}': parameter(X[:, j], float(default[j])) for j in range(X.shape[1])
        },
        'metrics': {name: {'direction': 'minimize', 'scale': 'log'} for name in metrics},
        'objectives': [{'metric': name} for name in metrics],
        'environments': {
            'source': {**nothing, 'role': 'source'}, 'target': {**nothing, 'role': 'target'},
        },
        'budget': {'target': budget},
        'tuning': {'repeats': False, **tuning},
    })
