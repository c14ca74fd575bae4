# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for staying connected to topics that come and go, and for telling those that lack."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Protocol

from tl_adapt.errors import TlAdaptError
from tl_adapt.ros.enduring import one_line

_LOOK = 1.0  # s between looks for new topics ...
_LOOK_SOON = 0.2  # ... and while some may turn up any moment
_PATIENCE = 3.0  # s that topics may come later than their nodes


class Watcher(Protocol):
    """What connects to topics, see `Monitor`."""

    @property
    def doubts(self) -> Mapping[str, str]:
        """Return why something can not be told, by the topic."""

    def prepare(self) -> tuple[str, ...]:
        """Connect to what is there, and return the topics that are silent."""


class Connection:
    """
    Let a watcher connect to its topics, again and again.

    `silent` are topics that nobody publishes or that have stopped, `doubts` tell by the topic why
    the context can not be told, and `unfit` is why topics can not be connected to.
    """

    def __init__(self, watcher: Watcher) -> None:
        """Connect to nothing yet."""
        self.silent: tuple[str, ...] = ()
        self.doubts: dict[str, str] = {}
        self.unfit = ''
        self._watcher = watcher
        self._next_look = 0.0
        self._patience = 0.0

    @property
    def settling(self) -> bool:
        """Tell whether topics may still turn up, as the robot was found only just now."""
        return bool(self.silent) and time.monotonic() < self._patience

    def begin(self) -> bool:
        """Look now, as the robot was found; return whether there is news."""
        self._patience = time.monotonic() + _PATIENCE
        return self._look()

    def look(self) -> bool:
        """Look if it is time to; return whether there is news."""
        return time.monotonic() >= self._next_look and self._look()

    def _look(self) -> bool:
        before = self.silent, self.doubts, self.unfit
        try:
            self.silent, self.unfit = self._watcher.prepare(), ''
        except Exception as error:  # not tried again before its time
            self.unfit = str(error) if isinstance(error, TlAdaptError) else one_line(error)
        self.doubts = dict(self._watcher.doubts)
        self._next_look = time.monotonic() + (_LOOK_SOON if self.settling else _LOOK)
        return before != (self.silent, self.doubts, self.unfit)
