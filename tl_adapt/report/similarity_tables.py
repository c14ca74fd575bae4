# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the similarity of two environments as tables and as JSON's types."""

from __future__ import annotations

import math
from typing import Any

from tl_adapt.models.similarity.comparison import COUNTS, LEVEL, TITLES, Similarity
from tl_adapt.models.similarity.influence import Effect
from tl_adapt.models.similarity.learning import Point
from tl_adapt.models.similarity.verdict import Verdict, show

VERSION = 1


def metric_rows(found: Similarity) -> list[list[str]]:
    """Return M1 to M18 as rows of text, the head first; `-` and why for those that are unknown."""
    rows = [['', 'value', '90 % interval', 'what']]
    for name, metric in found.metrics.items():
        shown = show(name, metric)
        value, _, interval = shown.partition('[')
        what = TITLES[name] if metric.known else f'{TITLES[name]}: {metric.why}'
        rows.append([name, value.strip(), interval.rstrip(']'), what])
    return rows


def option_rows(found: Similarity) -> list[list[str]]:
    """Return each option's effect in both environments, the largest in the source first."""
    pair = found.pair
    unit = f' [{pair.unit}]' if pair.unit else ''
    rows = [['option', f'{pair.source.name}{unit}', f'{pair.target.name}{unit}', 'test']]
    for j in _order(found):
        a, b = found.source_effects[j], found.target_effects[j]
        if a.test == b.test == 'none':
            continue
        test = a.test if a.test == b.test else f'{a.test}, {b.test}'
        rows.append([pair.names[j], _effect(a), _effect(b), test])
    return rows


def interaction_rows(found: Similarity, most: int = 15) -> list[list[str]]:
    """Return the interactions with the largest coefficients; the head alone if there are none."""
    pair = found.pair
    rows = [['interaction', pair.source.name, pair.target.name]]
    if found.interactions is None:
        return rows
    for one in found.interactions.found[:most]:
        names = f'{pair.names[one.first]} x {pair.names[one.second]}'
        values = (one.source, one.target)
        rows.append([names, *('-' if value == 0.0 else f'{value:+.3g}' for value in values)])
    return rows


def curve_rows(curve: tuple[Point, ...]) -> list[list[str]]:
    """Return the transfer's error by number of target measurements, the head first."""
    rows = [['target measurements', 'transfer', 'target alone', '']]
    for point in curve:
        rows.append([
            str(point.size), f'{point.transfer:.2f}',
            '-' if math.isnan(point.alone) else f'{point.alone:.2f}',
            '' if point.measured else 'expected',
        ])
    return rows


def similarity_document(
    found: Similarity, curve: tuple[Point, ...], verdict: Verdict
) -> dict[str, Any]:
    """Return everything as JSON's types; what is not known is null."""
    pair, joint = found.pair, found.pair.joint
    return {
        'version': VERSION,
        'metric': pair.metric,
        'unit': pair.unit,
        'source': _side(pair.source),
        'target': _side(pair.target),
        'compared': len(joint.target),
        'predicted': joint.predicted,
        'prediction_quality': _number(joint.quality),
        'complete': found.complete,
        'level': LEVEL,
        'metrics': {
            name: {
                'what': TITLES[name], 'value': _number(one.value, whole=name in COUNTS),
                'low': _number(one.low, whole=name in COUNTS),
                'high': _number(one.high, whole=name in COUNTS), 'why': one.why,
            }
            for name, one in found.metrics.items()
        },
        'options': [
            {
                'name': pair.names[j], 'source': _effect_document(found.source_effects[j]),
                'target': _effect_document(found.target_effects[j]),
                'importance': {
                    'source': _number(float(found.importances[0][j])),
                    'target': _number(float(found.importances[1][j])),
                },
            }
            for j in _order(found)
        ],
        'interactions': [
            {
                'options': [pair.names[one.first], pair.names[one.second]],
                'source': _number(one.source), 'target': _number(one.target),
            }
            for one in (found.interactions.found if found.interactions else ())
        ],
        'curve': [
            {
                'size': point.size, 'transfer': _number(point.transfer),
                'alone': _number(point.alone), 'measured': point.measured,
            }
            for point in curve
        ],
        'verdict': {
            'worth': verdict.worth, 'way': verdict.way, 'sure': verdict.sure,
            'plan': None if verdict.plan is None else verdict.plan.size,
            'error': None if verdict.plan is None else _number(verdict.plan.error),
            'text': list(verdict.text),
        },
        'notes': list(found.notes),
    }


def _side(side: Any) -> dict[str, Any]:
    return {
        'environment': side.name, 'configurations': len(side.y), 'valid': int(side.valid.sum())
    }


def _order(found: Similarity) -> list[int]:
    """Return the options by the size of their effect in the source."""
    sizes = [abs(one.change) for one in found.source_effects]
    return sorted(range(len(sizes)), key=lambda j: -sizes[j])


def _effect(one: Effect) -> str:
    if one.test == 'none':
        return '-'
    return f'{one.change:+.3g} ({one.error:.1g}){" *" if one.influential else "  "}'


def _effect_document(one: Effect) -> dict[str, Any]:
    return {
        'change': _number(one.change), 'error': _number(one.error), 'p': _number(one.p),
        'test': one.test, 'influential': one.influential,
    }


def _number(value: float, *, whole: bool = False) -> float | int | None:
    if not math.isfinite(value):
        return None
    return int(value) if whole else float(value)
