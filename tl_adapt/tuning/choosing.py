# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for which configuration to use, after all that was measured."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tl_adapt import acquisition
from tl_adapt.models.kernel import Array
from tl_adapt.models.model_set import Assessment, ModelSet
from tl_adapt.space import Configuration
from tl_adapt.tuning.book import Book
from tl_adapt.tuning.climb import Rank
from tl_adapt.tuning.goals import Goal
from tl_adapt.tuning.known import look_back
from tl_adapt.tuning.proposal import Choice
from tl_adapt.tuning.safety import Caution
from tl_adapt.tuning.search import Search

SURE = 0.9  # probability of a valid run within all limits that an unmeasured choice must have

#: Give the configurations that a rank leads to, and what the models say of them.
Look = Callable[[ModelSet, Rank], tuple[list[Configuration], Assessment]]


class Chooser:
    """Choose by a goal from what is booked, and from what a `look` at the whole space finds."""

    def __init__(
        self, book: Book, goal: Goal, search: Search, caution: Caution, look: Look
    ) -> None:
        """Keep what is asked."""
        self.book, self.goal, self.search = book, goal, search
        self.caution, self.look = caution, look

    def best(self, model: ModelSet) -> Choice:
        """Return the configuration to use; see `Tuner.best`."""
        target, refused = self.book.target, self.book.refused
        valid = [m for m in target if m.valid and m.configuration in self.search]
        if not model.ready:
            return self._unproven('no valid measurement to learn from')
        if not valid and target:
            # A model that was told of failures only points anywhere on the target.
            return self._unproven(f'none of {len(target)} target measurements was valid')
        guess = self._unmeasured(model)
        if not valid:
            return guess[0]
        measured = look_back(model, target, self.search)
        welcome = [i for i, one in enumerate(measured.configurations) if one not in refused]
        measured = measured.at(np.array(welcome)) if welcome else measured
        # What runs safely is the only thing to rely on, and all of it where nothing does.
        safe = np.flatnonzero(self.caution.allows(model, measured.found))
        measured = measured.at(safe) if len(safe) else measured
        configurations, found = measured.configurations, measured.found
        index, reason = self.goal.choose(found)
        mean, std = float(found.mean[index]), float(found.std[index])
        sure = float(found.feasible[index])
        choice, feasible = guess
        better = not self.caution.on and choice.mean + 2.0 * choice.std < mean - std
        if self.goal.by_objective and feasible >= max(SURE, sure - 0.05) and better:
            return choice
        why = (
            f'{reason} of {len(configurations)} measured: objective {mean:.4g} +- {std:.2g}, '
            f'feasible with probability {sure:.2f}'
        )
        return Choice(dict(configurations[index]), mean, std, why)

    def _unproven(self, reason: str) -> Choice:
        """Return the choice where nothing tells for any."""
        start = self.search.start()
        default = start == self.search.space.default()
        name = 'the default configuration' if default else 'a first guess'
        return Choice(start, math.nan, 0.0, f'{name}: {reason}')

    def _unmeasured(self, model: ModelSet) -> tuple[Choice, float]:
        """Return the model's best guess in the whole space, and its probability to be feasible."""
        configurations, found = self.look(model, promise)
        index = acquisition.predicted_best(found.mean, found.feasible)
        mean, std = float(found.mean[index]), float(found.std[index])
        feasible = float(found.feasible[index])
        why = (
            f'predicted best, not measured: objective {mean:.4g} +- {std:.2g}, '
            f'feasible with probability {feasible:.2f}'
        )
        return Choice(dict(configurations[index]), mean, std, why), feasible


def promise(found: Assessment) -> Array:
    """Rank by the predicted objective those that are likely to be feasible."""
    enough = found.feasible >= min(0.8, 0.95 * float(found.feasible.max()))
    return np.where(enough, -found.mean, -np.inf)
