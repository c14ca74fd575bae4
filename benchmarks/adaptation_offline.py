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

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from adaptation_setup import PHASES, Setup, key_of

from tl_adapt.adaptation.events import ApplyResult, Rules, Start, Window
from tl_adapt.adaptation.making import make_policy
from tl_adapt.adaptation.model_planner import ModelPlanner
from tl_adapt.comparison import objective_values, worst_values
from tl_adapt.environments.base import Measurement
from tl_adapt.models.model_set import ModelSet
from tl_adapt.policy import Policy
from tl_adapt.store import Store
from tl_adapt.study import Study

_LEAST = 20  # measurements of a phase that make an emulated robot
# A model of few outcomes is never sure; whether a mission fails hangs on little but luck.
_SURE = 3.0
_POOL = 1024  # configurations among which the emulated robot's best is looked for


class Emulated:
    """Draw missions of one phase's robot from models of what was measured there."""

    def __init__(self, study: Study, source: Sequence[Measurement], rows: Sequence[Measurement]):
        """Fit the models."""
        self.study = study
        self._model = ModelSet(study, seed=5).fit(source, rows)
        self._known: dict[str, tuple[dict[str, tuple[float, float, bool]], float]] = {}

    def measure(self, configuration: Mapping[str, Any], rng: np.random.Generator) -> Measurement:
        """Draw one mission; the same generator gives the same luck to each configuration."""
        metrics, valid = self._predicted(configuration)
        normal = dict(zip(sorted(self.study.metrics),
                          rng.standard_normal(len(self.study.metrics))))
        failed = bool(rng.random() >= valid)
        values = {}
        for name, (mean, noise, log) in metrics.items():
            value = mean + noise * normal[name]
            values[name] = math.exp(value) if log else value
        return Measurement(
            'emulated', dict(configuration), 0, {} if failed else values, valid=not failed,
            reason='mission aborted' if failed else '', sim_time=values['mission_time'],
        )

    def _predicted(self, configuration: Mapping[str, Any]):
        key = key_of(configuration)
        if key not in self._known:
            X = self.study.space.encode([configuration])
            metrics = {}
            for name, model in self._model.models.items():
                mean, _ = model.latent(X, noise=False)
                metrics[name] = (
                    float(mean[0]), math.sqrt(model.noise_variance), bool(model.log_scale))
            p = float(self._model.validity.probability(X)[0])
            self._known[key] = metrics, p**_SURE / (p**_SURE + (1.0 - p) ** _SURE)
        return self._known[key]

    def best(self, known: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the best configuration of a pool that nearly always keeps the limits."""
        space = self.study.space
        pool = [*known, *space.sample(_POOL, seed=7, method='sobol')]
        found = self._model.assess(space.encode(pool))
        kept = found.feasible >= min(0.9, float(found.feasible.max()))
        return dict(pool[int(np.argmin(np.where(kept, found.mean, np.inf)))])


class Robot:
    """Let a policy have its way with an emulated robot, mission after mission."""

    def __init__(self, policy: Policy, found: dict[str, Any]) -> None:
        """Start the policy on a robot that has the configuration `found`."""
        self.policy = policy
        self.changes = 0
        self.has = dict(found)
        self._do(policy.handle(Start(dict(found))))
        self.first = self.changes

    def _do(self, actions: Sequence[Any]) -> None:
        while (change := self.policy.pending) is not None:
            self.has = dict(change.configuration)
            self.changes += 1
            self.policy.handle(ApplyResult(change.change, True, configuration=self.has))

    def drive(self, emulated: Emulated, rng: np.random.Generator) -> Measurement:
        """Drive one mission and let the policy judge it."""
        run = emulated.measure(self.has, rng)
        self.policy.handle(Window(run.metrics, run.reason, run.sim_time, dict(self.has)))
        self._do([])
        return run


def emulated_robots(setup: Setup) -> dict[str, Emulated]:
    """Return the robot of each phase."""
    study = setup.study
    with Store(setup.store, study=study) as store:
        source = store.get(environment=study.source.name, purpose='campaign')
        robots = {}
        for phase in PHASES:
            rows = store.get(environment=f'oracle_{phase}', purpose='evaluation')
            if len(rows) >= _LEAST:
                robots[phase] = Emulated(study, source, rows)
    return robots


def sequence(
    setup: Setup, model: ModelSet, robots: Mapping[str, Emulated],
    fixed: Mapping[str, Mapping[str, dict[str, Any]]], missions: Mapping[str, int], seed: int,
    rules: Rules | None = None,
) -> dict[str, Any]:
    """Drive one row of missions with the adapter and with each of the fixed ones."""
    study = setup.study
    policy = make_policy(study, ModelPlanner(study, model), setup.tuned, rules)
    ours = Robot(policy, study.space.default())
    runs: dict[str, list[Measurement]] = {name: [] for name in ('adapted', *fixed)}
    phases = [phase for phase in robots for _ in range(missions.get(phase, 0))]
    states = []
    for number, phase in enumerate(phases):
        def luck(number: int = number) -> np.random.Generator:
            return np.random.default_rng([seed, number])
        for name, configurations in fixed.items():
            runs[name].append(robots[phase].measure(configurations[phase], luck()))
        runs['adapted'].append(ours.drive(robots[phase], luck()))
        states.append(policy.status)
    worst = worst_values(study, [run for some in runs.values() for run in some])
    return {
        'phases': phases,
        'values': {name: objective_values(study, some, worst) for name, some in runs.items()},
        'broken': {
            name: [bool(run.valid and study.broken_limits(run.metrics)) for run in some]
            for name, some in runs.items()
        },
        'failed': {name: [not run.valid for run in some] for name, some in runs.items()},
        'changes': ours.changes - ours.first, 'replans': policy.status.replans,
        'statuses': states, 'runs': runs,
    }
