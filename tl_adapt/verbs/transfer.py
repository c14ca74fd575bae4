# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the verb `transfer`: spend a few target measurements and choose a configuration."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tl_adapt.environments.base import Measurement, make_environment
from tl_adapt.errors import InputError, TlAdaptError
from tl_adapt.parameter_file import write_parameter_file, write_text
from tl_adapt.space import Configuration
from tl_adapt.store import Store
from tl_adapt.study import Study, load_study
from tl_adapt.transfer import METHODS, TransferResult, run_transfer
from tl_adapt.tuner import Tuner


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument('study', help='study file, or the name of a shipped one')
    parser.add_argument('--store', default='', help='SQLite file or URL (output/<study>.sqlite)')
    parser.add_argument(
        '--budget', type=int, default=0, help="target measurements (0: the study's budget)"
    )
    parser.add_argument('--method', choices=METHODS, default='transfer', help='(transfer)')
    parser.add_argument('--seed', type=int, default=None, help="(the study's seeds.tuning)")
    parser.add_argument(
        '--output', type=Path, default=Path('output'), help='folder for the model (output)'
    )
    parser.add_argument(
        '--reuse', action='store_true',
        help='learn also from target measurements chosen for other objectives, limits or seeds',
    )
    parser.add_argument(
        '--confirm', action='store_true', help='ask the operator before each measurement'
    )


def run(args: argparse.Namespace) -> int:
    """Run the transfer and return the exit code."""
    study = load_study(args.study)
    if args.budget < 0:
        raise InputError('a budget must not be negative', key='--budget', value=args.budget)
    budget = args.budget or study.budget.target
    seed = study.seeds.tuning if args.seed is None else args.seed
    store_path = args.store or str(args.output / f'{study.name}.sqlite')
    with Store(store_path, study=study) as store:
        source = store.get(environment=study.source.name, purpose='campaign')
        if args.method == 'transfer' and not source:
            raise TlAdaptError(
                f'{store_path} has no measurements of {study.source.name}: '
                f'run `tl_adapt campaign {args.study}` first'
            )
        # A run on the robot is dear: its trace lets metrics be computed anew later.
        environment = make_environment(
            study, study.target.name, traces=args.output / 'traces'
        )
        try:
            result = run_transfer(
                study, store, environment, method=args.method, budget=budget, seed=seed,
                source=source, reuse=args.reuse, confirm=_ask if args.confirm else None,
                on_measurement=lambda i, m, t: _show(study, i, budget, m, t),
            )
        finally:
            environment.close()
    print(f'stopped: {result.stopped}')
    write_result(study, result, args.output)
    return 0


def write_result(study: Study, result: TransferResult, output: Path) -> None:
    """Write model, choice and ROS 2 parameter file; raises TlAdaptError without a choice."""
    if result.choice is None:
        raise TlAdaptError('no target measurement was taken, so nothing can be chosen')
    folder = output / 'model'
    result.tuner.model.save(folder)
    choice = {
        'study': study.name, 'digest': study.digest,
        'configuration': result.choice.configuration, 'why': result.choice.why,
    }
    write_text(folder / 'choice.json', json.dumps(choice, indent=2) + '\n')
    path = write_parameter_file(
        study, result.choice.configuration, output / 'tuned_parameters.yaml'
    )
    print(f'chosen: {result.choice.why}\nwritten: {folder}, {path}')


def _show(study: Study, index: int, budget: int, measurement: Measurement, tuner: Tuner) -> None:
    got = (
        f'objective {study.objective(measurement.metrics):.3f}'
        if measurement.valid else f'failed: {measurement.reason}'
    )
    print(f'{index + 1}/{budget}: {got}; {tuner.best().why}', flush=True)


def _ask(index: int, configuration: Configuration) -> bool:
    if not sys.stdin.isatty():
        raise TlAdaptError('--confirm needs a terminal to ask the operator')
    print(f'next measurement ({index + 1}): {configuration}')
    return input('run it? [y/N] ').strip().lower() in ('y', 'yes')
