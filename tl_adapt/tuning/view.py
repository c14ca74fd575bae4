# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what a tuner looks at before it spends: promising configurations, few enough."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tl_adapt.designs import fingerprint
from tl_adapt.models.kernel import Array
from tl_adapt.models.model_set import Assessment, ModelSet
from tl_adapt.space import Configuration
from tl_adapt.tuning.book import Book
from tl_adapt.tuning.loss import Loss

PROMISING = 64  # configurations of the largest worth, and as many of the lowest mean
ELSEWHERE = 48  # any others
RIVALS = 8  # configurations that stand up for a run of the target


@dataclasses.dataclass(frozen=True)
class View:
    """
    Hold the configurations (n) that were looked at, and what the model says of them.

    `worth` (n,) is what the tuner ranks them by.
    """

    model: ModelSet
    configurations: list[Configuration]
    found: Assessment
    worth: Array
    book: Book

    def _promising(self) -> list[int]:
        """Return the indices of promising configurations, those of the largest worth first."""
        likely = self.found.feasible >= min(0.5, float(self.found.feasible.max()))
        orders = (-self.worth, np.where(likely, self.found.mean, np.inf))
        leading = [np.argsort(order, kind='stable')[:PROMISING].tolist() for order in orders]
        return list(dict.fromkeys(index for order in leading for index in order))

    def _elsewhere(self, seed: int, *numbers: int) -> list[int]:
        """Return the indices of some of all configurations; `numbers` say which."""
        rng = np.random.default_rng([seed, *numbers, len(self.book.target)])
        return [int(i) for i in rng.permutation(len(self.configurations))[:ELSEWHERE]]

    def _measured(self) -> list[Configuration]:
        """Return the configurations that were valid on the target, each once."""
        space = self.book.study.space
        told = [space.validate(m.configuration) for m in self.book.target if m.valid]
        return list({fingerprint(one): one for one in told}.values())

    def loss(self, seed: int, run: Sequence[str]) -> tuple[Loss, list[Configuration]]:
        """
        Return the loss of promising configurations, and what the source could run.

        The first RIVALS are those that the target could run. `run` are the fingerprints of what
        the source has run.
        """
        order = self._promising()
        near = [*order[:PROMISING], *order[PROMISING:: 2], *self._elsewhere(seed, len(run))]
        runs = {
            key: self.configurations[i] for i in near
            if (key := fingerprint(self.configurations[i])) not in run
        }
        space, source = self.book.study.space, list(runs.values())
        points = [*(self.configurations[i] for i in order), *self._measured()]
        return Loss(self.model, space.encode(points),
                    space.encode(source).reshape(len(source), space.dim)), source

    def points(self, seed: int = 0) -> tuple[Array, NDArray[np.bool_]]:
        """Return promising points (m, d) and some others, and which (m,) were measured."""
        measured = self._measured()
        known = {fingerprint(one) for one in measured}
        order = dict.fromkeys([*self._promising(), *self._elsewhere(seed)])
        new = [c for i in order if fingerprint(c := self.configurations[i]) not in known]
        mask = np.arange(len(measured) + len(new)) < len(measured)
        return self.book.study.space.encode([*measured, *new]), mask
