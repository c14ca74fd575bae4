# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Drive missions side by side: with the default, tuned once, adapted, and with the oracle's choice.

Each has a stack of its own; all begin the same mission (same seed) together, so that whatever
loads the host loads all of them. The changes come to all at once.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from adaptation_setup import PHASES, Setup, robot, wait_judged

from tl_adapt.comparison import objective_values, worst_values
from tl_adapt.demo.adaptation_run import AdapterWatch
from tl_adapt.environments.base import Measurement
from tl_adapt.environments.stack import StackEnvironment
from tl_adapt.progress import Progress
from tl_adapt.ros.isolation import spawn
from tl_adapt.seeds import run_seed

ADAPTED, ORACLE = 'adapted', 'oracle'
_HOGS = 4  # processes for each core


@dataclass
class Arm:
    """Hold one stack, what drives in it, and its missions."""

    name: str
    environment: StackEnvironment
    watch: AdapterWatch
    fixed: dict[str, dict[str, Any]] | None  # phase -> configuration
    missions: list[Measurement] = field(default_factory=list)
    changes: list[int] = field(default_factory=list)  # by the adapter, so far
    replans: list[int] = field(default_factory=list)

    def drive(self, phase: str, seed: int) -> None:
        """Run one mission; the adapter has judged it on return."""
        configuration = None if self.fixed is None else self.fixed[phase]
        self.missions.append(self.environment.measure(configuration, seed))
        if self.fixed is None:
            wait_judged(self.watch, len(self.missions))
        status = self.watch.status
        self.changes.append(int(status.get('changes', 0)))
        self.replans.append(int(status.get('replans', 0)))


@contextlib.contextmanager
def hogs(number: int) -> Iterator[None]:
    """Keep processes busy, each at full speed, as long as the block runs."""
    found = [spawn([sys.executable, '-c', 'while True: pass'], stdin=subprocess.DEVNULL)
             for _ in range(number)]
    try:
        yield
    finally:
        for process in found:
            process.kill()
            process.wait()


@contextlib.contextmanager
def arms(setup: Setup, fixed: dict[str, dict[str, dict]]) -> Iterator[list[Arm]]:
    """Bring up a stack for the adapter and one for each of `fixed` (see Arm)."""
    found = []
    with contextlib.ExitStack() as stack:
        for number, name in enumerate([ADAPTED, *fixed]):
            environment, watch = stack.enter_context(
                robot(setup, worker=number, adapter=name == ADAPTED))
            found.append(Arm(name, environment, watch, fixed.get(name)))
        yield found


def inject(some: list[Arm], setup: Setup, phase: str) -> None:
    """Change the robot in each stack to what it is in a phase."""
    base = setup.study.target.options['node_parameters']['simulator']
    changed = {name for change in PHASES.values() for name in change}
    values = {name: PHASES[phase].get(name, base[name]) for name in changed}
    for arm in some:
        arm.watch.parameters.set_many({'simulator': values})


def drive(setup: Setup, missions: int, fixed: dict[str, dict[str, dict]]) -> list[Arm]:
    """Drive the missions of all phases; ctrl-C ends it and keeps what was driven."""
    each = max(missions // len(PHASES), 1)
    base = setup.study.seeds.evaluation
    with arms(setup, fixed) as some, ThreadPoolExecutor(len(some)) as pool, \
            Progress('missions', each * len(PHASES)) as progress, \
            contextlib.suppress(KeyboardInterrupt):
        number = 0
        for phase in PHASES:
            inject(some, setup, phase)
            busy = _HOGS * (os.cpu_count() or 1) if phase == 'hog' else 0
            with hogs(busy):
                for _ in range(each):
                    seed = run_seed(base, 'adaptation', number)
                    number += 1
                    list(pool.map(lambda arm, p=phase, s=seed: arm.drive(p, s), some))
                    progress.advance(phase)
    return some


def summarise(setup: Setup, some: list[Arm]) -> dict[str, Any]:
    """Return objectives by arm and phase, limits broken, changes and times of recovery."""
    study = setup.study
    number = min(len(arm.changes) for arm in some)
    worst = worst_values(study, [m for arm in some for m in arm.missions])
    values = {arm.name: objective_values(study, arm.missions[:number], worst) for arm in some}
    each = -(-number // len(PHASES)) if number else 0
    phases = {
        phase: slice(i * each, min((i + 1) * each, number)) for i, phase in enumerate(PHASES)
    }
    found: dict[str, Any] = {'missions': number, 'arms': {}, 'objectives': {
        name: list(map(float, each)) for name, each in values.items()
    }}
    for arm in some:
        runs = arm.missions[:number]
        found['arms'][arm.name] = {
            'mean': {phase: mean(values[arm.name][part]) for phase, part in phases.items()},
            'all': mean(values[arm.name]),
            'failed': sum(not m.valid for m in runs),
            'limits broken': sum(bool(study.broken_limits(m.metrics)) for m in runs if m.valid),
            'regret': mean(values[arm.name] - values[ORACLE]) if ORACLE in values else None,
        }
    adapted = next(arm for arm in some if arm.name == ADAPTED)
    found['changes'] = adapted.changes[number - 1] if number else 0
    found['replans'] = adapted.replans[number - 1] if number else 0
    found['recovery'] = {
        phase: recovery(
            values[ADAPTED][part], values[ORACLE][part],
            [m.sim_time for m in adapted.missions[part]],
        ) for phase, part in phases.items() if ORACLE in values
    }
    return found


def mean(values: np.ndarray) -> float | None:
    """Return the mean, None of nothing."""
    return float(np.mean(values)) if len(values) else None


def recovery(
    ours: np.ndarray, best: np.ndarray, seconds: list[float], tolerance: float = 0.1
) -> dict[str, float] | None:
    """
    Return missions and simulated s from a change until the robot was as good as it can be.

    That is from when on the mean of the missions left, less the oracle's, is at most `tolerance`
    of the oracle's, and so for each later one; None if that never came.
    """
    for begin in range(len(ours)):
        rest = [
            float(np.mean(ours[i:] - best[i:])) <= tolerance * float(np.mean(best))
            for i in range(begin, len(ours))
        ]
        if all(rest) and len(rest) >= 2:
            return {'missions': begin, 'seconds': float(sum(seconds[:begin]))}
    return None


def show(found: dict[str, Any]) -> None:
    """Print the table."""
    print(f'\n{found["missions"]} missions each, side by side, real time; mean objective')
    print(f'{"":14s}{"".join(f"{phase:>10s}" for phase in [*PHASES, "all"])}'
          f'{"failed":>8s}{"limits":>8s}{"regret":>9s}')
    for name, row in found['arms'].items():
        cells = [*row['mean'].values(), row['all']]
        text = ''.join(f'{"-":>10s}' if c is None else f'{c:10.3f}' for c in cells)
        regret = '-' if row['regret'] is None else f'{row["regret"]:.3f}'
        print(f'{name:14s}{text}{row["failed"]:8d}{row["limits broken"]:8d}{regret:>9s}')
    print(f'the adapter made {found["changes"]} changes and planned anew {found["replans"]} times')
    for phase, entry in found['recovery'].items():
        text = 'not within the phase' if entry is None else (
            f'after {entry["missions"]} missions, {entry["seconds"]:.0f} s')
        print(f'as good as the oracle, but for 10 %, in phase {phase}: {text}')
