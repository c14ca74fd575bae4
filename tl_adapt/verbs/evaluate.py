# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the verb `evaluate`: the missions of recorded bags become measurements."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from tl_adapt.cli import INTERRUPTED
from tl_adapt.errors import InputError, try_import
from tl_adapt.keeper import Keeper
from tl_adapt.report.tables import format_table
from tl_adapt.store import Store
from tl_adapt.study import EnvironmentSpec, Study, load_study
from tl_adapt.study_file import find_study
from tl_adapt.verbs.bag_words import Reading, is_bag

if TYPE_CHECKING:
    from tl_adapt.bags.configuration import GivenConfigurations
    from tl_adapt.bags.evaluation import Found
    from tl_adapt.bags.reading import Bag

_TIMES = ('study', 'header', 'recorder')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = (
        "Compute the study's metrics from recorded bags of rosbag2, and put them to the store\n"
        'as measurements of an environment. A bag is a folder or a file, sqlite3 or mcap,\n'
        'compressed, split, without metadata or damaged. Its missions are told apart by their\n'
        'goals; one that is cut off by the end of the bag or by damage does not count. The\n'
        'configuration comes from what was recorded of parameters, or from a YAML file:\n'
        'BAG/configuration.yaml, BAG.yaml, or --configuration. A mission that is in the store\n'
        'already is left as it is.'
    )
    parser.add_argument(
        'bags', nargs='+', metavar='BAG',
        help='folder or file; the name of a study may come first, as for other verbs',
    )
    parser.add_argument('--study', default='', help='study file, or the name of a shipped one')
    parser.add_argument(
        '--environment', default='', metavar='NAME',
        help="environment in which the bags were recorded (the study's target)",
    )
    parser.add_argument(
        '--whole', action='store_true', help='take each bag as one mission, whatever its goals'
    )
    parser.add_argument(
        '--configuration', type=Path, metavar='FILE',
        help='YAML: name: value, a parameter file of ROS, or missions: with a list of these',
    )
    parser.add_argument(
        '--time', choices=_TIMES, default='study',
        help='time of messages: header stamp or time of the recorder; else as each metric says '
        '(study). Another choice gives measurements by another definition, kept apart',
    )
    parser.add_argument(
        '--namespace', default=None, help="namespace of the robot (the environment's)"
    )
    parser.add_argument(
        '--store', default='', metavar='URL|FILE',
        help='SQLite file or URL of SQLAlchemy (OUTPUT/<study>.sqlite)',
    )
    parser.add_argument(
        '--output', type=Path, default=Path('output'), metavar='DIR',
        help='folder for the store (output)',
    )
    parser.add_argument(
        '--traces', type=Path, metavar='DIR', help='keep what metrics read of each mission there'
    )


def run(args: argparse.Namespace) -> int:
    """Evaluate the bags one after the other; return 0, or 130 after ctrl-C."""
    name, paths = _split(args)
    study = _timed(load_study(name), args.time)
    spec = study.environment(args.environment) if args.environment else study.target
    for package in ('rosbags', 'mcap'):
        try_import(package, 'bags')
    path = args.store or str(args.output / f'{study.name}.sqlite')
    tally = _Tally(study)
    with Store(path, study=study) as store:
        keeper = Keeper(study, spec.name, store)
        try:
            for bag in paths:
                _evaluate(args, study, spec, bag, keeper, store, tally)
        except KeyboardInterrupt:
            tally.interrupted = True
        finally:
            tally.show(keeper, spec.name, store.name)
    return INTERRUPTED if tally.interrupted else 0


def _split(args: argparse.Namespace) -> tuple[str, list[Path]]:
    """Return the name of the study and the bags. Raises InputError if one is missing."""
    bags = list(args.bags)
    if args.study:
        return args.study, [Path(bag) for bag in bags]
    if is_bag(Path(bags[0])):
        raise InputError('is required: the study whose metrics are computed', key='--study')
    find_study(bags[0])
    if len(bags) == 1:
        raise InputError('must name a bag behind the study', key='BAG', value=bags[0])
    return bags[0], [Path(bag) for bag in bags[1:]]


def _timed(study: Study, time: str) -> Study:
    """Return the study with the source of time that was asked for, where a metric has one."""
    if time == 'study':
        return study
    metrics = {
        name: dataclasses.replace(metric, time=time) if metric.topic else metric
        for name, metric in study.metrics.items()
    }
    return dataclasses.replace(study, metrics=metrics)


