# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the verb `choose`: pick a configuration from the Pareto front that was measured."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tl_adapt import acquisition
from tl_adapt.chosen import check_chosen, write_chosen
from tl_adapt.environments.base import make_environment
from tl_adapt.errors import InputError, TlAdaptError
from tl_adapt.parameter_file import configuration_lines
from tl_adapt.report.tables import format_table
from tl_adapt.store import MissingStoreError, Store
from tl_adapt.study import Study, load_study
from tl_adapt.transfer import candidates_of
from tl_adapt.tuner import Tuner
from tl_adapt.tuning.front import FrontPoint, measured_front, with_predicted
from tl_adapt.tuning.preferences import loss_by_targets, loss_by_weights, own_targets
from tl_adapt.tuning.proposal import Choice


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = (
        'Show the Pareto front of the target configurations that were measured (posterior mean\n'
        '+- standard deviation), pick one of it, and write the files that transfer writes. In a\n'
        'terminal it is asked which one; nothing is run.'
    )
    parser.add_argument('study', help='study file, or the name of a shipped one')
    parser.add_argument('--store', default='', help='SQLite file or URL (output/<study>.sqlite)')
    parser.add_argument(
        '--output', type=Path, default=Path('output'), help='folder for the model (output)'
    )
    parser.add_argument(
        '--predicted', action='store_true',
        help='offer also what was not measured but the model is sure of',
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        '--weights', metavar='METRIC=NUMBER,...',
        help='pick the least weighted sum; metrics that are not named keep their weight',
    )
    how.add_argument(
        '--target', metavar='METRIC=NUMBER,...',
        help="pick the nearest to values in the metrics' units, or what surpasses them most; "
        'metrics that are not named aim at the best of the front',
    )
    how.add_argument('--list', action='store_true', help='show the front and pick nothing')
    how.add_argument(
        '--json', action='store_true', help='print the front for programs to read; pick nothing'
    )


def run(args: argparse.Namespace) -> int:
    """Show the front, pick, write, and return 0."""
    study = load_study(args.study)
    weights = _numbers(study, '--weights', args.weights)
    targets = _numbers(study, '--target', args.target)
    showing = args.list or args.json
    one = len(study.objectives) == 1
    if not (weights or targets or showing or one or sys.stdin.isatty()):
        raise InputError(
            'without a terminal to ask in, one of --weights, --target, --list and --json must '
            'say what to do'
        )
    if one and args.json:
        raise InputError('needs several objectives', key='--json')
    tuner = _tuner(study, args)
    if one:
        return _only(study, tuner)
    front = measured_front(tuner)
    if args.predicted:
        front = with_predicted(tuner, front)
    if args.json:
        print(json.dumps(_document(study, front), indent=1))
        return 0
    print(f'Pareto front of {study.target.name}, from {len(tuner.target)} measurements:')
    print(format_table(_rows(study, front)))
    if max(point.feasible for point in front) < acquisition.FEASIBLE:
        _say('warning: none is likely to keep the limits; these are the likeliest')
    if args.list:
        return 0
    check_chosen(args.output)
    index, why = _suggestion(study, front, weights, targets)
    if not (weights or targets):
        picked = _ask(len(front), index, why)
        if picked is None:
            print('nothing was chosen')
            return 0
        index, why = picked, why if picked == index else 'by hand'
    write_chosen(study, _choice(study, front, index, why), tuner.model, args.output)
    return 0


def _numbers(study: Study, option: str, text: str | None) -> dict[str, float]:
    """Return the numbers that an option gives to metrics of the objectives."""
    found: dict[str, float] = {}
    if text is None:
        return found
    known = [objective.metric for objective in study.objectives]
    for part in text.split(','):
        name, equals, number = (piece.strip() for piece in part.partition('='))
        if not equals:
            raise InputError('must read METRIC=NUMBER,...', key=option, value=part)
        if name not in known:
            raise InputError(
                f'must name metrics of the objectives: {", ".join(known)}', key=option, value=name
            )
        if name in found:
            raise InputError('must name each metric once', key=option, value=name)
        try:
            found[name] = float(number)
        except ValueError:
            found[name] = math.nan
        if not math.isfinite(found[name]):
            raise InputError('must be a number', key=f'{option} {name}', value=number)
        if option == '--weights' and found[name] <= 0:
            raise InputError('must be greater than 0', key=f'{option} {name}', value=found[name])
    return found


