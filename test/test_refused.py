# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for tl_adapt.adaptation.refused."""

import contextlib
import sqlite3

import pytest

from tl_adapt.adaptation.records import ADAPTER, NODE, OPERATOR, QUARANTINE, Record
from tl_adapt.adaptation.refused import forget_refusals, refused_before
from tl_adapt.errors import StoreError
from tl_adapt.journal import StoreJournal
from tl_adapt.store import Store
from tl_adapt.study import study_from_dict


@pytest.fixture
def study():
    return study_from_dict({
        'version': 1, 'name': 'refusals',
        'parameters': {'v': {'type': 'int', 'range': [0, 9], 'default': 5}},
        'metrics': {'time': {'unit': 's', 'direction': 'minimize'}},
        'objectives': [{'metric': 'time', 'weight': 1.0, 'reference': 10.0}],
        'environments': {'robot': {'kind': 'command', 'role': 'target', 'command': ['true']}},
    })


def test_a_store_that_is_missing_knows_of_none(study, tmp_path):
    assert refused_before(str(tmp_path / 'none.sqlite'), study, 'robot', tell=print) == []
    assert list(tmp_path.iterdir()) == []


def test_what_operators_and_nodes_refused_is_found(study, tmp_path):
    path = tmp_path / 'store.sqlite'
    with Store(path, study=study) as store:
        store.refuse('robot', {'v': 3})
    found = refused_before(str(path), study, 'robot', tell=print)
    assert found == [({'v': 3}, 'refused by an operator', None)]
    for environment in ('robot', 'other'):
        journal = StoreJournal(path, study=study.name, environment=environment)
        for who, value in ((NODE, 4), (ADAPTER, 6), (NODE, 99), (OPERATOR, 7)):
            journal.add(Record(
                who, QUARANTINE, 'too fast', configuration={'v': value}, context='lab'))
        journal.add(Record(NODE, 'restart', '/a restarted'))
        journal.close()
    assert refused_before(str(path), study, 'robot', tell=print)[1:] == [
        ({'v': 4}, 'too fast', None), ({'v': 7}, 'too fast', 'lab'),
    ], 'what broke a limit may come again, and 99 is outside of the space'
    assert forget_refusals(str(path), study, 'robot') == 2
    assert refused_before(str(path), study, 'robot', tell=print) == found
    assert len(refused_before(str(path), study, 'other', tell=print)) == 2
    assert forget_refusals(str(path), study, 'robot') == 0
    journal = StoreJournal(path, study=study.name, environment='robot')
    journal.add(Record(NODE, QUARANTINE, 'again', configuration={'v': 4}))
    journal.close()
    assert refused_before(str(path), study, 'robot', tell=print)[1:] == [({'v': 4}, 'again', None)]


def test_nothing_is_forgotten_where_there_is_no_journal(study, tmp_path):
    assert forget_refusals(str(tmp_path / 'none.sqlite'), study, 'robot') == 0
    with Store(tmp_path / 'store.sqlite', study=study):
        pass
    assert forget_refusals(str(tmp_path / 'store.sqlite'), study, 'robot') == 0


def test_what_can_not_be_read_of_a_journal_is_told_and_the_rest_counts(study, tmp_path):
    path = tmp_path / 'store.sqlite'
    journal = StoreJournal(path, study=study.name, environment='robot')
    for value in (4, 6):
        journal.add(Record(NODE, QUARANTINE, 'too fast', configuration={'v': value}))
    journal.close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE adaptation_journal SET format = 'a' WHERE id = 1")
        connection.commit()
    told = []
    found = refused_before(str(path), study, 'robot', tell=told.append)
    assert found == [({'v': 6}, 'too fast', None)]
    assert told == ["a refusal is not known: entry 1 of the journal is damaged: format "
                    "must be a whole number, got 'a'"]


def test_what_is_no_store_is_an_error(study, tmp_path):
    path = tmp_path / 'store.sqlite'
    path.write_text('no database at all, but long enough to be one' * 20)
    with pytest.raises(StoreError):
        refused_before(str(path), study, 'robot', tell=print)
