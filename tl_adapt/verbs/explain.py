# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the verb `explain`: which parameters matter, what changed, and why a run is bad."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tl_adapt.comparison import OBJECTIVE
from tl_adapt.environments.base import Measurement
from tl_adapt.errors import InputError, TlAdaptError
from tl_adapt.explanation.bad_run import AGAINST
from tl_adapt.explanation.explain import WORST, Explanation, explain
from tl_adapt.explanation.number import find_number
from tl_adapt.explanation.result import to_dict
from tl_adapt.parameter_file import check_outputs, write_text
from tl_adapt.progress import Progress
from tl_adapt.report.explain_page import write_explanation
from tl_adapt.report.explain_tables import sections
from tl_adapt.report.tables import format_table
from tl_adapt.store import MissingStoreError, Store
from tl_adapt.study import Study, load_study


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument('study', help='study file, or the name of a shipped one')
    parser.add_argument('--store', default='', help='SQLite file or URL (output/<study>.sqlite)')
    parser.add_argument(
        '--environment', nargs='+', default=[], metavar='ENV',
        help='what to explain (all that were measured)',
    )
    parser.add_argument(
        '--metric', default=OBJECTIVE, metavar='NAME',
        help=f'number to explain: a metric, or ({OBJECTIVE})',
    )
    parser.add_argument(
        '--run', default=WORST, metavar='ID',
        help=f"bad run to explain: the beginning of its key, or each environment's ({WORST})",
    )
    parser.add_argument(
        '--against', choices=AGAINST, default='default',
        help='configuration that a bad run is compared with (default)',
    )
    parser.add_argument(
        '--top', type=int, default=10, metavar='N', help='rows of each table (10)'
    )
    parser.add_argument(
        '--seed', type=int, default=0, metavar='N', help='of what the models draw (0)'
    )
    parser.add_argument('--json', type=Path, metavar='FILE', help='write everything found as JSON')
    parser.add_argument('--page', type=Path, metavar='FILE', help='write a page with plots')


def run(args: argparse.Namespace) -> int:
    """Explain, print the tables, write what was asked for, and return 0."""
    for name, least in (('top', 1), ('seed', 0)):
        if getattr(args, name) < least:
            raise InputError(f'must be at least {least}', key=f'--{name}',
                             value=getattr(args, name))
    study = load_study(args.study)
    number = find_number(study, args.metric)
    for name in args.environment:
        study.environment(name)
    path = args.store or str(Path('output') / f'{study.name}.sqlite')
    inputs = (args.study, path.removeprefix('sqlite:///'))
    check_outputs({'--json': args.json, '--page': args.page}, inputs)
    measurements = _measurements(study, args, path)
    shown = len(set(args.environment)) or len(measurements)
    with Progress('explaining', 1 + 2 * shown) as progress:
        found = explain(
            study, number, measurements, environments=args.environment, run=args.run,
            against=args.against, seed=args.seed, on_step=progress.advance,
        )
    _write(found, args)
    return 0


def _measurements(
    study: Study, args: argparse.Namespace, path: str
) -> dict[str, list[Measurement]]:
    """Return the measurements of each environment that has any, the source's first."""
    try:
        with Store(path, study=study, create=False, write=False) as store:
            found = {name: store.get(environment=name) for name in study.environments}
            left_out = store.left_out()
    except MissingStoreError as error:
        raise TlAdaptError(f'{error}: run `tl_adapt campaign {args.study}` first') from None
    for name in args.environment or found:
        if args.environment and not found[name]:
            raise TlAdaptError(f'{path} has no measurements of {name}')
    if not any(found.values()):
        others = f' ({left_out} are of other studies)' if left_out else ''
        raise TlAdaptError(f'{path} has no measurements of {study.name}{others}')
    return {name: rows for name, rows in found.items() if rows}


def _write(found: Explanation, args: argparse.Namespace) -> None:
    result = to_dict(found)
    for title, rows, note in sections(result, top=args.top):
        print(f'\n{title}')
        if rows:
            print(format_table(rows, text=_text_columns(rows)))
        if note:
            print(note)
    print('\nIntervals hold 90 %; ~ marks what is not sure.')
    if args.json is not None:
        write_text(args.json, json.dumps(result, indent=1, allow_nan=False) + '\n')
        print(f'written: {args.json}')
    if args.page is not None:
        print(f'written: {write_explanation(result, args.page, top=args.top)}')


def _text_columns(rows: list[list[str]]) -> tuple[int, ...]:
    """Return the columns that hold words."""
    return tuple(i for i, head in enumerate(rows[0]) if i == 0 or head in ('what', 'run'))
