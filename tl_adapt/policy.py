# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the logic of runtime adaptation: events in, actions out; no ROS and no clock.

Each window of watching is judged against what the present context's model, and the windows
before, let expect. When the environment counts as changed, the policy measures up to `explore`
configurations that the planner proposes, and settles on the best safe one if it gains enough. A
broken limit is answered at once by the last known-good configuration; then what else is known to
be better is looked for, and what broke the limit is in quarantine until that is likely to have
been bad luck. What has no effect, or a worse one than predicted, is never sent again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from tl_adapt.adaptation.changing import ROLLBACK_ATTEMPTS
from tl_adapt.adaptation.contexts import Refusal
from tl_adapt.adaptation.effect import Effect, EffectWatch, Kind
from tl_adapt.adaptation.events import (
    NO_NUMBER,
    Action,
    AdviceTaken,
    Apply,
    ApplyResult,
    Configuration,
    ContextChanged,
    Event,
    Exploration,
    ForeignChange,
    Level,
    NodeRestarted,
    Paused,
    Publish,
    Resumed,
    Rollback,
    RollbackRequested,
    Rules,
    RulesChanged,
    Start,
    State,
    Window,
)
from tl_adapt.adaptation.judge import Judge, Relevance
from tl_adapt.adaptation.planner import Planner
from tl_adapt.adaptation.planning import REVIEWS
from tl_adapt.adaptation.records import ADAPTER, NODE, OPERATOR, STRANGER
from tl_adapt.adaptation.verifying import Verifying

_MIXED = 3  # windows in a row in which the context changes, and that is worth a word
_NEEDS_RESUME = '; a rollback needs resume first'


