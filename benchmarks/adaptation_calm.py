# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Drive missions beside the adapter in lock-step: with no change at all, and with one of a size.

The first counts false alarms, the second says how often and how soon the adapter reacts to a
change: with an alarm, or at once where a mission fails or breaks a limit. Nothing is explored in
the second. A change that costs less than the study's `minimum_gain` is nothing to react to.
"""

from __future__ import annotations

import contextlib
import queue
import statistics
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from adaptation_setup import Setup, robot, wait_judged

from tl_adapt.comparison import objective_values, worst_values
from tl_adapt.demo.adaptation_run import AdapterWatch
from tl_adapt.environments.base import Measurement
from tl_adapt.environments.stack import StackEnvironment
from tl_adapt.progress import Progress
from tl_adapt.seeds import run_seed

SIZES: dict[str, list[dict[str, float]]] = {
    'payload': [{'payload': value} for value in (1.5, 2.0, 2.5)],
    'friction': [{'floor_friction': value} for value in (0.13, 0.11, 0.09)],
    'computer': [{'cpu_factor': value} for value in (9.0, 12.0, 18.0)],
}
_BEFORE = 4  # missions before a change
_AFTER = 10  # missions after it in which it has to be found
_ROBOTS = 2  # at a time: in lock-step they don't disturb each other


@dataclass(frozen=True)
class Reaction:
    """
    Say after how many missions of a change the adapter reacted, None: not; 0: before it came.

    `limit` tells that it was a broken limit or a failed mission; `cost` by which share the change
    raised the objective of what was driven until then, None where such a mission is among it.
    """

    missions: int | None
    limit: bool
    cost: float | None


def drive(
    setup: Setup, environment: StackEnvironment, watch: AdapterWatch, number: int, first: int = 0
) -> Measurement:
    """Run one mission as it is, with the seed `first` + `number`, and wait until it is judged."""
    seed = run_seed(setup.study.seeds.evaluation, 'adaptation', first + number)
    measurement = environment.measure(None, seed)
    wait_judged(watch, number + 1)
    return measurement


def calm(setup: Setup, missions: int) -> dict[str, Any]:
    """Count what the adapter does in missions without any change; the first set is the start."""
    with robot(setup) as (environment, watch), Progress('calm', missions) as progress:
        first = int(watch.status.get('changes', 0))
        done = 0
        with contextlib.suppress(KeyboardInterrupt):
            for number in range(missions):
                drive(setup, environment, watch, number)
                done += 1
                progress.advance(watch.status.get('state', ''))
        return {
            'missions': done, 'changes': int(watch.status.get('changes', 0)) - first,
            'replans': int(watch.status.get('replans', 0)),
        }


def power(setup: Setup, repeats: int) -> list[dict[str, Any]]:
    """Return for each change how often it was found, and after how many missions."""
    rows = []
    base: Mapping[str, Any] = setup.study.target.options['node_parameters']['simulator']
    todo = [(kind, change) for kind, changes in SIZES.items() for change in changes]
    free: queue.SimpleQueue[int] = queue.SimpleQueue()
    for worker in range(_ROBOTS):
        free.put(worker)

    def one(job: tuple[Mapping[str, float], int]) -> Reaction:
        worker = free.get()
        try:
            return detect(setup, job[0], 1000 * (job[1] + 1), worker)
        finally:
            free.put(worker)

    jobs = [(change, repeat) for _, change in todo for repeat in range(repeats)]
    with ThreadPoolExecutor(_ROBOTS) as pool, Progress('power', len(jobs)) as progress:
        results = pool.map(one, jobs)
        for kind, change in todo:
            found = []
            for _ in range(repeats):
                found.append(next(results))
                progress.advance(f'{kind} {change}')
            (name, value), = change.items()
            delays = [one.missions for one in found if one.missions]
            costs = [one.cost for one in found if one.cost is not None]
            rows.append({
                'kind': kind, 'parameter': name, 'from': base[name], 'to': value,
                'repeats': repeats, 'found': len(delays),
                'early': sum(one.missions == 0 for one in found),
                'limits': sum(one.limit for one in found), 'delays': delays,
                'cost': statistics.fmean(costs) if costs else None,
            })
    return rows


def detect(setup: Setup, change: Mapping[str, float], first: int, worker: int = 0) -> Reaction:
    """Change a robot and return how the adapter reacted; `first` is the first mission's seed."""
    found: list[Measurement] = []
    with robot(setup, worker=worker) as (environment, watch):
        begun = int(watch.status.get('changes', 0))
        for number in range(_BEFORE + _AFTER):
            if number == _BEFORE:
                watch.parameters.set_many({'simulator': dict(change)})
            found.append(drive(setup, environment, watch, number, first))
            alarm = bool(int(watch.status.get('replans', 0)))
            if alarm or int(watch.status.get('changes', 0)) > begun:
                return Reaction(max(number - _BEFORE + 1, 0), not alarm, cost(setup, found))
    return Reaction(None, False, cost(setup, found))


def cost(setup: Setup, missions: list[Measurement]) -> float | None:
    """Return by which share the objective rose with the change; None if one went wrong."""
    study = setup.study
    if len(missions) <= _BEFORE or any(
        not one.valid or study.broken_limits(one.metrics) for one in missions
    ):
        return None
    values = objective_values(study, missions, worst_values(study, missions))
    return float(values[_BEFORE:].mean() / values[:_BEFORE].mean() - 1.0)


def show_power(rows: list[dict[str, Any]]) -> None:
    """Print how often and how soon the adapter reacted to each change."""
    print(f'\n{"change":10s}{"":16s}{"from":>7s}{"to":>7s}{"costs":>8s}{"found":>9s}'
          f'{"by limits":>11s}{"early":>7s}{"missions until":>17s}')
    for row in rows:
        delays = ' '.join(map(str, row['delays'])) or '-'
        costs = 'limits' if row['cost'] is None else f'{100 * row["cost"]:+.1f} %'
        print(f'{row["kind"]:10s}{row["parameter"]:16s}{row["from"]:7.3g}{row["to"]:7.3g}'
              f'{costs:>8s}{row["found"]:6d}/{row["repeats"]:<2d}{row["limits"]:11d}'
              f'{row["early"]:7d}{delays:>17s}')
