# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the verb `transfer`: spend a few target measurements and choose a configuration."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from tl_adapt.adaptation.refused import forget_refusals
from tl_adapt.chosen import check_chosen, write_chosen
from tl_adapt.cli import INTERRUPTED
from tl_adapt.environments.base import BAG, Measurement, make_environment
from tl_adapt.environments.lazy import LazyEnvironments
from tl_adapt.errors import ApparatusError, InputError, TlAdaptError, import_ros
from tl_adapt.store import MissingStoreError, Store
from tl_adapt.study import Study, load_study
from tl_adapt.transfer import (
    ENDED_BY_OPERATOR,
    METHODS,
    TransferResult,
    aim_digest,
    floored,
    nothing_to_transfer,
    run_transfer,
)
from tl_adapt.tuning.dialogue import Dialogue
from tl_adapt.tuning.history import History, forget_refused
from tl_adapt.tuning.operator import AtTerminal, Operator, Unattended
from tl_adapt.verbs import ros_arguments

TAKES_ROS_ARGUMENTS = True  # rclpy takes them from the process' own command line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument('study', help='study file, or the name of a shipped one')
    parser.add_argument('--store', default='', help='SQLite file or URL (output/<study>.sqlite)')
    parser.add_argument(
        '--budget', type=int, default=0, help="target measurements (0: the study's budget)"
    )
    parser.add_argument(
        '--method', choices=METHODS, default='transfer',
        help='(transfer); a latin-hypercube is of its budget, all others begin alike with any',
    )
    parser.add_argument(
        '--cost', type=float, default=0.0, help="cost units to spend (0: the study's budget)"
    )
    parser.add_argument(
        '--time', type=float, default=0.0, help="wall time to spend, in s (0: the study's budget)"
    )
    parser.add_argument('--seed', type=seed_number, help="(the study's seeds.tuning)")
    parser.add_argument(
        '--output', type=Path, default=Path('output'), help='folder for the model (output)'
    )
    parser.add_argument(
        '--reuse', action='store_true',
        help='learn also from target measurements chosen for other objectives, limits or seeds',
    )
    parser.add_argument(
        '--forget-refused', action='store_true',
        help='take back what operators and nodes refused on this target, and what operators '
             'rolled back there: it may be proposed and sent again',
    )
    parser.add_argument(
        '--confirm', nargs='?', choices=('terminal', 'service', 'none'), const='terminal',
        default='none', help='ask the operator before each measurement: in this terminal, or by '
        'the services of the node `transfer` (none)',
    )
    parser.add_argument(
        '--confirm-timeout', type=float, default=0.0, metavar='S',
        help='end, with all kept, where a service was not answered for so long (0: wait on)',
    )
    parser.add_argument(
        '--namespace', default='', help="namespace of the node `transfer` (the target's)"
    )


def seed_number(text: str) -> int | None:
    """Return a number; None for an empty text, which a launch file gives for none."""
    try:
        return int(text) if text else None
    except ValueError:
        raise argparse.ArgumentTypeError(f'must be a whole number, got {text!r}') from None


def run(args: argparse.Namespace) -> int:
    """Run the transfer and return the exit code: 0, or 130 after ctrl-C or SIGTERM."""
    for name in ('budget', 'cost', 'time', 'seed', 'confirm_timeout'):
        value = getattr(args, name)
        if value is not None and not value >= 0:
            key = f'--{name.replace("_", "-")}'
            raise InputError('must be at least 0', key=key, value=value)
    if args.confirm_timeout and args.confirm != 'service':
        raise InputError('needs --confirm service', key='--confirm-timeout')
    if args.confirm != 'service':
        ros_arguments.ignore(args, 'without --confirm service no node runs here')
    study = _with_budget(load_study(args.study), args)
    with _open(study, args) as store:
        source = _source(study, args, store)
        check_chosen(args.output)
        try:
            with _terminable():
                result = _spend(study, store, source, args)
        except KeyboardInterrupt:
            result = None
        except ApparatusError as error:
            raise TlAdaptError(f'{error} ({_kept(study, store, args)})') from error
        if result is None or result.interrupted:
            why = 'interrupted' if result is None else result.stopped
            print(f'{why}: {_kept(study, store, args)}')
            return INTERRUPTED
    print(f'stopped: {result.stopped}')
    for text in floored(study, result.measurements):
        _warn(text)
    write_result(study, result, args.output)
    return 0


