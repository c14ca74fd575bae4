# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what all optimisers offer, the tuner and the baselines alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tl_adapt.environments.base import Measurement
from tl_adapt.models.model_set import ModelSet
from tl_adapt.space import Configuration
from tl_adapt.tuning.proposal import Choice, Proposal

if TYPE_CHECKING:
    from tl_adapt.study import Study


class Optimiser(Protocol):
    """
    Choose what to measure on the target: ask, measure, tell.

    Budgets of runs, cost units and time are those of the study.
    """

    study: Study

    @property
    def target(self) -> list[Measurement]:
        """Return the measurements of the target."""

    @property
    def pending(self) -> list[Proposal]:
        """Return what was asked for, and neither told nor withdrawn."""

    @property
    def refused(self) -> list[Configuration]:
        """Return the configurations that must not be run on the target."""

    @property
    def spent(self) -> float:
        """Return the cost so far, in the study's cost units."""

    @property
    def time(self) -> float:
        """Return the wall time of the runs so far, in s."""

    @property
    def model(self) -> ModelSet:
        """Return the models, fitted to all that was told."""

    def ask(self, n: int = 1) -> list[Proposal]:
        """Return the n next runs to measure; they count as pending until told."""

    def tell(self, measurement: Measurement, *, charged: bool = True) -> None:
        """Take note of a measurement, asked for or not, in any order."""

    def withdraw(self, proposal: Proposal, *, again: bool = True) -> None:
        """Take back a proposal that will not be measured."""

    def refuse(self, configuration: Configuration) -> None:
        """Propose a configuration never."""

    def should_stop(self) -> str | None:
        """Return why no more should be measured, or None."""

    def best(self) -> Choice:
        """Return the configuration to use."""
