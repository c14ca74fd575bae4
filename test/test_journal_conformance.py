# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests that all journals pass: those in a store, in memory, and the one that keeps nothing."""

import pytest

from tl_adapt.adaptation.records import Intent, Journal, Record
from tl_adapt.errors import StoreError
from tl_adapt.journal import StoreJournal
from tl_adapt.journal_table import open_journal
from tl_adapt.memory_journal import Ended, MemoryJournal, NullJournal


def intent(change, why='less is predicted'):
    return Intent(
        change, why, {'/driver': {'v': 0.5}}, {'/driver': {'v': 0.25}}, {'v': 0.25}, {'v': 0.5}
    )


class Stored:
    """Open one adapter's journal after the other in a store."""

    remembers = True

    def __init__(self, store):
        self.store = store

    def next(self) -> Journal:
        return StoreJournal(self.store, study='small', environment='field')

    def kinds(self):
        with open_journal(self.store) as reader:
            return [(entry.kind, entry.change, entry.ok) for entry in reader.entries()]


class InMemory:
    remembers = True
    last = None

    def next(self) -> Journal:
        self.last = MemoryJournal(self.last)
        return self.last

    def kinds(self):
        names = {Record: 'record', Intent: 'begin', Ended: 'end'}
        return [
            (names[type(entry)], getattr(entry, 'intent', entry).change,
             getattr(entry, 'ok', None))
            for entry in self.last.entries
        ]


class Nothing:
    remembers = False

    def next(self) -> Journal:
        return NullJournal()

    def kinds(self):
        return []


@pytest.fixture(params=['sqlite', 'postgresql', 'memory', 'nothing'])
def journals(request, tmp_path):
    if request.param == 'sqlite':
        return Stored(tmp_path / 'store.sqlite')
    if request.param == 'postgresql':
        return Stored(request.getfixturevalue('postgresql').fresh())
    return {'memory': InMemory, 'nothing': Nothing}[request.param]()


def test_journals_keep_their_promises(journals):
    first = journals.next()
    assert first.unfinished() is None
    first.add(Record('adapter', 'start', 'asked'))
    first.begin(intent(1))
    first.end(intent(1), ok=True)
    first.begin(intent(2))
    first.end(intent(2), ok=False, reason='refused')
    # What it began itself is under way, not left behind.
    cut = intent(3, 'cut short')
    first.begin(cut)
    assert first.unfinished() is None
    assert first.trouble == ''
    first.close()
    first.close()
    first.add(Record('adapter', 'late', ''))  # never raises
    if journals.remembers:
        with pytest.raises(StoreError, match='closed'):
            first.begin(intent(4))

    second = journals.next()
    found = second.unfinished()
    assert found == (cut if journals.remembers else None)
    assert second.unfinished() == found
    third = journals.next()  # killed before it put that right
    assert third.unfinished() == found
    second.close()
    # Putting it right is a change of its own, with the old one's values.
    third.begin(intent(1, 'puts it right'))
    third.end(intent(1, 'puts it right'), ok=True)
    if found is not None:
        third.end(found, ok=False, reason='put right')
    assert third.unfinished() is None
    third.close()
    assert third.trouble == ''

    fourth = journals.next()
    assert fourth.unfinished() is None
    fourth.begin(intent(1))
    fourth.close()
    fifth = journals.next()
    assert fifth.unfinished() == (intent(1) if journals.remembers else None)
    fifth.close()
    if journals.remembers:
        # Whether what is added after the end is kept is left open.
        assert [kept for kept in journals.kinds() if kept[0] != 'record'] == [
            ('begin', 1, None), ('end', 1, True), ('begin', 2, None), ('end', 2, False),
            ('begin', 3, None), ('begin', 1, None), ('end', 1, True), ('end', 3, False),
            ('begin', 1, None),
        ]
        assert journals.kinds()[0] == ('record', None, None)


def test_memory_keeps_the_newest_and_refuses_on_demand():
    journal = MemoryJournal(capacity=2)
    for change in range(3):
        journal.add(Record('adapter', 'change', '', change))
    assert [entry.change for entry in journal.entries] == [1, 2]
    journal.refuse = 'the store is full'
    with pytest.raises(StoreError, match='the store is full'):
        journal.begin(intent(1))
    assert len(journal.entries) == 2
