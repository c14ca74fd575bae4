# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for showing how far a long job is: a live line in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, TextIO

_SECONDS_BETWEEN_LINES = 2.0


def duration(seconds: float) -> str:
    """Return a duration as people read it: `8 s`, `2 min 05 s`, `1 h 12 min`."""
    whole = int(round(max(seconds, 0.0)))
    if whole < 60:
        return f'{whole} s'
    if whole < 3600:
        return f'{whole // 60} min {whole % 60:02d} s'
    return f'{whole // 3600} h {whole % 3600 // 60:02d} min'


class Progress:
    """
    Show done, total, rate and time left of a job on standard error.

    In a terminal, and with `rich` installed, one line is kept up to date; otherwise a plain
    line is written at most once in 2 s. Only steps counted by `advance` enter the rate, so what
    an earlier run has done (`start`) does not flatter it.
    """

    def __init__(
        self,
        label: str,
        total: int,
        *,
        start: int = 0,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin at `start` of `total` steps."""
        self.label = label
        self.total = total
        self.done = start
        self._start = start
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._began = clock()
        self._last_line = float('-inf')
        self._live = self._make_live()

    def _make_live(self) -> Any:
        """Return a running `rich` display, or None where lines are plain."""
        if not self._stream.isatty():
            return None
        try:
            from rich.console import Console
            from rich.live import Live
        except ImportError:
            return None
        live = Live(
            '', console=Console(file=self._stream), transient=False, refresh_per_second=4
        )
        live.start()
        return live

    def text(self, note: str = '') -> str:
        """Return the line: done, total, rate, time left, note."""
        elapsed = max(self._clock() - self._began, 1e-9)
        steps = self.done - self._start
        parts = [f'{self.label}: {self.done}/{self.total}']
        if steps:
            rate = steps / elapsed
            parts.append(f'{rate:.2f}/s' if rate >= 1.0 else f'{60.0 * rate:.1f}/min')
            if self.done < self.total:
                parts.append(f'{duration((self.total - self.done) / rate)} left')
            else:
                parts.append(f'took {duration(elapsed)}')
        if note:
            parts.append(note)
        return ', '.join(parts)

    def advance(self, note: str = '', steps: int = 1) -> None:
        """Count `steps` more as done; `note` says what is worth knowing about them."""
        self.done += steps
        self._show(note, force=self.done >= self.total)

    def _show(self, note: str, *, force: bool) -> None:
        line = self.text(note)
        if self._live is not None:
            from rich.text import Text

            self._live.update(Text(line))
            return
        now = self._clock()
        if not force and now - self._last_line < _SECONDS_BETWEEN_LINES:
            return
        self._last_line = now
        try:
            self._stream.write(line + '\n')
            self._stream.flush()
        except (OSError, ValueError):
            # Whoever read the lines is gone; the job itself has to go on.
            pass

    def finish(self) -> None:
        """End the display; a second call does nothing."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.finish()
