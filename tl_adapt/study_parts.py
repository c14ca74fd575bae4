# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the parts of a study: metrics, objectives, mission, environments, budget."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

Pose = tuple[float, float, float]

_OF_FIELD = frozenset({'topic', 'field'})
# What each reduction needs, and what it may have besides.
REDUCTIONS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    'given': (frozenset(), frozenset()),
    **{
        name: (_OF_FIELD, frozenset({'time', 'array'}))
        for name in ('mean', 'max', 'min', 'rms', 'integral', 'last')
    },
    'percentile': (_OF_FIELD | {'percentile'}, frozenset({'time', 'array'})),
    'count': (frozenset({'topic'}), frozenset({'field', 'time', 'array'})),
    'rate': (frozenset({'topic'}), frozenset({'time'})),
    'path_length': (frozenset({'topic'}), frozenset({'time'})),
    'time_to_goal': (frozenset(), frozenset()),
    'success': (frozenset(), frozenset()),
    'pose_error': (frozenset({'topic', 'reference'}), frozenset({'percentile', 'time'})),
    'latency': (frozenset({'topic', 'reference'}), frozenset({'percentile'})),
    'cpu': (frozenset({'nodes'}), frozenset()),
    'memory': (frozenset({'nodes'}), frozenset()),
}


@dataclasses.dataclass(frozen=True)
class Metric:
    """
    Define a metric: how a trace becomes one number, and what the number means.

    `reduction` 'given' is for environments that give the number themselves. `field` is a dotted
    path of a message's field or an expression over such paths. `failed` is what a failed mission
    counts as, or 'exclude'. `scale` 'log' is for heavy tails: modelled as a logarithm.
    """

    name: str
    reduction: str = 'given'
    topic: str | None = None
    field: str | None = None
    time: str = 'header'
    array: str | None = None
    percentile: float | None = None
    reference: str | None = None
    nodes: tuple[str, ...] = ()
    offset: float = 0.0
    factor: float = 1.0
    unit: str = ''
    direction: str = 'minimize'
    scale: str = 'linear'
    failed: float | str = 'exclude'
    description: str = ''

    @property
    def sign(self) -> float:
        """Return 1 if less is better, -1 if more is better."""
        return 1.0 if self.direction == 'minimize' else -1.0


@dataclasses.dataclass(frozen=True)
class Objective:
    """
    Weigh one metric, in units of `reference`, in what tuning minimises.

    `target`, in the metric's unit, is what a choice from the Pareto front aims at.
    """

    metric: str
    weight: float = 1.0
    reference: float = 1.0
    target: float | None = None


@dataclasses.dataclass(frozen=True)
class Limit:
    """Bound one metric; `op` is '>=' or '<='."""

    metric: str
    op: str
    value: float
    text: str

    def kept(self, value: float) -> bool:
        """Say whether `value` keeps the limit; nan does not."""
        return value >= self.value if self.op == '>=' else value <= self.value


@dataclasses.dataclass(frozen=True)
class FailRule:
    """End the mission with `reason` once a message's field compares so with `value`."""

    topic: str
    field: str
    op: str
    value: float | bool | str
    reason: str


@dataclasses.dataclass(frozen=True)
class ServiceCall:
    """Call a service, of a type such as 'std_srvs/srv/Empty', before each mission."""

    service: str
    type: str
    request: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    timeout: float = 5.0


@dataclasses.dataclass(frozen=True)
class Mission:
    """
    Define the workload of one measurement: drive from `start` to the goals.

    Poses are x [m], y [m], yaw [rad] in `frame`. `timeout` and `settle` are sim time [s],
    `wall_timeout` is wall time [s]. `goal_interface` is 'action', 'topic', or 'auto': the action
    where it is there.
    """

    start: Pose | None
    goals: tuple[Pose, ...]
    timeout: float
    wall_timeout: float
    repeats: int = 1
    frame: str = 'map'
    action: str = 'navigate_to_pose'
    goal_interface: str = 'auto'
    goal_topic: str = 'goal_pose'
    outcome_topic: str = 'navigate_to_pose/_action/status'
    result_topic: str | None = None
    initialpose_topic: str | None = None
    fail_when: tuple[FailRule, ...] = ()
    seed_targets: tuple[tuple[str, str], ...] = ()
    prepare: tuple[ServiceCall, ...] = ()
    settle: float = 0.0


@dataclasses.dataclass(frozen=True)
class EnvironmentSpec:
    """
    Name an environment: where configurations are measured, and what a measurement costs there.

    `identity` says what was measured (hardware, workload, software, physics). `options` are the
    keys that only its kind has.
    """

    name: str
    kind: str
    role: str
    cost: float = 1.0
    identity: Mapping[str, str] = dataclasses.field(default_factory=dict)
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Budget:
    """
    Count the measurements that may be taken: configurations, and runs per final comparison.

    `cost`, in cost units, and `time`, wall time [s], bound what tuning may spend besides.
    """

    source: int = 48
    target: int = 8
    evaluation: int = 20
    cost: float | None = None
    time: float | None = None


@dataclasses.dataclass(frozen=True)
class Tuning:
    """
    Say how target measurements are chosen.

    `goal` 'sum' is the weighted sum of the objectives, 'front' all that none other beats in each.
    With `safe` no run is proposed on the target that breaks a limit or fails with a probability
    above `risk`. `repeats` allows runs of what is measured already (false: each would give the
    same again, as in a table), `simulate` further runs of the source. Tuning ends below
    `minimum_gain`, as a share of the objective.
    """

    goal: str = 'sum'
    safe: bool = False
    risk: float = 0.1
    repeats: bool = True
    simulate: bool = False
    minimum_gain: float = 0.001


@dataclasses.dataclass(frozen=True)
class Seeds:
    """Seed the parts of a study; runs of two parts never share a seed, see tl_adapt.seeds."""

    campaign: int = 1
    tuning: int = 2
    evaluation: int = 1000
