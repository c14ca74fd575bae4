# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the logic of runtime adaptation: events in, actions out; no ROS and no clock.

A window of watching is judged against the present model's predictive band (standardised
residuals). When `confirm` windows in a row leave it, break a limit or fail, the environment counts
as changed: the policy measures up to `explore` configurations that the planner proposes, and
settles on the best by posterior mean if it gains enough. A broken limit is answered at once by the
last known-good configuration, and the broken one is never sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tl_adapt.adaptation.events import (
    Action,
    Apply,
    ApplyResult,
    Choice,
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
    Start,
    State,
    Status,
    Window,
)
from tl_adapt.adaptation.judge import Judge, Relevance
from tl_adapt.adaptation.memory import Memory
from tl_adapt.adaptation.planner import Planner
from tl_adapt.errors import InputError, TlAdaptError

# A robot that can't be set back this often is left to its operator.
_ROLLBACK_ATTEMPTS = 3
# Metrics that leave their band in turns, never in a row, must not fill the memory.
_KEPT_EVIDENCE = 20


class Policy:
    """
    Decide what configuration the robot gets.

    `chosen` is what the model picked, `fallback` a configuration known to be safe; both must be
    in the space, which `contains` tells. `broken` names the limits that metrics break (it gets
    only those that could be had). `matters` are the metrics that are judged, and `relevant` tells
    whether a deviation is worth an adaptation.
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
    ) -> None:
        """Raise InputError if `chosen` or `fallback` is outside of the space."""
        for name, configuration in (('chosen', chosen), ('fallback', fallback)):
            if not contains(configuration):
                raise InputError(
                    f"the {name} configuration must be inside of the study's space",
                    value=configuration,
                )
        self.rules = rules or Rules()
        self.state = State.IDLE
        self.current: Configuration | None = None
        self.desired = dict(chosen)  # what the robot is meant to have when nothing is explored
        self.memory = Memory(fallback=fallback, contains=contains)
        self._planner = planner
        self._judge = Judge(
            band=self.rules.band, confirm=self.rules.confirm, matters=matters, broken=broken,
            relevant=relevant,
        )
        self._started = False
        self._pending: Apply | None = None
        self._then = 'watch'
        self._keep = True
        self._attempts = 0
        self._next_change = 1
        self._dwell = 0
        self._evidence: list[Window] = []
        self._anchor: Configuration | None = None  # set from a change until its end
        self._explored = 0
        self._recovering = False
        self._level = Level.OK
        self._reason = 'waiting for the robot'
        self._windows = self._judged = self._changes = self._replans = 0
        self._last = Window({})

    @property
    def pending(self) -> Apply | None:
        """Return the change that is wanted and not yet answered; an older one is void."""
        return self._pending

    @property
    def status(self) -> Status:
        """
        Return the present status.

        `windows` counts all windows, `judged` those that were compared; `settled` is false while
        a change is under way.
        """
        return Status(
            state=self.state,
            level=self._level,
            reason=self._reason,
            configuration=None if self.current is None else dict(self.current),
            windows=self._windows,
            judged=self._judged,
            changes=self._changes,
            replans=self._replans,
            explored=self._explored,
            quarantined=len(self.memory.quarantine),
            settled=self._pending is None and (self._started or self.state is State.PAUSED),
            metrics=dict(self._last.metrics),
            bands=dict(self._judge.intervals),
            residuals=dict(self._judge.residuals),
            outcome=self._last.outcome,
        )

    def handle(self, event: Event) -> list[Action]:
        """Take one event and return what has to be done; the last action is always a Publish."""
        handlers: dict[type, Callable[..., list[Action]]] = {
            Start: self._on_start,
            Window: self._on_window,
            ApplyResult: self._on_result,
            Paused: self._on_paused,
            ForeignChange: self._on_foreign,
            Resumed: self._on_resumed,
            RollbackRequested: self._on_rollback,
            NodeRestarted: self._on_restarted,
            ContextChanged: lambda _: [],
            Exploration: lambda _: [],
        }
        actions = handlers[type(event)](event)
        return [*actions, Publish(self.status)]

    # --- events ----------------------------------------------------------------------------------

    def _on_start(self, event: Start) -> list[Action]:
        if self._started or self.state is State.PAUSED:
            return []
        self._started = True
        if event.found is not None and self.memory.contains(event.found):
            self.memory.fallback = dict(event.found)
        return self._send(self.desired, 'chosen by the model', 'watch')

    def _on_window(self, window: Window) -> list[Action]:
        in_force = window.configuration is not None and window.configuration == self.current
        watching = in_force and self.state not in (State.IDLE, State.APPLYING, State.PAUSED)
        if window.overlapping:
            return self._glance(window) if watching else []
        self._windows += 1
        self._last = window
        self._judge.clear()
        if not watching:
            return []
        self._judged += 1
        if self.state is State.EXPLORING:
            return self._explored_window(window)
        return self._watched_window(window)

    def _on_result(self, event: ApplyResult) -> list[Action]:
        pending = self._pending
        if pending is None or event.change != pending.change:
            return []
        self._pending = None
        self.current = None if event.configuration is None else dict(event.configuration)
        if event.ok:
            self.current = dict(pending.configuration)
            self._changes += 1
            self._attempts = 0
            if self._keep:
                self.desired = dict(pending.configuration)
        if self.state is State.PAUSED:
            return []
        if event.ok:
            # Why a limit made the robot go back stays a warning until a window is good again.
            self._say(Level.WARN if isinstance(pending, Rollback) else Level.OK, pending.why)
            return self._after_change(self._then)
        self._say(Level.ERROR, f'not applied: {event.reason}')
        return self._after_failure(pending, event)

    def _on_paused(self, event: Paused) -> list[Action]:
        self.state = State.PAUSED
        self._say(Level.WARN, event.reason)
        return []

    def _on_foreign(self, event: ForeignChange) -> list[Action]:
        if self.state is State.IDLE:
            return []
        self.state = State.PAUSED
        self.current = None
        self._say(Level.WARN, f'someone else changed {event.what}; standing back until resumed')
        return []

    def _on_resumed(self, _event: Resumed) -> list[Action]:
        idle = self.state is State.IDLE and self._started
        if not idle and self.state is not State.PAUSED:
            return []
        self._pending = None
        self._end_suspicion()
        if not self._started:
            self.state = State.IDLE
            self._say(Level.OK, 'waiting for the robot')
            return []
        if self.current == self.desired and self.memory.allowed(self.desired):
            self._say(Level.OK, 'resumed')
            return self._settle()
        return self._send_desired('resumed by the operator')

    def _on_rollback(self, _event: RollbackRequested) -> list[Action]:
        if self.state is State.PAUSED:
            self._say(Level.WARN, 'paused: a rollback needs resume first')
            return []
        if not self._started:
            return []
        left = self.current or (self._pending.configuration if self._pending else None)
        if left != self.memory.fallback:
            self.memory.ban(left, 'rolled back by the operator')
        actions = self._roll_back('asked for by the operator', 'watch')
        self._end_suspicion()
        return actions

    def _on_restarted(self, event: NodeRestarted) -> list[Action]:
        if self.state is State.PAUSED or not self._started:
            return []
        why = f'{event.node} restarted'
        pending = self._pending
        if pending is not None:
            return self._send(
                pending.configuration, f'{pending.why} ({why})', self._then, keep=self._keep,
                kind=type(pending),
            )
        self._end_suspicion()
        return self._send_desired(why)

    # --- judging ---------------------------------------------------------------------------------

    def _glance(self, window: Window) -> list[Action]:
        """Answer a limit that is broken before a full window has ended; nothing else counts."""
        broken = self._judge.broken(window)
        if not broken:
            return []
        why = f'limit broken: {", ".join(broken)}'
        self.memory.ban(self.current, why)
        if self.state is not State.EXPLORING:
            self._say(Level.WARN, why)
            return self._roll_back(why, 'watch')
        self._explored += 0 if self._recovering else 1
        last = self._explored >= self.rules.explore
        return self._roll_back(f'explored in vain: {why}', 'conclude' if last else 'recover')

    def _watched_window(self, window: Window) -> list[Action]:
        dwell = self.state is State.SETTLING
        verdict = self._judge.judge(window, self._planner.bands(dict(self.current or {})),
                                    dwell=dwell)
        if dwell:
            self._dwell -= 1
            if self._dwell <= 0:
                self.state = State.WATCHING
        if not verdict.suspicious:
            self._evidence = []
            self.memory.remember(self.current)
            self._say(Level.OK, 'as predicted')
            return []
        self._evidence = [*self._evidence, window][-_KEPT_EVIDENCE:]
        self._say(Level.WARN, verdict.text)
        if verdict.broken or verdict.failed:
            self.memory.ban(self.current, verdict.text)
            return self._roll_back(verdict.text, 'explore' if verdict.changed else 'watch')
        return self._replan() if verdict.changed else []

    def _explored_window(self, window: Window) -> list[Action]:
        verdict = self._judge.compare(window, self._planner.bands(dict(self.current or {})))
        self._evidence.append(window)
        if self._recovering:
            self._recovering = False
        else:
            self._explored += 1
        if not verdict.broken and not window.outcome:
            self.memory.remember(self.current)
            return self._explore()
        why = f'explored in vain: {verdict.text}'
        self.memory.ban(self.current, verdict.text)
        last = self._explored >= self.rules.explore
        return self._roll_back(why, 'conclude' if last else 'recover')

    # --- planning --------------------------------------------------------------------------------

    def _replan(self) -> list[Action]:
        self._replans += 1
        self._explored = 0
        self._recovering = False
        self._judge.forget()
        self._anchor = dict(self.current or self.desired)
        self.desired = dict(self._anchor)
        self._say(Level.WARN, 'the environment changed; planning anew')
        return self._explore()

    def _explore(self) -> list[Action]:
        self.state = State.EXPLORING
        choice = None
        if self._explored < self.rules.explore:
            try:
                choice = self._planner.propose(self._evidence, self.memory.avoided)
            except TlAdaptError as error:
                self._say(Level.WARN, f'nothing to explore: {error}')
        if choice is None or not self.memory.allowed(choice.configuration):
            return self._conclude()
        if choice.configuration == self.current:
            return []
        return self._send(choice.configuration, f'exploring: {choice.why}', 'explore', keep=False)

    def _conclude(self) -> list[Action]:
        anchor = dict(self._anchor or self.desired)
        choice = self._best(anchor)
        self._end_suspicion()
        if choice is None:
            self._say(Level.OK, 'nothing better was found')
            if not self.memory.allowed(anchor):
                return self._roll_back('nothing allowed is predicted to be better', 'watch')
            choice = Choice(anchor, why='back, for nothing better was found')
        if choice.configuration == self.current:
            self.desired = dict(choice.configuration)
            self._say(Level.OK, f'keeps what was explored: {choice.why}')
            return self._settle()
        gain = f' (predicted gain {choice.gain:.1%})' if choice.gain else ''
        return self._send(choice.configuration, f'adapted: {choice.why}{gain}', 'watch')

    def _best(self, anchor: Configuration) -> Choice | None:
        """Return what to settle on, None if nothing gains enough; accept the learnt model."""
        try:
            choice = self._planner.best(self._evidence, anchor, self.memory.avoided)
            self._planner.accept(self._evidence)
        except TlAdaptError as error:
            self._say(Level.WARN, f'no plan: {error}')
            return None
        if choice is None or not self.memory.allowed(choice.configuration):
            return None
        if self.memory.allowed(anchor) and choice.gain < self.rules.minimum_gain:
            return None
        return choice

    # --- changing --------------------------------------------------------------------------------

    def _send(
        self,
        configuration: Configuration,
        why: str,
        then: str,
        *,
        keep: bool = True,
        kind: type[Apply] = Apply,
    ) -> list[Action]:
        """Ask for a change; `keep` says whether it is what the robot is meant to end with."""
        if not self.memory.contains(configuration):
            self._say(Level.ERROR, f'a configuration outside of the space is not sent: {why}')
            self.state = State.IDLE if self.current is None else State.WATCHING
            return []
        action = kind(self._next_change, dict(configuration), why)
        self._next_change += 1
        self._pending, self._then, self._keep = action, then, keep
        self.state = State.APPLYING
        return [action]

    def _send_desired(self, why: str) -> list[Action]:
        if self.memory.allowed(self.desired):
            return self._send(self.desired, why, 'watch')
        return self._roll_back(why, 'watch')

    def _roll_back(self, why: str, then: str) -> list[Action]:
        target = self.memory.last_good(other_than=self.current, first=self._anchor)
        if target is not None:
            return self._send(target, f'rolled back: {why}', then, kind=Rollback)
        # Nothing safe is left: keep what is there, and let the plan find something.
        self._pending = None
        self._say(Level.ERROR, f'no known-good configuration is left ({why})')
        if self.current is None:
            self.state = State.IDLE
            return []
        if then == 'recover':
            return self._explore()
        if then == 'watch':
            self.state = State.WATCHING
            return []
        return self._after_change(then)

    def _after_change(self, then: str) -> list[Action]:
        if then == 'conclude':
            return self._conclude()
        if then == 'explore' and self._anchor is None:
            return self._replan()
        if then in ('explore', 'recover'):
            self.state = State.EXPLORING
            self._recovering = then == 'recover'
            return []
        return self._settle()

    def _after_failure(self, pending: Apply, event: ApplyResult) -> list[Action]:
        if event.refused:
            self.memory.ban(pending.configuration, event.reason)
        exploring = self._anchor is not None
        if isinstance(pending, Rollback) or self.current is None:
            self._attempts += 1
            if self._attempts < _ROLLBACK_ATTEMPTS:
                then = 'recover' if exploring and self._then == 'explore' else self._then
                return self._roll_back(event.reason, then)
            self._attempts = 0
            self._end_suspicion()
            self.state = State.IDLE
            self._say(Level.ERROR, f'can not set the robot; resume tries again: {event.reason}')
            return []
        if exploring:
            self._explored += 1
            return self._explore()
        if not self.memory.contains(self.current):
            self.state = State.IDLE
            return []
        if self.current != self.desired and self.memory.allowed(self.desired):
            if pending.configuration != self.desired:
                return self._send(self.desired, f'back: {event.reason}', 'watch', kind=Rollback)
            self.state = State.IDLE
            return []
        self.desired = dict(self.current)
        self.state = State.WATCHING
        return []

    def _settle(self) -> list[Action]:
        self._dwell = self.rules.dwell
        self.state = State.SETTLING if self._dwell > 0 else State.WATCHING
        return []

    def _end_suspicion(self) -> None:
        self._judge.forget()
        self._evidence = []
        self._anchor = None
        self._recovering = False

    def _say(self, level: Level, reason: str) -> None:
        self._level, self._reason = level, reason
