# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for an explanation as JSON's types, with parameters' values instead of places."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tl_adapt import __version__
from tl_adapt.explanation.bad_run import BadRun
from tl_adapt.explanation.environment import Explained
from tl_adapt.explanation.explain import Explanation
from tl_adapt.models.attribution import Share
from tl_adapt.models.effects import LEVEL, Effect, Effects
from tl_adapt.space import Space


def to_dict(explanation: Explanation) -> dict[str, Any]:
    """
    Return all that was found, as JSON's types; nan and infinite numbers become None.

    Keys are only ever added between versions. Each figure with an interval has `estimate`, `low`
    and `high`; `level` is that of all intervals.
    """
    study, number = explanation.study, explanation.number
    found = {
        'tl_adapt': __version__,
        'study': study.name,
        'digest': study.digest,
        'level': LEVEL,
        'number': {
            'name': number.name, 'unit': number.unit,
            'direction': 'minimize' if number.sign > 0 else 'maximize',
        },
        'environments': [_environment(study.space, one) for one in explanation.environments],
        'changes': [
            {
                'from': names[0], 'to': names[1],
                'terms': [change.to_dict() for change in changes],
            }
            for names, changes in explanation.changes.items()
        ],
        'runs': [_run(study.space, run) for run in explanation.runs],
    }
    plain: dict[str, Any] = plain_json(found)
    return plain


def plain_json(value: Any) -> Any:
    """Return nested values as JSON's types; numbers that JSON does not have become None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain_json(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain_json(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain_json(value.tolist())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain_json(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _environment(space: Space, explained: Explained) -> dict[str, Any]:
    data = explained.data
    return {
        'name': explained.name,
        'measurements': len(data.measurements),
        'valid': int(data.valid.sum()),
        'used': int(data.usable.sum()),
        'transferred_from': None if explained.source is None else explained.source.environment,
        'log': explained.log,
        'note': explained.note,
        'effects': _effects(space, explained.effects),
        'failures': _effects(space, explained.failures),
        'unexplained': [
            {'run': data.measurements[row].key, 'value': data.y[row], 'residual': residual}
            for row, residual in explained.unexplained
        ],
    }


def _effects(space: Space, effects: Effects | None) -> dict[str, Any] | None:
    if effects is None:
        return None
    return {
        'mean': effects.level,
        'deviation': effects.spread,
        'rest': effects.rest,
        'exact': effects.basis.exact,
        'parameters': [_effect(space, one) for one in effects.mains],
        'interactions': [_effect(space, one) for one in effects.pairs],
        'curves': [
            {
                'parameter': curve.name,
                'values': [value_at(space, curve.name, place) for place in curve.levels],
                'mean': curve.mean, 'low': curve.low, 'high': curve.high,
            }
            for curve in effects.curves
        ],
    }


def _effect(space: Space, effect: Effect) -> dict[str, Any]:
    return {
        'names': effect.names,
        'from': [value_at(space, name, u) for name, u in zip(effect.names, effect.low)],
        'to': [value_at(space, name, u) for name, u in zip(effect.names, effect.high)],
        'change': effect.change,
        'factor': effect.factor,
        'share': effect.share,
        'conclusive': effect.conclusive,
    }


def value_at(space: Space, name: str, place: float) -> Any:
    """Return the value of a parameter at a place in the unit cube."""
    return space[name].decode(np.array([place]))[0]


def _run(space: Space, run: BadRun) -> dict[str, Any]:
    measurement = run.measurement
    own = measurement.configuration

    def share(one: Share) -> dict[str, Any]:
        return {
            'names': one.names,
            'from': [run.reference[name] for name in one.names],
            'to': [own.get(name) for name in one.names],
            'amount': one.amount, 'likelihood': one.likelihood, 'conclusive': one.conclusive,
        }

    return {
        'run': measurement.key,
        'environment': run.environment,
        'seed': measurement.seed,
        'purpose': measurement.purpose,
        'valid': measurement.valid,
        'reason': measurement.reason,
        'configuration': own,
        'explained': 'probability of failure' if run.of_failure else 'value',
        'measured': run.measured,
        'predicted': run.predicted,
        'against': run.against,
        'reference': run.reference,
        'reference_predicted': run.reference_predicted,
        'surprise': run.surprise,
        'difference': run.attribution.difference,
        'options': [share(one) for one in run.attribution.options],
        'pairs': [share(one) for one in run.attribution.pairs],
        'exact': run.attribution.exact,
        'remedy': {
            'changes': {
                name: value_at(space, name, place) for name, place in run.remedy.changes.items()
            },
            'goal': run.goal,
            'chance_before': run.remedy.before,
            'chance': run.remedy.chance,
            'reached': run.remedy.reached,
        },
        'single_changes': [
            {'parameter': name, 'value': value_at(space, name, place), 'improvement': gain}
            for name, place, gain in run.singles
        ],
    }
