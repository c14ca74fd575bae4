# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what is written down of an adaptation: who did what, why, and with what effect."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

from tl_adapt.adaptation.events import (
    Configuration,
    Event,
    ForeignChange,
    NodeRestarted,
    Paused,
    Resumed,
    RollbackRequested,
    State,
)

# Full node name -> ROS parameter -> value.
NodeValues = Mapping[str, Mapping[str, Any]]

ADAPTER, OPERATOR, NODE, STRANGER = 'adapter', 'operator', 'node', 'someone else'
ACTORS = (ADAPTER, OPERATOR, NODE, STRANGER)
QUARANTINE = 'quarantine'  # what a record is called of a configuration that is banned


@dataclasses.dataclass(frozen=True)
class Record:
    """
    Hold one decision or observation.

    `who` is one of ACTORS, `what` a few words that name the kind ('change', 'rollback', 'change
    detected', 'quarantine', 'effect', 'pause', 'resume', 'foreign change', 'restart',
    'recovery', ...), `change` the number of the change that it belongs to, `before` what the
    robot had. `effect` tells what came of it.
    """

    who: str
    what: str
    why: str
    change: int | None = None
    configuration: Configuration | None = None
    before: Configuration | None = None
    effect: str = ''
    context: str = ''


@dataclasses.dataclass(frozen=True)
class Intent:
    """
    Hold a change that was begun: what the nodes had and what they were to get.

    `configuration` is the whole configuration meant, `previous` the one before, None if unknown.
    """

    change: int
    why: str
    before: NodeValues
    after: NodeValues
    configuration: Configuration
    previous: Configuration | None = None


class Journal(Protocol):
    """Keep records; everything is called from the adapter's own thread."""

    def begin(self, intent: Intent) -> None:
        """Note durably, before anything is sent; raises StoreError if that can not be done."""

    def end(self, intent: Intent, *, ok: bool, reason: str = '') -> None:
        """Note how the change ended, as `add` does."""

    def add(self, record: Record) -> None:
        """Note a record; never raises and never waits long: it is kept until it can be written."""

    def unfinished(self) -> Intent | None:
        """
        Return the change that an adapter before this one began and did not end, or None.

        Raises StoreError if that can not be found out.
        """

    @property
    def trouble(self) -> str:
        """Return why records could not be written yet, empty if all were."""

    def close(self) -> None:
        """Write what can be written, and let go of the store."""


#: States in which a rollback is refused, and why.
_NO_ROLLBACK = {State.PAUSED: 'the adapter is paused', State.IDLE: 'the robot is not there yet'}


def record_of(
    event: Event, present: Configuration | None, state: State | None = None
) -> Record | None:
    """
    Return the record of an event that is not the adapter's own doing, None for any other.

    `state` is that in which the adapter was when it came.
    """
    effect = ''
    if isinstance(event, ForeignChange):
        who, what, why = STRANGER, 'foreign change', event.what
    elif isinstance(event, NodeRestarted):
        who, what, why = NODE, 'restart', f'{event.node} restarted'
    elif isinstance(event, Paused):
        who, what, why = OPERATOR, 'pause', event.reason
    elif isinstance(event, Resumed):
        who, what, why = OPERATOR, 'resume', 'resumed by the operator'
    elif isinstance(event, RollbackRequested):
        who, what, why = OPERATOR, 'rollback', 'asked for by the operator'
        if state in _NO_ROLLBACK:
            effect = f'nothing was done: {_NO_ROLLBACK[state]}'
    else:
        return None
    return Record(
        who, what, why, before=None if present is None else dict(present), effect=effect
    )
