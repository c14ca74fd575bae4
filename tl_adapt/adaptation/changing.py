# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for how the policy changes the robot: what is sent, what was sent, and what it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tl_adapt.adaptation.contexts import Context, Contexts
from tl_adapt.adaptation.events import (
    Action,
    Apply,
    ApplyResult,
    Configuration,
    Level,
    Rollback,
    Rules,
    State,
    Status,
    Window,
    Write,
)
from tl_adapt.adaptation.judge import Judge
from tl_adapt.adaptation.memory import Memory
from tl_adapt.adaptation.planner import Planner
from tl_adapt.adaptation.records import ADAPTER, NODE, QUARANTINE, Record
from tl_adapt.errors import InputError

#: What is said where there is nothing to go back to.
NOTHING_LEFT = 'no other configuration is known to be good'

# A robot that can't be set back this often is left to its operator.
ROLLBACK_ATTEMPTS = 3


class Changing:
    """
    Keep what the robot has and what it is meant to have, and ask for changes.

    Every decision is recorded. A change is asked for only if it is in the space and not banned in
    the present context, but for the fallback where what the robot has is unknown or outside of the
    space. Its number tells its answer from one to an older change, which is void.
    """

    def __init__(
        self,
        *,
        planner: Planner,
        chosen: Configuration,
        fallback: Configuration,
        contains: Callable[[Configuration], bool],
        make_judge: Callable[[], Judge],
        rules: Rules,
    ) -> None:
        """Raise InputError if `chosen` or `fallback` is outside of the space."""
        for name, configuration in (('chosen', chosen), ('fallback', fallback)):
            if not contains(configuration):
                raise InputError(
                    f"the {name} configuration must be inside of the study's space",
                    value=configuration,
                )
        self.rules = rules
        self.state = State.IDLE
        self.current: Configuration | None = None
        self.desired = dict(chosen)  # what the robot is meant to have when nothing is explored
        memory = Memory(fallback=fallback, contains=contains)
        first = Context('', planner, memory, make_judge(), dict(chosen))
        self.contexts = Contexts(first, make_judge)
        self._started = False
        self._pending: Apply | None = None
        self._then = 'watch'
        self._keep = True
        self._claims = True
        self._attempts = 0
        self._next_change = 1
        self._dwell = 0
        self._writes: list[Write] = []
        self._level = Level.OK
        self._reason = 'waiting for the robot'
        self._windows = self._judged = self._changes = self._replans = 0
        self._last = Window({})

    @property
    def context(self) -> Context:
        """Return what is known of the present context."""
        return self.contexts.present

    @property
    def memory(self) -> Memory:
        """Return what is remembered of configurations in the present context."""
        return self.context.memory

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
        judge = self.context.judge
        return Status(
            state=self.state,
            level=self._level,
            reason=self._reason,
            configuration=None if self.current is None else dict(self.current),
            windows=self._windows,
            judged=self._judged,
            changes=self._changes,
            replans=self._replans,
            explored=self.context.explored,
            quarantined=len(self.memory.quarantine),
            settled=self._pending is None and (self._started or self.state is State.PAUSED),
            metrics=dict(self._last.metrics),
            bands=dict(judge.intervals),
            residuals=dict(judge.residuals),
            outcome=self._last.outcome,
            context=self.context.name,
        )

    # --- what is said ----------------------------------------------------------------------------

    def _say(self, level: Level, reason: str) -> None:
        self._level, self._reason = level, reason

    def _note(self, what: str, why: str, **more: Any) -> None:
        """Have a record written; `more` are further fields of Record."""
        record = Record(**{
            'who': ADAPTER, 'what': what, 'why': why, 'context': self.context.name,
            'before': None if self.current is None else dict(self.current), **more,
        })
        self._writes.append(Write(record))

    # --- what is sent ----------------------------------------------------------------------------

    def _send(
        self,
        configuration: Configuration,
        why: str,
        then: str,
        *,
        keep: bool = True,
        claims: bool = True,
        kind: type[Apply] = Apply,
        who: str = ADAPTER,
    ) -> list[Action]:
        """
        Ask for a change; `keep` says whether it is what the robot is meant to end with.

        `claims` says whether it was made for what is predicted of it, so that it must do that.
        """
        last_resort = self._present is None and configuration == self.memory.fallback
        if not (self.memory.allowed(configuration) or last_resort):
            self._say(Level.ERROR, f'a configuration that is not allowed is not sent: {why}')
            self._note('refusal', why, configuration=dict(configuration))
            self._pending = None
            self.state = State.IDLE if self.current is None else State.WATCHING
            return []
        action = kind(self._next_change, dict(configuration), why)
        self._next_change += 1
        self._pending, self._then, self._keep = action, then, keep
        self._claims = claims and keep and kind is not Rollback
        self.state = State.APPLYING
        what = 'rollback' if kind is Rollback else 'change'
        self._note(what, why, who=who, change=action.change, configuration=dict(configuration))
        return [action]

    @property
    def _present(self) -> Configuration | None:
        """Return what the robot has, None if nobody knows or it is outside of the space."""
        known = self.current is not None and self.memory.contains(self.current)
        return self.current if known else None

    def _send_desired(self, why: str, who: str) -> list[Action]:
        if self.memory.allowed(self.desired):
            return self._send(self.desired, why, 'watch', who=who)
        return self._roll_back(why, 'watch', who=who)

    def _roll_back(
        self, why: str, then: str, *, first: Configuration | None = None, who: str = ADAPTER
    ) -> list[Action]:
        """Ask for a known-good configuration; `first`, or else the anchor, before all others."""
        target = self.memory.last_good(
            other_than=self.current, first=first or self.context.anchor
        )
        if target is not None:
            return self._send(target, f'rolled back: {why}', then, kind=Rollback, who=who)
        present = self._present
        if present is None:
            # Also a fallback that did badly is better than a robot that has nobody knows what.
            text = f'the fallback, as the last resort: {why}'
            return self._send(self.memory.fallback, text, then, kind=Rollback, who=who)
        # Nothing safe is left: keep what is there, and let the plan find something.
        self._pending = None
        stays = self.memory.allowed(present)
        self._say(Level.WARN if stays else Level.ERROR,
                  f'{NOTHING_LEFT}, so what is there stays ({why})')
        self._note('no rollback', self._reason, who=who)
        if stays and then == 'watch':
            self.desired = dict(present)
        if then == 'watch':
            self.state = State.WATCHING
            return []
        return self._after_change(then, stayed=True)

    def _ban(
        self, configuration: Configuration | None, reason: str, *, doubted: bool = False,
        **more: Any,
    ) -> None:
        """Never send this configuration again in this context; see `Memory.ban`."""
        if configuration is None or not self.memory.ban(configuration, reason, doubted=doubted):
            return
        self._note(QUARANTINE, reason, configuration=dict(configuration), **more)

    # --- how it ended ----------------------------------------------------------------------------

    def _take(self, event: ApplyResult) -> Apply | None:
        """Note how a change ended and return it, None if it is not the one that is waited for."""
        pending = self._pending
        if pending is None or event.change != pending.change:
            return None
        self._pending = None
        if event.ok:
            self.current = dict(pending.configuration)
            self._changes += 1
            self._attempts = 0
            if self._keep:
                self.desired = dict(pending.configuration)
            return pending
        self._note(
            'change failed', event.reason, change=pending.change,
            configuration=None if event.configuration is None else dict(event.configuration),
        )
        self.current = None if event.configuration is None else dict(event.configuration)
        if event.refused:
            self.contexts.refuse(pending.configuration, event.reason)
            self._note(QUARANTINE, event.reason, who=NODE,
                       configuration=dict(pending.configuration))
        return pending

    def _after_change(self, then: str, *, stayed: bool = False) -> list[Action]:
        """Go on after a change; `stayed` if none could be asked for."""
        raise NotImplementedError

    def _settle(self) -> list[Action]:
        self._dwell = self.rules.dwell
        self.state = State.SETTLING if self._dwell > 0 else State.WATCHING
        return []
