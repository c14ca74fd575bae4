# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for windows of sim time: full ones, side by side, and such that slide over them.

Windows that overlap are correlated, so only full ones count as evidence; limits are looked at
on each stride, so that a broken one is seen without waiting for the end of a full window.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Due:
    """Hold a window that has ended; times in ns."""

    start: int
    end: int
    overlapping: bool


class SimWindows:
    """
    Tell which windows have ended; all times in ns of sim time.

    A full window ends each `length`; every `stride` one ends that is as long and overlaps.
    """

    def __init__(self, length: int, stride: int) -> None:
        """Keep the lengths; `restart` begins."""
        self._length = length
        self._stride = stride
        self._start = self._since = self._next = 0

    @property
    def needed_since(self) -> int:
        """Return the time before which nothing is needed any more."""
        return max(self._since, min(self._start, self._next - self._length))

    def restart(self, now: int, *, keep: bool = False) -> None:
        """Begin anew; with `keep` only full windows do, and sliding ones go on."""
        self._start = now
        if not keep:
            self._since = now
            self._next = now + self._stride

    def due(self, now: int) -> Due | None:
        """Return the next window that has ended; of overlapping ones only the newest."""
        end = self._start + self._length
        if now >= end:
            due = Due(self._start, end, False)
            self._start = end
            self._next = max(self._next, end + self._stride)
            return due
        if now < self._next:
            return None
        self._next += (now - self._next) // self._stride * self._stride
        due = Due(self._next - self._length, self._next, True)
        self._next += self._stride
        return due if due.start >= self._since else None
