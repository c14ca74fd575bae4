# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what a tuner keeps of what was measured, is under way, was refused and was spent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tl_adapt.designs import fingerprint
from tl_adapt.environments.base import Measurement
from tl_adapt.space import Configuration
from tl_adapt.tuning.account import Account
from tl_adapt.tuning.proposal import Proposal

if TYPE_CHECKING:
    from tl_adapt.study import Study


class Book:
    """
    Keep the runs of both environments, and the proposals that are pending.

    `simulate` says whether runs of the source are told and proposed too; then `source` grows.
    """

    def __init__(self, study: Study, source: Sequence[Measurement], *, simulate: bool) -> None:
        """Begin with measurements of the source."""
        self.study = study
        self.simulate = simulate
        self.source = list(source)
        self.target: list[Measurement] = []
        self.pending: list[Proposal] = []
        self.account = Account(study.budget)
        self.charged = 0  # runs of the target that count against a budget of runs
        self.refused: list[Configuration] = []  # on the target
        self._refused: set[str] = set()  # fingerprints, on the source

    def simulated(self, environment: str) -> bool:
        """Say whether runs of an environment are the source's."""
        return self.simulate and environment == self.study.source.name

    def tell(self, measurement: Measurement, *, charged: bool) -> None:
        """Take note of a measurement; raises InputError if it is outside of the space."""
        configuration = self.study.space.validate(measurement.configuration)
        simulated = self.simulated(measurement.environment)
        for pending in self.of(simulated):
            if pending.configuration == configuration:
                self.pending.remove(pending)
                break
        (self.source if simulated else self.target).append(measurement)
        if charged:
            spec = self.study.source if simulated else self.study.target
            self.account.charge(measurement, spec)
            self.charged += not simulated

    def forget(self) -> None:
        """Forget the runs of the target, what is pending and what was spent."""
        self.target.clear()
        self.pending.clear()
        self.account, self.charged = Account(self.study.budget), 0

    def withdraw(self, proposal: Proposal, *, again: bool) -> None:
        """Take back a pending proposal; raises ValueError if it is not pending."""
        if proposal not in self.pending:
            raise ValueError(f'only a pending proposal can be withdrawn, got {proposal}')
        self.pending.remove(proposal)
        if not again:
            if self.simulated(proposal.environment):
                self._refused.add(fingerprint(proposal.configuration))
            else:
                self.refuse(proposal.configuration)

    def refuse(self, configuration: Configuration) -> None:
        """Never have a configuration run on the target; InputError if it is outside the space."""
        checked = self.study.space.validate(configuration)
        if checked not in self.refused:
            self.refused.append(checked)

    def of(self, simulated: bool) -> list[Proposal]:
        """Return what is pending on the source, or on the target."""
        return [one for one in self.pending if self.simulated(one.environment) == simulated]

    def seen(self, *, simulated: bool = False) -> set[str]:
        """Return the fingerprints of what is measured, pending or refused."""
        told = self.configurations(simulated)
        pending = [one.configuration for one in self.of(simulated)]
        refused = self._refused if simulated else {fingerprint(c) for c in self.refused}
        return {fingerprint(c) for c in [*told, *pending]} | refused

    def configurations(self, simulated: bool) -> list[Configuration]:
        """Return what was measured of the source, or of the target, in its order."""
        runs = self.source if simulated else self.target
        return [self.study.space.validate(m.configuration) for m in runs]

    def lack(self, environment: str, runs: int = 1) -> str:
        """Return what the budget lacks for runs of an environment besides the pending ones."""
        return self.account.lack(self.study.environment(environment), self.pending, runs)

    def affordable(self, environment: str, most: int = 1000) -> int:
        """Return how many runs of an environment the budget pays for, at most `most`."""
        low, high = 0, most
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (low, middle - 1) if self.lack(environment, middle) else (middle, high)
        return low

    @property
    def numbers(self) -> tuple[int, int]:
        """Return how many runs of the target there are, and how many more are pending."""
        return len(self.target), len(self.of(False))


class Booked:
    """Offer what a book says as an `Optimiser` does."""

    book: Book

    @property
    def target(self) -> list[Measurement]:
        """Return the measurements of the target."""
        return self.book.target

    @property
    def pending(self) -> list[Proposal]:
        """Return what was asked for, and neither told nor withdrawn."""
        return self.book.pending

    @property
    def spent(self) -> float:
        """Return the cost so far, in cost units."""
        return self.book.account.cost

    @property
    def time(self) -> float:
        """Return the wall time of the runs so far, in s."""
        return self.book.account.time

    @property
    def refused(self) -> list[Configuration]:
        """Return the configurations that must not be run on the target."""
        return self.book.refused

    def refuse(self, configuration: Configuration) -> None:
        """Propose a configuration never; raises InputError if it is outside of the space."""
        self.book.refuse(configuration)

    def withdraw(self, proposal: Proposal, *, again: bool = True) -> None:
        """
        Take back a proposal that will not be measured; unless `again`, it is never made again.

        Raises ValueError if it is not pending.
        """
        self.book.withdraw(proposal, again=again)
