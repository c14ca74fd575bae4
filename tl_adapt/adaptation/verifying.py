# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for how the policy finds out what its changes did."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tl_adapt.adaptation.effect import Effect, EffectWatch, Kind
from tl_adapt.adaptation.events import Apply, Configuration, Window
from tl_adapt.adaptation.judge import Verdict
from tl_adapt.adaptation.planning import Planning


class Verifying(Planning):
    """Watch the effect of every change, and record it."""

    def __init__(
        self,
        *,
        matters: Sequence[str],
        objective: Callable[[Mapping[str, float]], float],
        **rest: Any,
    ) -> None:
        """Keep the metrics that count, and the objective; the rest is for Planning."""
        super().__init__(**rest)
        self._matters = list(matters)
        self._objective = objective
        self._effect: EffectWatch | None = None

    def _watch_effect(self, change: Apply | None, before: Configuration | None) -> None:
        """Begin to watch what a change does; None for one that failed."""
        self._end_effect('changed again')
        if change is None or before is None or before == change.configuration:
            return
        base = [window for window in self.context.history if window.configuration == before]
        watch = EffectWatch(
            change.change, before, base,
            (self._predicted(before)[0], self._predicted(change.configuration)[0]),
            self._matters, acts=self._claims,
        )
        self._effect = watch
        if not watch.visible:
            self._end_effect()

    def _end_effect(self, why: str = '') -> None:
        """Record what is known of the last change's effect, and watch it no longer."""
        watch, self._effect = self._effect, None
        if watch is not None:
            self._note_effect(watch, watch.close(why))

    def _note_effect(self, watch: EffectWatch, effect: Effect) -> None:
        self._note(
            'effect', effect.text, change=effect.change, effect=effect.kind.value,
            configuration=self.current, before=watch.before,
        )

    def _seen_effect(
        self, window: Window, verdict: Verdict
    ) -> tuple[EffectWatch, Effect] | None:
        """Return the effect of the last change once it is known and has to be answered."""
        watch = self._effect
        if watch is None:
            return None
        effect = watch.add(window)
        if effect is None and verdict.changed:
            # What the change itself did must not be taken for a change of the environment.
            effect = watch.likely() or watch.close('the environment changed')
        if effect is None:
            return None
        self._effect = None
        if effect.kind is Kind.OTHER and self._got_worse(watch):
            effect = dataclasses.replace(effect, kind=Kind.WORSE)
        self._note_effect(watch, effect)
        return (watch, effect) if watch.acts and effect.kind in (Kind.NONE, Kind.WORSE) else None

    def _got_worse(self, watch: EffectWatch) -> bool:
        """Tell whether the objective is worse than before the change by what counts as a gain."""
        def mean(windows: Sequence[Window]) -> float:
            values = [self._objective(window.metrics) for window in windows]
            return sum(values) / max(len(values), 1)

        before, after = mean(watch.base), mean(watch.windows)
        return after - before > self.rules.minimum_gain * abs(before)
