# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the verb `similarity`: how alike are two environments, is it worth transferring."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from tl_adapt.errors import InputError, TlAdaptError
from tl_adapt.models.similarity.comparison import compare
from tl_adapt.models.similarity.learning import learning_curve, steps
from tl_adapt.models.similarity.pair import Pair, check_enough
from tl_adapt.models.similarity.verdict import judge
from tl_adapt.parameter_file import check_outputs, write_text
from tl_adapt.progress import Progress
from tl_adapt.recorded_pair import invalid_rule, load_recorded, load_tables
from tl_adapt.report.similarity_page import write_similarity_page
from tl_adapt.report.similarity_tables import (
    curve_rows,
    interaction_rows,
    metric_rows,
    option_rows,
    similarity_document,
)
from tl_adapt.report.tables import format_table
from tl_adapt.store import MissingStoreError, Store
from tl_adapt.stored_pair import metric_of, pair_of
from tl_adapt.study import load_study

_STAGES = 4  # of `compare`


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = (
        'Compare a source and a target environment by the metrics M1 to M18 of Jamshidi et al.\n'
        '(ASE 2017), and say whether it is worth transferring, by which way, and how many target\n'
        'measurements to plan. With few target measurements the metrics are estimates with\n'
        'intervals. What is compared is one of:\n'
        '  STUDY                    what campaign and transfer have measured (nothing is run)\n'
        '  --tables SOURCE TARGET   two CSV files; options are the columns that both have, the\n'
        '                           value is the last column or --metric, smaller is better\n'
        '  --data DIR --pair NAME   a recorded pair: pairs.json with name, files, same_configs;\n'
        '                           columns opt_*, source, target'
    )
    parser.add_argument('study', nargs='?', help='study file, or the name of a shipped one')
    parser.add_argument('--store', default='', help='SQLite file or URL (output/<study>.sqlite)')
    parser.add_argument('--source', metavar='ENV', help="environment (the study's source)")
    parser.add_argument('--target', metavar='ENV', help="environment (the study's target)")
    parser.add_argument(
        '--tables', nargs=2, type=Path, metavar=('SOURCE', 'TARGET'), help='two CSV files'
    )
    parser.add_argument('--data', type=Path, metavar='DIR', help='folder with pairs.json')
    parser.add_argument('--pair', metavar='NAME', help='a pair in it')
    parser.add_argument('--metric', metavar='NAME', help='metric, or column of both tables')
    parser.add_argument(
        '--invalid', metavar='RULE',
        help="which values in tables are failed runs, such as 'value <= 0 or value >= 5'",
    )
    parser.add_argument('--seed', type=int, default=0, help='for intervals and samples (0)')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write everything as JSON')
    parser.add_argument('--page', type=Path, metavar='FILE', help='write a page with plots')


def run(args: argparse.Namespace) -> int:
    """Compare, print the tables and the verdict, write what was asked for."""
    if args.seed < 0:
        raise InputError('must be at least 0', key='--seed', value=args.seed)
    pair = _pair(args)
    check_enough(pair)
    with Progress('comparing', _STAGES + steps(pair)) as progress:
        found = compare(pair, seed=args.seed, on_step=progress.advance)
        curve = learning_curve(pair, seed=args.seed, on_step=progress.advance)
    verdict = judge(found, curve)
    _print(pair, [
        ('', metric_rows(found), (0, 3)),
        ('options: change from low to high end (standard error), * influential',
         option_rows(found), (0, 3)),
        ('interactions: coefficient', interaction_rows(found), (0,)),
        ('error / spread of the target, by target measurements', curve_rows(curve), (3,)),
    ])
    for line in found.notes:
        print(f'note: {line}')
    print()
    for line in verdict.text:
        print(line)
    if args.json:
        document = similarity_document(found, curve, verdict)
        write_text(args.json, json.dumps(document, indent=1, allow_nan=False) + '\n')
        print(f'written: {args.json}')
    if args.page:
        print(f'written: {write_similarity_page(args.page, found, curve, verdict)}')
    return 0


def _print(pair: Pair, tables: list[tuple[str, list[list[str]], tuple[int, ...]]]) -> None:
    unit = f' [{pair.unit}]' if pair.unit else ''
    print(f'{pair.metric}{unit}')
    for role, side in (('source', pair.source), ('target', pair.target)):
        print(
            f'{role}: {side.name}, {len(side.y)} configurations, {int(side.valid.sum())} valid'
        )
    for title, rows, text in tables:
        if len(rows) > 1:
            print(f'\n{title}' if title else '')
            print(format_table(rows, text=text))
    print()


def _pair(args: argparse.Namespace) -> Pair:
    """Return what the arguments say to compare. Raises InputError unless they name one thing."""
    given = [
        name for name, value in
        (('STUDY', args.study), ('--tables', args.tables), ('--data', args.data)) if value
    ]
    if len(given) != 1:
        raise InputError(
            'what to compare must be one of STUDY, --tables and --data', value=given
        )
    foreign = {
        'STUDY': ('pair', 'invalid'), '--tables': ('store', 'source', 'target', 'pair'),
        '--data': ('store', 'source', 'target', 'metric'),
    }[given[0]]
    for name in foreign:
        if getattr(args, name):
            raise InputError(
                f'has no meaning with {given[0]}', key=f'--{name}', value=getattr(args, name)
            )
    rule = invalid_rule(args.invalid)
    if args.tables:
        _check_outputs(args, args.tables)
        return load_tables(*args.tables, metric=args.metric, rule=rule)
    if args.data:
        folders = (args.data, args.data / 'raw')
        _check_outputs(args, [path for folder in folders for path in folder.glob('*')])
        return load_recorded(args.data, args.pair or '', rule=rule)
    return _stored(args)


def _check_outputs(args: argparse.Namespace, inputs: Sequence[Path | str]) -> None:
    check_outputs({'--json': args.json, '--page': args.page}, inputs)


def _stored(args: argparse.Namespace) -> Pair:
    """Return the pair that a study's store holds."""
    study = load_study(args.study)
    metric = metric_of(study, args.metric)
    source = study.source if args.source is None else study.environment(args.source)
    target = study.target if args.target is None else study.environment(args.target)
    if source.name == target.name:
        raise InputError('source and target must differ', key='--target', value=target.name)
    path = args.store or f'output/{study.name}.sqlite'
    _check_outputs(args, [args.study, path.removeprefix('sqlite:///')])
    try:
        with Store(path, study=study, create=False, write=False) as store:
            measured = [store.get(environment=name) for name in (source.name, target.name)]
            name = store.name
    except MissingStoreError as error:
        raise TlAdaptError(f'{error}: run `tl_adapt campaign {args.study}` first') from None
    for spec, rows in zip((source, target), measured):
        if not rows:
            verb = 'campaign' if spec is source else 'transfer'
            raise TlAdaptError(
                f'{name} has no measurements of {spec.name}: measure some with '
                f'`tl_adapt {verb} {args.study}` first'
            )
    return pair_of(study, metric, measured[0], measured[1], (source.name, target.name))
