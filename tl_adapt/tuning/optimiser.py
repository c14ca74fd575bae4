# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what all optimisers offer, the tuner and the baselines alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tl_adapt.environments.base import Measurement
from tl_adapt.models.model_set import ModelSet
from tl_adapt.tuning.proposal import Choice, Proposal

if TYPE_CHECKING:
    from tl_adapt.study import Study


class Optimiser(Protocol):
    """
    Choose what to measure on the target: ask, measure, tell.

    `target` is what was told of the target, `pending` what was asked and is not told yet, `spent`
    its cost in the study's cost units.
    """

    study: Study
    target: list[Measurement]
    pending: list[Proposal]
    spent: float

    @property
    def model(self) -> ModelSet:
        """Return the models, fitted to all that was told."""

    def ask(self, n: int = 1) -> list[Proposal]:
        """Return the n next runs to measure; they count as pending until told."""

    def tell(self, measurement: Measurement) -> None:
        """Take note of a measurement, asked for or not, in any order."""

    def should_stop(self) -> str | None:
        """Return why no more should be measured, or None."""

    def best(self) -> Choice:
        """Return the configuration to use."""
