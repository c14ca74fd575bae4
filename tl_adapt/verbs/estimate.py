# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the verb `estimate`: what a configuration would give, from recordings of others."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tl_adapt.configuration_file import read_configurations
from tl_adapt.environments.base import Measurement
from tl_adapt.errors import InputError, TlAdaptError
from tl_adapt.off_policy import (
    LEVEL,
    OBJECTIVE,
    Report,
    estimate,
    group_of,
    planned_steps,
    wanted_metrics,
)
from tl_adapt.parameter_file import check_outputs, value_text, write_text
from tl_adapt.progress import Progress
from tl_adapt.report.tables import format_table
from tl_adapt.store import MissingStoreError, Store
from tl_adapt.study import Study, load_study

_MOST = 1000  # candidates


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument('study', help='study file, or the name of a shipped one')
    parser.add_argument(
        '--environment', default='', metavar='NAME',
        help="environment whose recorded missions count (the study's target)",
    )
    parser.add_argument(
        '--set', nargs='+', default=[], metavar='NAME=VALUE', dest='values',
        help='the candidate: what it has instead of the default values',
    )
    parser.add_argument(
        '--configurations', type=Path, metavar='FILE',
        help='candidates: YAML with one mapping of names to values, or a list of such',
    )
    parser.add_argument(
        '--metric', nargs='+', default=[], metavar='NAME',
        help="metrics to estimate (the objectives', the limits' and the objective itself)",
    )
    parser.add_argument(
        '--store', default='', metavar='URL|FILE',
        help='SQLite file or URL of SQLAlchemy (output/<study>.sqlite)',
    )
    parser.add_argument(
        '--source', metavar='NAME', default='',
        help="environment whose measurements help (the study's source)",
    )
    parser.add_argument(
        '--no-source', action='store_true', help='let the recorded missions alone tell'
    )
    parser.add_argument(
        '--level', type=float, default=LEVEL, help=f'probability of the intervals ({LEVEL:g})'
    )
    parser.add_argument('--seed', type=int, default=0, help="for the model's fit (0)")
    parser.add_argument('--json', type=Path, metavar='FILE', help='write everything as JSON')


def run(args: argparse.Namespace) -> int:
    """Estimate the candidates, print them, write what was asked for; return 0."""
    if not 0.0 < args.level < 1.0:
        raise InputError('0 < level < 1 must hold', key='--level', value=args.level)
    if args.seed < 0:
        raise InputError('must be at least 0', key='--seed', value=args.seed)
    study = load_study(args.study)
    candidates = _candidates(args, study)
    path = args.store or f'output/{study.name}.sqlite'
    check_outputs({'--json': args.json}, [args.study, path.removeprefix('sqlite:///')])
    recorded, source, name = _measurements(args, study, path)
    groups = [group_of(m) for m in recorded]
    metrics = args.metric or wanted_metrics(study)
    number = planned_steps(study, recorded, groups, len(metrics))
    with Progress('estimating', number) as progress:
        found = estimate(
            study, recorded, candidates, groups=groups, source=source, metrics=metrics,
            level=args.level, seed=args.seed, on_step=progress.advance,
        )
    print(
        f'{study.name}/{name}: {len(recorded)} missions of {len(set(groups))} recordings, '
        f'{len({json.dumps(m.configuration, sort_keys=True) for m in recorded})} configurations'
        + (f'; source: {len(source)} measurements' if source else '')
    )
    for report in found:
        _show(study, report, args.level)
    if args.json:
        document = {
            'study': study.name, 'environment': name, 'level': args.level,
            'missions': len(recorded), 'recordings': len(set(groups)),
            'candidates': [dataclasses.asdict(report) for report in found],
        }
        write_text(args.json, json.dumps(document, indent=1, allow_nan=False) + '\n')
        print(f'written: {args.json}')
    return 0


def _measurements(
    args: argparse.Namespace, study: Study, path: str
) -> tuple[list[Measurement], list[Measurement], str]:
    """Return the recorded missions, the source's measurements, and the environment's name."""
    spec = study.environment(args.environment) if args.environment else study.target
    if args.no_source and args.source:
        raise InputError('has no meaning with --no-source', key='--source', value=args.source)
    known = any(other.role == 'source' for other in study.environments.values())
    source = ''
    if args.source:
        source = study.environment(args.source).name
    elif known and not args.no_source:
        source = study.source.name
    if source == spec.name and args.source:
        raise InputError('must be another environment', key='--source', value=source)
    try:
        with Store(path, study=study, create=False, write=False) as store:
            recorded = store.get(environment=spec.name)
            others = store.get(environment=source) if source and source != spec.name else []
            name = store.name
    except MissingStoreError as error:
        raise TlAdaptError(
            f'{error}: put recorded missions into it with `tl_adapt evaluate` first'
        ) from None
    if not recorded:
        raise TlAdaptError(
            f'{name} has no missions of {spec.name}: put some into it with '
            '`tl_adapt evaluate` first'
        )
    return recorded, others, spec.name


def _candidates(args: argparse.Namespace, study: Study) -> list[dict[str, Any]]:
    """Return the candidates that the arguments name; raises InputError."""
    if args.values and args.configurations:
        raise InputError(
            'has no meaning with --configurations', key='--set', value=args.values
        )
    default = study.space.default()
    if args.configurations is None:
        return [study.space.validate({**default, **_given(args.values)})]
    return read_configurations(
        args.configurations, lambda row: study.space.validate({**default, **row}), _MOST
    )


def _given(words: Sequence[str]) -> dict[str, Any]:
    """Return the values of words such as `speed=0.5`."""
    values = {}
    for word in words:
        name, equals, text = word.partition('=')
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = None
        if not equals or not name or value is None:
            raise InputError('must be NAME=VALUE', key='--set', value=word)
        values[name] = value
    return values


def _show(study: Study, report: Report, level: float) -> None:
    """Print one candidate."""
    default = study.space.default()
    changed = [
        f'{name} = {value_text(value)}' for name, value in report.configuration.items()
        if value != default[name]
    ]
    print(f'\n{", ".join(changed) or "the default configuration"}')
    rows = [['metric', 'unit', 'estimate', f'one mission, {level:.0%}', 'mean of many', 'support']]
    for name, one in report.estimates.items():
        unit = '' if name == OBJECTIVE else study.metrics[name].unit
        rows.append([
            name, unit, f'{one.mean:.4g}', f'{one.low:.4g} .. {one.high:.4g}',
            f'{one.mean_low:.4g} .. {one.mean_high:.4g}', f'{one.support:.2f}',
        ])
    print(format_table(rows, text=(0, 1)))
    print(f'probability of success: {report.valid:.2f}')
    for text in report.warnings:
        print(f'warning: {text}')
    same: dict[str, list[str]] = {}
    for name, one in report.estimates.items():
        for text in one.warnings:
            same.setdefault(text, []).append(name)
    for text, names in same.items():
        print(f'warning: {", ".join(names)}: {text}')
