# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for who may keep a journal where."""

import os

import pytest

from tl_adapt.errors import StoreError
from tl_adapt.journal_place import adapter_lock, store_name


def test_two_adapters_of_one_environment_do_not_share_a_journal(tmp_path):
    store = str(tmp_path / 'small.sqlite')
    lock = adapter_lock(store, 'field')
    with pytest.raises(StoreError) as error:
        adapter_lock(store, 'field')
    assert str(error.value) == (
        f'{os.path.realpath(store)}: another adapter of field keeps its journal in this store '
        f'(pid {os.getpid()}): end that process, or give this adapter a store of its own '
        '(`--store`)')
    other = adapter_lock(store, 'yard/2')
    lock.close()
    other.close()
    adapter_lock(store, 'field').close()


def test_a_link_to_a_store_is_that_store(tmp_path):
    store, link, folder = (tmp_path / name for name in ('small.sqlite', 'ln.sqlite', 'linked'))
    store.touch()
    link.symlink_to('small.sqlite')
    folder.symlink_to(tmp_path)
    lock = adapter_lock(str(store), 'field')
    for other in (link, folder / 'small.sqlite', folder / 'ln.sqlite', f'sqlite:///{link}'):
        with pytest.raises(StoreError, match='another adapter of field'):
            adapter_lock(str(other), 'field')
    lock.close()
    adapter_lock(str(link), 'field').close()


def test_a_store_that_can_not_be_written_holds_no_adapter_up(tmp_path):
    (tmp_path / 'file').touch()
    assert adapter_lock(str(tmp_path / 'file' / 'small.sqlite'), 'field') is None
    assert adapter_lock('', 'field') is None
    assert adapter_lock('postgresql://robot@host/db', 'field') is None


def test_a_store_is_named_so_that_it_can_be_found_and_nothing_is_given_away(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = os.path.realpath(tmp_path / 'output' / 'small.sqlite')
    for store in ('output/small.sqlite', 'sqlite:///output/small.sqlite', found):
        assert store_name(store) == found
    assert store_name('') == ''
    assert store_name('postgresql://robot:hidden@host/db') == 'postgresql://robot:***@host/db'
