# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for messages that can not be read: they are passed over, and their topic is named."""

from __future__ import annotations

import time
from typing import Any

_REMEMBERED = 5.0  # s of wall time for which the last one is spoken of


class DamagedError(Exception):
    """Say that a message can not be read: it is cut off, or garbage."""

    def __init__(self, raw: bytes, kind: Any) -> None:
        """Tell of the serialised message `raw` that it is none of the class `kind`."""
        super().__init__(f'{len(raw)} bytes that are no {kind.__name__}')


class Damage:
    """Keep in mind, as long as they come, that messages of a topic can not be read."""

    def __init__(self, topic: str) -> None:
        """Know of none yet."""
        self._topic = topic
        self._why = ''
        self._since = self._last = 0.0

    def note(self, error: DamagedError) -> None:
        """Take note of one more; what is said is the first one's reason, for as long."""
        now = time.monotonic()
        if not self._why or now - self._last > _REMEMBERED:
            self._why, self._since = str(error), now
        self._last = now

    @property
    def text(self) -> str:
        """Return what is to be said of the topic, '' if no message was damaged lately."""
        if not self._why or time.monotonic() - self._last > _REMEMBERED:
            return ''
        return f'topic {self._topic} sends what can not be read ({self._why})'

    def lasts(self, fine: float) -> bool:
        """Tell whether all has been damaged for long, the last good one being read at `fine`."""
        return bool(self.text) and time.monotonic() - max(self._since, fine) > _REMEMBERED
