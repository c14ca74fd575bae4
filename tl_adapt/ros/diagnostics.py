# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the adapter's diagnostics: one status for each concern, for people and for programs.

A status has the same keys from the first message to the last, so that tables and plots hold.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from tl_adapt.adaptation.context_source import context_sources
from tl_adapt.adaptation.events import Level, State
from tl_adapt.metrics import needed_fields
from tl_adapt.ros.report import Report

if TYPE_CHECKING:
    from tl_adapt.study import Study

_STALE = 3  # of diagnostic_msgs/DiagnosticStatus
_Concern = tuple[int, str, Mapping[str, str]]  # level, message, values


class Diagnostics:
    """
    Make the statuses of an adapter.

    The first, `state`, tells all that a program needs to follow the adapter, and has the worst
    that there is to say as its level and message.
    """

    def __init__(
        self,
        study: Study,
        *,
        node: str,
        hardware: str,
        store: str,
        broken: Callable[[Mapping[str, float]], Sequence[str]],
    ) -> None:
        """
        Keep what does not change.

        `node` is the adapter's full name, `store` where its journal is, empty if there is none.
        `broken` names the limits that metrics break.
        """
        self._prefix = f'{node.strip("/")}/{study.name}'
        self._hardware = hardware
        self._store = store
        self._broken = broken
        self._metrics = [
            name for name, metric in study.metrics.items() if metric.reduction != 'given'
        ]
        self._parameters = [parameter.name for parameter in study.space.parameters]
        self._topics = watched_topics(study)

    def of(self, report: Report) -> DiagnosticArray:
        """Return the statuses, without a stamp."""
        concerns: dict[str, Callable[[Report], _Concern]] = {
            'state': self._state, 'metrics': self._of_metrics, 'topics': self._of_topics,
            'parameters': self._of_parameters, 'journal': self._of_journal,
            'settings': self._of_settings,
        }
        found = []
        for name, concern in concerns.items():
            level, message, values = concern(report)
            if not report.running:
                level, message = _STALE, 'the adapter is not active'
            found.append(DiagnosticStatus(
                level=bytes([int(level)]), name=f'{self._prefix}: {name}', message=message,
                hardware_id=self._hardware,
                values=[KeyValue(key=key, value=value) for key, value in values.items()],
            ))
        return DiagnosticArray(status=found)

    def _state(self, report: Report) -> _Concern:
        status = report.status
        return report.level, report.message, {
            'state': status.state.value,
            'settled': _flag(report.settled),
            'context': status.context,
            'windows': str(status.windows),
            'judged': str(status.judged),
            'reason': status.reason,
            'waiting': report.waiting,
            'silent_topics': ', '.join(report.silent),
            'not_known': '; '.join(report.doubts.values()),
            'configuration': json.dumps(status.configuration),
            'changes': str(status.changes),
            'replans': str(status.replans),
            'explored': str(status.explored),
            'quarantined': str(status.quarantined),
            'outcome': status.outcome,
            'advice': report.advice,
            'dry_run': _flag(report.settings.dry_run),
            'journal': report.trouble,
        }

    def _of_metrics(self, report: Report) -> _Concern:
        """Tell what the last window gave, and what was expected of it."""
        status = report.status
        values = {}
        outside = []
        for name in self._metrics:
            value, band = status.metrics.get(name, math.nan), status.bands.get(name)
            residual = status.residuals.get(name, math.nan)
            values[f'metric.{name}'] = _number(value)
            values[f'band.{name}'] = '' if band is None else f'{band[0]:.6g} .. {band[1]:.6g}'
            values[f'residual.{name}'] = '' if math.isnan(residual) else f'{residual:+.2f}'
            if band is not None and (value < band[0] or value > band[1]):
                outside.append(name)
        broken = self._broken({k: v for k, v in status.metrics.items() if math.isfinite(v)})
        faults = [f'limit broken: {", ".join(broken)}'] if broken else []
        faults += [f'mission failed: {status.outcome}'] if status.outcome else []
        faults += [f'not as expected: {", ".join(outside)}'] if outside else []
        if faults:
            return Level.WARN, '; '.join(faults), values
        if not status.windows:
            return Level.OK, 'no window has ended yet', values
        if not status.bands:
            return Level.OK, 'the last window was not compared', values
        if not any(math.isfinite(status.metrics.get(name, math.nan)) for name in status.bands):
            return Level.WARN, 'the last window gives no number for what is judged', values
        return Level.OK, 'as expected', values

    def _of_topics(self, report: Report) -> _Concern:
        silent = {text.split(' ', 1)[0]: text for text in report.silent}
        values = {
            topic: 'silent' if topic in silent else 'there'
            for topic in (*self._topics, *(one for one in silent if one not in self._topics))
        }
        values.update(report.doubts)
        faults = [f'silent: {", ".join(report.silent)}'] if silent else []
        faults += report.doubts.values()
        if faults:
            return Level.WARN, '; '.join(faults), values
        return Level.OK, f'all {len(values)} are there', values

    def _of_parameters(self, report: Report) -> _Concern:
        """Tell what the robot has, as far as that is known."""
        status = report.status
        present = status.configuration
        values = {
            name: '' if present is None else _value(present[name]) for name in self._parameters
        }
        values['configurations banned'] = str(status.quarantined)
        if report.waiting:
            return Level.WARN, report.waiting, values
        if present is None:
            known = 'what the robot has is not known'
            return Level.WARN, f'{known}: {status.reason}', values
        if status.state is State.PAUSED:
            return Level.WARN, 'paused: nothing is set', values
        if report.settings.dry_run:
            return Level.OK, 'dry run: nothing is set', values
        tried = status.state is State.EXPLORING
        return Level.OK, 'a configuration is tried out' if tried else 'as adapted', values

    def _of_journal(self, report: Report) -> _Concern:
        values = {'store': self._store, 'trouble': report.trouble}
        if report.trouble:
            return Level.WARN, report.trouble, values
        return Level.OK, 'all is written down' if self._store else 'none is kept', values

    def _of_settings(self, report: Report) -> _Concern:
        values = {key: _value(value) for key, value in report.settings.values().items()}
        return Level.OK, 'only advises' if report.settings.dry_run else 'adapts', values


def watched_topics(study: Study) -> list[str]:
    """Return the topics whose silence the adapter tells, sorted; as the study names them."""
    topics = set(needed_fields(study.metrics.values()))
    topics |= {source.topic for source in context_sources(study.adaptation)}
    if 'explore_when' in study.adaptation:
        topics.add(study.adaptation['explore_when']['topic'])
    if study.mission is not None:
        topics |= {rule.topic for rule in study.mission.fail_when}
    return sorted(topics)


def _flag(value: bool) -> str:
    return str(value).lower()


def _number(value: float) -> str:
    return '' if math.isnan(value) else f'{value:.6g}'


def _value(value: object) -> str:
    if isinstance(value, bool):
        return _flag(value)
    return _number(value) if isinstance(value, float) else str(value)
