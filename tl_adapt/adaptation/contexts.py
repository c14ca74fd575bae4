# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what the policy knows and remembers of each context that the robot can be in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from tl_adapt.adaptation.events import Configuration, Window
from tl_adapt.adaptation.judge import Judge
from tl_adapt.adaptation.memory import Memory
from tl_adapt.adaptation.planner import Planner

# A change that took longer to be sure of than this many windows is a small one.
_KEPT_WINDOWS = 20


class Refusal(NamedTuple):
    """Hold what must not be sent and why, in one context or in all (None)."""

    configuration: Configuration
    reason: str
    context: str | None = None


@dataclasses.dataclass
class Context:
    """
    Hold what is known of one context.

    `best` is what its plan settled on. `history` are the last judged windows since the
    environment changed in it. From a change until its end `anchor` is the configuration before,
    `evidence` the windows since then, `explored` how many configurations were tried, `recovering`
    whether the next window is the anchor's. `suspended` tells that exploring ended only because
    it was not allowed any more. `learnt` are those of the history that the model has learnt from.
    `reviews` is how often what the robot has is still to be compared with what else is known:
    after a limit that made it go back to what was at hand, and after a choice that windows may
    prove wrong.
    """

    name: str
    planner: Planner
    memory: Memory
    judge: Judge
    best: Configuration
    history: list[Window] = dataclasses.field(default_factory=list)
    evidence: list[Window] = dataclasses.field(default_factory=list)
    learnt: list[Window] = dataclasses.field(default_factory=list)
    anchor: Configuration | None = None
    explored: int = 0
    recovering: bool = False
    suspended: bool = False
    reviews: int = 0

    @property
    def news(self) -> list[Window]:
        """Return the windows since the environment changed that the model has not learnt from."""
        known = {id(window) for window in self.learnt}
        return [window for window in self.history if id(window) not in known]

    def note(self, window: Window) -> None:
        """Keep a judged window."""
        self.history = [*self.history, window][-_KEPT_WINDOWS:]
        self.learnt = [one for one in self.learnt if any(one is kept for kept in self.history)]

    def learn_since(self, windows: int) -> None:
        """Let the last windows, since the environment changed, be the evidence."""
        self.history = self.history[-windows:]
        self.evidence = list(self.history)

    def begin(self, anchor: Configuration) -> None:
        """Begin to learn a changed environment from the evidence."""
        self.anchor = dict(anchor)
        self.explored = 0
        self.recovering = self.suspended = False
        self.reviews = 0
        self.judge.forget()

    def end(self) -> None:
        """End learning, and drop all doubts."""
        self.evidence = []
        self.anchor = None
        self.recovering = False
        self.judge.forget()


class Contexts:
    """Make contexts as they are met; each begins with the model of the one before it."""

    def __init__(self, first: Context, make_judge: Callable[[], Judge]) -> None:
        """Begin in the first context."""
        self._known = {first.name: first}
        self._make_judge = make_judge
        self._refused: list[Refusal] = []
        self.present = first

    def enter(self, name: str, desired: Configuration) -> Context:
        """Make a context the present one; one that is new begins with what is desired now."""
        if name not in self._known:
            left = self.present
            memory = Memory(fallback=left.memory.default, contains=left.memory.contains)
            memory.fallback = dict(left.memory.fallback)
            for refusal in self._refused:
                if refusal.context in (None, name):
                    memory.ban(refusal.configuration, refusal.reason)
            self._known[name] = Context(
                name, left.planner.branch(), memory, self._make_judge(), dict(desired)
            )
        self.present = self._known[name]
        return self.present

    def all(self) -> list[Context]:
        """Return the contexts that were met."""
        return list(self._known.values())

    def refuse(
        self, configuration: Configuration, reason: str, context: str | None = None
    ) -> None:
        """Ban what a node does not take in all contexts, or what is refused in one of them."""
        self._refused.append(Refusal(dict(configuration), reason, context))
        for name, known in self._known.items():
            if context in (None, name):
                known.memory.ban(configuration, reason)

    def set_fallback(self, configuration: Configuration) -> None:
        """Name what is known to be safe in all contexts."""
        for context in self._known.values():
            context.memory.fallback = dict(configuration)
