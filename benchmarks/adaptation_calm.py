# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Drive missions beside the adapter in lock-step: with no change at all, and with one of a size.

The first counts false alarms, the second says how often and how soon a change is found. Nothing
is explored in the second: only the alarm is looked at.
"""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from adaptation_setup import Setup, robot, wait_judged

from tl_adapt.demo.adaptation_run import AdapterWatch
from tl_adapt.environments.stack import StackEnvironment
from tl_adapt.progress import Progress
from tl_adapt.seeds import run_seed

SIZES: dict[str, list[dict[str, float]]] = {
    'payload': [{'payload': value} for value in (1.5, 2.0, 2.5)],
    'friction': [{'floor_friction': value} for value in (0.15, 0.13, 0.11)],
    'computer': [{'cpu_factor': value} for value in (9.0, 12.0, 18.0)],
}
_BEFORE = 4  # missions before a change
_AFTER = 10  # missions after it in which it has to be found
_ROBOTS = 2  # at a time: in lock-step they don't disturb each other


def drive(
    setup: Setup, environment: StackEnvironment, watch: AdapterWatch, number: int, first: int = 0
) -> None:
    """Run one mission as it is, with the seed `first` + `number`, and wait until it is judged."""
    seed = run_seed(setup.study.seeds.evaluation, 'adaptation', first + number)
    environment.measure(None, seed)
    wait_judged(watch, number + 1)


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

    def one(job: tuple[Mapping[str, float], int]) -> int | None:
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
            delays = [missions for missions in found if missions]
            rows.append({
                'kind': kind, 'parameter': name, 'from': base[name], 'to': value,
                'repeats': repeats, 'found': len(delays), 'early': found.count(0),
                'delays': delays,
            })
    return rows


def detect(
    setup: Setup, change: Mapping[str, float], first: int, worker: int = 0
) -> int | None:
    """Return after how many missions a change was found, None if not; 0: before it came."""
    with robot(setup, worker=worker) as (environment, watch):
        for number in range(_BEFORE + _AFTER):
            if number == _BEFORE:
                watch.parameters.set_many({'simulator': dict(change)})
            drive(setup, environment, watch, number, first)
            if int(watch.status.get('replans', 0)):
                return max(number - _BEFORE + 1, 0)
    return None


def show_power(rows: list[dict[str, Any]]) -> None:
    """Print how often and how soon each change was found."""
    print(f'\n{"change":12s}{"":16s}{"from":>8s}{"to":>8s}{"found":>10s}{"early":>7s}'
          f'{"missions until":>18s}')
    for row in rows:
        delays = ' '.join(map(str, row['delays'])) or '-'
        print(f'{row["kind"]:12s}{row["parameter"]:16s}{row["from"]:8.3g}{row["to"]:8.3g}'
              f'{row["found"]:7d}/{row["repeats"]:<2d}{row["early"]:7d}{delays:>18s}')
