# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what of a bag a study's metrics and rules need, and what of that is there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tl_adapt.bags import recorded
from tl_adapt.bags.fields import ColumnReader
from tl_adapt.bags.reading import Bag
from tl_adapt.bags.window import Window
from tl_adapt.errors import InputError
from tl_adapt.judging import needed
from tl_adapt.metrics import needed_fields
from tl_adapt.study_rules import resolved

if TYPE_CHECKING:
    from tl_adapt.study import Metric, Study


class Contents:
    """
    Hold what a bag has for a study: metrics that can be computed, rules, readers by topic.

    `notes` say what it lacks.
    """

    def __init__(self, study: Study, bag: Bag, namespace: str) -> None:
        """
        Look what is there; relative names live in the namespace.

        Raises InputError if there is nothing to compute a metric from, or if messages are not
        what the study says.
        """
        self.bag = bag
        self._namespace = namespace
        self.notes: list[str] = []
        self.metrics = self._computable(study)
        names = {name: resolved(name, namespace) for name in needed_fields(self.metrics)}
        self.window = Window(self.metrics, names)
        rules = study.mission.fail_when if study.mission else ()
        self.rules = [(resolved(rule.topic, namespace), rule) for rule in rules]
        fields = self.window.fields
        for topic, rule in self.rules:
            if topic in bag.topics:
                fields.setdefault(topic, set()).update(needed(rule.field))
            else:
                self.notes.append(
                    f'topic {topic} is not in the bag: that a mission failed by '
                    f'{rule.reason!r} is not found'
                )
        self.readers = {topic: self._reader(topic, wanted) for topic, wanted in fields.items()}

    def _computable(self, study: Study) -> list[Metric]:
        """Return the metrics whose topics are in the bag; note the others."""
        found: list[Metric] = []
        lacking: dict[str, list[str]] = {}
        for metric in study.metrics.values():
            topics = [resolved(t, self._namespace) for t in (metric.topic, metric.reference) if t]
            if metric.nodes:
                topics.append(recorded.PROCESSES)
            if metric.reduction == 'given':
                topics.append('(given by the environment itself)')
            missing = [topic for topic in topics if topic not in self.bag.topics]
            if not missing:
                found.append(metric)
            for topic in missing:
                lacking.setdefault(topic, []).append(metric.name)
        for topic, names in lacking.items():
            self.notes.append(f'topic {topic} is not in the bag: no {", ".join(names)}')
        if not any(metric.topic for metric in found) and lacking:
            raise InputError(
                'must have a topic that metrics of the study read', file=self.bag.path,
                value=sorted(self.bag.topics)[:20],
            )
        return found

    def _reader(self, topic: str, fields: Iterable[str]) -> ColumnReader:
        info = self.bag.info(topic)
        if info.encoding != 'cdr':
            raise InputError(
                f'messages of {topic} must be in CDR', file=self.bag.path, value=info.encoding
            )
        try:
            return ColumnReader(self.bag.types, info.type, fields)
        except AttributeError as error:
            raise InputError(
                f'topic {topic} of type {info.type} must have what the study reads ({error})',
                file=self.bag.path,
            ) from None
        except LookupError as error:
            raise InputError(
                f'topic {topic}: {error.args[0]}', file=self.bag.path
            ) from None
