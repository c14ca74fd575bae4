# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what verbs about bags share: the words that name one, and how far it was read."""

from __future__ import annotations

import time
from pathlib import Path

from tl_adapt.progress import Progress

_SUFFIXES = ('.mcap', '.db3', '.zstd', '.zst')
_SECOND = 1_000_000_000
_PATIENCE = 1.0  # s


def is_bag(path: Path) -> bool:
    """Tell whether a word looks like a bag: a folder, or a file with such a suffix."""
    return path.is_dir() or path.suffix in _SUFFIXES


class Reading:
    """Show how far a bag was read, in s of its recording, where that takes a while."""

    def __init__(self, label: str) -> None:
        """Begin now; `label` says what is read."""
        self._label = f'{label} [s recorded]'
        self._begin = time.monotonic()
        self._progress: Progress | None = None

    def show(self, done: int, total: int) -> None:
        """Take note that `done` of `total` ns were read."""
        if self._progress is None:
            if time.monotonic() - self._begin < _PATIENCE:
                return
            whole = max(total // _SECOND, 1)
            self._progress = Progress(self._label, whole, start=min(done // _SECOND, whole))
        progress = self._progress
        steps = min(done // _SECOND, progress.total) - progress.done
        if steps > 0:
            progress.advance(steps=steps)

    def __enter__(self) -> Reading:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the line."""
        if self._progress is not None:
            self._progress.finish()
