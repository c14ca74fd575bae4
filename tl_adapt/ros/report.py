# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what the adapter says of itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

from tl_adapt.adaptation.events import NO_NUMBER, Level, Status
from tl_adapt.ros.apply import Obstacle
from tl_adapt.ros.settings import Settings


@dataclasses.dataclass(frozen=True)
class Report:
    """
    Hold what the adapter says of itself: the policy's status and what the engine waits for.

    `settled`: no change is under way and every window that has ended was dealt with. `silent`
    are topics that metrics need and that nobody publishes, or that have stopped and since when;
    `doubts` tell, by the topic, why the context or `explore_when` can not be told, `unfit` why
    topics can not be connected to.
    `trouble` tells why records could not be written yet. `running` is false before the adapter is
    active.
    """

    status: Status
    level: Level
    message: str
    settled: bool
    waiting: str
    advice: str
    silent: tuple[str, ...]
    trouble: str = ''
    settings: Settings = Settings()
    running: bool = True
    doubts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    unfit: str = ''

    @classmethod
    def of(
        cls,
        status: Status,
        *,
        waiting: Obstacle | None,
        late: bool,
        connecting: bool,
        error: str,
        settings: Settings,
        settled: bool,
        advice: str,
        silent: tuple[str, ...],
        trouble: str,
        running: bool = True,
        doubts: Mapping[str, str] = MappingProxyType({}),
        unfit: str = '',
    ) -> Report:
        """
        Say first what went wrong, then what is waited for, then what the policy says.

        `late` tells that it is waited for longer than it should take, `connecting` that topics
        may still turn up.
        """
        level, message = status.level, status.reason
        if settings.dry_run and advice:
            level = min(level, Level.WARN)
            message = 'dry run: another configuration is advised'
        # Silent topics are why there is no number.
        if silent and (level is Level.OK or message == NO_NUMBER) and not connecting:
            level, message = Level.WARN, f'silent: {", ".join(silent)}'
        if doubts and level is Level.OK:
            level, message = Level.WARN, '; '.join(doubts.values())
        if waiting is not None:
            level = Level.ERROR if late or waiting.ambiguous else Level.WARN
            message = waiting.reason
        if error or unfit:
            level, message = Level.ERROR, error or unfit
        if settings.dry_run:
            level = min(level, Level.WARN)
        return cls(
            status, Level(level), message, settled=settled,
            waiting='' if waiting is None else waiting.reason, advice=advice, silent=silent,
            trouble=trouble, settings=settings, running=running, doubts=doubts,
            unfit=unfit,
        )
