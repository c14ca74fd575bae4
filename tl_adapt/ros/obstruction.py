# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what keeps the adapter from a change, since when, and when it is tried again."""

from __future__ import annotations

import time

from tl_adapt.ros.apply import Obstacle

_LOOK = 0.2  # s between looks for nodes that are missing
_AGAIN = 1.0  # s after a try that met with something


class Obstruction:
    """
    Hold what is in the way.

    `met` is what the last try met with: whether it still is shows only when it is tried again.
    """

    def __init__(self, deadline: float) -> None:
        """Take what lasts for `deadline` s for an error."""
        self.present: Obstacle | None = None
        self.met: Obstacle | None = None
        self._deadline = deadline
        self._since = 0.0
        self._next_look = 0.0
        self._told_late = False

    @property
    def late(self) -> bool:
        """Tell whether it lasts longer than it should."""
        return time.monotonic() - self._since > self._deadline

    def is_late_now(self) -> bool:
        """Tell, once, that something is in the way for longer than it should."""
        news = self.present is not None and self.late and not self._told_late
        self._told_late = self._told_late or news
        return news

    @property
    def due(self) -> bool:
        """Tell whether it is time to look whether something is in the way, or still is."""
        return self.present is None or time.monotonic() >= self._next_look

    def put_off(self) -> None:
        """Let the next look be a while later."""
        self._next_look = time.monotonic() + _LOOK

    def hurry(self) -> None:
        """Let the next look be at once."""
        self._next_look = time.monotonic()

    def meet(self, reason: str) -> bool:
        """Note what a try met with; return whether that is news."""
        self._next_look = time.monotonic() + _AGAIN
        self.met = Obstacle(reason)
        return self.be(self.met)

    def overcome(self) -> bool:
        """Note that nothing was in the way of a try; return whether that is news."""
        self.met = None
        return self.be(None)

    def be(self, obstacle: Obstacle | None) -> bool:
        """Note what is in the way, None for nothing; return whether that is news."""
        if obstacle == self.present:
            return False
        if obstacle is None or self.present is None:
            self._since = time.monotonic()
            self._told_late = False
        self.present = obstacle
        return True
