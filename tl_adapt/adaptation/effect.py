# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for whether a change did what was predicted of it.

Windows before and after a change are compared under three hypotheses: the metrics moved as
predicted, nothing moved (the set was accepted and ignored), or they moved otherwise. Each is a
Bayesian model of the windows, so that their likelihoods hold the model's uncertainty, the noise
and how few windows there are; the row of windows is ended as in Wald's sequential test.
"""

from __future__ import annotations

import copy
import dataclasses
import enum
import math
from collections.abc import Mapping, Sequence

from tl_adapt.adaptation.detection import Expectation, Expected
from tl_adapt.adaptation.events import Band, Configuration, Window

# Probability from which on a hypothesis is taken for true.
SURE = 0.98
# Windows after which an effect that is not clear is left so.
_MOST = 8
# How far a predicted effect must be from none, in standard deviations of what a few windows show.
_VISIBLE, _FEW = 2.0, 4
# One window shifts the odds of two hypotheses by this at most: one bad run decides nothing.
_MOST_ODDS = 3.0
# Standard deviations of the noise over which 'anything else' is spread, at least.
_VAGUE = 10.0
_LOG_PRIOR_OTHER = -3.0  # it is rarer than both others
# Residual from which on a window tells a hypothesis nothing of its level.
_FAR_OFF = 3.0


class Kind(str, enum.Enum):
    """Name what came of a change."""

    AS_PREDICTED = 'as predicted'
    NONE = 'no effect'
    OTHER = 'another effect than predicted'
    WORSE = 'worse than predicted'
    INVISIBLE = 'too small to be seen'
    UNCLEAR = 'unclear'


@dataclasses.dataclass(frozen=True)
class Effect:
    """Hold what came of a change, with a text that gives the figures."""

    kind: Kind
    change: int
    text: str


class EffectWatch:
    """
    Watch the windows after one change.

    `base` are the windows with the configuration `before`, since the environment last changed;
    `predicted` are what the model says of both configurations.
    """

    def __init__(
        self,
        change: int,
        before: Configuration,
        base: Sequence[Window],
        predicted: tuple[Mapping[str, Band], Mapping[str, Band]],
        metrics: Sequence[str],
        *,
        acts: bool = True,
    ) -> None:
        """Learn what was usual before; `acts` tells whether the effect will be answered."""
        self.change = change
        self.acts = acts
        self.before = dict(before)
        self.windows: list[Window] = []
        self.base = [window for window in base if not window.outcome]
        compared = [
            _Metric(name, predicted[0][name], predicted[1][name], self.base)
            for name in metrics if name in predicted[0] and name in predicted[1]
        ]
        self._metrics = [metric for metric in compared if metric.visible]

    @property
    def visible(self) -> bool:
        """Tell whether the effect can be told from none at all."""
        return bool(self._metrics)

    @property
    def probabilities(self) -> dict[Kind, float]:
        """Return how likely each of the three hypotheses is after the windows until now."""
        found = {
            kind: sum(metric.logs[kind] for metric in self._metrics)
            for kind in (Kind.AS_PREDICTED, Kind.NONE, Kind.OTHER)
        }
        found[Kind.OTHER] += _LOG_PRIOR_OTHER
        top = max(found.values())
        weights = {kind: math.exp(value - top) for kind, value in found.items()}
        total = sum(weights.values())
        return {kind: weight / total for kind, weight in weights.items()}

    def add(self, window: Window) -> Effect | None:
        """Take a window after the change; return the effect once it is known."""
        if window.outcome:
            return None
        self.windows.append(window)
        for metric in self._metrics:
            metric.add(window)
        kind, probability = max(self.probabilities.items(), key=lambda item: item[1])
        if len(self.windows) >= 2 and probability >= SURE:
            return self._effect(kind)
        return self._effect(Kind.UNCLEAR) if len(self.windows) >= _MOST else None

    def close(self, why: str = '') -> Effect:
        """Return the effect as far as it is known when no further window will come."""
        if not self.base:
            return Effect(Kind.UNCLEAR, self.change, 'no window before to compare with')
        if not self.visible:
            return Effect(Kind.INVISIBLE, self.change, f'predicted {Kind.INVISIBLE.value}')
        found = self._effect(Kind.UNCLEAR)
        return dataclasses.replace(found, text=f'{found.text} ({why})' if why else found.text)

    def likely(self) -> Effect | None:
        """Return what is more likely than not by now, None if nothing is."""
        kind, probability = max(self.probabilities.items(), key=lambda item: item[1])
        return self._effect(kind) if self.windows and probability > 0.5 else None

    def _effect(self, kind: Kind) -> Effect:
        parts = ', '.join(metric.text for metric in self._metrics)
        text = f'{kind.value} after {len(self.windows)} windows: {parts}'
        return Effect(kind, self.change, text)


class _Metric:
    """Compare the hypotheses for one metric."""

    def __init__(self, name: str, before: Band, after: Band, base: Sequence[Window]) -> None:
        self._name = name
        self._before, self._after = before, after
        usual = Expected()
        values = _values(name, before, base)
        for value in values:
            usual.learn('', before, value)
        off, worth = usual.level('', before)
        noise, _ = usual.noise('', before)
        step = after.mean - before.mean
        spread = math.sqrt(after.model_std**2 + noise * noise * (1.0 / worth + 1.0 / _FEW))
        self.visible = bool(values) and abs(step) >= _VISIBLE * spread
        self.logs = {Kind.AS_PREDICTED: 0.0, Kind.NONE: 0.0, Kind.OTHER: 0.0}
        self._level = before.mean + off
        self._seen: list[float] = []
        # Whether the model's error is the same at both configurations is not known.
        shared = dataclasses.replace(after, mean=after.mean + off)
        for place in ('own', 'shared', 'other'):
            usual.share_noise('', place)
        vague = copy.deepcopy(usual)
        vague.guess('other', off, 1.0 / max(_VAGUE, abs(step) / noise) ** 2)
        self._models = [
            ('own', after, copy.deepcopy(usual)),
            ('shared', shared, copy.deepcopy(usual)),
            ('', before, usual),
            ('other', before, vague),
        ]
        self._own = self._shared = 0.0

    def add(self, window: Window) -> None:
        """Take a window's value."""
        for value in _values(self._name, self._before, [window]):
            self._seen.append(value)
            own, shared, none, other = (
                self._likelihood(place, band, expected, value)
                for place, band, expected in self._models
            )
            before = _mean(self._own, self._shared)
            self._own += own
            self._shared += shared
            moved = _mean(self._own, self._shared) - before
            best = max(moved, none, other)
            for kind, log in zip(self.logs, (moved, none, other)):
                self.logs[kind] += max(log - best, -_MOST_ODDS)

    @staticmethod
    def _likelihood(place: str, band: Band, expected: Expected, value: float) -> float:
        """Return the logarithm of a value's likelihood, and learn from it."""
        expectation = expected.next(place, band)
        if abs(expectation.residual(value)) <= _FAR_OFF:
            expected.learn(place, band, value)
        return _log_density(expectation, value)

    @property
    def text(self) -> str:
        """Tell what was predicted and what was seen."""
        def shown(value: float) -> str:
            return f'{self._before.unscaled(value):.4g}'

        predicted = f'{shown(self._level)} -> {shown(self._after.mean)}'
        if not self._seen:
            return f'{self._name} predicted {predicted}'
        return f'{self._name} {shown(sum(self._seen) / len(self._seen))}, predicted {predicted}'


def _values(name: str, band: Band, windows: Sequence[Window]) -> list[float]:
    """Return a metric's finite values on the model's scale."""
    found = [band.scaled(w.metrics[name]) for w in windows if name in w.metrics]
    return [value for value in found if math.isfinite(value)]


def _mean(a: float, b: float) -> float:
    """Return the logarithm of the mean of two likelihoods, given their logarithms."""
    top = max(a, b)
    return top + math.log(0.5 * (math.exp(a - top) + math.exp(b - top)))


def _log_density(expectation: Expectation, value: float) -> float:
    """Return the logarithm of Student's density."""
    n = expectation.freedom
    t = (value - expectation.mean) / expectation.scale
    return (
        math.lgamma(0.5 * (n + 1.0)) - math.lgamma(0.5 * n) - math.log(expectation.scale)
        - 0.5 * math.log(n * math.pi) - 0.5 * (n + 1.0) * math.log1p(t * t / n)
    )
