# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the study, the file that ties space, metrics, mission and environments together."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tl_adapt import study_rules
from tl_adapt.errors import InputError
from tl_adapt.space import Space
from tl_adapt.study_environments import build_environments
from tl_adapt.study_extension import Sources, merge_study
from tl_adapt.study_file import find_study, read_yaml, shipped_file
from tl_adapt.study_parts import (
    REDUCTIONS,
    Budget,
    EnvironmentSpec,
    FailRule,
    Limit,
    Metric,
    Mission,
    Objective,
    Pose,
    Seeds,
    ServiceCall,
    Tuning,
)

__all__ = [
    'REDUCTIONS',
    'Budget',
    'EnvironmentSpec',
    'FailRule',
    'Limit',
    'Metric',
    'Mission',
    'Objective',
    'Pose',
    'Seeds',
    'ServiceCall',
    'Study',
    'Tuning',
    'load_study',
    'shipped_file',
    'study_from_dict',
]


@dataclasses.dataclass(frozen=True)
class Study:
    """
    Hold a checked study.

    `digest` is a hash of the content (not of comments, descriptions or the order of keys, nor of
    which file it was in), `metric_digest` one of the metrics' definitions alone. `sources` says
    which file a key comes from.
    """

    path: Path
    name: str
    space: Space
    metrics: Mapping[str, Metric]
    objectives: tuple[Objective, ...]
    limits: tuple[Limit, ...]
    mission: Mission | None
    environments: Mapping[str, EnvironmentSpec]
    budget: Budget
    tuning: Tuning
    seeds: Seeds
    adaptation: Mapping[str, Any]
    digest: str
    metric_digest: str
    sources: Sources

    def restarts(self, environment: EnvironmentSpec) -> bool:
        """Tell whether a parameter is taken only by a restart of its node there."""
        distribution = environment.options.get('distribution')
        return any(
            target.mode(distribution) == 'restart'
            for parameter in self.space.parameters for target in parameter.targets
        )

    def folder(self, key: str) -> Path:
        """Return the folder that a relative path under a key means."""
        return self.sources.file_of(key).resolve().parent

    def objective(self, metrics: Mapping[str, float]) -> float:
        """
        Return the weighted sum of the metrics, which is to be minimised.

        A metric that is to be maximised enters with a minus sign. Raises InputError if a metric
        is missing.
        """
        total = 0.0
        for objective in self.objectives:
            if objective.metric not in metrics:
                raise InputError('an objective needs this metric', key=objective.metric)
            value = metrics[objective.metric]
            sign = self.metrics[objective.metric].sign
            total += sign * objective.weight * value / objective.reference
        return float(total)

    def broken_limits(self, metrics: Mapping[str, float], *, known: bool = False) -> list[str]:
        """
        Return the limits that are not kept; a missing metric (or nan) keeps none.

        With `known` a limit whose metric is missing does not count.
        """
        return [
            limit.text
            for limit in self.limits
            if (limit.metric in metrics or not known)
            and not limit.kept(metrics.get(limit.metric, math.nan))
        ]

    def environment(self, name: str) -> EnvironmentSpec:
        """Return the environment of that name; raise InputError with the known names."""
        try:
            return self.environments[name]
        except KeyError:
            known = ', '.join(self.environments)
            raise InputError(
                f'unknown environment; known are {known}',
                file=self.path,
                key='environments',
                value=name,
            ) from None

    @property
    def source(self) -> EnvironmentSpec:
        """Return the source environment; raise InputError if the study has none."""
        return self._of_role('source')

    @property
    def target(self) -> EnvironmentSpec:
        """Return the target environment; raise InputError if the study has none."""
        return self._of_role('target')

    def _of_role(self, role: str) -> EnvironmentSpec:
        for spec in self.environments.values():
            if spec.role == role:
                return spec
        raise InputError(f'no environment has the role {role}', file=self.path, key='environments')


def load_study(path: str | Path) -> Study:
    """
    Read and check a study file, or the shipped study of that name.

    Raises InputError naming file, key, rule and value for the first mistake.
    """
    found = find_study(path)
    return _build(read_yaml(found), found)


def study_from_dict(data: Mapping[str, Any], path: str | Path = 'study.yaml') -> Study:
    """
    Check the content of a study that is in memory; `path` is what errors call it.

    Raises InputError as `load_study` does.
    """
    return _build(data, Path(path))


def _build(own: Mapping[str, Any], path: Path) -> Study:
    data, sources = merge_study(own, path)
    try:
        space = study_rules.build_space(data)
        metrics = study_rules.build_metrics(data)
        objectives = study_rules.build_objectives(data, metrics)
        limits = study_rules.build_limits(data, metrics)
        mission = study_rules.build_mission(data)
        environments = build_environments(data, space, metrics)
        adaptation = study_rules.build_adaptation(data, environments, space)
        tuning = study_rules.build_tuning(data, objectives, environments)
        seeds = study_rules.build_seeds(data)
    except InputError as error:
        raise error.at(file=sources.named(error.key)) from None
    return Study(
        path=path,
        name=data['name'],
        space=space,
        metrics=metrics,
        objectives=objectives,
        limits=limits,
        mission=mission,
        environments=environments,
        budget=Budget(**data.get('budget', {})),
        tuning=tuning,
        seeds=seeds,
        adaptation=adaptation,
        digest=_digest(data),
        metric_digest=_digest({name: dataclasses.asdict(m) for name, m in metrics.items()}),
        sources=sources,
    )


def _digest(content: Any) -> str:
    text = json.dumps(_without_descriptions(content), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _without_descriptions(content: Any, depth: int = 0) -> Any:
    # A study has them at depth 0 to 2; deeper (a node's parameters) the word may mean anything.
    if not isinstance(content, dict) or depth > 2:
        return content
    return {
        key: _without_descriptions(value, depth + 1)
        for key, value in content.items()
        if not (key == 'description' and isinstance(value, str))
    }
