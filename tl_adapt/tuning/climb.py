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
    from tl_adapt.space import Configuration, Space

EVERY = 9  # values of a discrete parameter up to which a round tries each
_TOGETHER = (2, 3, 4, 6, 8, 12, 16, 24, 32)  # moves that are tried together, if so many paid
_LITTLE = 0.02  # gain, of the worth, from which on the next step is the smaller one

Assess = Callable[[Array], 'Assessment']
#: Says of assessed configurations (n,) how much each is worth; more is better.
Rank = Callable[['Assessment'], Array]


@dataclasses.dataclass(frozen=True)
class Effort:
    """
    Say how much a search looks at.

    `pool` is the number of configurations of a design that it begins with, `live` of the climbers
    that go on in each round (the last number in all further ones), `rounds` that of rounds;
    `steps` are shares of the unit cube, one after the other.
    """

    pool: int
    live: tuple[int, ...]
    rounds: int
    steps: tuple[float, ...]


THOROUGH = Effort(4096, (6, 4, 3, 2, 2, 1), 10, (0.25, 0.1, 0.04, 0.015))
QUICK = Effort(1024, (6, 2, 1), 9, (0.25, 0.08, 0.02))
_FEW = 24  # parameters up to which a search is thorough


def effort_for(space: Space) -> Effort:
    """
    Return how much a search of a space looks at.

    A climber tries every parameter in each round. Where there are many, fewer climbers keep the
    time of a choice as it is, and find what is worth little less.
    """
    return THOROUGH if space.dim <= _FEW else QUICK


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

    `configurations`, `places` (n, d) and `found` are the start, and after `run` also all that was
    looked at: each canonical, within the constraints, and none twice.
    """

    def __init__(
        self, space: Space, assess: Assess, rank: Rank, rng: np.random.Generator,
        configurations: list[Configuration], places: Array, found: Assessment,
        effort: Effort,
    ) -> None:
        """Keep where to start."""
        self.space, self.effort = space, effort
        # What the climbers stand on and all that they look at, apart from the many at the start.
        self._near, self._seen = places[:0], found.at(np.zeros(0, dtype=int))
        self.configurations, self.places, self.found = configurations, places, found
        self._assess, self._rank = assess, rank
        self._moves = Moves(space, rng)
        self._known = {place.tobytes() for place in places}

    def run(self) -> None:
        """Climb from the best, each to where no move pays, or until the rounds are over."""
        worth, live_in = self._rank(self.found), self.effort.live
        start = np.argsort(-worth, kind='stable')[: live_in[0]]
        climbers = [
            _Climber(self.places[row], index, float(worth[row]))
            for index, row in enumerate(start.tolist())
        ]
        self._near, self._seen = self.places[start], self.found.at(start)
        for number in range(self.effort.rounds):
            climbers.sort(key=lambda climber: -climber.worth)
            climbers = climbers[: live_in[min(number, len(live_in) - 1)]]
            live = [climber for climber in climbers if not climber.done]
            if not live:
                break
            self._round(live)
        new = np.arange(len(start), len(self._near))
        self.places = np.vstack([self.places, self._near[new]])
        self.found = self.found.joined(self._seen.at(new))

    def _round(self, live: list[_Climber]) -> None:
        """Move each climber to the best of its moves, or make its steps smaller."""
        moves = self._look([self._moves(c.place, self.effort.steps[c.step]) for c in live])
        better = []
        for climber, (rows, values) in zip(live, self._judge(live, moves)):
            order = np.argsort(-values, kind='stable')
            better.append(rows[order[values[order] > climber.worth]])
        together = self._look([
            combined(climber.place, self._near[rows]) for climber, rows in zip(live, better)
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
            climber.place = self._near[climber.index]
        if gain <= _LITTLE * abs(climber.worth):
            climber.step += 1
            if climber.step == len(self.effort.steps):
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
        first = len(self._near)
        self.configurations += [configurations[row] for row in new]
        self._near = np.vstack([self._near, places[new]])
        owner = owner[kept[new]]
        return [first + np.flatnonzero(owner == number) for number in range(len(groups))]

    def _judge(
        self, live: list[_Climber], groups: list[NDArray[np.int_]]
    ) -> list[tuple[NDArray[np.int_], Array]]:
        """Return each group with its worth; set that of the climbers, judged in one go with it."""
        todo = self._near[len(self._seen.mean):]
        if len(todo):
            self._seen = self._seen.joined(self._assess(todo))
        rows = np.concatenate([[climber.index for climber in live], *groups]).astype(int)
        worth = self._rank(self._seen.at(rows))
        for climber, value in zip(live, worth):
            climber.worth = float(value)
        ends = np.cumsum([len(live), *map(len, groups)])[:-1]
        return list(zip(groups, np.split(worth, ends)[1:]))


class Moves:
    """Move one parameter of a place, each in turn."""

    def __init__(self, space: Space, rng: np.random.Generator) -> None:
        """Tell parameters whose values are tried one by one from those that are moved by steps."""
        self.rng = rng
        self._values: list[tuple[int, Array]] = []
        stepped = []
        for column, parameter in enumerate(space.parameters):
            size = parameter.size
            if size is not None and (size <= EVERY or parameter.categorical):
                self._values.append((column, np.arange(size) / max(size - 1, 1)))
            else:
                stepped.append((column, 1.0 / (size - 1) if size else 0.0))
        self._stepped = np.array([column for column, _ in stepped], dtype=int)
        self._least = np.array([least for _, least in stepped])

    def __call__(self, place: Array, step: float) -> Array:
        """Return places (n, d) that differ from a place (d,) in one parameter each."""
        columns, values = [self._stepped, self._stepped], []
        reach = np.maximum(step, self._least)
        for ends in (place[self._stepped] - reach, place[self._stepped] + reach):
            values.append(np.clip(ends, 0.0, 1.0))
        for column, all_ in self._values:
            some = all_ if len(all_) <= EVERY else self.rng.choice(all_, EVERY, replace=False)
            columns.append(np.full(len(some), column))
            values.append(some)
        where, to = np.concatenate(columns), np.concatenate(values)
        kept = to != place[where]
        near = np.repeat(place[None, :], int(kept.sum()), axis=0)
        near[np.arange(len(near)), where[kept]] = to[kept]
        return near


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
