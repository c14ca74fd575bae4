# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for judging one window against the model's predictive band, and a row of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from tl_adapt.adaptation.events import Band, Window

if TYPE_CHECKING:
    from tl_adapt.study import Study

# Metric, its value in the window, and what was predicted of all metrics.
Relevance = Callable[[str, float, Mapping[str, Band]], bool]


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
    that a row goes on over a change of the configuration; it has to leave the band on the same
    side. `matters` are the metrics that count; `relevant` tells whether what one of them showed
    is worth anything (metric, value, all bands).
    """

    def __init__(
        self,
        *,
        band: float,
        confirm: int,
        matters: Sequence[str],
        broken: Callable[[Mapping[str, float]], Sequence[str]],
        relevant: Relevance = lambda name, value, bands: True,
    ) -> None:
        """Store the rules; `band` in standard deviations, `confirm` in windows."""
        self.intervals: dict[str, tuple[float, float]] = {}
        self.residuals: dict[str, float] = {}
        self._band = band
        self._confirm = confirm
        self._matters = frozenset(matters)
        self._broken = broken
        self._relevant = relevant
        self._streaks: dict[str, int] = {}

    def forget(self) -> None:
        """Begin a new row."""
        self._streaks.clear()

    def clear(self) -> None:
        """Drop the last window's comparison, because a newer one is not compared."""
        self.intervals, self.residuals = {}, {}

    def broken(self, window: Window) -> tuple[str, ...]:
        """Return the limits that a window breaks."""
        finite = {name: value for name, value in window.metrics.items() if math.isfinite(value)}
        return tuple(self._broken(finite))

    def compare(self, window: Window, bands: Mapping[str, Band]) -> Verdict:
        """Return what this window alone shows; the row does not change."""
        self.clear()
        metrics = {name: value for name, value in window.metrics.items() if math.isfinite(value)}
        outside = []
        for name in sorted(self._matters & set(metrics) & set(bands)):
            self.intervals[name] = bands[name].interval(self._band)
            self.residuals[name] = bands[name].residual(metrics[name])
            # A mission that failed was cut short: its sums and times mean something else.
            if (
                not window.outcome and abs(self.residuals[name]) > self._band
                and self._relevant(name, metrics[name], bands)
            ):
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
                out = not dwell and name in verdict.outside
                self._count(f'{name} above', out and self.residuals[name] > 0.0)
                self._count(f'{name} below', out and self.residuals[name] < 0.0)
        return dataclasses.replace(
            verdict,
            changed=any(count >= self._confirm for count in self._streaks.values()),
            failed=self._streaks['the mission'] >= self._confirm,
            suspicious=any(self._streaks.values()),
            text=verdict.text or 'as predicted, after a suspicious window',
        )

    def _count(self, name: str, suspicious: bool) -> None:
        self._streaks[name] = self._streaks.get(name, 0) + 1 if suspicious else 0


def relevance(study: Study, minimum_gain: float) -> Relevance:
    """
    Return a function that tells whether a metric's deviation is worth an adaptation.

    It is if it moves the objective by `minimum_gain` of it, or the metric towards its limit: a
    band can be far narrower than what anybody cares for, and the noise of a busy host wider.
    """
    signs = {limit.metric: 1.0 if limit.op == '<=' else -1.0 for limit in study.limits}

    def relevant(name: str, value: float, bands: Mapping[str, Band]) -> bool:
        off = value - bands[name].median
        if off * signs.get(name, 0.0) > 0.0:
            return True
        shares = {
            o.metric: o.weight * bands[o.metric].median / o.reference
            for o in study.objectives if o.metric in bands
        }
        signed = sum(study.metrics[metric].sign * share for metric, share in shares.items())
        weight = sum(o.weight / o.reference for o in study.objectives if o.metric == name)
        return abs(weight * off) >= minimum_gain * abs(signed)

    return relevant
