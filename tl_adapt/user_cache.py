# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the folder of what can be made again, and for making it once at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tl_adapt.errors import TlAdaptError


def cache_folder() -> Path:
    """Return this user's folder for what can be fetched or built again; it may not exist."""
    root = os.environ.get('XDG_CACHE_HOME', '')
    base = Path(root) if os.path.isabs(root) else Path.home() / '.cache'
    return base / 'tl_adapt'


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def file_lock(
    path: Path, *, deadline: float, what: str, say: Callable[[str], None] = _say
) -> Iterator[None]:
    """
    Hold the lock at `path`; it goes with the process, also when that is killed.

    Says so if another process, which `what`, has it. Raises TlAdaptError after `deadline` seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + deadline
    said = False
    with path.open('a') as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > end:
                    raise TlAdaptError(
                        f'another process still {what} after {deadline:g} s; it holds {path}'
                    ) from None
            if not said:
                say(f'Another process {what}; waiting for it')
                said = True
            time.sleep(0.1)
        yield
