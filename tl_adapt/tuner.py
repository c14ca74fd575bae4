# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for choosing target measurements: ask for a configuration, tell what it gave.

Roots: BO4CO (Jamshidi & Casale 2016) and its transfer (Jamshidi et al. 2017). The first target
measurement is the transferred model's best guess; then what the goal takes for worth most.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tl_adapt import acquisition
from tl_adapt.designs import fingerprint
from tl_adapt.environments.base import Measurement
from tl_adapt.models.kernel import Array
from tl_adapt.models.model_set import Assessment, ModelSet
from tl_adapt.space import Configuration
from tl_adapt.tuning import repeats, stopping
from tl_adapt.tuning.book import Book, Booked
from tl_adapt.tuning.choosing import Chooser, promise
from tl_adapt.tuning.climb import Rank
from tl_adapt.tuning.fantasies import fantasies
from tl_adapt.tuning.forecast import Forecast, forecast
from tl_adapt.tuning.goals import make_goal
from tl_adapt.tuning.known import as_measured, best_runs, look_back
from tl_adapt.tuning.proposal import Choice, Proposal
from tl_adapt.tuning.safety import Caution, Unsafe
from tl_adapt.tuning.search import ANCHORS, Search
from tl_adapt.tuning.source_runs import SourceRuns
from tl_adapt.tuning.trust import confirmed
from tl_adapt.tuning.view import View

if TYPE_CHECKING:
    from tl_adapt.study import Study

INITIAL = 5  # measurements that cover the space where no source was measured


