# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the rules of a study that hold wherever software is brought up to be measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tl_adapt import study_parts as parts
from tl_adapt.errors import InputError
from tl_adapt.space import Space
from tl_adapt.study_rules import resolved

if TYPE_CHECKING:
    from tl_adapt.study import EnvironmentSpec, Study


def check_software(
    key: str, entry: Mapping[str, Any], space: Space, metrics: Mapping[str, parts.Metric]
) -> None:
    """Check metrics, targets, bringup and fixed parameters of the environment at `key`."""
    kind = entry['kind']
    for metric in metrics.values():
        if metric.reduction == 'given':
            where = f'metrics.{metric.name}.reduction'
            raise InputError(f'is required but missing ({key} is a {kind})', key=where)
    namespace = entry.get('namespace', '')
    tuned = {}
    for parameter in space.parameters:
        if not parameter.targets:
            where = f'parameters.{parameter.name}.targets'
            raise InputError(f'is required but missing ({key} is a {kind})', key=where)
        for target in parameter.targets:
            tuned[resolved(target.node, namespace), target.name] = parameter.name
    for part in ('name', 'nodes'):
        seen: set[str] = set()
        for number, process in enumerate(entry.get('bringup', ())):
            values = process['nodes'] if part == 'nodes' else [process['name']]
            for name in values:
                value = resolved(name, namespace) if part == 'nodes' else name
                if value in seen:
                    where = f'{key}.bringup[{number}].{part}'
                    raise InputError('must not come twice', key=where, value=value)
                seen.add(value)
    if 'lifecycle_manager' in entry and 'lifecycle_nodes' not in entry:
        where = f'{key}.lifecycle_nodes'
        raise InputError('is required but missing (there is a lifecycle_manager)', key=where)
    for node, values in entry.get('node_parameters', {}).items():
        for name, value in values.items():
            where = f'{key}.node_parameters.{node}.{name}'
            owner = tuned.get((resolved(node, namespace), name))
            if owner is not None:
                rule = f'is tuned as parameters.{owner}'
                raise InputError(rule, key=where, value=value)
            elements = value if isinstance(value, list) else [value]
            kinds = {type(element) for element in elements}
            if len(kinds) > 1 or kinds & {dict, list}:
                rule = 'must be a ROS parameter: one value, or a list of one type'
                raise InputError(rule, key=where, value=value)


def study_nodes(study: Study, spec: EnvironmentSpec, namespace: str = '') -> list[str]:
    """Return the full names of the nodes that a study names for an environment, each once."""
    mission = study.mission
    names = [
        *(node for entry in spec.options.get('bringup', ()) for node in entry['nodes']),
        *(target.node for p in study.space.parameters for target in p.targets),
        *spec.options.get('node_parameters', ()),
        *spec.options.get('lifecycle_nodes', ()),
        *(node for node, _ in (mission.seed_targets if mission else ())),
    ]
    return list(dict.fromkeys(resolved(name, namespace) for name in names))
