# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the verb `check`: say what a study holds, or what is wrong with it."""

from __future__ import annotations

import argparse
import math
import shlex
from collections.abc import Iterable, Sequence

from tl_adapt.adaptation.context_source import ELSEWHERE, ContextSource, context_sources
from tl_adapt.environments import command, table
from tl_adapt.space import Parameter
from tl_adapt.study import Metric, Study, load_study


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument('study', help='study file, or the name of a shipped one')


def run(args: argparse.Namespace) -> int:
    """Print a summary of the study and return 0; raise InputError for its first mistake."""
    study = load_study(args.study)
    check_environments(study)
    for line in summary(study):
        print(line)
    return 0


def check_environments(study: Study) -> None:
    """Raise InputError for what only the environments know, like a file that is missing."""
    for spec in study.environments.values():
        if spec.kind == 'table':
            table.validate_options(spec, study)
        elif spec.kind == 'command':
            command.validate_options(spec, study)


def summary(study: Study) -> list[str]:
    """Return the lines that say what the study holds."""
    space = study.space
    lines = [f'{study.path}: study {study.name} is sound']
    lines += [f'extends {base}' for base in study.sources.bases]
    lines.append('')
    size = 'endless' if space.size is None else f'{space.size:,} configurations'
    lines.append(f'parameters: {space.dim} ({size})')
    grouped = sorted(space.parameters, key=lambda p: (_nodes(p), p.name))
    lines += _table(
        [(p.name, _values(p), f'default {p.default}', p.unit, _nodes(p)) for p in grouped]
    )
    lines += _list('constraints', [constraint.text for constraint in space.constraints])
    lines.append(f'metrics: {len(study.metrics)}')
    lines += _table(
        [(m.name, m.direction, m.scale, m.unit, _origin(m)) for m in study.metrics.values()]
    )
    lines += _list(
        'objectives',
        [
            f'{study.metrics[o.metric].direction} {o.metric}, weight {o.weight:g}, '
            f'in units of {o.reference:g} {study.metrics[o.metric].unit}'.rstrip()
            + ('' if o.target is None else f', target {o.target:g}')
            for o in study.objectives
        ],
    )
    lines += _list('limits', [limit.text for limit in study.limits])
    if study.mission is not None:
        mission = study.mission
        goals = f'{len(mission.goals)} goal' + ('s' if len(mission.goals) > 1 else '')
        lines.append(
            f'mission: {goals}, timeout {mission.timeout:g} s sim, '
            f'{mission.wall_timeout:g} s wall, repeats {mission.repeats}'
        )
    lines.append(f'environments: {len(study.environments)}')
    lines += _table(
        [
            (e.name, e.kind, e.role, f'cost {e.cost:g}', ', '.join(e.identity.values()))
            for e in study.environments.values()
        ]
    )
    lines += _adaptation(study)
    budget, seeds = study.budget, study.seeds
    lines.append(
        f'budget: {budget.source} source, {budget.target} target, '
        f'{budget.evaluation} evaluation runs each'
    )
    lines.append(
        f'seeds: campaign {seeds.campaign}, tuning {seeds.tuning}, evaluation {seeds.evaluation}'
    )
    lines.append(f'digest: {study.digest[:16]} (metrics {study.metric_digest[:16]})')
    return lines


def _adaptation(study: Study) -> list[str]:
    """Return what an adapter will do, none where none of what it could set is in ROS."""
    rules = dict(study.adaptation)
    environment = rules.pop('environment')
    if environment is None or study.environment(environment).kind != 'stack':
        return []
    window, stride = rules.pop('window'), rules.pop('stride', None)
    if window != 'mission' and stride is None:
        stride = window / 4
    when, restarts = rules.pop('explore_when', None), rules.pop('restart', {})
    rules.pop('contexts', None)
    found = [
        ('window', 'mission' if window == 'mission' else f'{window:g} s'),
        ('stride', 'none' if stride is None else f'{stride:g} s'),
        *((name, f'{rules[name]:g}') for name in sorted(rules)),
    ]
    if when is not None:
        age = f', no older than {when["age"]:g} s' if 'age' in when else ''
        told = f'{when["topic"]}: {when["field"]} {when["op"]} {when["value"]}'
        found.append(('explore_when', told + age))
    found += [(f'context {one.name}', _context(one)) for one in context_sources(study.adaptation)]
    found += [(f'restart {node}', shlex.join(words)) for node, words in restarts.items()]
    return [f'adaptation: of {environment}', *_table(found)]


def _context(source: ContextSource) -> str:
    """Return how a context is told."""
    parts = [f'{source.topic}: {source.field or "position"}']
    if source.edges:
        parts.append(f'edges {", ".join(f"{edge:g}" for edge in source.edges)}')
        parts.append(f'hysteresis {source.hysteresis:g}')
    if source.polygons:
        parts.append(f'in {", ".join(source.polygons)}, or {ELSEWHERE}')
    parts.append(f'hold {source.hold:g} s')
    if math.isfinite(source.age):
        parts.append(f'age {source.age:g} s')
    return '; '.join(parts)


def _values(parameter: Parameter) -> str:
    if parameter.choices is not None:
        values = ' | '.join(str(choice) for choice in parameter.choices)
    elif parameter.type == 'bool':
        values = 'false | true'
    else:
        values = f'{parameter.low:g} .. {parameter.high:g}' + (' log' if parameter.log else '')
    return f'{parameter.type} {values}'


def _nodes(parameter: Parameter) -> str:
    modes = dict.fromkeys(f'{target.node} ({target.mode()})' for target in parameter.targets)
    return ', '.join(modes)


def _origin(metric: Metric) -> str:
    source = metric.topic or ', '.join(metric.nodes)
    return f'{metric.reduction} of {source}' if source else metric.reduction


def _list(title: str, entries: Sequence[str]) -> list[str]:
    return [f'{title}: {len(entries)}', *(f'  {entry}' for entry in entries)]


def _table(rows: Iterable[Sequence[str]]) -> list[str]:
    rows = list(rows)
    widths = [max(len(cell) for cell in column) for column in zip(*rows)]
    return [
        ('  ' + '  '.join(cell.ljust(width) for cell, width in zip(row, widths))).rstrip()
        for row in rows
    ]
