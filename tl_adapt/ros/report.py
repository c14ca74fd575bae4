# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what the adapter says of itself."""

from __future__ import annotations

import dataclasses

from tl_adapt.adaptation.events import Level, Status
from tl_adapt.ros.apply import Obstacle


@dataclasses.dataclass(frozen=True)
class Report:
    """
    Hold what the adapter says of itself: the policy's status and what the engine waits for.

    `settled`: no change is under way and every window that has ended was dealt with. `silent`
    are topics that metrics need and that nobody publishes, or that have stopped and since when.
    `trouble` tells why records could not be written yet.
    """

    status: Status
    level: Level
    message: str
    settled: bool
    waiting: str
    advice: str
    silent: tuple[str, ...]
    trouble: str = ''

    @classmethod
    def of(
        cls,
        status: Status,
        *,
        waiting: Obstacle | None,
        late: bool,
        connecting: bool,
        error: str,
        dry_run: bool,
        settled: bool,
        advice: str,
        silent: tuple[str, ...],
        trouble: str,
    ) -> Report:
        """
        Say first what went wrong, then what is waited for, then what the policy says.

        `late` tells that it is waited for longer than it should take, `connecting` that topics
        may still turn up.
        """
        level, message = status.level, status.reason
        if silent and level is Level.OK and not connecting:
            level, message = Level.WARN, f'silent: {", ".join(silent)}'
        if waiting is not None:
            level = Level.ERROR if late or waiting.ambiguous else Level.WARN
            message = waiting.reason
        if error:
            level, message = Level.ERROR, error
        if dry_run:
            level = min(level, Level.WARN)
        return cls(
            status, Level(level), message, settled=settled,
            waiting='' if waiting is None else waiting.reason, advice=advice, silent=silent,
            trouble=trouble,
        )
