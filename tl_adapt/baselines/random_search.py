# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for random search: every configuration is as likely as any other."""

from __future__ import annotations

import numpy as np

from tl_adapt.baselines.base import Baseline
from tl_adapt.space import Configuration


class RandomSearch(Baseline):
    """Measure random configurations."""

    def propose(self, rng: np.random.Generator) -> tuple[Configuration, str]:
        """Return a random configuration."""
        return self.new(), 'by chance'