def _kept(study: Study, store: Store, args: argparse.Namespace) -> str:
    count = store.count(environment=study.target.name, purpose=args.method)
    return f'{count} target measurements are kept in {store.name}; the same command goes on'


def _with_budget(study: Study, args: argparse.Namespace) -> Study:
    """Return the study with the budgets in cost units and time that were asked for."""
    given = {name: getattr(args, name) for name in ('cost', 'time') if getattr(args, name)}
    return dataclasses.replace(study, budget=dataclasses.replace(study.budget, **given))


def _path(study: Study, args: argparse.Namespace) -> str:
    return args.store or str(args.output / f'{study.name}.sqlite')


def _open(study: Study, args: argparse.Namespace) -> Store:
    """Open the store; it must be there already if the source's measurements are needed."""
    path = _path(study, args)
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
    source = [
        measurement for purpose in ('campaign', BAG)
        for measurement in store.get(environment=study.source.name, purpose=purpose)
    ]
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
    seed = study.seeds.tuning if args.seed is None else args.seed
    path = args.output / f'{args.method}.json'
    history = History(path, study, args.method, aim_digest(study, seed))
    stop = threading.Event()
    # A run on the robot is dear: its trace lets metrics be computed anew later.
    environment = make_environment(study, study.target.name, traces=args.output / 'traces')
    simulators = LazyEnvironments(environment, functools.partial(make_environment, study))

    def give_up() -> None:
        stop.set()
        environment.close()
        simulators.close()

    try:
        operator = _operator(study, args, give_up)
        try:
            if args.forget_refused:  # not before all that may be wrong was looked at
                _forget(study, args, store, history)
            dialogue = Dialogue(study, budget, operator, history)
            result = run_transfer(
                study, store, environment, method=args.method, budget=budget, seed=seed,
                source=source, reuse=args.reuse, confirm=dialogue.confirm,
                on_measurement=dialogue.tell, on_simulation=dialogue.simulated, stop=stop,
                refused=history.refused, environments=simulators,
            )
            if stop.is_set():
                result.interrupted, result.stopped = False, ENDED_BY_OPERATOR
            return result
        finally:
            operator.close()
    finally:
        simulators.close()
        environment.close()


def _forget(study: Study, args: argparse.Namespace, store: Store, history: History) -> None:
    """Take back what was refused on the target: in the store, and in all histories beside ours."""
    count = forget_refusals(_path(study, args), study, study.target.name)
    kept = store.refused(study.target.name)
    alone = {json.dumps(one, sort_keys=True) for one in history.refused if one not in kept}
    history.forget()
    for method in METHODS:
        forget_refused(history.path.with_name(f'{method}.json'), study)
    count += store.allow(study.target.name) + len(alone)
    print(f'{count} refusals were taken back', flush=True)


def _operator(
    study: Study, args: argparse.Namespace, give_up: Callable[[], None]
) -> Operator:
    """Return who is asked before each run."""
    if args.confirm == 'none':
        return Unattended(study)
    if args.confirm == 'terminal':
        return AtTerminal(study)
    module = import_ros('tl_adapt.ros.nodes.transfer', '--confirm service')
    namespace = args.namespace or study.target.options.get('namespace', '')
    operator: Operator = module.ByServices(
        study, namespace=namespace, timeout=args.confirm_timeout, give_up=give_up
    )
    return operator


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
    failed = [run.configuration for run in result.tuner.target if not run.valid]
    if len(failed) == len(result.tuner.target):
        too = ', which failed, too' if result.choice.configuration in failed else ''
        _warn(
            f'none of {len(failed)} measurements of {study.target.name} was valid (the last: '
            f'{result.tuner.target[-1].reason}): nothing tells for what is chosen{too}'
        )
    write_chosen(study, result.choice, result.tuner.model, output)


def _warn(text: str) -> None:
    print(f'tl_adapt: warning: {text}', file=sys.stderr)
