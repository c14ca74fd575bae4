# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for digests: what makes two runs the same run, and two environments the same."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tl_adapt.errors import InputError

if TYPE_CHECKING:
    from tl_adapt.study import Study


def plain(value: Any) -> Any:
    """Turn a NumPy scalar into Python's own, for `json`."""
    item = getattr(value, 'item', None)
    if callable(item):
        return item()
    raise TypeError(f'{type(value).__name__} is not a type of JSON')


def canonical(value: Any) -> str:
    """Return the one JSON text of a value. Raises ValueError or TypeError if it has none."""
    return json.dumps(
        value, sort_keys=True, separators=(',', ':'), allow_nan=False, default=plain
    )


def digest(value: Any) -> str:
    """Return the SHA-256 of the canonical JSON text as 64 hexadecimal digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def space_digest(study: Study) -> str:
    """
    Return the digest of what makes two spaces hold the same configurations.

    Descriptions, defaults and ROS targets are left out: they don't change what a recorded
    configuration means.
    """
    parameters = [
        {
            'name': parameter.name,
            'type': parameter.type,
            'low': parameter.low,
            'high': parameter.high,
            'choices': None if parameter.choices is None else list(parameter.choices),
            'unit': parameter.unit,
            'condition': parameter.condition and parameter.condition.text,
        }
        for parameter in study.space.parameters
    ]
    constraints = [constraint.text for constraint in study.space.constraints]
    return digest({'parameters': parameters, 'constraints': constraints})


def metrics_digest(study: Study) -> str:
    """
    Return the digest of how the metrics are computed.

    What a metric is good for (direction, scale, the value for failed missions, description) is
    left out: the recorded numbers stay what they are.
    """
    judgement = ('direction', 'scale', 'failed', 'description')
    definitions = {name: dataclasses.asdict(metric) for name, metric in study.metrics.items()}
    return digest(
        {
            name: {key: value for key, value in definition.items() if key not in judgement}
            for name, definition in definitions.items()
        }
    )


def environment_digest(study: Study, environment: str) -> str:
    """
    Return the digest of all that makes an environment what it is; '' if the study has no such.

    A robot with another payload is another environment, even under the same name: what was
    measured in one must not be taken for a measurement of the other.
    """
    try:
        spec = study.environment(environment)
    except InputError:
        return ''
    mission = None
    if spec.kind in ('stack', 'replay') and study.mission is not None:
        mission = dataclasses.asdict(study.mission)
        mission.pop('repeats', None)
    return digest(
        {
            'name': spec.name,
            'kind': spec.kind,
            'identity': dict(spec.identity),
            'options': _thawed(spec.options),
            'mission': mission,
        }
    )


def _thawed(value: Any) -> Any:
    """Return nested mappings and sequences as dicts and lists."""
    if hasattr(value, 'items'):
        return {str(key): _thawed(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_thawed(item) for item in value]
    return value


class KeyMaker:
    """Make the idempotency keys of many runs in one environment of one study."""

    def __init__(self, study: Study, environment: str) -> None:
        """Compute what all runs there have in common."""
        self._space = study.space
        self._common = {
            'space': space_digest(study),
            'metrics': metrics_digest(study),
            'environment': [environment, environment_digest(study, environment)],
        }

    def key(self, configuration: Mapping[str, Any], seed: int, purpose: str) -> str:
        """Return the key: 64 hexadecimal digits. Raises InputError outside of the space."""
        return digest(
            {
                **self._common,
                'configuration': self._space.validate(configuration),
                'seed': int(seed),
                'purpose': purpose,
            }
        )


def measurement_key(
    study: Study, environment: str, configuration: Mapping[str, Any], seed: int, purpose: str
) -> str:
    """
    Return the idempotency key of a run: 64 hexadecimal digits.

    Equal runs have equal keys, whatever else changed in the study file (objectives, budget);
    a repeat differs by its seed. Raises InputError if the configuration is not in the space.
    """
    return KeyMaker(study, environment).key(configuration, seed, purpose)
