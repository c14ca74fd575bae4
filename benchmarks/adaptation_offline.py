# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Drive the policy against emulated robots: many sequences of missions in a minute, no ROS.

Each phase's robot is a model of what was measured in the oracle's environment of that phase, from
which missions are drawn, noise, broken limits and failures included. So the parts that decide
(policy, detection, planner) can be compared over many sequences; the figures are those of the
emulated robot, not of the real-time benchmark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from adaptation_missions import ADAPTED
from adaptation_setup import BEFORE, PHASES, Setup, key_of

from tl_adapt.adaptation.events import ApplyResult, Band, Start, Window
from tl_adapt.adaptation.making import make_policy
from tl_adapt.adaptation.model_planner import ModelPlanner
from tl_adapt.adaptation.recurring import bands_of
from tl_adapt.comparison import objective_values, worst_values
from tl_adapt.environments.base import Measurement
from tl_adapt.models.model_set import ModelSet
from tl_adapt.policy import Policy
from tl_adapt.progress import Progress
from tl_adapt.store import Store
from tl_adapt.study import Study

# A model of few outcomes is never sure; whether a mission fails hangs on little but luck.
_SURE = 3.0


class Emulated:
    """Draw missions of one phase's robot from models of what was measured there."""

    def __init__(self, study: Study, source: Sequence[Measurement], rows: Sequence[Measurement]):
        """Fit the models."""
        self.study = study
        self._model = ModelSet(study, seed=5).fit(source, rows)
        self._known: dict[str, tuple[dict[str, Band], float]] = {}

    def measure(self, configuration: Mapping[str, Any], rng: np.random.Generator) -> Measurement:
        """Draw one mission; the same generator gives the same luck to each configuration."""
        bands, valid = self._predicted(configuration)
        normal = dict(zip(sorted(self.study.metrics),
                          rng.standard_normal(len(self.study.metrics))))
        failed = bool(rng.random() >= valid)
        values = {
            name: band.unscaled(band.mean + band.noise_std * normal[name])
            for name, band in bands.items()
        }
        return Measurement(
            'emulated', dict(configuration), 0, {} if failed else values, valid=not failed,
            reason='mission aborted' if failed else '', sim_time=values['mission_time'],
        )

    def _predicted(self, configuration: Mapping[str, Any]) -> tuple[dict[str, Band], float]:
        """Return what is predicted of each metric, and how likely a mission ends well."""
        key = key_of(configuration)
        if key not in self._known:
            bands = bands_of(self.study, self._model, dict(configuration))
            X = self.study.space.encode([configuration])
            p = float(self._model.validity.probability(X)[0])
            self._known[key] = bands, p**_SURE / (p**_SURE + (1.0 - p) ** _SURE)
        return self._known[key]


class Robot:
    """Let a policy have its way with an emulated robot, mission after mission."""

    def __init__(self, policy: Policy, found: dict[str, Any]) -> None:
        """Start the policy on a robot that has the configuration `found`."""
        self.policy = policy
        self.changes = 0
        self.has = dict(found)
        policy.handle(Start(dict(found)))
        self._obey()
        self.first = self.changes

    def _obey(self) -> None:
        while (change := self.policy.pending) is not None:
            self.has = dict(change.configuration)
            self.changes += 1
            self.policy.handle(ApplyResult(change.change, True, configuration=self.has))

    def drive(self, emulated: Emulated, rng: np.random.Generator) -> Measurement:
        """Drive one mission and let the policy judge it."""
        run = emulated.measure(self.has, rng)
        self.policy.handle(Window(run.metrics, run.reason, run.sim_time, dict(self.has)))
        self._obey()
        if self.policy.pending is None:
            self.policy.prepare()
        return run


def emulated_robots(setup: Setup) -> dict[str, Emulated]:
    """Return the robot of each phase."""
    study = setup.study
    with Store(setup.store, study=study) as store:
        source = store.get(environment=study.source.name, purpose='campaign')
        return {
            phase: Emulated(study, source, store.get(
                environment=f'oracle_{phase}', purpose='evaluation'))
            for phase in PHASES
        }


