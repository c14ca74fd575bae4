# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for which configurations are safe to run on the target.

Sui et al. 2015 (SafeOpt): what is measured grows a set of configurations that are safe with high
probability, beginning with one that is known to be. Here it is the probability that one run is
valid and keeps all limits, noise and the model's uncertainty included, that must be high.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from tl_adapt.designs import fingerprint
from tl_adapt.environments.base import Measurement
from tl_adapt.errors import InputError
from tl_adapt.models.kernel import Array
from tl_adapt.models.model_set import Assessment, ModelSet
from tl_adapt.tuning.book import Book
from tl_adapt.tuning.known import look_back
from tl_adapt.tuning.proposal import Proposal
from tl_adapt.tuning.search import Search

if TYPE_CHECKING:
    from tl_adapt.study import Study

REACH = 0.1  # root mean square over the parameters of a step in the unit cube
NEARLY = 0.3  # of the worth of what is not safe, from which on a safe one is run for itself
TRIES = 4  # runs of the safest measured configuration while none is safe
HOPE = 0.5  # probability below which it is not run again


def probability(found: Assessment, n: int, valid: Array | None = None) -> Array:
    """
    Return a careful probability (m,) that one run is valid and keeps all limits.

    The spread of a limit's metric and how it transfers are themselves learnt from the n target
    measurements: the distribution of one run is Student's, so that few measurements must leave
    the limit farther away. Where no measurement tells of a limit the probability is 0.

    `valid` (m,) is the probability of a valid run (None: that of the model); see `trusted`.
    """
    kept = np.array(found.valid if valid is None else valid, dtype=float)
    for slack in found.slacks:
        kept *= 0.0 if slack is None else stdtr(n + 1, slack.margin)
    return kept


def within_reach(study: Study, target: Sequence[Measurement], points: Array) -> NDArray[np.bool_]:
    """
    Return which points (m, d) are near a configuration that kept all limits whenever it ran.

    Without a source nothing tells how far a limit's metric can move: repeats of one configuration
    show the noise alone. So the safe set grows by small steps then.
    """
    outcomes: dict[str, bool] = {}
    for run in target:
        key = fingerprint(run.configuration)
        kept = run.valid and not study.broken_limits(run.metrics)
        outcomes[key] = outcomes.get(key, True) and kept
    good = [run.configuration for run in target if outcomes[fingerprint(run.configuration)]]
    if not good:
        return np.zeros(len(points), dtype=bool)
    known = np.unique(study.space.encode(good), axis=0)
    apart = np.stack([np.square(points - place).mean(axis=1) for place in known])
    return np.asarray(apart.min(axis=0) <= REACH**2)


def supported(outcomes: Sequence[bool], risk: float) -> float:
    """
    Return the share of valid runs that these outcomes, valid or not, let one count on.

    Who asks for safe runs says that the default is safe: that counts as half a failure in
    1 / risk runs (the mean of a beta distribution).
    """
    said = 1.0 / risk
    return (sum(outcomes) + max(said - 0.5, 0.0)) / (len(outcomes) + said)


def trusted(valid: Array, default: float, share: float) -> Array:
    """
    Return the probability (m,) of a valid run, given that of the default by the same model.

    Of a few results the model says little of any configuration: what it lacks at a default that
    never failed is want of data, and no configuration's fault. So all are raised as that one is,
    though not beyond the `share` of valid runs that the results support: where runs fail by
    chance the model is right to doubt all of them.
    """
    raised = share * np.minimum(np.asarray(valid) / default, 1.0)
    return np.maximum(valid, raised)


def fall_back(
    safe: Array, runs: NDArray[np.int_], barred: Sequence[bool] = (), risk: float = 0.1
) -> int | None:
    """
    Return the measured configuration to run again while no other is safe, None for none.

    `safe` (k,) are the probabilities of the measured ones, `runs` (k,) how often each was run,
    `barred` (k,) says which must not be. The safest may be run with a probability of HOPE, each
    other only if it is safe itself.
    """
    order = [int(i) for i in np.argsort(-safe, kind='stable') if not (len(barred) and barred[i])]
    for rank, index in enumerate(order):
        if safe[index] >= (HOPE if rank == 0 else 1.0 - risk) and runs[index] < TRIES:
            return index
    return None


@dataclasses.dataclass(frozen=True)
class Unsafe:
    """Say why nothing may be proposed, and by which setting of the study."""

    why: str
    key: str = 'tuning.safe'
    value: float | bool = True

    def error(self) -> InputError:
        """Return it as an error."""
        return InputError(self.why, key=self.key, value=self.value)


