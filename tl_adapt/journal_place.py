# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for where an adapter's journal is, and that nobody else takes it for his own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO
from urllib.parse import quote

from tl_adapt.database import parse, take_lock
from tl_adapt.errors import StoreError
from tl_adapt.study import Study

NO_STORE = 'none'


def journal_store(store: str, model: str, study: Study) -> str:
    """Return the file or URL of the journal's store, empty for none."""
    if store == NO_STORE:
        return ''
    return store or str(Path(model).parent / f'{study.name}.sqlite')


def store_name(store: str) -> str:
    """Return a store's name that holds in any folder and has no password; empty for none."""
    if not store:
        return ''
    path, name, _ = parse(store)
    return name if path is None else os.path.realpath(path)


def adapter_lock(store: str, environment: str) -> IO[str] | None:
    """
    Hold a file's journal of an environment, until what is returned is closed.

    A second adapter would take a change that the first is making for one that was cut short. A
    store that can't be written is no reason to stay away from the robot. Raises StoreError if
    another adapter holds it.
    """
    path = parse(store)[0] if store else None
    if path is None:
        return None
    path = Path(os.path.realpath(path))  # a link leads to the same journal
    held = f'another adapter of {environment} keeps its journal in this store'
    own = path.with_name(f'{path.name}.{quote(environment, safe="")}')
    try:
        return take_lock(own, held=held, name=str(path))
    except StoreError as error:
        if isinstance(error.__cause__, BlockingIOError):
            way = 'end that process, or give this adapter a store of its own (`--store`)'
            raise StoreError(f'{error}: {way}') from error.__cause__
        return None
