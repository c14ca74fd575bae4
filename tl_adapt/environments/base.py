# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what every environment offers: one configuration in, one measurement out."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from tl_adapt.errors import InputError

if TYPE_CHECKING:
    from tl_adapt.study import Study

_KINDS = {
    'table': ('tl_adapt.environments.table', 'TableEnvironment'),
    'command': ('tl_adapt.environments.command', 'CommandEnvironment'),
    'stack': ('tl_adapt.environments.stack', 'StackEnvironment'),
    'replay': ('tl_adapt.environments.replay', 'ReplayEnvironment'),
}
_TRACING = ('stack', 'replay')


#: Purpose of measurements that were recorded in bags.
BAG = 'bag'

#: Set in the provenance of a measurement whose cost is what the run said, be it 0.
COST_REPORTED = 'cost_reported'


@dataclasses.dataclass
class Measurement:
    """
    Hold what one run of one configuration in one environment gave.

    `metrics` are in the study's units. An invalid measurement has a `reason` and the metrics
    that could still be computed. `sim_time` and `wall_time` are in seconds; `cost` is in the
    study's cost units. `provenance` holds only what JSON can.
    """

    environment: str
    configuration: dict[str, Any]
    seed: int
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    valid: bool = True
    reason: str = ''
    cost: float = 0.0
    sim_time: float = 0.0
    wall_time: float = 0.0
    started: str = ''
    purpose: str = ''
    key: str = ''
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the measurement as JSON's types."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Measurement:
        """Make a measurement from what `to_dict` gave; unknown keys are refused."""
        unknown = set(data) - {field.name for field in dataclasses.fields(cls)}
        if unknown:
            raise InputError('unknown keys in a measurement', value=sorted(unknown))
        return cls(**data)


@runtime_checkable
class Environment(Protocol):
    """Measure configurations, one at a time; every implementation passes the conformance suite."""

    name: str

    def measure(self, configuration: Mapping[str, Any], seed: int) -> Measurement:
        """
        Run one configuration.

        Raises InputError if the configuration is outside of the study's space, ApparatusError if
        what measures failed. A run that fails because of what is measured is no error: it gives
        a measurement with `valid` False and a reason.
        """

    def close(self) -> None:
        """End every process that the environment started; a second call does nothing."""


def make_environment(
    study: Study, name: str, *, worker: int = 0, traces: Path | None = None
) -> Environment:
    """
    Make the environment that the study calls `name`.

    `worker` numbers environments that run side by side, so that they can be told apart. `traces`
    is the folder in which those that have traces keep them.
    """
    spec = study.environment(name)
    module, cls = _KINDS[spec.kind]
    options: dict[str, Any] = {'traces': traces} if spec.kind in _TRACING else {}
    environment: Environment = getattr(importlib.import_module(module), cls)(
        study, name, worker=worker, **options
    )
    return environment