class Tuner(Booked):
    """
    Choose target measurements one by one, or several at once for workers that run side by side.

    `source` are measurements of the source environment; `transfer=False` ignores them and
    starts from the default configuration. `budget` is a number of target measurements (the study's
    if None). `candidates` are the only configurations that
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
        candidates: Sequence[Configuration] | None = None,
    ) -> None:
        """
        Keep the settings.

        Raises ValueError for a budget below 0 or no candidate, InputError for a candidate outside
        of the study's space.
        """
        self.study = study
        self.space = study.space
        self.seed = seed
        self.budget = study.budget.target if budget is None else budget
        if self.budget is not None and not self.budget >= 0:
            raise ValueError(f'budget must be 0 or more, got {budget}')
        known = source if transfer else ()
        simulate = study.tuning.simulate and transfer
        self.book = Book(study, known, simulate=simulate)
        self.goal = make_goal(study)
        self.search = Search(self.space, seed, candidates)
        self.caution = Caution(self.book, self.search)
        self.chooser = Chooser(self.book, self.goal, self.search, self.caution, self._look)
        self.simulations: SourceRuns | None = None
        if simulate:
            self.simulations = SourceRuns(study, self.search, seed, len(known))
        self._model = ModelSet(study, seed=seed, growing=simulate)
        self._stale = True
        self._proposal: Proposal | Unsafe | None = None

    @property
    def model(self) -> ModelSet:
        """Return the models, fitted to all that was told."""
        if self._stale:
            self._model.fit(self._settled(), self.target)
            self._stale = False
        return self._model

    @property
    def source(self) -> list[Measurement]:
        """Return the measurements of the source."""
        return self.book.source

    def _settled(self) -> list[Measurement]:
        """Return the source's runs that are learnt from: those of complete rounds."""
        if self.simulations is None or self.book.account.lack(self.study.source):
            return self.source
        return self.source[:self.simulations.settled(len(self.source))]

    def tell(self, measurement: Measurement, *, charged: bool = True) -> None:
        """
        Take note of a measurement, asked for or not, in any order.

        It is one of the target, unless the study lets the tuner simulate (`tuning.simulate`) and
        it comes from the source. Its cost and time are `charged` to the budget. Raises InputError
        if its configuration is outside of the study's space.
        """
        self.book.tell(measurement, charged=charged)
        self._stale, self._proposal = True, None

    def forget(self) -> None:
        """Forget the runs of the target and what is pending, and begin a new budget."""
        self.book.forget()
        if self.simulations:
            self.simulations.forget()
        self._stale, self._proposal = True, None

    def withdraw(self, proposal: Proposal, *, again: bool = True) -> None:
        """Take back a proposal that will not be measured; see `Booked`."""
        super().withdraw(proposal, again=again)
        self._proposal = None

    def refuse(self, configuration: Configuration) -> None:
        """Propose a configuration never; see `Booked`."""
        super().refuse(configuration)
        self._proposal = None

    def ask(self, n: int = 1) -> list[Proposal]:
        """
        Return the n next runs to measure; they count as pending until told or withdrawn.

        They are fewer where the budget in cost units or time does not pay for n, where all that
        is left was refused, or where what else is safe is for runs under way to tell. Raises
        InputError where the study wants safe runs and none is, ValueError for n below 0.
        """
        if n < 0:
            raise ValueError(f'n must be 0 or more, got {n}')
        asked: list[Proposal] = []
        for _ in range(n):
            proposal = self._next()
            if isinstance(proposal, Unsafe):
                if self.pending:
                    break
                raise proposal.error()
            barred = self.refused if proposal.environment == self.study.target.name else []
            if self.book.lack(proposal.environment) or proposal.configuration in barred:
                break
            self.pending.append(proposal)
            self._proposal = None
            asked.append(proposal)
        return asked

    def should_stop(self) -> str | None:
        """
        Return why no more should be measured, or None.

        That is a budget that is spent, nothing being left to measure, or, once some runs have
        been told, too little to be gained: see `stopping`.
        """
        n = len(self.target)
        if self.budget is not None and self.book.charged >= self.budget:
            return f'the budget of {self.budget} target measurements is spent'
        lack = self.book.lack(self.study.target.name)
        if lack and (isinstance(following := self._next(), Unsafe)
                     or following.environment == self.study.target.name):
            return lack
        size = self.search.size
        known = n + len(self.refused)
        if size is not None and known >= size and self.search.exhausted(self.book.seen()):
            return f'all {size} configurations are measured' + (' or refused' * (n < known))
        if self.caution.on and isinstance(unsafe := self._next(), Unsafe) and not self.pending:
            return unsafe.why
        if n < max(3, self._initial()) or not self.model.ready:
            return None
        reached = self._reached(self.model)
        if reached is None:
            return None
        ending = stopping.Ending(self.model, self.goal, reached, self.seed)
        found = ending.proven(self.search, self.target)
        proposal = self._next()
        enough = self.book.charged >= (self.budget or 0) // 2
        if found or not enough or isinstance(proposal, Unsafe) \
                or proposal.worth is None or self.book.simulated(proposal.environment):
            return found
        return ending.too_little(proposal.worth, lambda: self._consider(self.model)[1])

    def forecast(self, n: int | None = None) -> Forecast:
        """
        Return what n further runs of the target should bring (None: all that the budget pays).

        It is the model's forecast of the objective, see `Forecast`. Raises InputError while no
        valid measurement was told, ValueError for n below 0.
        """
        if n is not None and n < 0:
            raise ValueError(f'n must be 0 or more, got {n}')
        if n is None:
            n = self.book.affordable(self.study.target.name)
            if self.budget is not None:
                n = min(n, max(self.budget - self.book.charged, 0))
        _, view = self._consider(self.model)
        return forecast(self.model, *view.points(), n, self.seed)

    def best(self) -> Choice:
        """
        Return the configuration to use.

        That is the measured one with the lowest posterior mean, where the risk of breaking a
        limit counts, unless the model is sure of a better one that was not measured. A study
        that goes for the front and has targets gets what comes nearest to them.
        """
        return self.chooser.best(self.model)

    def _initial(self) -> int:
        """
        Return how many measurements are taken by design before the model chooses.

        A budget beyond the study's makes it no larger, so that a longer run begins like the
        study's own and its choices on the way are those of a run that ended there.
        """
        if self.source:
            return 0
        total = min(self.budget or 2 * INITIAL, self.study.budget.target)
        return max(2, min(total // 2, INITIAL))

    def _next(self) -> Proposal | Unsafe:
        """Return the next run, or why none is safe, computed once."""
        if self._proposal is None:
            self._proposal = self._propose()
        return self._proposal

    def _propose(self) -> Proposal | Unsafe:
        index = sum(self.book.numbers)
        careful = self.caution.on
        start = self.search.start()
        if careful and not self.target:
            return self.caution.begin(self._proposed(start, None, 'to begin with what is known'))
        going_on = self.simulations and self.simulations.under_way(self.book)
        if going_on:
            return going_on
        if not self.source and index == 0 and start not in self.refused:
            return self._proposed(start, None, 'where nothing is known')
        if not self.model.ready and careful:
            return Unsafe('nothing is known to be safe: no valid run to learn from')
        if (index < self._initial() and not careful) or not self.model.ready:
            return self._by_design(index)
        model = self._with_pending()
        if index == 0:
            configurations, found = self._look(model, promise)
            chosen = acquisition.predicted_best(found.mean, found.feasible)
            return self._proposed(configurations[chosen], None, 'the predicted best')
        if self.simulations and index % 2 and not careful and not confirmed(self.model):
            return self._test_source(index)
        reached, view = self._consider(model)
        configurations, worth = view.configurations, view.worth
        seen = self.book.seen()
        order = np.argsort(-worth, kind='stable')
        # In an exhausted space a repeat is the only thing left, and tells of the noise.
        chosen = next(
            (int(i) for i in order if fingerprint(configurations[i]) not in seen), int(order[0])
        )
        if careful and reached is not None:
            open_ = np.array([fingerprint(one) not in seen for one in configurations], dtype=bool)
            free = self.goal.rank(reached)(view.found)
            step = self.caution.expand(self.model, view.found, free, open_)
            if step is not None:
                towards = self._proposed(
                    configurations[step], None, 'to learn what else is safe'
                )
                return self.caution.instead(self.model, towards)
        if reached is None:
            why, gain = 'the most likely to be feasible', None
        else:
            why, gain = 'the largest expected improvement', float(worth[chosen])
            if self.goal.one_number and not self.study.tuning.repeats:
                # Ranked by information, perhaps; the worth is in the unit of the goal anyway.
                why = 'it tells most of the best'
                gain = float(self.goal.worth(reached)(view.found.at(np.array([chosen])))[0])
        proposal = self._proposed(configurations[chosen], gain, why)
        if self.study.tuning.repeats and gain is not None \
                and not repeats.exact(self.study, self.target):
            again = self._again(model)
            if again is not None and reached is not None and (again.worth or 0.0) > gain:
                best = view.found.at(np.array([chosen]))
                if (again.worth or 0.0) * repeats.lasting(best, reached, self._left()) > gain:
                    proposal = again
        if self.simulations:
            proposal = self.simulations.instead(proposal, view)
        return self.caution.instead(self.model, proposal)

    def _again(self, model: ModelSet) -> Proposal | None:
        """Return the repeat that is worth most, None for none."""
        measured = look_back(model, self.target, self.search)
        worth = self.goal.worth_again(measured.found)
        barred = [*(one.configuration for one in self.pending), *self.refused]
        allowed = np.array([one not in barred for one in measured.configurations], dtype=bool)
        allowed &= self.caution.allows(self.model, measured.found)
        if not allowed.any():
            return None
        index = int(np.argmax(np.where(allowed, worth, -np.inf)))
        why = f'to tell good from lucky: run {measured.runs[index] + 1} of it'
        return self._proposed(measured.configurations[index], float(worth[index]), why)

    def _left(self) -> int:
        """Return how many runs should come after the next: at most as many as there were."""
        n = len(self.target)
        left = min(n, self.book.affordable(self.study.target.name, n + 1) - 1)
        if self.budget is not None:
            left = min(left, self.budget - n - len(self.book.of(False)) - 1)
        return max(left, 0)

    def _test_source(self, index: int) -> Proposal:
        """Return a run away from where the source points, to see whether it is right."""
        default = self.search.start()
        if fingerprint(default) in self.book.seen():
            return self._by_design(index)
        return self._proposed(default, None, 'to test what the source says')

    def _consider(self, model: ModelSet) -> tuple[Array | None, View]:
        """Return what is reached, and where a further run could be worth most."""
        reached = self._reached(model)
        rank = self.goal.rank(reached)

        def worth_of(found: Assessment) -> Array:
            return np.where(self.caution.allows(self.model, found), rank(found), -np.inf)

        configurations, found = self._look(model, worth_of)
        return reached, View(model, configurations, found, worth_of(found), self.book)

    def _proposed(
        self, configuration: Configuration, worth: float | None, why: str
    ) -> Proposal:
        target = self.study.target
        return Proposal(dict(configuration), target.name, worth, target.cost, why)

    def _by_design(self, index: int) -> Proposal:
        """Return the first configuration of a design that is not yet measured or pending."""
        refused = {fingerprint(one) for one in self.refused}
        chosen = self.search.unseen('sobol', index, self.book.seen(), refused)
        return self._proposed(chosen, None, 'to cover the space')

    def _with_pending(self) -> ModelSet:
        """Return the model as if every pending run had given what is predicted of it."""
        if not self.pending:
            return self.model
        source = self.source if self.book.of(True) else self._settled()
        return self.model.branch().fit(
            [*source, *fantasies(self.model, self.book.of(True), simulated=True)],
            [*self.target, *fantasies(self.model, self.book.of(False))], quick=True,
        )

    def _reached(self, model: ModelSet) -> Array | None:
        """Return what the goal makes of the target configurations that were measured."""
        valid = [m for m in self.target if m.valid]
        runs = [m.configuration for m in valid]
        runs += [pending.configuration for pending in self.book.of(False)]
        if not runs:
            return None
        found = model.assess(self.space.encode(runs))
        if not self.study.tuning.repeats:
            found = as_measured(self.study, found, valid)
        return self.goal.reached(found)

    def _look(self, model: ModelSet, rank: Rank) -> tuple[list[Configuration], Assessment]:
        """Return configurations worth considering and what the model says of them."""
        good = best_runs(self.study, self._settled(), ANCHORS)
        good += best_runs(self.study, self.target, ANCHORS)
        known = [self.space.validate(m.configuration) for m in good]
        configurations, found = self.search.look(model, rank, known, self.book.numbers)
        rows = [i for i, one in enumerate(configurations) if one not in self.refused]
        if rows and len(rows) < len(configurations):
            configurations, found = [configurations[i] for i in rows], found.at(np.array(rows))
        return configurations, found
