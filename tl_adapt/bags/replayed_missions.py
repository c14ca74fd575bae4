# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the missions of a bag that is replayed, as its evaluation tells them apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tl_adapt.bags import recorded
from tl_adapt.bags.configuration import GivenConfigurations, configuration_file
from tl_adapt.bags.evaluation import BagEvaluator
from tl_adapt.bags.missions import Drive
from tl_adapt.bags.reading import Bag
from tl_adapt.metrics import needed_fields
from tl_adapt.study_parts import Metric
from tl_adapt.study_rules import resolved
from tl_adapt.trace import POSITION, Trace

if TYPE_CHECKING:
    from tl_adapt.study import EnvironmentSpec, Study

_KEPT = 4  # bags of which is kept what was read


@dataclasses.dataclass(frozen=True)
class Recorded:
    """
    Hold a mission of the bag, and what was recorded of it.

    `trace` has what the study's metrics read of recorded topics, `configuration` what is known of
    the parameters then. What came before `fresh` (log time, ns) belongs to a mission before it.
    """

    drive: Drive
    trace: Trace
    configuration: Mapping[str, Any]
    fresh: int = 0

    @property
    def seconds(self) -> float:
        """Return how long the mission took in s."""
        return (self.drive.end_ns - self.drive.start_ns) * 1e-9


@dataclasses.dataclass(frozen=True)
class Missions:
    """Hold the whole missions of a bag, why others are not (by number), and what is damaged."""

    missions: list[Recorded]
    refused: dict[int, str]
    losses: list[str]


_READ: dict[Any, Missions] = {}


def read_missions(
    study: Study, spec: EnvironmentSpec, bag: Bag, path: Path,
    progress: Callable[[int, int], None],
) -> Missions:
    """
    Return the missions of a bag; the last bags are read only once in a process.

    `progress` is told how far it was read, in ns. Raises InputError as BagEvaluator does.
    """
    files = [path] if path.is_file() else sorted(path.iterdir())
    beside = configuration_file(path)
    stats = [(str(f), f.stat()) for f in (*files, *([beside] if beside else ()))]
    key = (
        study.digest, spec.name,
        tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats),
    )
    if key not in _READ:
        while len(_READ) >= _KEPT:
            _READ.pop(next(iter(_READ)))
        _READ[key] = _read(study, spec, bag, path, progress)
    return _READ[key]


def _read(
    study: Study, spec: EnvironmentSpec, bag: Bag, path: Path,
    progress: Callable[[int, int], None],
) -> Missions:
    namespace = str(spec.options.get('namespace', ''))
    known = _Known(study, path, namespace)
    mission = study.mission
    whole = mission is None or resolved(mission.outcome_topic, namespace) not in bag.topics
    evaluator = BagEvaluator(
        _recorded_study(study, spec), bag, _recorded_environment(study, spec, bag), whole=whole,
        given=cast('GivenConfigurations', known), namespace=namespace,
    )
    found: list[Recorded] = []
    refused: dict[int, str] = {}
    fresh = 0
    length = bag.end_ns - bag.start_ns
    for item in evaluator.run(lambda log: progress(log - bag.start_ns, length)):
        if item.trace is None:
            refused[item.drive.number] = item.refused
        else:
            found.append(Recorded(
                item.drive, item.trace, known.recorded[item.drive.number], fresh
            ))
        fresh = item.drive.ended
    losses = [loss.text for loss in evaluator.losses]
    losses += [note for note in evaluator.notes if note.startswith('the recorder lost')]
    return Missions(found, refused, list(dict.fromkeys(losses)))


def _recorded_study(study: Study, spec: EnvironmentSpec) -> Study:
    """Return the study with metrics that read what is recorded of its own ones' topics."""
    namespace = str(spec.options.get('namespace', ''))
    outputs = {resolved(topic, namespace) for topic in spec.options['outputs']}
    metrics: dict[str, Metric] = {}
    for topic, fields in needed_fields(study.metrics.values()).items():
        if resolved(topic, namespace) not in outputs:
            name = f'recorded_{len(metrics)}'
            reduction = 'path_length' if POSITION in fields else 'count'
            metrics[name] = Metric(name, reduction, topic)
    return dataclasses.replace(study, metrics=metrics)


def _recorded_environment(study: Study, spec: EnvironmentSpec, bag: Bag) -> EnvironmentSpec:
    """Return the environment that was recorded, if study or bag tell and the study has it."""
    name = str(spec.options.get('recorded_in', ''))
    if not name and recorded.RECORDING in bag.topics:
        for _, _, raw in bag.messages([recorded.RECORDING]):
            name = str(recorded.decode_recording(raw).get('environment', ''))
    found = study.environments.get(name)
    return found if found is not None and found.kind == 'stack' else spec


class _Known:
    """Take note of what is known of configurations; what is not known does not matter here."""

    def __init__(self, study: Study, path: Path, namespace: str) -> None:
        self._default = study.space.default()
        beside = configuration_file(path)
        self._given = (
            None if beside is None else GivenConfigurations(beside, study, namespace)
        )
        self.recorded: dict[int, dict[str, Any]] = {}

    def covers(self, number: int) -> bool:
        """Return True: who replays the bag asks only for what is not replayed."""
        return True

    def of(self, number: int, known: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return a whole configuration, as who evaluates a bag wants one."""
        told = dict(known or {})
        if self._given is not None:
            told = self._given.of(number, {**self._default, **told})
        self.recorded[number] = told
        return self._default
