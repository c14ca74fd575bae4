# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the verb `campaign`: measure configurations in one environment, resumably."""

from __future__ import annotations

import argparse
import collections
import functools
import time
from collections.abc import Iterable
from pathlib import Path

from tl_adapt.campaign import CampaignResult, Run, campaign_runs, run_campaign
from tl_adapt.cli import INTERRUPTED
from tl_adapt.digests import KeyMaker
from tl_adapt.environments.base import Measurement, make_environment
from tl_adapt.errors import InputError, TlAdaptError
from tl_adapt.progress import duration
from tl_adapt.store import Store
from tl_adapt.study import Study, load_study

_REASONS = 5
#: Argument, lowest and highest value: a typing error must not plan for hours or fill the memory.
RUN_BOUNDS = (('workers', 1, 1_000), ('repeats', 0, 1_000), ('seed', 0, None))
_BOUNDS = (('configurations', 0, 100_000), *RUN_BOUNDS)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument('study', help='study file, or the name of a shipped one')
    parser.add_argument(
        '--environment', default='', metavar='NAME', help="(the study's source environment)"
    )
    parser.add_argument(
        '--configurations', type=int, default=0, metavar='N',
        help="configurations to measure (0: the study's budget)",
    )
    add_run_arguments(parser, 'environments', 'runs')
    parser.add_argument(
        '--design', choices=('sobol', 'lhs', 'random'), default='sobol', help='(sobol)'
    )


def add_run_arguments(parser: argparse.ArgumentParser, side: str, runs: str) -> None:
    """Describe the arguments of verbs that measure: `side` run side by side, and make `runs`."""
    parser.add_argument(
        '--workers', type=int, default=1, metavar='N', help=f'{side} side by side (1)'
    )
    parser.add_argument(
        '--store', default='', metavar='URL|FILE',
        help='SQLite file or URL of SQLAlchemy (OUTPUT/<study>.sqlite)',
    )
    parser.add_argument(
        '--seed', type=int, default=None, metavar='N', help="(the study's seeds.campaign)"
    )
    parser.add_argument(
        '--repeats', type=int, default=0, metavar='N',
        help=f"{runs} of each configuration (0: the study's mission.repeats, or 1)",
    )
    parser.add_argument(
        '--output', type=Path, default=Path('output'), metavar='DIR',
        help='folder for the store and the traces (output)',
    )
    parser.add_argument(
        '--no-traces', action='store_true',
        help='keep no traces; metrics can not be computed anew then',
    )


def check_bounds(
    args: argparse.Namespace, bounds: Iterable[tuple[str, int, int | None]]
) -> None:
    """Raise InputError for an argument outside of its bounds; one that is not given may be."""
    for name, low, high in bounds:
        value = getattr(args, name)
        if value is not None and value < low:
            raise InputError(f'must be at least {low}', key=f'--{name}', value=value)
        if value is not None and high is not None and value > high:
            raise InputError(f'must be at most {high}', key=f'--{name}', value=value)


def run(args: argparse.Namespace) -> int:
    """Run or resume the campaign; return 0, 130 after ctrl-C, or 2 if runs are missing."""
    check_bounds(args, _BOUNDS)
    study = load_study(args.study)
    spec = study.environment(args.environment) if args.environment else study.source
    budget = study.budget.target if spec.role == 'target' else study.budget.source
    runs = campaign_runs(
        study,
        spec.name,
        args.configurations or budget,
        seed=study.seeds.campaign if args.seed is None else args.seed,
        repeats=args.repeats or (study.mission.repeats if study.mission else 1),
        method=args.design,
    )
    path = args.store or str(args.output / f'{study.name}.sqlite')
    begin = time.monotonic()
    with Store(path, study=study) as store:
        traces = None if args.no_traces else args.output / 'traces'
        make = functools.partial(make_environment, traces=traces)
        result = run_campaign(
            study, spec.name, runs, store, workers=args.workers, make=make
        )
        measurements = measured_runs(study, spec.name, runs, store)
        left_out = store.left_out()
        name = store.name
    show_campaign(f'{study.name}/{spec.name}', result, measurements, time.monotonic() - begin)
    if left_out:
        print(f'{left_out} measurements of other studies or definitions there are not used')
    print(f'store: {name}')
    return exit_code(result)


def exit_code(result: CampaignResult) -> int:
    """Say what is missing, if something is, and return the verb's exit code."""
    if result.interrupted:
        print('interrupted: what was measured is kept; the same command goes on')
        return INTERRUPTED
    if result.unmeasured:
        print(
            f'{result.unmeasured} runs could not be measured ({"; ".join(result.reasons)}); '
            'the same command tries them again'
        )
        return TlAdaptError.exit_code
    return 0


def measured_runs(
    study: Study, environment: str, runs: list[Run], store: Store
) -> list[Measurement]:
    """Return what the store has of these runs, now and from before."""
    maker = KeyMaker(study, environment)
    keys = {maker.key(run.configuration, run.seed, run.purpose) for run in runs}
    return [m for m in store.get(environment=environment) if m.key in keys]


def show_campaign(
    label: str, result: CampaignResult, measurements: list[Measurement], seconds: float
) -> None:
    """Print what a campaign did, and why runs are invalid."""
    invalid = [m for m in measurements if not m.valid]
    print(
        f'{label}: {result.done} measured in {duration(seconds)}, {result.skipped} were there '
        f'already; {len(invalid)} of {len(measurements)} are invalid'
    )
    reasons = collections.Counter(m.reason for m in invalid)
    for reason, count in reasons.most_common(_REASONS):
        print(f'  {count} x {reason}')
    if len(reasons) > _REASONS:
        print(f'  and {len(reasons) - _REASONS} other reasons')
