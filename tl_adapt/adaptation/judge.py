# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for judging one window against the model's predictive band, and a row of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

from tl_adapt.adaptation.events import Band, Window


@dataclasses.dataclass(frozen=True)
class Verdict:
    """
    Hold what one window showed.

    `changed`: the environment counts as changed; `failed`: missions failed in a row;
    `suspicious`: this window or one before it in a row was out of the ordinary.
    """

    broken: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    changed: bool = False
    failed: bool = False
    suspicious: bool = False
    text: str = ''


class Judge:
    """
    Compare windows with predictions and count what is suspicious in a row.

    The residual of a window is relative to the prediction for the configuration that it had, so
    that a row goes on over a change of the configuration. `matters` are the metrics that count.
    """

    def __init__(
        self,
        *,
        band: float,
        confirm: int,
        matters: Sequence[str],
        broken: Callable[[Mapping[str, float]], Sequence[str]],
    ) -> None:
        """Store the rules; `band` in standard deviations, `confirm` in windows."""
        self.intervals: dict[str, tuple[float, float]] = {}
        self.residuals: dict[str, float] = {}
        self._band = band
        self._confirm = confirm
        self._matters = frozenset(matters)
        self._broken = broken
        self._streaks: dict[str, int] = {}

    def forget(self) -> None:
        """Begin a new row."""
        self._streaks.clear()

    def clear(self) -> None:
        """Drop the last window's comparison, because a newer one is not compared."""
        self.intervals, self.residuals = {}, {}

    def compare(self, window: Window, bands: Mapping[str, Band]) -> Verdict:
        """Return what this window alone shows; the row does not change."""
        self.clear()
        metrics = {name: value for name, value in window.metrics.items() if math.isfinite(value)}
        outside = []
        for name in sorted(self._matters & set(metrics) & set(bands)):
            self.intervals[name] = bands[name].interval(self._band)
            self.residuals[name] = bands[name].residual(metrics[name])
            # A mission that failed was cut short: its sums and times mean something else.
            if not window.outcome and abs(self.residuals[name]) > self._band:
                outside.append(name)
        broken = tuple(self._broken(metrics))
        parts = [f'limit broken: {text}' for text in broken]
        parts += [f'mission failed: {window.outcome}'] if window.outcome else []
        parts += [f'{name} left its band ({self.residuals[name]:+.1f} sd)' for name in outside]
        return Verdict(broken, tuple(outside), text='; '.join(parts))

    def judge(self, window: Window, bands: Mapping[str, Band], *, dwell: bool) -> Verdict:
        """
        Return what this window shows, together with those in a row before it.

        In the dwell time after a change only what endangers the robot counts.
        """
        verdict = self.compare(window, bands)
        self._count('a limit', bool(verdict.broken))
        self._count('the mission', bool(window.outcome))
        if not window.outcome:
            for name in self._matters:
                self._count(name, not dwell and name in verdict.outside)
        return dataclasses.replace(
            verdict,
            changed=any(count >= self._confirm for count in self._streaks.values()),
            failed=self._streaks['the mission'] >= self._confirm,
            suspicious=any(self._streaks.values()),
            text=verdict.text or 'as predicted, after a suspicious window',
        )

    def _count(self, name: str, suspicious: bool) -> None:
        self._streaks[name] = self._streaks.get(name, 0) + 1 if suspicious else 0
