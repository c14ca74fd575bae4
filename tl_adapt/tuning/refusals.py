# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for proposals that are taken back, and configurations that must not be proposed."""

from __future__ import annotations

from tl_adapt.space import Configuration, Space
from tl_adapt.tuning.proposal import Proposal


class Refusals:
    """Offer to take back what is `pending`; `refused` is never proposed again."""

    space: Space
    pending: list[Proposal]
    refused: list[Configuration]

    def withdraw(self, proposal: Proposal, *, again: bool = True) -> None:
        """
        Take back a proposal that will not be measured; unless `again`, it is never made again.

        Raises ValueError if it is not pending.
        """
        if proposal not in self.pending:
            raise ValueError(f'only a pending proposal can be withdrawn, got {proposal}')
        self.pending.remove(proposal)
        if not again:
            self.refuse(proposal.configuration)

    def refuse(self, configuration: Configuration) -> None:
        """Propose a configuration never again; raises InputError if it is outside of the space."""
        self.refused.append(self.space.validate(configuration))
