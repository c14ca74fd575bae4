# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for environments with a known truth, to judge models and tuners by.

A problem is a navigation-like system in formulas: `duration` (heavy-tailed, log scale) and
`energy` make the objective, `margin` has a limit, and where it is far below zero runs fail. The
target is related to the source in one of three ways: 'shifted' (slower, optima moved, some
influences stronger, another invalid region), 'same', or 'unrelated' (other formulas altogether).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from tl_adapt.environments.base import Measurement
from tl_adapt.space import Configuration, Space
from tl_adapt.study import Study, study_from_dict

Array = NDArray[np.float64]

RELATIONS = ('shifted', 'same', 'unrelated')
NOISE = 0.04  # standard deviation of one run, of the logarithm
CRASH = -0.12  # margin below which a run fails
_MARGIN = 0.5  # of the noise of a logarithm: that of the margin
_ACTIVE = 6  # parameters that matter; the rest do nothing


def analytic_study(extra: int = 4, *, budget: int = 8, relation: str = 'shifted') -> Study:
    """Return the study: 5 active numeric parameters, 1 categorical, `extra` idle ones."""
    parameters: dict[str, Any] = {
        'speed': {'type': 'double', 'range': [0.1, 1.0], 'default': 0.3},
        'gain': {'type': 'double', 'range': [0.5, 20.0], 'log': True, 'default': 2.0},
        'particles': {'type': 'int', 'range': [20, 1000], 'log': True, 'default': 400},
        'horizon': {'type': 'double', 'range': [0.5, 3.0], 'default': 1.0},
        'inflation': {'type': 'double', 'range': [0.1, 0.6], 'default': 0.4},
        'planner': {'type': 'string', 'choices': ['grid', 'lattice', 'hybrid'], 'default': 'grid'},
    }
    for i in range(extra):
        parameters[f'idle_{i}'] = {'type': 'double', 'range': [0.0, 1.0], 'default': 0.5}

    def environment(role: str, cost: float) -> dict[str, Any]:
        command = ['{python}', '-m', 'tl_adapt.testing.analytic', role, relation, str(extra)]
        return {'kind': 'command', 'role': role, 'cost': cost, 'command': command}

    return study_from_dict({
        'version': 1,
        'name': 'analytic',
        'parameters': parameters,
        'metrics': {
            'duration': {'direction': 'minimize', 'scale': 'log', 'unit': 's', 'failed': 60.0},
            'energy': {'direction': 'minimize', 'scale': 'log', 'unit': 'J'},
            'margin': {'direction': 'maximize', 'unit': 'm'},
        },
        'objectives': [
            {'metric': 'duration', 'weight': 0.6, 'reference': 20.0},
            {'metric': 'energy', 'weight': 0.4, 'reference': 100.0},
        ],
        'limits': ['margin >= 0.0'],
        'environments': {
            'formulas': environment('source', 1.0), 'other_formulas': environment('target', 30.0),
        },
        'budget': {'source': 48, 'target': budget},
    })