def _tuner(study: Study, args: argparse.Namespace) -> Tuner:
    """Return a tuner that was told all that the store holds of source and target."""
    path = args.store or str(args.output / f'{study.name}.sqlite')
    target = study.target
    sources = [spec.name for spec in study.environments.values() if spec.role == 'source']
    first = f'measure some with `tl_adapt transfer {args.study}` first'
    try:
        with Store(path, study=study, create=False, write=False) as store:
            source = [run for name in sources for run in store.get(environment=name)]
            measured, place = store.get(environment=target.name), store.name
            refused = store.refused(target.name)
    except MissingStoreError as error:
        raise TlAdaptError(f'{error}: {first}') from None
    needed = {objective.metric for objective in study.objectives}
    usable = [m for m in measured if m.valid and needed <= set(m.metrics)]
    if not usable:
        failed = f' ({len(measured)} failed or lack an objective)' if measured else ''
        raise TlAdaptError(
            f'{place} has no measurements of {target.name} to choose from{failed}: {first}'
        )
    candidates = None
    if target.kind == 'table':  # its rows are all that there is
        environment = make_environment(study, target.name)
        candidates = candidates_of(environment)
        environment.close()
    _say(f'learning from {len(source)} source and {len(measured)} target measurements')
    tuner = Tuner(study, source=source, seed=study.seeds.tuning, candidates=candidates)
    for measurement in measured:
        tuner.tell(measurement)
    for configuration in refused:
        tuner.refuse(configuration)
    return tuner


def _only(study: Study, tuner: Tuner) -> int:
    """Say that one objective leaves nothing to choose."""
    choice = tuner.best()
    print(f'one objective ({study.objectives[0].metric}) leaves nothing to choose; {choice.why}:')
    for line in configuration_lines(study, choice.configuration):
        print(f'  {line}')
    return 0


def _suggestion(
    study: Study, front: list[FrontPoint], weights: dict[str, float], targets: dict[str, float]
) -> tuple[int, str]:
    """Return which point the targets or weights, else the study's, prefer, and why."""
    means = np.array([point.mean for point in front])
    owner = '' if weights or targets else "the study's "
    if targets or not weights and own_targets(study):
        loss = loss_by_targets(study, means, targets or own_targets(study))
        return int(np.argmin(loss)), f'by {owner}targets'
    return int(np.argmin(loss_by_weights(study, means, weights))), f'by {owner}weights'


def _ask(n: int, suggested: int, why: str) -> int | None:
    """Ask which of n points it shall be and return its index, None for none."""
    while True:
        try:
            answer = input(f'Which one, 1 to {n}, or q for none? [{suggested + 1}, {why}] ')
        except EOFError:
            print()
            return None
        answer = answer.strip().lower()
        if answer in ('q', 'quit', 'n', 'none'):
            return None
        if not answer:
            return suggested
        if answer.isdecimal() and 1 <= int(answer) <= n:
            return int(answer) - 1
        print(f'{answer!r} is no number from 1 to {n}')


def _choice(study: Study, front: list[FrontPoint], index: int, why: str) -> Choice:
    """Return the choice of a point; its mean and deviation are those of the weighted sum."""
    point = front[index]
    factors = [o.weight / o.reference for o in study.objectives]
    values = ', '.join(
        f'{o.metric} {cell}' for o, cell in zip(study.objectives, _cells(point, _units(study)))
    )
    return Choice(
        dict(point.configuration), float(loss_by_weights(study, point.mean[None])[0]),
        float(np.linalg.norm(point.std * factors)),
        f'{index + 1} of {len(front)} on the front, {why}: {values}, feasible with probability '
        f'{point.feasible:.2f}' + ('' if point.runs else ', not measured'),
    )


def _units(study: Study) -> list[str]:
    """Return the units of the objectives' metrics, '' where there is none."""
    found = [study.metrics[objective.metric].unit for objective in study.objectives]
    return ['' if unit == '1' else unit for unit in found]


def _cells(point: FrontPoint, names: list[str]) -> list[str]:
    return [
        f'{mean:.4g} +- {std:.2g} {unit}'.rstrip()
        for mean, std, unit in zip(point.mean, point.std, names)
    ]


def _rows(study: Study, front: list[FrontPoint]) -> list[list[str]]:
    """Return the front as rows of text, the head first."""
    metrics = [objective.metric for objective in study.objectives]
    rows = [['', *metrics, 'feasible', 'runs']]
    for number, point in enumerate(front, start=1):
        cells = _cells(point, _units(study))
        runs = str(point.runs) if point.runs else 'predicted'
        rows.append([str(number), *cells, f'{point.feasible:.2f}', runs])
    return rows


def _document(study: Study, front: list[FrontPoint]) -> dict[str, Any]:
    """Return the front as JSON's types."""
    metrics = [objective.metric for objective in study.objectives]
    return {
        'study': study.name, 'environment': study.target.name,
        'objectives': [
            {'metric': name, 'unit': unit, 'direction': study.metrics[name].direction}
            for name, unit in zip(metrics, _units(study))
        ],
        'front': [
            {
                'configuration': point.configuration,
                'mean': dict(zip(metrics, point.mean.tolist())),
                'std': dict(zip(metrics, point.std.tolist())),
                'feasible': point.feasible, 'runs': point.runs,
            }
            for point in front
        ],
    }


def _say(text: str) -> None:
    print(f'tl_adapt: {text}', file=sys.stderr)
