# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the verb `replay`: what other configurations would have made of a recorded drive."""

from __future__ import annotations

import argparse
import functools
import json
import math
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tl_adapt.acquisition import FEASIBLE
from tl_adapt.campaign import Run, campaign_runs, plan_runs, run_campaign
from tl_adapt.configuration_file import read_configurations
from tl_adapt.designs import fingerprint
from tl_adapt.environments.base import Measurement, make_environment
from tl_adapt.environments.replay import ReplayEnvironment
from tl_adapt.errors import InputError, TlAdaptError
from tl_adapt.models.model_set import ModelSet
from tl_adapt.report.tables import format_table
from tl_adapt.space import Configuration
from tl_adapt.store import MissingStoreError, Store
from tl_adapt.study import Study, load_study
from tl_adapt.verbs.bag_words import Reading, is_bag
from tl_adapt.verbs.campaign import (
    RUN_BOUNDS,
    add_run_arguments,
    check_bounds,
    exit_code,
    measured_runs,
    show_campaign,
)

_MOST = 100_000
_TOP = re.compile(r'top:([0-9]+)')
_POOL = 4096  # configurations from which the best are taken
_ROWS = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = (
        'Bring up software such as a localizer, feed it what was recorded, and measure each\n'
        'configuration against what is known of the drive. Nothing that was recorded is lost on\n'
        'the way, or the measurement is invalid. Only parameters of nodes that are replayed vary.'
    )
    parser.add_argument(
        'words', nargs='*', metavar='BAG',
        help='folder or file; the name of a study may come first, as for other verbs, and its '
        'environment may name the bag',
    )
    parser.add_argument('--study', default='', help='study file, or the name of a shipped one')
    parser.add_argument(
        '--environment', default='', metavar='NAME',
        help='environment of kind replay (the only one of the study)',
    )
    parser.add_argument(
        '--configurations', default='', metavar='N|FILE|top:K',
        help="a design of N; those of a YAML file; the K that a model of the store's "
        "measurements finds best, with the default (the study's budget)",
    )
    add_run_arguments(parser, 'replays', 'replays')


def run(args: argparse.Namespace) -> int:
    """Replay or resume; return 0, 130 after ctrl-C, or 2 if replays are missing."""
    check_bounds(args, RUN_BOUNDS)
    study, bag = _study_and_bag(args)
    name = _environment(study, args.environment)
    if bag is not None:
        study = _with_bag(study, name, bag, args.output)
    # Before anything is started: a bag that does not fit is told of at once.
    with Reading(f'reading {Path(str(study.environment(name).options["bag"])).name}') as reading:
        environment = ReplayEnvironment(study, name, progress=reading.show)
    path = args.store or str(args.output / f'{study.name}.sqlite')
    runs = _runs(args, study, environment, path)
    for text in environment.damage:
        print(f'warning: the bag is not whole: {text}')
    if environment.held:
        held = ', '.join(f'{key} {value}' for key, value in sorted(environment.held.items()))
        print(f'not replayed, so as they were when the bag was recorded: {held}')
    begin = time.monotonic()
    with Store(path, study=study) as store:
        make = functools.partial(
            make_environment, traces=None if args.no_traces else args.output / 'traces'
        )
        result = run_campaign(study, name, runs, store, workers=args.workers, make=make)
        measurements = measured_runs(study, name, runs, store)
        place = store.name
    show_campaign(f'{study.name}/{name}', result, measurements, time.monotonic() - begin)
    _show(study, measurements, environment.held_fast(study.space.default()))
    print(f'store: {place}')
    if bag is not None:
        print(f'study with this bag, for other verbs: {study.path}')
    return exit_code(result)


def _study_and_bag(args: argparse.Namespace) -> tuple[Study, Path | None]:
    """Return the study, and the bag if one is named. Raises InputError."""
    # A launch file has an empty word for what is not given.
    words = [word for word in args.words if word]
    if not args.study:
        if not words or is_bag(Path(words[0])):
            raise InputError('is required: the study that says what is replayed', key='--study')
        args.study = words.pop(0)
    if len(words) > 1:
        raise InputError('one bag can be replayed', key='BAG', value=words[1])
    bag = Path(words[0]) if words else None
    if bag is not None and not bag.exists():
        raise InputError('there is no such bag', file=bag)
    return load_study(args.study), bag


def _environment(study: Study, wanted: str) -> str:
    """Return the environment to replay in."""
    if wanted:
        spec = study.environment(wanted)
        if spec.kind != 'replay':
            raise InputError('must be of kind replay', key='--environment',
                             value=f'{spec.name} of kind {spec.kind}')
        return spec.name
    names = [spec.name for spec in study.environments.values() if spec.kind == 'replay']
    if len(names) != 1:
        rule = 'must name one of several' if names else 'the study has none of kind replay'
        raise InputError(rule, file=study.path, key='--environment', value=names)
    return names[0]


def _with_bag(study: Study, name: str, bag: Path, output: Path) -> Study:
    """Return a study, written beside the results, that replays another bag."""
    key = f'environments.{name}.bag'
    own = study.folder(key) / str(study.environment(name).options['bag'])
    if bag.resolve() == own.resolve():
        return study
    folder = output / 'replays'
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f'{study.name}-{bag.resolve().stem}.yaml'
    path.write_text(json.dumps({
        'extends': [str(Path(study.path).resolve())], 'name': study.name,
        'environments': {name: {'bag': str(bag.resolve())}},
    }, indent=1) + '\n', encoding='utf-8')
    return load_study(path)


