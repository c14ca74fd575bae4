# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for choosing target measurements: ask for a configuration, tell what it gave.

Roots: BO4CO (Jamshidi & Casale 2016) and its transfer (Jamshidi et al. 2017). The first target
measurement is the transferred model's best guess; then what the goal takes for worth most.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tl_adapt import acquisition
from tl_adapt.designs import fingerprint
from tl_adapt.environments.base import Measurement
from tl_adapt.errors import InputError
from tl_adapt.models.kernel import Array
from tl_adapt.models.model_set import Assessment, ModelSet
from tl_adapt.space import Configuration
from tl_adapt.tuning import repeats, safety
from tl_adapt.tuning.goals import make_goal
from tl_adapt.tuning.known import look_back
from tl_adapt.tuning.proposal import Choice, Proposal
from tl_adapt.tuning.search import ANCHORS, Rank, Search

if TYPE_CHECKING:
    from tl_adapt.study import Study

SURE = 0.9  # probability of a valid run within all limits that an unmeasured choice must have


class Tuner:
    """
    Choose target measurements one by one, or several at once for workers that run side by side.

    `source` are measurements of the source environment; `transfer=False` ignores them and
    starts from the default configuration. `method` is 'model' or 'random'. `budget` is a number
    of target measurements (the study's if None). `candidates` are the only configurations that
    can be measured (None: the whole space). The same seed and the same measurements in the same
    order give the same choices.
    """

    def __init__(
        self,
        study: Study,
        *,
        source: Sequence[Measurement] = (),
        transfer: bool = True,
        seed: int = 0,
        budget: int | None = None,
        method: str = 'model',
        candidates: Sequence[Configuration] | None = None,
    ) -> None:
        """
        Keep the settings.

        Raises ValueError for an unknown method, a budget below 0 or no candidate, InputError for
        a candidate outside of the study's space, and for random choices in a study that is safe.
        """
        if method not in ('model', 'random'):
            raise ValueError(f"method must be 'model' or 'random', got {method!r}")
        if method == 'random' and study.tuning.safe:
            raise InputError('random choices are not safe', key='tuning.safe', value=True)
        self.study = study
        self.space = study.space
        self.method = method
        self.seed = seed
        self.budget = study.budget.target if budget is None else budget
        if self.budget is not None and self.budget < 0:
            raise ValueError(f'budget must be 0 or more, got {budget}')
        self.source = list(source) if transfer and method == 'model' else []
        self.goal = make_goal(study)
        self.search = Search(self.space, seed, candidates)
        self.target: list[Measurement] = []
        self.pending: list[Proposal] = []
        self.spent = 0.0
        self._model = ModelSet(study, seed=seed)
        self._stale = True
        self._proposal: Proposal | str | None = None

    @property
    def model(self) -> ModelSet:
        """Return the models, fitted to all that was told."""
        if self._stale:
            self._model.fit(self.source, self.target)
            self._stale = False
        return self._model

    def tell(self, measurement: Measurement) -> None:
        """
        Take note of a measurement, asked for or not, in any order.

        It is one of the target, unless the study lets the tuner simulate (`tuning.simulate`) and
        it comes from the source. Raises InputError if its configuration is outside of the study's
        space.
        """
        configuration = self.space.validate(measurement.configuration)
        simulated = self._simulated(measurement.environment)
        for pending in self.pending:
            if pending.configuration == configuration \
                    and self._simulated(pending.environment) == simulated:
                self.pending.remove(pending)
                break
        (self.source if simulated else self.target).append(measurement)
        self.spent += measurement.cost
        self._stale, self._proposal = True, None

    def _simulated(self, environment: str) -> bool:
        return self.study.tuning.simulate and environment == self.study.source.name

    def ask(self, n: int = 1) -> list[Proposal]:
        """
        Return the n next runs to measure; they count as pending until told.

        Raises InputError where the study wants safe runs and none is.
        """
        asked = []
        for _ in range(n):
            proposal = self._next()
            if isinstance(proposal, str):
                raise InputError(proposal, key='tuning.risk', value=self.study.tuning.risk)
            self.pending.append(proposal)
            self._proposal = None
            asked.append(proposal)
        return asked

    def should_stop(self) -> str | None:
        """Return why no more should be measured on the target, or None."""
        n = len(self.target)
        if self.budget is not None and n >= self.budget:
            return f'the budget of {self.budget} target measurements is spent'
        size = self.search.size
        if size is not None and n >= size and len(self._seen()) >= size:
            return f'all {size} configurations are measured'
        if self.study.tuning.safe and isinstance(refused := self._next(), str):
            return refused
        if self.method == 'random' or n < max(3, (self.budget or 0) // 2, self._initial()):
            return None
        if not self.model.ready:
            return None
        reached, proposal = self._reached(self.model), self._next()
        worth = None if isinstance(proposal, str) else proposal.worth
        if reached is None or worth is None:
            return None
        return self.goal.too_little(worth, reached, self.study.tuning.minimum_gain)

    def best(self) -> Choice:
        """
        Return the configuration to use.

        That is the measured one with the lowest posterior mean, where the risk of breaking a
        limit counts, unless the model is sure of a better one that was not measured. A study
        that goes for the front and has targets gets what comes nearest to them.
        """
        valid = [m for m in self.target if m.valid and m.configuration in self.search]
        if self.method == 'random':
            return self._best_measured(valid)
        if not self.model.ready:
            return self._unproven('no valid measurement to learn from')
        if not valid and self.target:
            # A model that was told of failures only points anywhere on the target.
            return self._unproven(f'none of {len(self.target)} target measurements was valid')
        guess = self._best_unmeasured()
        if not valid:
            return guess[0]
        measured = look_back(self.model, self.target, self.search)
        if self.study.tuning.safe:
            # What runs safely is the only thing to rely on, and all of it where nothing does.
            safe = np.flatnonzero(self._safe(measured.found))
            measured = measured.at(safe) if len(safe) else measured
        configurations, found = measured.configurations, measured.found
        index, reason = self.goal.choose(found)
        mean, std = float(found.mean[index]), float(found.std[index])
        sure = float(found.feasible[index])
        choice, feasible = guess
        better = not self.study.tuning.safe and choice.mean + 2.0 * choice.std < mean - std
        if self.goal.by_objective and feasible >= max(SURE, sure - 0.05) and better:
            return choice
        why = (
            f'{reason} of {len(configurations)} measured: objective {mean:.4g} +- {std:.2g}, '
            f'feasible with probability {sure:.2f}'
        )
        return Choice(dict(configurations[index]), mean, std, why)

    def _best_measured(self, valid: Sequence[Measurement]) -> Choice:
        """Return the best by what was measured alone, runs of one configuration averaged."""
        groups: dict[str, list[Measurement]] = {}
        for measurement in valid:
            groups.setdefault(fingerprint(measurement.configuration), []).append(measurement)
        ranked = []
        for runs in groups.values():
            values = [self.study.objective(run.metrics) for run in runs]
            broken = sum(bool(self.study.broken_limits(run.metrics)) for run in runs)
            spread = float(np.std(values, ddof=1)) / math.sqrt(len(runs)) if values[1:] else 0.0
            ranked.append((2 * broken > len(runs), float(np.mean(values)), spread, runs[0]))
        if not ranked:
            return self._unproven('nothing valid was measured')
        broken, mean, std, run = min(ranked, key=lambda entry: entry[:2])
        limits = 'it breaks a limit, as all do' if broken else 'it keeps the limits'
        why = f'the lowest measured objective {mean:.4g} of {len(ranked)} measured; {limits}'
        return Choice(dict(run.configuration), mean, std, why)

    def _unproven(self, reason: str) -> Choice:
        """Return the choice where nothing tells for any."""
        start = self.search.start()
        name = 'the default configuration' if start == self.space.default() else 'a first guess'
        return Choice(start, math.nan, 0.0, f'{name}: {reason}')

    def _best_unmeasured(self) -> tuple[Choice, float]:
        """Return the model's best guess in the whole space, and its probability to be feasible."""
        configurations, found = self._look(self.model, _promise)
        index = acquisition.predicted_best(found.mean, found.feasible)
        mean, std = float(found.mean[index]), float(found.std[index])
        feasible = float(found.feasible[index])
        why = (
            f'predicted best, not measured: objective {mean:.4g} +- {std:.2g}, '
            f'feasible with probability {feasible:.2f}'
        )
        return Choice(dict(configurations[index]), mean, std, why), feasible

    def _initial(self) -> int:
        """
        Return how many measurements are taken by design before the model chooses.

        A budget beyond the study's makes it no larger, so that a longer run begins like the
        study's own and its choices on the way are those of a run that ended there.
        """
        if self.source:
            return 0
        total = min(self.budget or 2 * self.space.dim, self.study.budget.target)
        return max(2, min(total // 2, self.space.dim + 1))

    def _next(self) -> Proposal | str:
        """Return the next run, or why none is safe, computed once."""
        if self._proposal is None:
            self._proposal = self._propose()
        return self._proposal

    def _propose(self) -> Proposal | str:
        index = len(self.target) + len(self.pending)
        careful = self.study.tuning.safe
        if careful and not self.target:
            return self._proposed(self.search.start(), None, 'to begin with what is known')
        if self.method == 'random':
            return self._by_design('random', index)
        if not self.source and index == 0:
            return self._proposed(self.search.start(), None, 'where nothing is known')
        if not self.model.ready and careful:
            return 'nothing is known to be safe: no valid run to learn from'
        if (index < self._initial() and not careful) or not self.model.ready:
            return self._by_design('sobol', index)
        model = self._with_pending()
        if index == 0:
            configurations, found = self._look(model, _promise)
            chosen = acquisition.predicted_best(found.mean, found.feasible)
            return self._proposed(configurations[chosen], None, 'the predicted best')
        reached = self._reached(model)

        def worth_of(found: Assessment) -> Array:
            worth = self.goal.worth(found, reached)
            return np.where(self._safe(found), worth, -np.inf) if careful else worth

        configurations, found = self._look(model, worth_of)
        worth = worth_of(found)
        seen = self._seen()
        order = np.argsort(-worth, kind='stable')
        # In an exhausted space a repeat is the only thing left, and tells of the noise.
        chosen = next(
            (int(i) for i in order if fingerprint(configurations[i]) not in seen), int(order[0])
        )
        if reached is None:
            why, gain = 'the most likely to be feasible', None
        else:
            why, gain = 'the largest expected improvement', float(worth[chosen])
        proposal = self._proposed(configurations[chosen], gain, why)
        if self.study.tuning.repeats and gain is not None \
                and not repeats.exact(self.study, self.target):
            again = self._again(model)
            if again is not None and (again.worth or 0.0) > gain:
                proposal = again
        return self._if_safe(proposal) if careful else proposal

    def _again(self, model: ModelSet) -> Proposal | None:
        """Return the repeat that is worth most, None for none."""
        measured = look_back(model, self.target, self.search)
        worth = self.goal.worth_again(measured.found)
        pending = [one.configuration for one in self.pending]
        allowed = np.array([one not in pending for one in measured.configurations], dtype=bool)
        if self.study.tuning.safe:
            allowed &= self._safe(measured.found)
        if not allowed.any():
            return None
        index = int(np.argmax(np.where(allowed, worth, -np.inf)))
        why = f'to tell good from lucky: run {measured.runs[index] + 1} of it'
        return self._proposed(measured.configurations[index], float(worth[index]), why)

    def _careful(self, found: Assessment) -> Array:
        """Return the probability (n,) that a run of each is valid and keeps all limits."""
        vouched = safety.vouched_for(self.model, self.space.default(), self.target)
        careful = safety.probability(found, len(self.target), vouched)
        if self.source:
            return careful
        near = safety.within_reach(self.study, self.target, found.points)
        return np.where(near, careful, 0.0)

    def _safe(self, found: Assessment) -> NDArray[np.bool_]:
        """Return which (n,) are safe to run."""
        return np.asarray(self._careful(found) >= 1.0 - self.study.tuning.risk)

    def _if_safe(self, proposal: Proposal) -> Proposal | str:
        """
        Return the proposal, or the safest run again, or why there is no safe one.

        What was measured decides, whatever is hoped of what is pending.
        """
        if self._safe(self.model.assess(self.space.encode([proposal.configuration])))[0]:
            return proposal
        measured = look_back(self.model, self.target, self.search)
        probability = self._careful(measured.found)
        index = safety.fall_back(probability, measured.runs)
        if index is None:
            return safety.refusal(probability, self.study.tuning.risk)
        why = f'the safest: valid within all limits with probability {probability[index]:.2f}'
        return self._proposed(measured.configurations[index], None, why)

    def _proposed(
        self, configuration: Configuration, worth: float | None, why: str
    ) -> Proposal:
        target = self.study.target
        return Proposal(dict(configuration), target.name, worth, target.cost, why)

    def _by_design(self, method: str, index: int) -> Proposal:
        """Return the first configuration of a design that is not yet measured or pending."""
        why = 'by chance' if method == 'random' else 'to cover the space'
        return self._proposed(self.search.unseen(method, index, self._seen()), None, why)

    def _seen(self) -> set[str]:
        """Return the fingerprints of what is measured or pending."""
        told = [self.space.validate(m.configuration) for m in self.target]
        return {fingerprint(c) for c in [*told, *(p.configuration for p in self.pending)]}

    def _with_pending(self) -> ModelSet:
        """Return the model as if every pending run had given what is predicted of it."""
        if not self.pending:
            return self.model
        predicted = self.model.predict([pending.configuration for pending in self.pending])
        fantasies = [
            Measurement(
                environment='', configuration=dict(pending.configuration), seed=0,
                metrics={name: float(mean[i]) for name, mean in predicted.mean.items()},
            )
            for i, pending in enumerate(self.pending)
        ]
        return self.model.branch().fit(self.source, [*self.target, *fantasies], quick=True)

    def _reached(self, model: ModelSet) -> Array | None:
        """Return what the goal makes of the target configurations that were measured."""
        runs = [m.configuration for m in self.target if m.valid]
        runs += [pending.configuration for pending in self.pending]
        if not runs:
            return None
        return self.goal.reached(model.assess(self.space.encode(runs)))

    def _look(self, model: ModelSet, rank: Rank) -> tuple[list[Configuration], Assessment]:
        """Return configurations worth considering and what the model says of them."""
        known = [self.space.validate(m.configuration) for m in self._good()]
        return self.search.look(model, rank, known, (len(self.target), len(self.pending)))

    def _good(self) -> list[Measurement]:
        """Return the best valid measurements of both environments by what was measured."""
        good: list[Measurement] = []
        for measurements in (self.source, self.target):
            usable = [
                m for m in measurements
                if m.valid and all(o.metric in m.metrics for o in self.study.objectives)
            ]
            usable.sort(key=lambda m: (
                bool(self.study.broken_limits(m.metrics)), self.study.objective(m.metrics)
            ))
            good += usable[:ANCHORS]
        return good


def _promise(found: Assessment) -> Array:
    """Rank by the predicted objective those that are likely to be feasible."""
    enough = found.feasible >= min(0.8, 0.95 * float(found.feasible.max()))
    return np.where(enough, -found.mean, -np.inf)
