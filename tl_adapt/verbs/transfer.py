# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the verb `transfer`: spend a few target measurements and choose a configuration."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from tl_adapt.chosen import check_chosen, write_chosen
from tl_adapt.cli import INTERRUPTED
from tl_adapt.environments.base import Measurement, make_environment
from tl_adapt.errors import InputError, TlAdaptError
from tl_adapt.parameter_file import configuration_lines
from tl_adapt.space import Configuration
from tl_adapt.store import MissingStoreError, Store
from tl_adapt.study import Study, load_study
from tl_adapt.transfer import (
    METHODS,
    TransferResult,
    floored,
    nothing_to_transfer,
    run_transfer,
)
from tl_adapt.tuning.optimiser import Optimiser


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
    """Run the transfer and return the exit code: 0, or 130 after ctrl-C or SIGTERM."""
    for name in ('budget', 'seed'):
        value = getattr(args, name)
        if value is not None and value < 0:
            raise InputError('must be at least 0', key=f'--{name}', value=value)
    study = load_study(args.study)
    target = study.target.name
    with _open(study, args) as store:
        source = _source(study, args, store)
        check_chosen(args.output)
        try:
            with _terminable():
                result = _spend(study, store, source, args)
        except KeyboardInterrupt:
            count = store.count(environment=target, purpose=args.method)
            print(
                f'interrupted: {count} target measurements are kept in {store.name}; '
                'the same command goes on'
            )
            return INTERRUPTED
    print(f'stopped: {result.stopped}')
    for text in floored(study, result.measurements):
        _warn(text)
    write_result(study, result, args.output)
    return 0


def _open(study: Study, args: argparse.Namespace) -> Store:
    """Open the store; it must be there already if the source's measurements are needed."""
    path = args.store or str(args.output / f'{study.name}.sqlite')
    needed = args.method == 'transfer' and study.source is not None  # InputError without one
    needed = needed and not study.tuning.simulate  # then it measures them itself
    try:
        return Store(path, study=study, create=not needed)
    except MissingStoreError as error:
        raise TlAdaptError(f'{error}: {_campaign_first(args)}') from None


def _source(study: Study, args: argparse.Namespace, store: Store) -> list[Measurement]:
    """Return the measurements to transfer from; warn of what is odd about them."""
    if args.method != 'transfer':
        return []
    source = store.get(environment=study.source.name, purpose='campaign')
    if not source and study.tuning.simulate:
        return []
    if not source:
        raise TlAdaptError(
            f'{store.name} has no measurements of {study.source.name}: {_campaign_first(args)}'
        )
    for text in [nothing_to_transfer(study, source), *floored(study, source)]:
        if text:
            _warn(text)
    return source


def _campaign_first(args: argparse.Namespace) -> str:
    where = ''
    if args.store:
        where = ' --store URL' if '://' in args.store else f' --store {args.store}'
    elif args.output != Path('output'):
        where = f' --output {args.output}'
    return f'run `tl_adapt campaign {args.study}{where}` first'


def _spend(
    study: Study, store: Store, source: list[Measurement], args: argparse.Namespace
) -> TransferResult:
    budget = args.budget or study.budget.target
    # A run on the robot is dear: its trace lets metrics be computed anew later.
    environment = make_environment(study, study.target.name, traces=args.output / 'traces')
    try:
        return run_transfer(
            study, store, environment, method=args.method, budget=budget,
            seed=study.seeds.tuning if args.seed is None else args.seed,
            source=source, reuse=args.reuse,
            confirm=(lambda i, c: _ask(study, i, c)) if args.confirm else None,
            on_measurement=lambda i, m, t: _show(study, i, budget, m, t),
            on_simulation=lambda i, m, t: print(
                f'{study.source.name} {i + 1}: {_objective(study, m)}', flush=True
            ),
        )
    finally:
        environment.close()


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end the tuning as ctrl-C does: environments closed, measurements kept."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def write_result(study: Study, result: TransferResult, output: Path) -> None:
    """Show the choice and write its files; raises TlAdaptError without a choice."""
    if result.choice is None:
        raise TlAdaptError('no target measurement was taken, so nothing can be chosen')
    write_chosen(study, result.choice, result.tuner.model, output)


def _show(
    study: Study, index: int, budget: int, measurement: Measurement, tuner: Optimiser
) -> None:
    got = _objective(study, measurement)
    print(f'{index + 1}/{budget}: {got}; {tuner.best().why}', flush=True)


def _objective(study: Study, measurement: Measurement) -> str:
    if measurement.valid:
        return f'objective {study.objective(measurement.metrics):.3f}'
    return f'failed: {measurement.reason}'


def _ask(study: Study, index: int, configuration: Configuration) -> bool:
    if not sys.stdin.isatty():
        raise TlAdaptError('--confirm needs a terminal to ask the operator')
    print(f'next measurement ({index + 1}):')
    for line in configuration_lines(study, configuration):
        print(f'  {line}')
    try:
        return input('run it? [y/N] ').strip().lower() in ('y', 'yes')
    except EOFError:
        print()
        return False


def _warn(text: str) -> None:
    print(f'tl_adapt: warning: {text}', file=sys.stderr)