class AnalyticEnvironment:
    """
    Measure one of the two environments of a problem, in this process.

    `variant` numbers problems of the same kind with other constants.
    """

    def __init__(
        self, study: Study, role: str, *, relation: str = 'shifted', variant: int = 0
    ) -> None:
        """Choose role ('source' or 'target'), relation and constants; ValueError if unknown."""
        if relation not in RELATIONS:
            raise ValueError(f'relation must be one of {RELATIONS}, got {relation!r}')
        if role not in ('source', 'target'):
            raise ValueError(f"role must be 'source' or 'target', got {role!r}")
        self.study = study
        self.role = role
        self.name = (study.source if role == 'source' else study.target).name
        self.moved = role == 'target' and relation == 'shifted'
        self.unrelated = role == 'target' and relation == 'unrelated'
        self.seed = variant
        draw = np.random.default_rng([17, variant])
        self.optimum = draw.uniform(0.25, 0.75, _ACTIVE)
        self.strength = draw.uniform(0.8, 2.5, _ACTIVE)
        self.mode = draw.permutation(3) * 0.25
        other = np.random.default_rng([18, variant])
        if self.moved:
            self.optimum = np.clip(self.optimum + other.uniform(-0.2, 0.2, _ACTIVE), 0.05, 0.95)
            self.strength = self.strength * np.exp(other.uniform(-0.4, 0.7, _ACTIVE))
        if self.unrelated:
            self.optimum = other.uniform(0.0, 1.0, _ACTIVE)
            self.strength = other.uniform(-2.0, 2.0, _ACTIVE)
            self.mode = other.permutation(3) * 0.5

    def truth(self, configurations: Sequence[Mapping[str, Any]]) -> dict[str, Array]:
        """Return every metric (n,) without noise."""
        u = self.study.space.encode(configurations)
        off = u[:, :_ACTIVE] - self.optimum
        numeric = off[:, :5] ** 2 @ self.strength[:5]
        mode = self.mode[np.round(2.0 * u[:, 5]).astype(int)]
        bend = 0.8 * off[:, 0] * off[:, 3] * np.sign(self.strength[5])
        log_duration = np.log(12.0) + numeric + mode + bend
        log_energy = np.log(60.0) + 0.5 * numeric + 0.9 * u[:, 0] - 0.5 * u[:, 4] + 0.4 * u[:, 2]
        margin = 0.25 - 0.55 * u[:, 0] * u[:, 3] + 0.3 * (u[:, 4] - 0.5)
        if self.moved:
            log_duration, log_energy = log_duration + 0.35, log_energy + 0.5
            margin = margin - 0.06 - 0.1 * (u[:, 1] - 0.5)
        if self.unrelated:
            margin = 0.2 - 0.4 * (1.0 - u[:, 0]) * u[:, 2]
        return {
            'duration': np.exp(log_duration), 'energy': np.exp(log_energy), 'margin': margin,
        }

    def kept(self, configurations: Sequence[Mapping[str, Any]]) -> Array:
        """Return the probability (n,) that a run does not fail and keeps the limit."""
        margin = self.truth(configurations)['margin']
        return np.where(margin < CRASH, 0.0, ndtr(margin / (_MARGIN * NOISE)))

    def objective(
        self, configurations: Sequence[Mapping[str, Any]], *, limited: bool = True
    ) -> Array:
        """
        Return the true objective (n,).

        If it is `limited` it is infinite where the limit is broken or runs fail.
        """
        truth = self.truth(configurations)
        found = np.array([
            self.study.objective({name: values[i] for name, values in truth.items()})
            for i in range(len(configurations))
        ])
        return np.where((truth['margin'] >= 0.0) | (not limited), found, np.inf)

    def measure(self, configuration: Mapping[str, Any], seed: int) -> Measurement:
        """Run one configuration; the seed decides the noise."""
        checked: Configuration = self.study.space.validate(configuration)
        rng = np.random.default_rng([self.seed, seed, self.role == 'target'])
        noise = NOISE * rng.standard_normal(3)
        truth = {name: float(values[0]) for name, values in self.truth([checked]).items()}
        margin = truth['margin'] + _MARGIN * float(noise[2])
        spec = self.study.environment(self.name)
        found = Measurement(
            environment=self.name, configuration=checked, seed=seed, cost=spec.cost,
        )
        if truth['margin'] < CRASH:
            found.valid, found.reason = False, 'collision'
            found.metrics = {'duration': 60.0, 'margin': margin}
            return found
        found.metrics = {
            'duration': truth['duration'] * float(np.exp(noise[0])),
            'energy': truth['energy'] * float(np.exp(noise[1])), 'margin': margin,
        }
        return found

    def close(self) -> None:
        """Do nothing; there is nothing to end."""

    def best(self, *, seed: int = 0, samples: int = 8192) -> tuple[Configuration, float]:
        """Return the (nearly) best configuration and its true objective, by search."""
        return search_best(self.study.space, self.objective, seed=seed, samples=samples)


def search_best(
    space: Space, objective: Callable[[Sequence[Configuration]], Array], *,
    seed: int = 0, samples: int = 8192,
) -> tuple[Configuration, float]:
    """Return the (nearly) best configuration of a space by a true objective, and its value."""
    rng = np.random.default_rng(seed)
    pool = space.sample(samples, seed=seed)
    values = objective(pool)
    for step in (0.2, 0.1, 0.05, 0.02):
        leaders = [pool[i] for i in np.argsort(values, kind='stable')[:8]]
        near = [c for one in leaders for c in space.neighbours(one, rng, 64, step)]
        pool, values = pool + near, np.concatenate([values, objective(near)])
    index = int(np.argmin(values))
    return pool[index], float(values[index])


def answer(measure: Callable[[Configuration, int], Measurement]) -> int:
    """Measure the configuration on standard input, as a program of a `command` environment."""
    request = json.load(sys.stdin)
    found = measure(request['configuration'], int(request['seed']))
    json.dump({'metrics': found.metrics, 'valid': found.valid, 'reason': found.reason}, sys.stdout)
    return 0


def main(arguments: Sequence[str]) -> int:
    """Be the program of an environment whose role, relation and idle parameters are given."""
    role, relation, extra = arguments
    study = analytic_study(int(extra), relation=relation)
    return answer(AnalyticEnvironment(study, role, relation=relation).measure)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
