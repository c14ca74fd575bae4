# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for climbing to what is worth most, from several configurations at once.

Each round moves one parameter at a time (a discrete one to its other values, any other by a step),
then those moves together that paid alone; where none paid, the steps become smaller. That is a
pattern search (Hooke & Jeeves 1961) over mixed spaces; all moves of a round are assessed at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tl_adapt.models.kernel import Array

if TYPE_CHECKING:
    from tl_adapt.models.model_set import Assessment
    from tl_adapt.parameter import Parameter
    from tl_adapt.space import Configuration, Space

STEPS = (0.25, 0.1, 0.04, 0.015)  # of the unit cube, one after the other
ROUNDS = 10
LIVE = (6, 4, 3, 2, 2, 1)  # climbers that go on in each round, the last number in all others
EVERY = 9  # values of a discrete parameter up to which a round tries each
_TOGETHER = (2, 3, 4, 6, 8, 12, 16, 24, 32)  # moves that are tried together, if so many paid
_LITTLE = 0.02  # gain, of the worth, from which on the next step is the smaller one

Assess = Callable[[Array], 'Assessment']
#: Says of assessed configurations (n,) how much each is worth; more is better.
Rank = Callable[['Assessment'], Array]


@dataclasses.dataclass
class _Climber:
    """Hold where a climber is: place (d,), its index among all, its worth, and its step's."""

    place: Array
    index: int
    worth: float
    step: int = 0
    done: bool = False


class Climb:
    """
    Climb from configurations of a space, and hold all that was looked at.

    `configurations`, `places` (n, d) and `found` are the start; they grow by what is looked at:
    each canonical, within the constraints, and none twice.
    """

    def __init__(
        self, space: Space, assess: Assess, rank: Rank, rng: np.random.Generator,
        configurations: list[Configuration], places: Array, found: Assessment,
    ) -> None:
        """Keep where to start."""
        self.space, self.rng = space, rng
        self.configurations, self.places, self.found = configurations, places, found
        self._assess, self._rank = assess, rank
        self._known = {place.tobytes() for place in places}

    def run(self) -> None:
        """Climb from the best, each to where no move pays, or until the rounds are over."""
        worth = self._rank(self.found)
        climbers = [
            _Climber(self.places[index], index, float(worth[index]))
            for index in np.argsort(-worth, kind='stable')[: LIVE[0]].tolist()
        ]
        for number in range(ROUNDS):
            climbers.sort(key=lambda climber: -climber.worth)
            climbers = climbers[: LIVE[min(number, len(LIVE) - 1)]]
            live = [climber for climber in climbers if not climber.done]
            if not live:
                break
            self._round(live)

    def _round(self, live: list[_Climber]) -> None:
        """Move each climber to the best of its moves, or make its steps smaller."""
        moves = self._look([moved(self.space, c.place, STEPS[c.step], self.rng) for c in live])
        better = []
        for climber, (rows, values) in zip(live, self._judge(live, moves)):
            order = np.argsort(-values, kind='stable')
            better.append(rows[order[values[order] > climber.worth]])
        together = self._look([
            combined(climber.place, self.places[rows]) for climber, rows in zip(live, better)
        ])
        ends = [np.append(rows, best[:1]) for rows, best in zip(together, better)]
        for climber, (rows, values) in zip(live, self._judge(live, ends)):
            self._step(climber, rows, values)

    def _step(self, climber: _Climber, rows: NDArray[np.int_], values: Array) -> None:
        gain = 0.0
        if len(rows) and values.max() > climber.worth:
            best = int(np.argmax(values))
            gain = float(values[best]) - climber.worth
            climber.index, climber.worth = int(rows[best]), float(values[best])
            climber.place = self.places[climber.index]
        if gain <= _LITTLE * abs(climber.worth):
            climber.step += 1
            if climber.step == len(STEPS):
                climber.step, climber.done = climber.step - 1, gain == 0.0

    def _look(self, groups: list[Array]) -> list[NDArray[np.int_]]:
        """Look at places (n, d) of several groups; return the indices of each that are new."""
        owner = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
        configurations, places, kept = self.space.settle(np.vstack(groups))
        new = []
        for row, place in enumerate(places):
            key = place.tobytes()
            if key not in self._known:
                self._known.add(key)
                new.append(row)
        first = len(self.configurations)
        self.configurations += [configurations[row] for row in new]
        self.places = np.vstack([self.places, places[new]])
        owner = owner[kept[new]]
        return [first + np.flatnonzero(owner == number) for number in range(len(groups))]

    def _judge(
        self, live: list[_Climber], groups: list[NDArray[np.int_]]
    ) -> list[tuple[NDArray[np.int_], Array]]:
        """Return each group with its worth; set that of the climbers, judged in one go with it."""
        todo = self.places[len(self.found.mean):]
        if len(todo):
            self.found = self.found.joined(self._assess(todo))
        rows = np.concatenate([[climber.index for climber in live], *groups]).astype(int)
        worth = self._rank(self.found.at(rows))
        for climber, value in zip(live, worth):
            climber.worth = float(value)
        ends = np.cumsum([len(live), *map(len, groups)])[:-1]
        return list(zip(groups, np.split(worth, ends)[1:]))


def moved(space: Space, place: Array, step: float, rng: np.random.Generator) -> Array:
    """Return places (n, d) that differ from a place (d,) in one parameter each."""
    found = []
    for column, parameter in enumerate(space.parameters):
        values = _values(parameter, float(place[column]), step, rng)
        values = values[values != place[column]]
        near = np.repeat(place[None, :], len(values), axis=0)
        near[:, column] = values
        found.append(near)
    return np.vstack(found)


def _values(parameter: Parameter, at: float, step: float, rng: np.random.Generator) -> Array:
    """Return places of one parameter to try."""
    size = parameter.size
    if size is not None and (size <= EVERY or parameter.categorical):
        values = np.arange(size) / max(size - 1, 1)
        return values if size <= EVERY else rng.choice(values, EVERY, replace=False)
    step = max(step, 1.0 / (size - 1) if size else 0.0)
    return np.clip([at - step, at + step], 0.0, 1.0)


def combined(place: Array, better: Array) -> Array:
    """
    Return places (n, d) with several of the moves to better places (m, d) made together.

    The best come first, and of moves of one parameter only the best is made.
    """
    found = []
    together = place.copy()
    taken = np.zeros(len(place), dtype=bool)
    count = 0
    for one in better:
        changed = one != place
        if (taken & changed).any():
            continue
        together = np.where(changed, one, together)
        taken |= changed
        count += 1
        if count in _TOGETHER:
            found.append(together)
    if count > 1 and count not in _TOGETHER:
        found.append(together)
    return np.array(found).reshape(-1, len(place))
