# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what tuning has spent of its budget in runs, cost units and time."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tl_adapt.environments.base import COST_REPORTED, Measurement
from tl_adapt.study_parts import Budget, EnvironmentSpec
from tl_adapt.tuning.proposal import Proposal


@dataclasses.dataclass
class Account:
    """
    Count measurements against a budget.

    Time is the sum of the runs' wall time, not that on a clock: so it is the same when a run is
    resumed, and time in which nobody measured is not charged. `runs` counts every run, `times`
    holds the wall times [s] of each environment's.
    """

    budget: Budget
    cost: float = 0.0
    time: float = 0.0
    times: dict[str, list[float]] = dataclasses.field(default_factory=dict)

    def charge(self, measurement: Measurement, environment: EnvironmentSpec) -> None:
        """Add a measurement; one that says no cost has cost what its environment's runs do."""
        said = measurement.cost or measurement.provenance.get(COST_REPORTED)
        self.cost += measurement.cost if said else environment.cost
        self.time += measurement.wall_time
        self.times.setdefault(environment.name, []).append(measurement.wall_time)

    def expected_time(self, name: str) -> float:
        """Return the mean wall time [s] of an environment's runs so far, 0 before the first."""
        times = self.times.get(name, [])
        return sum(times) / len(times) if times else 0.0

    def lack(
        self, environment: EnvironmentSpec, pending: Sequence[Proposal] = (), runs: int = 1
    ) -> str:
        """Return what the budget lacks for runs besides those that are pending, '' if nothing."""
        name, number = environment.name, f'{runs} runs' if runs > 1 else 'a run'
        if self.budget.cost is not None:
            need = runs * environment.cost
            left = self.budget.cost - self.cost - sum(one.cost for one in pending)
            if need > left + 1e-9:
                return (
                    f'{number} of {name} costs {need:g}, but {max(left, 0.0):g} of the budget of '
                    f'{self.budget.cost:g} cost units are left'
                )
        if self.budget.time is not None:
            need = runs * self.expected_time(name)
            left = self.budget.time - self.time
            left -= sum(self.expected_time(one.environment) for one in pending)
            if left <= 0.0 or need > left:
                return (
                    f'{number} of {name} takes {need:.3g} s, but {max(left, 0.0):.3g} of the '
                    f'budget of {self.budget.time:g} s are left'
                )
        return ''
