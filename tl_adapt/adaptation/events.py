# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what goes into the policy (events) and what comes out of it (actions)."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tl_adapt.errors import InputError

if TYPE_CHECKING:
    from tl_adapt.adaptation.records import Record

Configuration = dict[str, Any]

#: Why a window vouches for nothing.
NO_NUMBER = 'the window gives no number for anything that is judged'


class State(str, enum.Enum):
    """Name what the policy is doing."""

    IDLE = 'idle'
    APPLYING = 'applying'
    SETTLING = 'settling'
    WATCHING = 'watching'
    EXPLORING = 'exploring'
    PAUSED = 'paused'


class Level(enum.IntEnum):
    """Grade a status; the values are those of diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2


@dataclasses.dataclass(frozen=True)
class Rules:
    """
    Hold the numbers that steer the policy.

    `false_alarms` per window in the mean while nothing changes; `band` in standard deviations, for
    which a window counts at most; `confirm`, `dwell` in windows; `explore` in measurements;
    `minimum_gain` as a share of the present objective.
    """

    false_alarms: float = 0.002
    band: float = 3.0
    confirm: int = 2
    explore: int = 4
    minimum_gain: float = 0.02
    dwell: int = 1

    def __post_init__(self) -> None:
        """Refuse numbers that make no sense."""
        if not 0.0 < self.false_alarms <= 0.1:
            raise InputError('0 < false_alarms <= 0.1 must hold', key='adaptation.false_alarms',
                             value=self.false_alarms)
        if not (math.isfinite(self.band) and self.band > 0.0):
            raise InputError('band must be positive', key='adaptation.band', value=self.band)
        for name, low in (('confirm', 1), ('explore', 0), ('dwell', 0)):
            value = getattr(self, name)
            if value < low:
                raise InputError(f'must be >= {low}', key=f'adaptation.{name}', value=value)
        if not (math.isfinite(self.minimum_gain) and self.minimum_gain >= 0.0):
            raise InputError(
                'must be >= 0', key='adaptation.minimum_gain', value=self.minimum_gain
            )

    @classmethod
    def of(cls, adaptation: Mapping[str, Any]) -> Rules:
        """Take the rules out of a study's `adaptation` section; its other keys are not for us."""
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: adaptation[name] for name in names if name in adaptation})


@dataclasses.dataclass(frozen=True)
class Band:
    """
    Hold what a model predicts for one metric of one configuration.

    `mean` and the standard deviations are those of the metric's logarithm if `log` is true.
    `model_std` is the model's own uncertainty, shared by all windows of the configuration;
    `noise_std` is the noise that each window adds.
    """

    mean: float
    model_std: float
    noise_std: float
    log: bool = False

    @property
    def std(self) -> float:
        """Return the standard deviation of one window."""
        return math.hypot(self.model_std, self.noise_std)

    @property
    def median(self) -> float:
        """Return the middle of the prediction in the metric's own unit."""
        return self.unscaled(self.mean)

    def scaled(self, value: float) -> float:
        """Return a value of the metric on the model's scale; nan for one that it can't have."""
        if not self.log:
            return value
        return math.log(value) if value > 0.0 else math.nan

    def unscaled(self, value: float) -> float:
        """Return a value on the model's scale in the metric's own unit."""
        return math.exp(min(value, 700.0)) if self.log else value


@dataclasses.dataclass(frozen=True)
class Choice:
    """
    Hold a configuration that a planner proposes.

    `gain` is the share of the objective that it is predicted to save against the present one,
    limits that may be broken included; `kept` is the probability that one run of it keeps all.
    """

    configuration: Configuration
    gain: float = 0.0
    why: str = ''
    kept: float = 0.0


@dataclasses.dataclass(frozen=True)
class Outlook:
    """
    Hold what a planner predicts of one configuration as a whole.

    `objective` is the mean of what is minimised, `valid` the probability that one run does not
    fail, `kept` that it also keeps all limits.
    """

    objective: float
    valid: float = 1.0
    kept: float = 1.0


# --- events --------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Start:
    """
    Say that the robot can be set; `found` is the configuration it has now, where known.

    It is no `whole` one if a change that was cut short left it behind: nobody chose that.
    """

    found: Configuration | None = None
    whole: bool = True


