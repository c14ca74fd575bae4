# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for where a tuner looks: all of a small space, or a design and what is near the best."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np

from tl_adapt.designs import ENUMERABLE, Candidates, fingerprint
from tl_adapt.models.kernel import Array
from tl_adapt.models.model_set import Assessment, ModelSet
from tl_adapt.space import Configuration, Space
from tl_adapt.tuning.climb import Climb, Rank, effort_for

LISTED = 4096  # configurations of a space that is looked at as a whole
ANCHORS = 6  # of each environment's best measurements, which are considered, too


class Search:
    """
    Look for configurations that are worth measuring or using.

    `candidates` are the only ones that can be measured (None: the whole space, which is listed if
    it has no more than LISTED configurations).
    """

    def __init__(
        self, space: Space, seed: int, candidates: Sequence[Configuration] | None = None
    ) -> None:
        """
        Keep where to look.

        Raises ValueError for an empty list, InputError for a candidate outside of the space.
        """
        self.space = space
        self.seed = seed
        self.effort = effort_for(space)
        self.among: Candidates | None = None
        if candidates is not None:
            self.among = Candidates(space, candidates)
        elif space.combinations is not None and space.combinations <= ENUMERABLE \
                and (space.size or 0) <= LISTED:
            self.among = Candidates(space, space.enumerate())
        self._pool: tuple[list[Configuration], Array] | None = None

    @property
    def size(self) -> int | None:
        """Return how many configurations there are, None if they are endless."""
        return self.space.size if self.among is None else len(self.among)

    def exhausted(self, seen: Collection[str]) -> bool:
        """Say whether all configurations, by their fingerprints, have been seen."""
        if self.among is not None:
            return all(key in seen for key in self.among.keys)
        return self.size is not None and len(seen) >= self.size

    def __contains__(self, configuration: Configuration) -> bool:
        return self.among is None or self.space.validate(configuration) in self.among

    def start(self) -> Configuration:
        """Return what to measure first where nothing is known: the default if it can be."""
        default = self.space.default()
        if default in self:
            return default
        return self.design('sobol', 1)[0]

    def design(self, method: str, n: int) -> list[Configuration]:
        """Return up to n configurations of a design; a longer one begins with the shorter."""
        among = self.space if self.among is None else self.among
        return among.sample(n, seed=self.seed, method=method)

    def unseen(
        self, method: str, index: int, seen: set[str], refused: Collection[str] = ()
    ) -> Configuration:
        """
        Return the first configuration of a design whose fingerprint is not in `seen`.

        Where there is none it is one to run again, which is not `refused` if there is such a one.
        """
        design = self.design(method, index + len(seen) + 8)
        again = next((c for c in design if fingerprint(c) not in refused), design[0])
        return next((c for c in design if fingerprint(c) not in seen), again)

    def look(
        self, model: ModelSet, rank: Rank, known: Iterable[Configuration],
        numbers: tuple[int, ...],
    ) -> tuple[list[Configuration], Assessment]:
        """
        Return configurations worth considering and what the model says of them.

        A design over the whole space with what is `known` to be good, and all that is passed on
        a climb from those that rank highest. Where the configurations are listed: all. `numbers`
        seed the climb.
        """
        if self.among is not None:
            return self.among.configurations, model.assess(self.among.places, keep=True)
        if self._pool is None:
            design = self.design('sobol', self.effort.pool)
            pool = list({fingerprint(one): one for one in design}.values())
            self._pool = pool, self.space.encode(pool)
        known = [*known, self.space.default()]
        places = self.space.encode(known)
        found = model.assess(self._pool[1], keep=True).joined(model.assess(places))
        climb = Climb(
            self.space, model.assess, rank, np.random.default_rng([self.seed, *numbers]),
            [*self._pool[0], *known], np.vstack([self._pool[1], places]), found, self.effort,
        )
        climb.run()
        return climb.configurations, climb.found
