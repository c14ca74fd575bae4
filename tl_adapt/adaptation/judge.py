# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for judging windows against what the model, and those before, let expect."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from tl_adapt.adaptation.detection import FAILURES, Alarm, Detector
from tl_adapt.adaptation.events import Band, Rules, Window
from tl_adapt.adaptation.memory import configuration_key

if TYPE_CHECKING:
    from tl_adapt.study import Study

# Metric, its value in the window, and what was predicted of all metrics.
Relevance = Callable[[str, float, Mapping[str, Band]], bool]


@dataclasses.dataclass(frozen=True)
class Verdict:
    """
    Hold what one window showed.

    `changed`: the environment counts as changed, for `since` windows; `failed`: so many missions
    failed that the configuration can not stay; `suspicious`: this window is out of the ordinary,
    or a change is in doubt.
    """

    broken: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    changed: bool = False
    failed: bool = False
    suspicious: bool = False
    since: int = 0
    text: str = ''


class Judge:
    """
    Compare windows with what was to be expected, and tell a bad one from a changed environment.

    What is expected of a window is relative to the prediction for the configuration that it had,
    so that a doubt goes on over a change of the configuration. `matters` are the metrics that
    count; `relevant` tells whether what one of them showed is worth anything (metric, value, all
    bands).
    """

    def __init__(
        self,
        rules: Rules,
        *,
        matters: Sequence[str],
        broken: Callable[[Mapping[str, float]], Sequence[str]],
        relevant: Relevance = lambda name, value, bands: True,
    ) -> None:
        """Keep the rules."""
        self.intervals: dict[str, tuple[float, float]] = {}
        self.residuals: dict[str, float] = {}
        self._rules = rules
        self._matters = frozenset(matters)
        self._broken = broken
        self._relevant = relevant
        self._detector = Detector(
            self._matters, false_alarms=rules.false_alarms, band=rules.band,
            confirm=rules.confirm,
        )

    def steer(self, rules: Rules) -> None:
        """Go by other rules from now on; what was seen and learnt so far stays."""
        self._rules = rules
        self._detector.steer(
            false_alarms=rules.false_alarms, band=rules.band, confirm=rules.confirm
        )

    def forget(self) -> None:
        """Drop all doubts; what was learnt of what is usual stays."""
        self._detector.forget()

    def renew(self, *, model_wrong: bool = False) -> None:
        """Begin anew: with another model, or with one that is wrong and not to be asked again."""
        self._detector.renew(model_wrong=model_wrong)

    def clear(self) -> None:
        """Drop the last window's comparison, because a newer one is not compared."""
        self.intervals, self.residuals = {}, {}

    def broken(self, window: Window) -> tuple[str, ...]:
        """Return the limits that a window breaks."""
        finite = {name: value for name, value in window.metrics.items() if math.isfinite(value)}
        return tuple(self._broken(finite))

    def compare(self, window: Window, bands: Mapping[str, Band]) -> Verdict:
        """Return what this window alone shows; nothing is learnt."""
        self.clear()
        band = self._rules.band
        metrics = {name: value for name, value in window.metrics.items() if math.isfinite(value)}
        outside = []
        for name, expected in self._detector.expect(place_of(window), bands).items():
            reach = expected.reach(band)
            self.intervals[name] = (
                bands[name].unscaled(expected.mean - reach),
                bands[name].unscaled(expected.mean + reach),
            )
            value = bands[name].scaled(metrics.get(name, math.nan))
            if math.isnan(value):
                continue
            self.residuals[name] = expected.residual(value)
            # A mission that failed was cut short: its sums and times mean something else.
            if (
                not window.outcome and abs(self.residuals[name]) > band
                and self._relevant(name, metrics[name], bands)
            ):
                outside.append(name)
        broken = tuple(self._broken(metrics))
        parts = [f'limit broken: {text}' for text in broken]
        parts += [f'mission failed: {window.outcome}'] if window.outcome else []
        parts += [f'{name} left its band ({self.residuals[name]:+.1f} sd)' for name in outside]
        return Verdict(
            broken, tuple(outside), suspicious=bool(parts), text='; '.join(parts)
        )

    def judge(
        self, window: Window, bands: Mapping[str, Band], *,
        valid: float = 1.0, kept: float = 1.0, dwell: bool = False,
    ) -> Verdict:
        """
        Return what this window shows, together with those before it.

        `valid` and `kept` are the model's probabilities that a run here does not fail, and that
        it keeps the limits. In the dwell time after a change only what endangers the robot counts.
        """
        verdict = self.compare(window, bands)
        alarms = self._detector.observe_outcome(
            failed=bool(window.outcome), broken=bool(verdict.broken), valid=valid, kept=kept
        )
        failed = any(alarm.what == FAILURES for alarm in alarms)
        if not window.outcome and not dwell:
            alarms += self._shifts(window, bands)
        doubtful = [f'{name} is doubtful' for name in self._detector.doubtful]
        texts = [alarm.text for alarm in alarms] or ([verdict.text] if verdict.text else doubtful)
        return dataclasses.replace(
            verdict, changed=bool(alarms), failed=failed,
            suspicious=verdict.suspicious or bool(alarms or doubtful),
            since=max((alarm.windows for alarm in alarms), default=0),
            text='; '.join(texts),
        )

    def _shifts(self, window: Window, bands: Mapping[str, Band]) -> list[Alarm]:
        """Return the lasting shifts of metrics that are worth anything."""
        metrics = {name: value for name, value in window.metrics.items() if math.isfinite(value)}
        found = []
        for alarm in self._detector.observe(place_of(window), metrics, bands):
            band = bands[alarm.what]
            if self._relevant(alarm.what, band.unscaled(band.mean + alarm.shift), bands):
                found.append(alarm)
            else:
                self._detector.absorb(alarm)
        return found


def place_of(window: Window) -> str:
    """Return a text that is equal for windows of equal configurations."""
    return configuration_key(window.configuration or {})


def relevance(study: Study, minimum_gain: Callable[[], float]) -> Relevance:
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
        return abs(weight * off) >= minimum_gain() * abs(signed)

    return relevant
