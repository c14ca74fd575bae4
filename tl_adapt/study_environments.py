# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the rules of a study's environments that its schema can't say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tl_adapt import study_parts as parts
from tl_adapt.errors import InputError
from tl_adapt.space import Space
from tl_adapt.study_replay import check_replay
from tl_adapt.study_software import check_software

_OWN_OF_ENVIRONMENT = ('kind', 'role', 'cost', 'identity', 'description')


def build_environments(
    data: Mapping[str, Any], space: Space, metrics: Mapping[str, parts.Metric]
) -> dict[str, parts.EnvironmentSpec]:
    """Return the environments of a study's content by name."""
    result: dict[str, parts.EnvironmentSpec] = {}
    for name, entry in data['environments'].items():
        key = f'environments.{name}'
        if not re.fullmatch(r'[A-Za-z][A-Za-z0-9_-]*', name):
            raise InputError('a name has letters, digits, _ and -', key=key)
        if entry['role'] != 'test':
            for other in result.values():
                if other.role == entry['role']:
                    rule = f'{other.name} is the {entry["role"]} already; one may be'
                    raise InputError(rule, key=f'{key}.role', value=entry['role'])
        if entry['kind'] == 'stack':
            _check_stack(key, entry, data, space, metrics)
        elif entry['kind'] == 'replay':
            check_replay(key, entry, data, space, metrics)
        result[name] = parts.EnvironmentSpec(
            name=name,
            kind=entry['kind'],
            role=entry['role'],
            cost=float(entry.get('cost', 1.0)),
            identity=dict(entry.get('identity', {})),
            options={k: v for k, v in entry.items() if k not in _OWN_OF_ENVIRONMENT},
        )
    return result


def _check_stack(
    key: str,
    entry: Mapping[str, Any],
    data: Mapping[str, Any],
    space: Space,
    metrics: Mapping[str, parts.Metric],
) -> None:
    if 'mission' not in data:
        raise InputError(f'is required but missing ({key} is a stack)', key='mission')
    check_software(key, entry, space, metrics)
    simulator = entry.get('simulator', {})
    if ('pause' in simulator) != ('unpause' in simulator):
        raise InputError(
            'pause and unpause need each other', key=f'{key}.simulator', value=dict(simulator)
        )
    named = sorted({'pause', 'unpause', 'reset'} & set(simulator))
    interface = simulator.get('interface', 'services')
    if interface != 'services' and named:
        rule = f'finds its services itself, so {", ".join(named)} must not be named'
        raise InputError(rule, key=f'{key}.simulator.interface', value=interface)
    if interface == 'services' and 'entity' in simulator:
        rule = 'needs interface: auto, gazebo or simulation_interfaces'
        raise InputError(rule, key=f'{key}.simulator.entity', value=simulator['entity'])