def refusal(safe: Array, risk: float) -> Unsafe:
    """Say why nothing is proposed, given the probabilities (k,) of the measured ones."""
    best = f'; the safest measured has {safe.max():.2f}' if len(safe) else ''
    return Unsafe(
        f'no further configuration is valid within all limits with probability '
        f'{1.0 - risk:.2f}{best}', 'tuning.risk', risk,
    )


class Caution:
    """Keep a tuner's runs of the target safe, where the study wants that."""

    def __init__(self, book: Book, search: Search) -> None:
        """Keep where measurements are booked, and where a tuner looks."""
        self.book, self.search, self.study = book, search, book.study
        self.on = book.study.tuning.safe

    def probability(self, model: ModelSet, found: Assessment) -> Array:
        """Return the probability (n,) that one run of each is valid and keeps all limits."""
        target = self.book.target
        careful = probability(found, len(target), self._valid(model, found))
        if self.book.source and self._told_by_source(model):
            return careful
        return np.where(within_reach(self.study, target, found.points), careful, 0.0)

    def _valid(self, model: ModelSet, found: Assessment) -> Array:
        """Return the probability (n,) of a valid run; that of the default counts if it ran."""
        default, target = self.study.space.default(), self.book.target
        outcomes = [run.valid for run in target if run.configuration == default]
        if not outcomes or not all(outcomes):
            return found.valid
        place = self.study.space.encode([default])
        told = [run.valid for run in (*self.book.source, *target)]
        share = supported(told, self.study.tuning.risk)
        return trusted(found.valid, float(model.validity.probability(place)[0]), share)

    def _told_by_source(self, model: ModelSet) -> bool:
        """Say whether the source has valid runs with the metric of every limit."""
        if not any(run.valid for run in self.book.source):
            return False
        return all(
            limit.metric in model.models and model.models[limit.metric].sources
            for limit in self.study.limits
        )

    def allows(self, model: ModelSet, found: Assessment) -> NDArray[np.bool_]:
        """Return which (n,) may be run: those that are safe, or all."""
        if not self.on:
            return np.ones(len(found.mean), dtype=bool)
        return np.asarray(self.probability(model, found) >= 1.0 - self.study.tuning.risk)

    def expand(
        self, model: ModelSet, found: Assessment, free: Array, open_: NDArray[np.bool_]
    ) -> int | None:
        """
        Return the safe configuration to run so that a better one may become safe, or None.

        `free` (n,) is what each is worth whether or not it is safe, `open_` (n,) says which may
        be proposed. Where what is worth most is not safe yet, and nothing safe comes near it in
        worth, the safe one nearest to it is the step towards it (Turchetta et al. 2019).
        """
        allowed = self.allows(model, found) & open_
        goal = int(np.argmax(free))
        if not self.on or not allowed.any() or allowed[goal] \
                or float(free[allowed].max()) >= NEARLY * float(free[goal]):
            return None
        apart = np.square(found.points - found.points[goal]).sum(axis=1)
        return int(np.argmin(np.where(allowed, apart, np.inf)))

    def begin(self, proposal: Proposal) -> Proposal | Unsafe:
        """Return the first run of all if it may be made, or why not: it must be the default."""
        if proposal.configuration in self.book.refused:
            return Unsafe('nothing is known to be safe: where to begin was refused')
        if proposal.configuration != self.study.space.default():
            return Unsafe('nothing is known to be safe: the default configuration is no candidate')
        if self.book.of(False):
            return Unsafe('nothing else is known to be safe before the first run has ended')
        return proposal

    def instead(self, model: ModelSet, proposal: Proposal) -> Proposal | Unsafe:
        """
        Return a proposal if it may be run, else the safest run again, or why there is none.

        `model` knows what was measured, and nothing of what is hoped of pending runs.
        """
        if not self.on or self.book.simulated(proposal.environment):
            return proposal
        place = self.study.space.encode([proposal.configuration])
        if self.allows(model, model.assess(place))[0]:
            return proposal
        known = look_back(model, self.book.target, self.search)
        safe = self.probability(model, known.found)
        under_way = [one.configuration for one in self.book.of(False)]
        again = np.array([under_way.count(one) for one in known.configurations], dtype=int)
        barred = [one in self.book.refused for one in known.configurations]
        index = fall_back(safe, known.runs + again, barred, self.study.tuning.risk)
        if index is None:
            return refusal(safe, self.study.tuning.risk)
        why = f'the safest: valid within all limits with probability {safe[index]:.2f}'
        return dataclasses.replace(
            proposal, configuration=dict(known.configurations[index]), worth=None, why=why
        )