def sequence(
    setup: Setup, robots: Mapping[str, Emulated],
    fixed: Mapping[str, Mapping[str, dict[str, Any]]], phases: Sequence[str], seed: int,
) -> dict[str, Any]:
    """Drive one row of missions with the adapter and with each of the fixed configurations."""
    study = setup.study
    model = ModelSet.load(setup.folder / 'model', study)
    policy = make_policy(study, ModelPlanner(study, model), setup.tuned)
    ours = Robot(policy, study.space.default())
    runs: dict[str, list[Measurement]] = {name: [] for name in (ADAPTED, *fixed)}
    for number, phase in enumerate(phases):
        for name, configurations in fixed.items():
            luck = np.random.default_rng([seed, number])
            runs[name].append(robots[phase].measure(configurations[phase], luck))
        luck = np.random.default_rng([seed, number])
        runs[ADAPTED].append(ours.drive(robots[phase], luck))
    worst = worst_values(study, [run for some in runs.values() for run in some])
    return {
        'values': {name: objective_values(study, some, worst) for name, some in runs.items()},
        'broken': {
            name: sum(bool(run.valid and study.broken_limits(run.metrics)) for run in some)
            for name, some in runs.items()
        },
        'changes': ours.changes - ours.first, 'alarms': policy.status.replans,
    }


def run(setup: Setup, sequences: int, missions: int, calm: int) -> dict[str, Any]:
    """Drive `sequences` rows of missions with the changes, and as many without any."""
    study = setup.study
    robots = emulated_robots(setup)
    default = study.space.default()
    fixed = {
        'default': dict.fromkeys(PHASES, default),
        'tuned once': dict.fromkeys(PHASES, setup.tuned),
    }
    each = max(missions // len(PHASES), 1)
    phases = [phase for phase in PHASES for _ in range(each)]
    rows, quiet = [], []
    with Progress('offline', 2 * sequences) as progress:
        for seed in range(sequences):
            rows.append(sequence(setup, robots, fixed, phases, seed))
            progress.advance('changes')
            quiet.append(sequence(setup, robots, fixed, [BEFORE] * calm, 10_000 + seed))
            progress.advance('calm')
    arms = {}
    for name in (ADAPTED, *fixed):
        values = np.array([row['values'][name] for row in rows])
        arms[name] = {
            'mean': {phase: float(values[:, np.array(phases) == phase].mean())
                     for phase in PHASES},
            'all': float(values.mean()),
            'limits broken': float(np.mean([row['broken'][name] for row in rows])),
        }
    return {
        'sequences': sequences, 'missions': len(phases), 'calm': calm, 'arms': arms,
        'changes': float(np.mean([row['changes'] for row in rows])),
        'alarms': float(np.mean([row['alarms'] for row in rows])),
        'calm changes': float(np.mean([row['changes'] for row in quiet])),
        'calm alarms': float(np.mean([row['alarms'] for row in quiet])),
        'calm broken': {
            name: float(np.mean([row['broken'][name] for row in quiet])) for name in arms
        },
    }


def show(found: Mapping[str, Any]) -> None:
    """Print the table."""
    print(f'\n{found["sequences"]} rows of {found["missions"]} missions with emulated robots; '
          'mean objective, and limits broken in a row')
    print(f'{"":14s}{"".join(f"{phase:>10s}" for phase in [*PHASES, "all"])}{"limits":>8s}')
    for name, row in found['arms'].items():
        cells = ''.join(f'{value:10.3f}' for value in [*row['mean'].values(), row['all']])
        print(f'{name:14s}{cells}{row["limits broken"]:8.1f}')
    print(f'the adapter made {found["changes"]:.1f} changes in a row and found '
          f'{found["alarms"]:.1f} changes of the environment; in {found["calm"]} missions without '
          f'any {found["calm changes"]:.1f} and {found["calm alarms"]:.1f}, with '
          f'{found["calm broken"][ADAPTED]:.1f} limits broken')