class Policy(Verifying):
    """
    Decide what configuration the robot gets.

    `chosen` is what the model picked, `fallback` a configuration known to be safe; both must be
    in the space, which `contains` tells. `broken` names the limits that metrics break (it gets
    only those that could be had). `matters` are the metrics that are judged, and `relevant` tells
    whether a deviation is worth an adaptation. `objective` gives what is minimised from metrics
    (nan where it can not), `risk` is the probability that a planned configuration may break a
    limit or fail. `limited` are the metrics of limits that each window should give: without one
    of them nothing is tried out, and a window vouches for nothing. What was `refused` before (see
    Refusal) is never sent.
    """

    def __init__(
        self,
        *,
        planner: Planner,
        chosen: Configuration,
        fallback: Configuration,
        contains: Callable[[Configuration], bool],
        broken: Callable[[Mapping[str, float]], Sequence[str]],
        matters: Sequence[str],
        rules: Rules | None = None,
        relevant: Relevance = lambda name, value, bands: True,
        objective: Callable[[Mapping[str, float]], float] = lambda metrics: math.nan,
        risk: float = 0.1,
        refused: Sequence[Refusal] = (),
        limited: Sequence[str] = (),
    ) -> None:
        """Raise InputError if `chosen` or `fallback` is outside of the space."""
        rules = rules or Rules()

        def make_judge() -> Judge:
            return Judge(self.rules, matters=matters, broken=broken, relevant=relevant)

        super().__init__(
            planner=planner, chosen=chosen, fallback=fallback, contains=contains,
            make_judge=make_judge, rules=rules, risk=risk, matters=matters, objective=objective,
        )
        self._limited = tuple(limited)
        self._mixed = 0  # windows in a row in which the context changed
        for refusal in refused:
            self.contexts.refuse(*refusal)

    def prepare(self) -> None:
        """Compute ahead what the next plan will need; raises TlAdaptError if that fails."""
        self.context.planner.prepare()

    def handle(self, event: Event) -> list[Action]:
        """
        Take one event and return what has to be done.

        That is what has to be written down, then at most one change, then a Publish.
        """
        handlers: dict[type, Callable[..., list[Action]]] = {
            Start: self._on_start,
            Window: self._on_window,
            ApplyResult: self._on_result,
            Paused: self._on_paused,
            ForeignChange: self._on_foreign,
            Resumed: self._on_resumed,
            RollbackRequested: self._on_rollback,
            NodeRestarted: self._on_restarted,
            ContextChanged: self._on_context,
            Exploration: lambda event: self._permit(event.allowed, event.why),
            RulesChanged: self._on_rules,
            AdviceTaken: self._on_advice_taken,
        }
        actions = handlers[type(event)](event)
        writes, self._writes = self._writes, []
        return [*writes, *actions, Publish(self.status)]

    # --- events ----------------------------------------------------------------------------------

    def _on_start(self, event: Start) -> list[Action]:
        if self._started or self.state is State.PAUSED:
            return []
        self._started = True
        if event.whole and event.found is not None and self.memory.contains(event.found):
            self.contexts.set_fallback(event.found)
        allowed = self.memory.allowed(self.desired)
        why = 'chosen by the model' if allowed else 'what the model chose was refused before'
        return self._send_desired(why, ADAPTER)

    def _on_window(self, window: Window) -> list[Action]:
        in_force = window.configuration is not None and window.configuration == self.current
        watching = in_force and self.state not in (State.IDLE, State.APPLYING, State.PAUSED)
        if window.overlapping:
            return self._glance(window) if watching else []
        self._windows += 1
        self._last = window
        self.context.judge.clear()
        if watching and (window.unplaced or window.mixed):
            return self._glance(window) or self._note_mixed(window)
        if not watching or window.context != self.context.name:
            return []
        self._mixed = 0
        self._judged += 1
        self._look_for_limits(window)
        if self.state is State.EXPLORING:
            return self._explored_window(window)
        return self._watched_window(window)

    def _on_result(self, event: ApplyResult) -> list[Action]:
        before = self.current
        pending = self._take(event)
        if pending is None:
            return []
        self._watch_effect(pending if event.ok else None, before)
        if self.state is State.PAUSED:
            return []
        if event.ok:
            # Why a limit made the robot go back stays a warning until a window is good again.
            self._say(Level.WARN if isinstance(pending, Rollback) else Level.OK, pending.why)
            return self._after_change(self._then)
        if event.advised:
            return self._after_advice(pending)
        self._say(Level.ERROR, f'not applied: {event.reason}')
        return self._after_failure(pending, event)

    def _on_paused(self, event: Paused) -> list[Action]:
        if self.state is not State.PAUSED:
            self._note('pause', event.reason, who=OPERATOR)
        self.state = State.PAUSED
        self._say(Level.WARN, event.reason)
        return self._switch()

    def _on_foreign(self, event: ForeignChange) -> list[Action]:
        if self.state is State.IDLE:
            self.current = None
            return []
        self._end_effect('someone else changed parameters')
        self._note('foreign change', event.what, who=STRANGER)
        self.state = State.PAUSED
        self.current = None
        self._say(Level.WARN, f'someone else changed {event.what}; standing back until resumed')
        return self._switch()

    def _on_resumed(self, event: Resumed) -> list[Action]:
        idle = self.state is State.IDLE and self._started
        if not idle and self.state is not State.PAUSED:
            return []
        self._note('resume', 'asked for by the operator', who=OPERATOR)
        self._pending = None
        self.context.end()
        if self.current is None and event.found is not None and self.memory.contains(event.found):
            self.current = dict(event.found)
        if not self._started:
            self.state = State.IDLE
            self._say(Level.OK, 'waiting for the robot')
            return []
        if self._due:
            self._say(Level.OK, 'resumed')
            return self._take_up()
        if self.current == self.desired and self.memory.allowed(self.desired):
            self._say(Level.OK, 'resumed')
            return self._settle()
        return self._send_desired('resumed by the operator', OPERATOR)

    def _on_rollback(self, _event: RollbackRequested) -> list[Action]:
        if self.state is State.PAUSED:
            # Why it is paused is still to be known.
            if not self._reason.endswith(_NEEDS_RESUME):
                self._say(Level.WARN, self._reason + _NEEDS_RESUME)
            return []
        if not self._started:
            self._say(Level.WARN, 'nothing to roll back: waiting for the robot')
            return []
        left = self.current or (self._pending.configuration if self._pending else None)
        if self.memory.last_good(other_than=left, first=self.context.anchor) is not None:
            self._ban(left, 'rolled back by the operator', who=OPERATOR)
        actions = self._roll_back('asked for by the operator', 'watch', who=OPERATOR)
        self.context.end()
        self.context.reviews = 0  # what the operator wants is not to be bettered
        return actions

    def _on_restarted(self, event: NodeRestarted) -> list[Action]:
        if self.state is State.PAUSED or not self._started:
            self.current = None  # what it had is lost, and resume must set it again
            return []
        why = f'{event.node} restarted'
        self._note('restart', why, who=NODE)
        self._end_effect(why)
        self.current = None  # a part of it is lost: something has to be sent
        pending = self._pending
        if pending is not None:
            return self._send(
                pending.configuration, f'{pending.why} ({why})', self._then, keep=self._keep,
                kind=type(pending),
            )
        self.context.end()
        return self._send_desired(why, NODE)

    def _on_context(self, event: ContextChanged) -> list[Action]:
        self._wanted = event.context
        if self.state is State.APPLYING:
            return []
        return self._switch()

    def _on_rules(self, event: RulesChanged) -> list[Action]:
        self.rules = event.rules
        for context in self.contexts.all():
            context.judge.steer(event.rules)
        self._dwell = min(self._dwell, event.rules.dwell)
        if self.state is State.SETTLING and self._dwell <= 0:
            self.state = State.WATCHING
        spent = self.context.explored >= event.rules.explore
        if not (spent and self._trying_out):
            return []
        self._pending = None
        self._note('exploration', 'ended: its budget is spent')
        return self._explore()

    def _on_advice_taken(self, _event: AdviceTaken) -> list[Action]:
        if not self._started:
            return []
        self._pending = None
        self.context.end()
        self.desired = dict(self.context.best)
        if self.state is State.PAUSED:
            return []
        if self.current == self.desired and self.memory.allowed(self.desired):
            return self._settle()
        return self._send_desired('what was advised is set from now on', OPERATOR)

    # --- judging ---------------------------------------------------------------------------------

    def _look_for_limits(self, window: Window) -> None:
        """Take note whether the window tells of each limit; a mission that failed need not."""
        if window.outcome:
            return
        lacking = [
            name for name in self._limited
            if not math.isfinite(window.metrics.get(name, math.nan))
        ]
        seen = not self._unseen
        self._unseen = ''
        if lacking:
            what = 'a limit is' if len(lacking) == 1 else 'limits are'
            self._unseen = (
                f'no number for {", ".join(lacking)}, which {what} about: nothing is tried out'
            )
            if seen and self._trying_out:
                self._note('exploration', f'ended: {self._unseen}')

    def _note_mixed(self, window: Window) -> list[Action]:
        """Say so where one window after the other belongs to no context."""
        self._mixed = self._mixed + 1 if window.mixed else 0
        if self._mixed >= _MIXED:
            self._say(Level.WARN, 'the context changed within each of the last windows: they are '
                                  'compared with the limits alone; adaptation.window may be '
                                  'shorter than a mission')
        return []

    def _glance(self, window: Window) -> list[Action]:
        """Answer a broken limit, and nothing else that a window shows."""
        context = self.context
        broken = context.judge.broken(window)
        if not broken:
            return []
        why = f'limit broken: {", ".join(broken)}'
        self._end_effect(why)
        self._ban(self.current, why, doubted=True)
        context.note(window)
        if self.state is not State.EXPLORING:
            self._say(Level.WARN, why)
            context.reviews = REVIEWS
            return self._roll_back(why, 'watch')
        context.evidence = [*context.evidence, window]
        context.explored += 0 if context.recovering else 1
        last = context.explored >= self.rules.explore
        return self._roll_back(f'explored in vain: {why}', 'conclude' if last else 'recover')

    def _watched_window(self, window: Window) -> list[Action]:
        context = self.context
        dwell = self.state is State.SETTLING
        bands, outlook = self._predicted(self.current)
        verdict = context.judge.judge(
            window, bands, valid=outlook.valid, kept=outlook.kept / max(outlook.valid, 1e-9),
            dwell=dwell,
        )
        context.note(window)
        if dwell:
            self._dwell -= 1
            if self._dwell <= 0:
                self.state = State.WATCHING
        if verdict.changed:
            context.learn_since(verdict.since)
        if verdict.broken or verdict.failed:
            self._say(Level.WARN, verdict.text)
            self._end_effect(verdict.text)
            self._ban(self.current, verdict.text, doubted=True)
            context.reviews = REVIEWS
            if verdict.outside:
                # A limit broken out of the blue is rather a change than bad luck: what was seen
                # before must not speak for what is there now.
                context.learn_since(max(verdict.since, 1))
            if verdict.changed:
                self._note('change detected', verdict.text, configuration=self.current)
            return self._roll_back(verdict.text, 'explore' if verdict.changed else 'watch')
        effect = None if dwell else self._seen_effect(window, verdict)
        if effect is not None:
            return self._disown(*effect)
        if verdict.suspicious:
            self._say(Level.WARN, verdict.text)
            if not verdict.changed:
                # What a broken limit left is not kept for a doubt: the planner has its own.
                return self._review() if self.state is State.WATCHING and not self._due else []
            self._note('change detected', verdict.text, configuration=self.current)
            return self._replan()
        if bands and not any(math.isfinite(window.metrics.get(name, math.nan)) for name in bands):
            self._say(Level.WARN, NO_NUMBER)
        elif self._unseen:
            self._say(Level.WARN, self._unseen)
        else:
            self.memory.remember(self.current)
            if bands:
                self._say(Level.OK, 'as predicted')
        if self.state is State.WATCHING:
            return self._take_up() if self._due else self._resume_exploring() or self._review()
        return []

    def _explored_window(self, window: Window) -> list[Action]:
        context = self.context
        verdict = context.judge.compare(window, self._predicted(self.current)[0])
        context.note(window)
        context.evidence = [*context.evidence, window]
        if self._effect is not None:
            self._effect.add(window)
        if context.recovering:
            context.recovering = False
        else:
            context.explored += 1
        if not verdict.broken and not window.outcome:
            if not self._unseen:
                self.memory.remember(self.current)
            return self._explore()
        self._end_effect(verdict.text)
        self._ban(self.current, verdict.text, doubted=True)
        last = context.explored >= self.rules.explore
        return self._roll_back(
            f'explored in vain: {verdict.text}', 'conclude' if last else 'recover'
        )

    def _disown(self, watch: EffectWatch, effect: Effect) -> list[Action]:
        """Go back to what was there before a change that did not do what it was made for."""
        why = f'change {effect.change}: {effect.text}'
        self._say(Level.WARN, why)
        self._ban(self.current, why)
        self.context.end()
        if effect.kind is Kind.WORSE:
            self.context.reviews = REVIEWS
        if self.context.best == self.current:
            self.context.best = dict(watch.before)
        return self._roll_back(why, 'watch', first=watch.before)

    # --- after a change --------------------------------------------------------------------------

    def _after_change(self, then: str, *, stayed: bool = False) -> list[Action]:
        context = self.context
        if self._wanted is not None:
            exploring = context.anchor is not None
            self._settle()
            if exploring:
                self.state = State.WATCHING
            return self._switch()
        if then == 'conclude':
            return self._conclude()
        if then == 'explore' and context.anchor is None:
            return self._replan()
        if then in ('explore', 'recover'):
            if (stayed and then == 'recover') or not self._may_try:
                return self._explore()
            self.state = State.EXPLORING
            context.recovering = then == 'recover'
            return []
        if self._due:
            return self._take_up()
        return self._explore() if context.anchor is not None else self._settle()

    def _after_failure(self, pending: Apply, event: ApplyResult) -> list[Action]:
        current = self.current
        known = current is not None and self.memory.contains(current)
        if self._wanted is not None:
            # What was under way was meant for the context that was left.
            self.state = State.WATCHING if known else State.IDLE
            actions = self._switch()
            if known:
                return actions
        context = self.context
        exploring = context.anchor is not None
        if isinstance(pending, Rollback) or current is None or not known:
            self._attempts += 1
            if self._attempts < ROLLBACK_ATTEMPTS:
                then = 'recover' if exploring and self._then == 'explore' else self._then
                return self._roll_back(event.reason, then)
            self._attempts = 0
            context.end()
            self.state = State.IDLE
            self._say(Level.ERROR, f'can not set the robot; resume tries again: {event.reason}')
            self._note('given up', self._reason)
            return []
        if exploring:
            context.explored += 1
            return self._explore()
        if current != self.desired and self.memory.allowed(self.desired):
            if pending.configuration != self.desired:
                return self._send(self.desired, f'back: {event.reason}', 'watch', kind=Rollback)
            self.state = State.IDLE
            return []
        self.desired = dict(current)
        self.state = State.WATCHING
        return []