def _runs(
    args: argparse.Namespace, study: Study, environment: ReplayEnvironment, path: str
) -> list[Run]:
    """Return what `--configurations` asks for."""
    text = args.configurations
    seed = study.seeds.campaign if args.seed is None else args.seed
    repeats = args.repeats or (study.mission.repeats if study.mission else 1)
    spec = study.environment(environment.name)
    budget = study.budget.target if spec.role == 'target' else study.budget.source
    if not text or text.isdecimal():
        count = int(text) if text else budget
        if not 1 <= count <= _MOST:
            raise InputError(f'must be between 1 and {_MOST}', key='--configurations', value=text)
        return campaign_runs(study, spec.name, count, seed=seed, repeats=repeats)
    top = _TOP.fullmatch(text)
    if top is not None:
        configurations = _best(study, environment, path, int(top[1]))
    else:
        configurations = _listed(study, environment, Path(text))
    return plan_runs(configurations, seed=seed, repeats=repeats)


def _listed(study: Study, environment: ReplayEnvironment, path: Path) -> list[Configuration]:
    """Return the configurations of a YAML file; what one leaves out is as in the default."""
    if not path.is_file():
        rule = 'must be a number, a file, or top:K'
        raise InputError(rule, key='--configurations', value=str(path))
    base = environment.held_fast(study.space.default())

    def complete(row: Mapping[str, Any]) -> Configuration:
        configuration = study.space.validate({**base, **row})
        environment.check_held(configuration)
        return configuration

    found: dict[str, Configuration] = {}
    for configuration in read_configurations(path, complete, _MOST):
        found.setdefault(fingerprint(configuration), configuration)
    return list(found.values())


def _best(
    study: Study, environment: ReplayEnvironment, path: str, count: int
) -> list[Configuration]:
    """Return the default and the best configurations, by a model of what the store has."""
    if not 1 <= count <= _MOST:
        raise InputError(f'K must be between 1 and {_MOST}', key='--configurations', value=count)
    rows: dict[str, list[Measurement]] = {'source': [], 'target': []}
    try:
        with Store(path, study=study, create=False, write=False) as store:
            for spec in study.environments.values():
                if spec.role in rows:
                    rows[spec.role] += store.get(environment=spec.name)
    except MissingStoreError as error:
        raise TlAdaptError(f'top:{count} takes the best of what was measured: {error}') from None
    if not any(m.valid for each in rows.values() for m in each):
        raise TlAdaptError(f'top:{count} takes the best of what was measured: {path} has none')
    model = ModelSet(study, study.seeds.tuning).fit(rows['source'], rows['target'])
    space = study.space
    pool: dict[str, Configuration] = {}
    measured = [m.configuration for each in rows.values() for m in each]
    for each in (*measured, *space.sample(_POOL, seed=study.seeds.tuning)):
        try:
            configuration = space.validate(environment.held_fast(each))
        except InputError:
            continue  # a constraint does not hold with the values of then
        pool.setdefault(fingerprint(configuration), configuration)
    candidates = list(pool.values())
    found = model.assess(space.encode(candidates))
    order = np.lexsort((found.mean, found.feasible < FEASIBLE))
    default = [environment.held_fast(space.default())]
    return default + [c for i in order[: count + 1] if (c := candidates[i]) not in default][:count]


def _show(
    study: Study, measurements: Sequence[Measurement], default: Configuration
) -> None:
    """Print the configurations, the best first, and how fast they were replayed."""
    groups: dict[str, list[Measurement]] = {}
    for m in measurements:
        if m.valid:
            groups.setdefault(fingerprint(m.configuration), []).append(m)
    if not groups:
        return
    names = list(study.metrics)
    rows = []
    for each in groups.values():
        means = {n: float(np.mean([m.metrics[n] for m in each])) for n in names}
        rows.append((study.objective(means), means, each))
    rows.sort(key=lambda row: row[0])
    varied = [
        name for name in study.space.names
        if len({json.dumps(row[2][0].configuration[name]) for row in rows}) > 1
    ]
    table: list[Sequence[str]] = [('', 'objective', *names, *varied)]
    for number, (objective, means, each) in enumerate(rows, 1):
        configuration = each[0].configuration
        is_default = configuration == default
        if number > _ROWS and not is_default:
            continue
        table.append((
            f'{number}{" (default)" if is_default else ""}', f'{objective:.4g}',
            *(f'{means[n]:.4g}' for n in names),
            *(_short(configuration[n]) for n in varied),
        ))
    print(format_table(table))
    if len(rows) > _ROWS:
        print(f'the best {_ROWS} of {len(rows)} configurations')
    valid = [m for m in measurements if m.valid]
    replayed = sum(m.sim_time for m in valid)
    took = sum(
        mission['wall_time'] for m in valid for mission in m.provenance.get('missions', ())
    )
    if took > 0.0 and math.isfinite(replayed):
        print(
            f'{replayed:.0f} s of the bag replayed in {took:.0f} s: {replayed / took:.1f} times '
            'real time per worker'
        )


def _short(value: Any) -> str:
    return f'{value:.4g}' if isinstance(value, float) else str(value)
