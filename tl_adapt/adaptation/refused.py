# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the configurations that must not be planned, as they were refused before."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tl_adapt.adaptation.contexts import Refusal
from tl_adapt.adaptation.records import NODE, OPERATOR, QUARANTINE, Record
from tl_adapt.errors import StoreError
from tl_adapt.journal import StoreJournal
from tl_adapt.journal_table import Entry, NoJournalError, open_journal
from tl_adapt.store import MissingStoreError, Store

if TYPE_CHECKING:
    from tl_adapt.study import Study

#: What a record is called after which no refusal that was written down before counts.
FORGOTTEN = 'refusals forgotten'


def refused_before(
    store: str, study: Study, environment: str, *, tell: Callable[[str], object]
) -> list[Refusal]:
    """
    Return what operators refused while tuning, what they rolled back, and what nodes refused.

    Only what can still be had in the study's space counts, and what was rolled back only in the
    context of that time; `tell` gets what can't be read of a journal. A store that is missing
    knows of none; raises StoreError if it can't be read.
    """
    found: list[Refusal] = []
    try:
        with Store(store, study=study, create=False, write=False) as kept:
            found += [Refusal(one, 'refused by an operator') for one in kept.refused(environment)]
        rows = _written(store, study, environment, tell)
    except (MissingStoreError, NoJournalError):
        return found
    return found + [
        Refusal(study.space.validate(row.configuration), row.why,
                row.context if row.who == OPERATOR else None)
        for row in rows if row.configuration is not None
    ]


def forget_refusals(store: str, study: Study, environment: str) -> int:
    """
    Take back what nodes refused and operators rolled back; return how much that was.

    Nothing is deleted: a journal says that it was forgotten. Raises StoreError.
    """
    try:
        count = len(_written(store, study, environment, lambda _: None))
    except (MissingStoreError, NoJournalError):
        return 0
    if count:
        journal = StoreJournal(store, study=study.name, environment=environment)
        journal.add(Record(OPERATOR, FORGOTTEN, f'{count} may be sent again'))
        journal.close()
        if journal.trouble:
            raise StoreError(journal.trouble)
    return count


def _written(
    store: str, study: Study, environment: str, tell: Callable[[str], object]
) -> list[Entry]:
    """Return the refusals that a journal has, since they were forgotten last."""
    with open_journal(store) as journal:
        forgotten = journal.entries(
            study=study.name, environment=environment, what=FORGOTTEN, last=1,
            damaged=lambda *_: None)
        rows = journal.entries(
            study=study.name, environment=environment, what=QUARANTINE,
            after=forgotten[0].id if forgotten else 0,
            damaged=lambda _, reason: tell(f'a refusal is not known: {reason}'))
    return [
        row for row in rows
        if row.who in (NODE, OPERATOR) and row.configuration is not None
        and study.space.contains(row.configuration)
    ]
