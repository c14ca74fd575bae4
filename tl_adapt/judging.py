# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the end of missions: the rules that end one early, and which of several events counts.

Live missions and recorded ones are judged by the same.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tl_adapt.expressions import Expression
from tl_adapt.trace import extract

if TYPE_CHECKING:
    from tl_adapt.study import FailRule, Mission

SUCCEEDED = 'succeeded'
TIMEOUT = 'timeout'
#: Outcome of a mission by the last status of its goal (action_msgs/GoalStatus).
ENDED = {4: SUCCEEDED, 6: 'mission aborted', 5: 'mission canceled'}
#: States of goals under way: accepted, executing, canceling.
ACTIVE = (1, 2, 3)

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    '>=': operator.ge,
    '<=': operator.le,
    '>': operator.gt,
    '<': operator.lt,
    '==': operator.eq,
    '!=': operator.ne,
}


def first_event(
    mission: Mission,
    start: int,
    *,
    failures: Iterable[tuple[int, str]] = (),
    results: Sequence[tuple[int, str]] = (),
    status: tuple[int, str] | None = None,
    now: int | None = None,
) -> tuple[int, str] | None:
    """
    Return end [ns] and outcome of a mission that began at `start`, None if it goes on.

    Whatever was first counts: a failure by a rule (when, why), the results of the goals (when,
    what) or, without enough of them, the last goal's `status` (when, outcome), or the time-out,
    if it is later than that `now`.
    """
    events = [(at, 0, why) for at, why in failures]
    bad = [(at, what) for at, what in results if what != SUCCEEDED]
    if bad:
        events.append((bad[0][0], 1, f'mission {bad[0][1]}'))
    elif len(results) >= len(mission.goals):
        events.append((results[len(mission.goals) - 1][0], 1, SUCCEEDED))
    elif status is not None:
        events.append((max(status[0], start), 1, status[1]))
    limit = start + round(mission.timeout * 1e9)
    if now is not None and now > limit:
        events.append((limit, 2, TIMEOUT))
    if not events:
        return None
    end, _, outcome = min(events)
    return end, outcome


def applies(rule: FailRule, message: Any) -> bool:
    """Say whether the message ends the mission."""
    return met(rule, {name: extract(message, name) for name in needed(rule.field)})


def met(rule: FailRule, values: Mapping[str, Any]) -> bool:
    """Say whether what a message holds for the needed fields ends the mission."""
    return bool(_COMPARE[rule.op](_parsed(rule.field).evaluate(values), rule.value))


def needed(field: str) -> frozenset[str]:
    """Return the dotted paths that a rule's field reads."""
    return _parsed(field).names


@functools.lru_cache(maxsize=64)
def _parsed(text: str) -> Expression:
    """Return a field's expression; parsing it costs more than the rest of a judgement."""
    return Expression(text)
