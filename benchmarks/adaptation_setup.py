# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Prepare the benchmark of adaptation: its study, a model from a transfer, and the oracle.

The robot is the demo's stand-in at real-time factor 1. It meets three changes, one after the
other: a payload, a smoother floor, and processes that take the computer's time.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tl_adapt.campaign import Run, campaign_runs, run_campaign
from tl_adapt.chosen import write_chosen
from tl_adapt.comparison import objective_values, worst_values
from tl_adapt.demo.adaptation_run import AdapterWatch, running_adapter, watching
from tl_adapt.environments.base import Measurement, make_environment
from tl_adapt.environments.stack import StackEnvironment
from tl_adapt.errors import TlAdaptError
from tl_adapt.seeds import run_seed
from tl_adapt.store import Store
from tl_adapt.study import Study, load_study
from tl_adapt.transfer import run_transfer

BEFORE = 'before'
#: What differs from `before` in each phase, as parameters of the simulator. The oracle of the
#: last one is found in lock-step with a slower computer: other processes don't count there.
PHASES: dict[str, dict[str, Any]] = {
    BEFORE: {}, 'payload': {'payload': 2.2}, 'friction': {'floor_friction': 0.12}, 'hog': {},
}
_ORACLE = {**PHASES, 'hog': {'cpu_factor': 12.0}}
_JUDGE = 120.0  # s of wall time that the adapter gets to judge a mission
_KEPT = 20  # configurations that are measured again
_AGAIN = 4  # seeds
# A graph is joined by this process' environment variables: one at a time.
_JOINING = threading.Lock()


@dataclass(frozen=True)
class Setup:
    """Hold the study, the configuration that transfer chose, and where things are."""

    study: Study
    store: Path
    folder: Path
    tuned: dict[str, Any]


def content(mode: str, explore: int) -> dict[str, Any]:
    """Return the study: the demo's, its robot in a mode, each phase of the oracle in lock-step."""
    robot = load_study('demo').target.options
    base = robot['node_parameters']['simulator']
    environments: dict[str, Any] = {
        'robot': {
            'identity': {'clock': mode}, 'node_parameters': {'simulator': {'mode': mode}},
        },
        'changed_robot': None,
    }
    for phase, change in _ORACLE.items():
        environments[f'oracle_{phase}'] = {
            'kind': 'stack', 'role': 'test', 'bringup': robot['bringup'],
            'simulator': robot['simulator'], 'identity': {'phase': phase},
            'node_parameters': {'simulator': {**base, **change}},
        }
    return {
        'extends': str(load_study('demo').path), 'name': 'adaptation',
        'environments': environments, 'adaptation': {'explore': explore},
    }


def prepare(folder: Path, mode: str, *, explore: int = 5) -> Setup:
    """
    Measure what is missing for a model of the robot, as a user would.

    `mode` is the simulator's, real_time or lock_step.
    """
    folder, file = folder / f'{mode}_{explore}', folder / 'measurements.sqlite'
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / 'adaptation.yaml'
    path.write_text(yaml.safe_dump(content(mode, explore), sort_keys=False))
    study = load_study(path)
    with Store(file, study=study) as store:
        runs = campaign_runs(
            study, study.source.name, study.budget.source, seed=study.seeds.campaign
        )
        run_campaign(study, study.source.name, runs, store, workers=2)
        source = store.get(environment=study.source.name, purpose='campaign')
        robot = make_environment(study, study.target.name)
        try:
            result = run_transfer(
                study, store, robot, budget=study.budget.target, seed=study.seeds.tuning,
                source=source,
                on_measurement=lambda i, *_: print(
                    f'transfer {i + 1}/{study.budget.target}', file=sys.stderr
                ),
            )
        finally:
            robot.close()
    if result.choice is None:
        raise TlAdaptError('the transfer chose nothing')
    write_chosen(study, result.choice, result.tuner.model, folder)
    return Setup(study, file, folder, dict(result.choice.configuration))


@contextlib.contextmanager
def robot(
    setup: Setup, *, worker: int = 0, adapter: bool = True
) -> Iterator[tuple[StackEnvironment, AdapterWatch]]:
    """Bring up the robot in a graph of its own, with an adapter beside it that is ready."""
    with contextlib.ExitStack() as stack:
        environment = StackEnvironment(setup.study, setup.study.target.name, worker=worker)
        stack.callback(environment.close)
        variables = environment.environment()
        with _JOINING:
            watch = stack.enter_context(watching(variables))
        if adapter:
            folder = setup.folder
            if worker:  # its journal is beside its model, and each adapter's own
                folder = setup.folder / f'robot_{worker}'
                shutil.copytree(setup.folder / 'model', folder / 'model', dirs_exist_ok=True)
            stack.enter_context(running_adapter(setup.study, folder, variables))
            watch.wait('ready', lambda: watch.ready_for(0), 60.0)
        yield environment, watch


def wait_judged(watch: AdapterWatch, missions: int) -> None:
    """Wait until the adapter has dealt with that many missions."""
    watch.wait(f'done with mission {missions}', lambda: watch.ready_for(missions), _JUDGE)


def oracle(setup: Setup, phase: str, number: int) -> dict[str, Any]:
    """
    Return the best of `number` configurations in a phase; the best ones had several seeds.

    Those that break a limit or fail don't count. The default and the tuned one are among them.
    """
    study, name = setup.study, f'oracle_{phase}'
    default = study.space.default()
    design = [default, setup.tuned, *study.space.sample(max(number - 2, 0), seed=11)]
    seeds = [run_seed(study.seeds.evaluation, 'evaluation', 500 + i) for i in range(1 + _AGAIN)]
    with Store(setup.store, study=study) as store:

        def measured(configurations: list[dict], chosen: list[int]) -> list[Measurement]:
            runs = [Run(c, seed, 'evaluation') for seed in chosen for c in configurations]
            run_campaign(study, name, runs, store, workers=2)
            return store.get(environment=name, purpose='evaluation')

        rows = measured(design, seeds[:1])
        ranked = ranking(study, rows)[:_KEPT]
        rows = measured([c for c, _ in ranked], seeds[1:])
    often = {key_of(c) for c, _ in ranked}
    found = ranking(study, [row for row in rows if key_of(row.configuration) in often])
    if not found:
        raise TlAdaptError(f'no configuration keeps all limits in phase {phase}')
    return found[0][0]


def ranking(study: Study, rows: list[Measurement]) -> list[tuple[dict, float]]:
    """Return configurations that kept all limits in each run, by mean objective."""
    worst = worst_values(study, rows)
    values = objective_values(study, rows, worst)
    groups: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(key_of(row.configuration), []).append(index)
    found = [
        (dict(rows[some[0]].configuration), float(np.mean(values[some])))
        for some in groups.values()
        if all(rows[i].valid and not study.broken_limits(rows[i].metrics) for i in some)
    ]
    return sorted(found, key=lambda pair: pair[1])


def key_of(configuration: Mapping[str, Any]) -> str:
    """Return a text that is equal for equal configurations."""
    return repr(sorted(configuration.items()))
