# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the configurations that must not be planned, as they were refused before."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tl_adapt.adaptation.events import Configuration
from tl_adapt.adaptation.records import NODE, QUARANTINE
from tl_adapt.journal_table import NoJournalError, open_journal
from tl_adapt.store import MissingStoreError, Store

if TYPE_CHECKING:
    from tl_adapt.study import Study


def refused_before(
    store: str, study: Study, environment: str, *, tell: Callable[[str], object]
) -> list[tuple[Configuration, str]]:
    """
    Return what operators refused while tuning, and nodes while adapting, and why.

    Only what can still be had in the study's space counts; `tell` gets what can't be read of a
    journal. A store that is missing knows of none; raises StoreError if it can't be read.
    """
    found: list[tuple[Configuration, str]] = []
    try:
        with Store(store, study=study, create=False, write=False) as kept:
            found += [(one, 'refused by an operator') for one in kept.refused(environment)]
        with open_journal(store) as journal:
            rows = journal.entries(
                study=study.name, environment=environment, who=NODE, what=QUARANTINE,
                damaged=lambda _, reason: tell(f'a refusal of a node is not known: {reason}'))
    except (MissingStoreError, NoJournalError):
        return found
    for row in rows:
        if row.configuration is not None and study.space.contains(row.configuration):
            found.append((study.space.validate(row.configuration), row.why))
    return found
