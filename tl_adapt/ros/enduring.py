# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for going on after errors, and for saying each of them once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.executors import SingleThreadedExecutor

_FORGET = 60.0  # s after which an error that has not come again is news once more
_MOST = 100  # errors that are remembered
_PAUSE = 0.05  # s after an error: one that comes with every turn must not take a whole core


class Repeats:
    """Tell errors that are new from those that come again and again."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Remember by a clock [s]."""
        self._clock = clock
        self._last: dict[str, float] = {}

    def new(self, text: str) -> bool:
        """Take note of an error; return whether it did not come before, or long ago."""
        now = self._clock()
        last = self._last.pop(text, None)
        self._last[text] = now  # the newest is the last
        if len(self._last) > _MOST:
            del self._last[next(iter(self._last))]
        return last is None or now - last > _FORGET


class EnduringExecutor(SingleThreadedExecutor):
    """Go on after the exception of a callback: a malformed request must not end a node."""

    def __init__(self, log: Callable[[str], Any], **kwargs: Any) -> None:
        """Hand each error to `log`, in one line."""
        super().__init__(**kwargs)
        self._log = log
        self._repeats = Repeats()

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Do one thing that is to be done; raises only if the context has ended."""
        try:
            super().spin_once(timeout_sec)
        except Exception as error:
            if not self.context.ok():
                raise
            text = f'a callback failed: {one_line(error)}'
            if self._repeats.new(text):
                self._log(text)
            time.sleep(_PAUSE)


def one_line(error: BaseException) -> str:
    """Return an error's type and text in one line."""
    text = ' '.join(str(error).split())
    name = type(error).__name__
    return f'{name}: {text}' if text else name
