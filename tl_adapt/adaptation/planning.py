# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for how the policy finds a better configuration, by exploring and per context."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tl_adapt.adaptation.changing import Changing
from tl_adapt.adaptation.events import (
    Action,
    Apply,
    Band,
    Choice,
    Configuration,
    Level,
    Outlook,
    Rollback,
    State,
    Window,
)
from tl_adapt.adaptation.memory import posterior
from tl_adapt.errors import TlAdaptError

# How often a choice is looked at again, after 1, 2, 4, ... windows.
REVIEWS = 3


class Planning(Changing):
    """
    Plan after a change of the environment or of the context.

    Configurations are tried out only while that is allowed. What a plan chooses keeps the limits
    with probability 1 - `risk`, or at least as surely as what is there.
    """

    def __init__(self, *, risk: float, **rest: Any) -> None:
        """Keep the risk; the rest is for Changing."""
        super().__init__(**rest)
        self._risk = risk
        self._allowed = True
        self._wanted: str | None = None  # a context that could not be entered yet
        self._due = False  # whether what the context is to have is still to be decided
        self._keep_present = True  # whether what is there may stay if it is as good

    def _predicted(
        self, configuration: Configuration | None
    ) -> tuple[Mapping[str, Band], Outlook]:
        """Return what the present model says of a configuration, nothing if it can not."""
        try:
            planner = self.context.planner
            return planner.bands(configuration or {}), planner.outlook(configuration or {})
        except TlAdaptError as error:
            self._say(Level.WARN, f'no prediction: {error}')
            return {}, Outlook(math.nan)

    def _after_advice(self, pending: Apply) -> list[Action]:
        """Go on with what the robot has: who only advises has nothing to put right."""
        self._say(Level.WARN, pending.why)
        if self.current is None or not self.memory.contains(self.current):
            self.state = State.IDLE
            return []
        self.desired = dict(self.current)
        self.state = State.WATCHING
        if isinstance(pending, Rollback) and self._then != 'watch':
            return self._after_change(self._then, stayed=True)
        return self._switch()

    # --- after a change of the environment ------------------------------------------------------

    def _replan(self) -> list[Action]:
        self._replans += 1
        self.context.begin(self.current or self.desired)
        self.desired = dict(self.context.anchor or self.desired)
        self._say(Level.WARN, 'the environment changed; planning anew')
        return self._explore()

    def _explore(self) -> list[Action]:
        """Try the next configuration out; conclude where there is none, or none is allowed."""
        context = self.context
        self.state = State.EXPLORING
        choice = None
        if context.explored < self.rules.explore and not self._allowed:
            context.suspended = True
        elif context.explored < self.rules.explore:
            try:
                choice = context.planner.propose(context.evidence, self.memory.avoided)
            except TlAdaptError as error:
                self._say(Level.WARN, f'nothing to explore: {error}')
        if choice is None or not self.memory.allowed(choice.configuration):
            return self._conclude()
        if choice.configuration == self.current:
            return []
        return self._send(choice.configuration, f'exploring: {choice.why}', 'explore', keep=False)

    def _conclude(self) -> list[Action]:
        context = self.context
        anchor = dict(context.anchor or self.desired)
        choice, learnt = self._best(anchor)
        context.end()
        context.judge.renew(model_wrong=not learnt)
        if choice is None:
            self._say(Level.OK, 'nothing better was found')
            if not self.memory.allowed(anchor):
                return self._roll_back('nothing allowed is predicted to be better', 'watch')
            choice = Choice(anchor, why='back, for nothing better was found')
        context.best = dict(choice.configuration)
        context.reviews = REVIEWS
        if choice.configuration == self.current:
            self.desired = dict(choice.configuration)
            self._say(Level.OK, f'keeps what was explored: {choice.why}')
            self._note('plan', self._reason, configuration=dict(choice.configuration))
            return self._settle()
        return self._adapt(choice, claims=choice.configuration != anchor)

    def _adapt(self, choice: Choice, *, claims: bool = True) -> list[Action]:
        """Send what a plan chose, and lift its ban if it has one."""
        if self.memory.lift(choice.configuration):
            self._note('lifted', f'what it did was bad luck: {choice.why}',
                       configuration=dict(choice.configuration))
        gain = f' (predicted gain {choice.gain:.1%}, limits counted)' if choice.gain else ''
        why = f'adapted: {choice.why}{gain}'
        return self._send(choice.configuration, why, 'watch', claims=claims)

    def _best(self, anchor: Configuration) -> tuple[Choice | None, bool]:
        """
        Return what to settle on, and whether the model has learnt the change.

        The choice is None if nothing gains enough.
        """
        context = self.context
        if not context.evidence:
            return None, True
        try:
            choice = self._chosen(context.evidence, anchor)
            context.planner.accept(context.evidence)
            context.learnt = [*context.learnt, *context.evidence]
        except TlAdaptError as error:
            self._say(Level.WARN, f'no plan: {error}')
            self._note('no plan', str(error))
            return None, False
        return choice, True

    def _chosen(self, evidence: Sequence[Window], present: Configuration) -> Choice | None:
        """
        Return the best choice that is allowed, None if it does not pay to leave what is there.

        What broke a limit may be chosen, once what the model has learnt, and the windows since
        the environment changed, make it likely that this was bad luck. Raises TlAdaptError.
        """
        doubted = self.memory.doubted
        avoid = [one for one in self.memory.avoided if one not in doubted]
        for _ in range(len(doubted) + 1):
            choice = self.context.planner.best(evidence, present, avoid)
            if choice is None or choice.configuration not in doubted or self._trusted(choice):
                break
            avoid.append(choice.configuration)
        else:
            return None
        if choice is None or not self.memory.contains(choice.configuration):
            return None
        if choice.configuration in avoid:
            return None
        enough = choice.gain >= self.rules.minimum_gain
        return choice if enough or not self.memory.allowed(present) else None

    def _trusted(self, choice: Choice) -> bool:
        """Tell whether a choice that broke a limit keeps them with probability 1 - risk."""
        context = self.context
        windows = [w for w in context.history if w.configuration == choice.configuration]
        bad = sum(bool(w.outcome or context.judge.broken(w)) for w in windows)
        return posterior(choice.kept, len(windows), bad) >= 1.0 - self._risk

    # --- after a broken limit, and after a choice ------------------------------------------------

    def _review(self) -> list[Action]:
        """
        Look whether something better than what the robot has is known by now.

        Nothing new is tried out: the windows since the environment changed, a broken one among
        them, teach a model what to settle on.
        """
        context = self.context
        if not context.reviews or context.anchor is not None:
            return []
        present = dict(self.current or self.desired)
        since = [w.configuration == present for w in reversed(context.history)]
        windows = since.index(False) if False in since else len(since)
        if windows < 2 ** (REVIEWS - context.reviews):
            return []
        news = context.news
        try:
            choice = self._chosen(news, present)
            if choice is not None and choice.configuration != present:
                context.planner.accept(news)
        except TlAdaptError as error:
            self._say(Level.WARN, f'no plan: {error}')
            return []
        context.reviews -= 1
        if choice is None or choice.configuration == present:
            return []
        context.learnt = [*context.learnt, *news]
        context.judge.renew()
        context.best = dict(choice.configuration)
        return self._adapt(choice)

    @property
    def _trying_out(self) -> bool:
        """Tell whether a configuration is tried out now, or about to be."""
        waiting = self.state is State.APPLYING and self._then == 'explore' and not self._keep
        return self.context.anchor is not None and (waiting or self.state is State.EXPLORING)

    def _permit(self, allowed: bool, why: str) -> list[Action]:
        """Take note whether configurations may be tried out."""
        if allowed == self._allowed:
            return []
        self._allowed = allowed
        if allowed:
            return self._resume_exploring() if self.state is State.WATCHING else []
        if not self._trying_out:
            return []
        # What was asked for and not begun yet is void; the engine does one thing at a time.
        self._pending = None
        self._note('exploration', f'ended: {why or "not allowed any more"}')
        return self._explore()

    def _resume_exploring(self) -> list[Action]:
        """Go on with what was only ended because it was not allowed."""
        context = self.context
        if not (self._allowed and context.suspended) or context.anchor is not None:
            return []
        explored = context.explored
        context.begin(self.current or self.desired)
        context.explored = explored
        self._note('exploration', 'goes on, as it is allowed again')
        return self._explore()

    # --- after a change of the context -----------------------------------------------------------

    def _switch(self) -> list[Action]:
        """Enter the context that is wanted."""
        name, self._wanted = self._wanted, None
        if name is None or name == self.context.name:
            return []
        exploring = self.context.anchor is not None
        self.contexts.enter(name, self.desired)
        self._note('context', f'in context {name or "(none)"}')
        self._then = 'watch'
        self._keep_present = not exploring
        self._due = True
        if not self._started:
            self._due = False
            self.desired = dict(self.context.best)
        if self.state in (State.SETTLING, State.PAUSED, State.IDLE):
            return []
        return self._take_up()

    def _take_up(self) -> list[Action]:
        """Set what is best in the present context, or keep what is there if it is as good."""
        self._due = False
        context = self.context
        if context.anchor is not None:
            self.desired = dict(context.anchor)
            return self._explore()
        goal = context.best
        if not self.memory.allowed(goal):
            goal = self.memory.last_good(other_than=None) or goal
        reason = '' if self.current is None else self._reason_to_change(goal, self.current)
        keep = self._keep_present and self.current is not None and not reason
        if self.current == goal or keep:
            self.desired = dict(self.current or goal)
            self.state = State.WATCHING
            return []
        if not self.memory.allowed(goal):
            return self._roll_back('what was best is banned', 'watch')
        why = f'for context {context.name or "(none)"}: {reason or "its own configuration"}'
        return self._send(goal, why, 'watch')

    def _reason_to_change(self, goal: Configuration, present: Configuration) -> str:
        """Return why to change over to `goal`, empty where what is there is as good."""
        if not self.memory.allowed(present):
            return 'what was there is banned here'
        new, old = self._predicted(goal)[1], self._predicted(present)[1]
        if old.kept < 1.0 - self._risk and new.kept > old.kept:
            return f'keeps limits with probability {new.kept:.2f} instead of {old.kept:.2f}'
        gain = (old.objective - new.objective) / max(abs(old.objective), 1e-12)
        if gain >= self.rules.minimum_gain:
            return f'predicted gain {gain:.1%}'
        return ''


