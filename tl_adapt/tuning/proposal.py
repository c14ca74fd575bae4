# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what a tuner says: what to measure next, and which configuration to use."""

from __future__ import annotations

import dataclasses

from tl_adapt.space import Configuration


@dataclasses.dataclass(frozen=True)
class Proposal:
    """
    Hold what to measure next, and where.

    `worth` is the improvement expected of it in the objective's unit (None: it is chosen by
    design, no model judges it), `cost` what it should cost in the study's cost units.
    """

    configuration: Configuration
    environment: str
    worth: float | None
    cost: float
    why: str


@dataclasses.dataclass(frozen=True)
class Choice:
    """
    Hold the configuration to use, the objective expected of it, and why it was chosen.

    `std` is the uncertainty of `mean`; 0 where no model judges it.
    """

    configuration: Configuration
    mean: float
    std: float
    why: str