@dataclasses.dataclass(frozen=True)
class Window:
    """
    Hold one window of watching.

    `configuration` is what was in force from its begin to its end, None if that changed within.
    `outcome` is empty for a success, else the reason of the failure. `sim_time` in s. `context`
    names the context that holds at its end, empty where the study has none or it is not known.

    A window that is `overlapping` shares what it saw with other windows, or is the part of a
    mission that was driven so far. It holds only metrics that limits are about and is to be
    compared with the limits alone: it is no further evidence of a change, and does not count for
    `confirm` and `dwell`. That no limit is broken in it says nothing; one that breaks a limit is
    a measurement of that. One that is `unplaced`, as a part of the context was not known all the
    time or was about to change, or `mixed`, as the context changed within, is to be compared with
    the limits alone, too.
    """

    metrics: Mapping[str, float]
    outcome: str = ''
    sim_time: float = 0.0
    configuration: Configuration | None = None
    context: str = ''
    overlapping: bool = False
    unplaced: bool = False
    mixed: bool = False


@dataclasses.dataclass(frozen=True)
class ApplyResult:
    """
    Say how a change ended.

    `change` is the action's number; `configuration` is what is in force now, None if that is not
    known. `refused` tells a node's refusal from a fault (a node that is gone, no answer),
    `advised` that nothing was sent, as in a dry run.
    """

    change: int
    ok: bool
    reason: str = ''
    configuration: Configuration | None = None
    refused: bool = False
    advised: bool = False


@dataclasses.dataclass(frozen=True)
class Paused:
    """Say that the operator wants nothing sent any more."""

    reason: str = 'paused by the operator'


@dataclasses.dataclass(frozen=True)
class Resumed:
    """Say that the operator lets the policy go on; `found` is what the robot has, where known."""

    found: Configuration | None = None


@dataclasses.dataclass(frozen=True)
class RollbackRequested:
    """Say that the operator wants the last good configuration back."""


@dataclasses.dataclass(frozen=True)
class ForeignChange:
    """Say that someone else set a parameter of ours."""

    what: str


@dataclasses.dataclass(frozen=True)
class NodeRestarted:
    """Say that a node came up anew, with its own initial parameters."""

    node: str


@dataclasses.dataclass(frozen=True)
class ContextChanged:
    """Say in which context the robot is from now on; it has held for as long as it has to."""

    context: str


@dataclasses.dataclass(frozen=True)
class Exploration:
    """Say whether configurations may be tried out from now on, and if not, why."""

    allowed: bool
    why: str = ''


@dataclasses.dataclass(frozen=True)
class RulesChanged:
    """Say that the operator gave other numbers to steer by; they count from now on."""

    rules: Rules


@dataclasses.dataclass(frozen=True)
class AdviceTaken:
    """Say that what was only advised so far is to be set from now on."""


Event = (
    Start | Window | ApplyResult | Paused | Resumed | RollbackRequested | ForeignChange
    | NodeRestarted | ContextChanged | Exploration | RulesChanged | AdviceTaken
)


# --- actions -------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Apply:
    """Ask for a configuration to be set; the answer is an ApplyResult with the same number."""

    change: int
    configuration: Configuration
    why: str


@dataclasses.dataclass(frozen=True)
class Rollback(Apply):
    """Ask for a known configuration back; executed like Apply, but never put off for tuning."""


@dataclasses.dataclass(frozen=True)
class Write:
    """Ask for a decision or an observation to be written down."""

    record: Record


@dataclasses.dataclass(frozen=True)
class Status:
    """Hold what the policy says of itself; see `Policy.status`."""

    state: State
    level: Level
    reason: str
    configuration: Configuration | None
    windows: int
    judged: int
    changes: int
    replans: int
    explored: int
    quarantined: int
    settled: bool
    metrics: Mapping[str, float]
    bands: Mapping[str, tuple[float, float]]
    residuals: Mapping[str, float]
    outcome: str
    context: str = ''


@dataclasses.dataclass(frozen=True)
class Publish:
    """Ask for a status to be published."""

    status: Status


Action = Apply | Rollback | Write | Publish
