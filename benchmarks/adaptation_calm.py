# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Drive missions beside the adapter in lock-step: with no change at all, and with one of a size.

The first counts false alarms, the second says how often and how soon a change is found. Nothing
is explored in the second: only the alarm is looked at.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from adaptation_setup import Setup

from tl_adapt.demo.adaptation_run import AdapterWatch, running_adapter, watching
from tl_adapt.environments.stack import StackEnvironment
from tl_adapt.progress import Progress
from tl_adapt.seeds import run_seed

SIZES: dict[str, list[dict[str, float]]] = {
    'payload': [{'payload': value} for value in (1.5, 2.0, 2.5)],
    'friction': [{'floor_friction': value} for value in (0.15, 0.13, 0.11)],
    'computer': [{'cpu_factor': value} for value in (9.0, 12.0, 18.0)],
}
_JUDGE = 120.0
_BEFORE = 4  # missions before a change
_AFTER = 10  # missions after it in which it has to be found


@contextlib.contextmanager
def beside(setup: Setup) -> Iterator[tuple[StackEnvironment, AdapterWatch]]:
    """Bring up a stack with an adapter."""
    environment = StackEnvironment(setup.study, setup.study.target.name)
    try:
        variables = environment.environment()
        with watching(variables) as watch, running_adapter(
            setup.study, setup.folder, variables
        ):
            watch.wait('ready', lambda: watch.ready_for(0), 60.0)
            yield environment, watch
    finally:
        environment.close()


def drive(setup: Setup, environment: StackEnvironment, watch: AdapterWatch, number: int) -> None:
    """Run one mission as it is, and wait until the adapter has judged it."""
    environment.measure(None, run_seed(setup.study.seeds.evaluation, 'adaptation', number))
    judged = int(watch.status.get('windows', 0))
    watch.wait(f'done with a mission after {judged}',
               lambda: watch.ready_for(number + 1), _JUDGE)


def calm(setup: Setup, missions: int) -> dict[str, Any]:
    """Count what the adapter does in missions without any change; the first set is the start."""
    with beside(setup) as (environment, watch), Progress('calm', missions) as progress:
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
    with Progress('power', len(todo) * repeats) as progress:
        for kind, change in todo:
            delays: list[int] = []
            early = 0
            for repeat in range(repeats):
                found = detect(setup, change, 1000 * (repeat + 1))
                early += found == 0
                delays += [found] if found else []
                progress.advance(f'{kind} {change}')
            (name, value), = change.items()
            rows.append({
                'kind': kind, 'parameter': name, 'from': base[name], 'to': value,
                'repeats': repeats, 'found': len(delays), 'early': early, 'delays': delays,
            })
    return rows


def detect(setup: Setup, change: Mapping[str, float], first: int) -> int | None:
    """Return after how many missions a change was found, None if not; 0: before it came."""
    with beside(setup) as (environment, watch):
        for number in range(_BEFORE + _AFTER):
            if number == _BEFORE:
                watch.parameters.set_many({'simulator': dict(change)})
            environment.measure(
                None, run_seed(setup.study.seeds.evaluation, 'adaptation', first + number))
            watch.wait('done with a mission', lambda n=number: watch.ready_for(n + 1), _JUDGE)
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