@dataclasses.dataclass
class _Tally:
    """Count what was found, and print it."""

    study: Study
    known: int = 0
    refused: int = 0
    bags: int = 0
    interrupted: bool = False

    def show(self, keeper: Keeper, environment: str, store: str) -> None:
        """Print the sum."""
        if not self.bags:
            return
        print(
            f'{self.study.name}/{environment}: {_counted(keeper.done, "measurement")} added from '
            f'{_counted(self.bags, "bag")} ({keeper.invalid} invalid), {self.known} there '
            f'already, {_counted(self.refused, "mission")} not counted'
        )
        print(f'store: {store}')
        if self.interrupted:
            print('interrupted: what was evaluated is kept; the same command goes on')


def _evaluate(
    args: argparse.Namespace, study: Study, spec: EnvironmentSpec, path: Path, keeper: Keeper,
    store: Store, tally: _Tally,
) -> None:
    """Evaluate one bag, and store each mission as soon as it has been read."""
    from tl_adapt.bags.evaluation import BagEvaluator
    from tl_adapt.bags.reading import Bag

    with Bag(path) as bag:
        namespace = spec.options.get('namespace', '')
        if args.namespace is not None:
            namespace = '/' + args.namespace.strip('/')
        given = _given(args, study, bag, namespace)
        evaluator = BagEvaluator(
            study, bag, spec, whole=args.whole, given=given, namespace=namespace
        )
        tally.bags += 1
        rows: list[list[str]] = []
        try:
            with Reading(path.name) as reading:

                def show(log: int) -> None:
                    reading.show(log - bag.start_ns, bag.end_ns - bag.start_ns)

                for found in evaluator.run(show):
                    rows.append(_keep(args, found, keeper, store, tally))
        finally:
            _print(path, study, rows, evaluator.notes)
            for loss in dict.fromkeys(loss.text for loss in evaluator.losses):
                print(f'  damaged: {loss}')


def _given(
    args: argparse.Namespace, study: Study, bag: Bag, namespace: str
) -> GivenConfigurations | None:
    from tl_adapt.bags.configuration import GivenConfigurations, configuration_file

    path = args.configuration or configuration_file(bag.path)
    return None if path is None else GivenConfigurations(path, study, namespace)


def _keep(
    args: argparse.Namespace, found: Found, keeper: Keeper, store: Store, tally: _Tally
) -> list[str]:
    """Store what was found, and return its row of the table."""
    drive, measurement = found.drive, found.measurement
    head = [str(drive.number), f'{drive.start_ns * 1e-9:.1f}']
    if measurement is None or found.trace is None:
        tally.refused += 1
        return [*head, '', f'does not count: {found.refused}']
    m = measurement
    key = keeper.key(m.configuration, m.seed, m.purpose)
    known = store.has(key)
    if args.traces is not None:
        m.provenance['trace'] = str(
            args.traces / f'{m.provenance["bag"]}-{drive.number}-{m.seed}.npz'
        )
        found.trace.save(m.provenance['trace'])
    if known:
        tally.known += 1
    else:
        keeper.keep(key, m.configuration, m.seed, m.purpose, m)
    outcome = 'valid' if m.valid else f'invalid: {m.reason}'
    values = [
        f'{m.metrics[name]:.4g}' if name in m.metrics else '-' for name in tally.study.metrics
    ]
    return [*head, f'{m.sim_time:.2f}', outcome + ' (known)' * known, *values]


def _counted(number: int, what: str) -> str:
    return f'{number} {what}{"s" * (number != 1)}'


def _print(path: Path, study: Study, rows: list[list[str]], notes: list[str]) -> None:
    """Print the missions of a bag."""
    print(f'{path}: {_counted(len(rows), "mission")}')
    if rows:
        names = [
            f'{name} [{metric.unit}]' if metric.unit not in ('', '1') else name
            for name, metric in study.metrics.items()
        ]
        head = ['mission', 'start [s]', 'time [s]', 'outcome', *names]
        rows = [row + [''] * (len(head) - len(row)) for row in rows]
        print(format_table([head, *rows], text=(3,)))
    for note in notes:
        print(f'  note: {note}')
