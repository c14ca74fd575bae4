# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for journals of adapters without a store: one in memory, and one that keeps nothing."""

from __future__ import annotations

import collections
import dataclasses

from tl_adapt.adaptation.records import Intent, Record
from tl_adapt.errors import StoreError


@dataclasses.dataclass(frozen=True)
class Ended:
    """Hold how a change ended."""

    intent: Intent
    ok: bool
    reason: str = ''


class MemoryJournal:
    """
    Keep the last `capacity` records, begun changes (Intent) and ends (Ended) in memory.

    `entries` has them in order. They end with the process: after a crash nothing is known of a
    change that was cut short. `refuse` is the reason for which nothing can be begun, if any.
    """

    def __init__(self, earlier: MemoryJournal | None = None, *, capacity: int = 10_000) -> None:
        """Begin empty, or go on with what an earlier adapter of this process kept."""
        self.entries: collections.deque[Record | Intent | Ended] = collections.deque(
            earlier.entries if earlier else (), maxlen=capacity
        )
        self.refuse = ''
        self._earlier = earlier._last() if earlier else None
        self._open: Intent | None = None
        self._closed = False

    def _last(self) -> Intent | None:
        return self._open or self._earlier

    def begin(self, intent: Intent) -> None:
        """Note what is about to be done; raises StoreError if that is refused."""
        if self.refuse or self._closed:
            raise StoreError(self.refuse or 'the journal is closed')
        self.entries.append(intent)
        self._open, self._earlier = intent, None

    def end(self, intent: Intent, *, ok: bool, reason: str = '') -> None:
        """Note how the change ended."""
        self.entries.append(Ended(intent, ok, reason))
        for known in (self._open, self._earlier):
            if known is not None and (known is intent or known.change == intent.change):
                self._open = self._earlier = None

    def add(self, record: Record) -> None:
        """Note a record."""
        self.entries.append(record)

    def unfinished(self) -> Intent | None:
        """Return the change that the earlier adapter began and did not end, or None."""
        return self._earlier

    @property
    def trouble(self) -> str:
        """Return nothing: memory is always there."""
        return ''

    def close(self) -> None:
        """Begin no more."""
        self._closed = True


class NullJournal:
    """Keep nothing."""

    trouble = ''

    def begin(self, intent: Intent) -> None:
        """Let it be done."""

    def end(self, intent: Intent, *, ok: bool, reason: str = '') -> None:
        """Forget how it ended."""

    def add(self, record: Record) -> None:
        """Forget it."""

    def unfinished(self) -> Intent | None:
        """Return None: nothing is known of adapters before this one."""

    def close(self) -> None:
        """Do nothing."""
