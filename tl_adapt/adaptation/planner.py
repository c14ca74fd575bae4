# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what the policy needs of a planner; `model_planner` fulfils it with models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from tl_adapt.adaptation.events import Band, Choice, Configuration, Outlook, Window


class Planner(Protocol):
    """
    Predict and propose; hold a present model and, after a change, one that is being learnt.

    `evidence` holds the windows since the change, or those that were not learnt yet; `avoid` the
    configurations that must not be proposed.
    """

    def bands(self, configuration: Configuration) -> Mapping[str, Band]:
        """Return what the present model predicts of one window, per metric."""

    def outlook(self, configuration: Configuration) -> Outlook:
        """Return what the present model predicts of a configuration as a whole."""

    def branch(self) -> Planner:
        """Return a planner of its own, which begins with the present model of this one."""

    def prepare(self) -> None:
        """Compute ahead what a change will need; cheap where that was done."""

    def propose(
        self, evidence: Sequence[Window], avoid: Sequence[Configuration]
    ) -> Choice | None:
        """Return the next configuration worth measuring, or None if none promises a gain."""

    def best(
        self,
        evidence: Sequence[Window],
        anchor: Configuration,
        avoid: Sequence[Configuration],
    ) -> Choice | None:
        """Return the best safe configuration by posterior mean, with its gain over `anchor`."""

    def accept(self, evidence: Sequence[Window]) -> None:
        """Let the model learnt from `evidence` become the present one."""
