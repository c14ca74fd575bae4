# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the end of missions: the rules that end one early, and which of several events counts.

Live missions and recorded ones are judged by the same.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tl_adapt.errors import InputError
from tl_adapt.expressions import parsed
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
    return bool(met_by(rule, values))


def met_by(rule: FailRule, values: Mapping[str, Any]) -> Any:
    """Return the same, message by message for fields of many."""
    return _COMPARE[rule.op](parsed(rule.field).evaluate(values), rule.value)


def breaches(
    rule: FailRule, fields: Mapping[str, Any], number: int
) -> list[tuple[int, str]]:
    """
    Return which of a number of messages end the mission, and why.

    `fields` holds what the messages have, by dotted path, one row for each.
    """
    columns = {name: fields[name] for name in needed(rule.field)}
    if all(getattr(values, 'ndim', 0) == 1 for values in columns.values()):
        try:
            found = np.broadcast_to(np.asarray(met_by(rule, columns), bool), (number,))
        except (InputError, TypeError, ValueError):
            pass
        else:
            return [(index, rule.reason) for index in np.flatnonzero(found).tolist()]
    failures = []
    for index in range(number):
        try:
            if met(rule, {name: values[index] for name, values in columns.items()}):
                failures.append((index, rule.reason))
        except (InputError, TypeError, ValueError) as error:
            failures.append((index, unjudged(rule, error)))
    return failures


def unjudged(rule: FailRule, error: Exception) -> str:
    """Return the reason for which a mission ends whose message can not be judged."""
    return f'fail_when on topic {rule.topic} can not be judged ({error})'


def needed(field: str) -> frozenset[str]:
    """Return the dotted paths that a rule's field reads."""
    return parsed(field).names
