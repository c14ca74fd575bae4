# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for noisy environments with limits whose truth is known, to judge safety and repeats by.

A mission's `duration` has a noise that depends on the configuration (fast driving and few
particles spread it) and a heavy tail: with some probability a recovery lengthens it. `clearance`
has a limit, which the fastest configurations break, and where it is short runs collide. The
target drives with less clearance than the source. `variant` numbers instances.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtr

from tl_adapt.environments.base import Measurement
from tl_adapt.space import Configuration
from tl_adapt.study import Study, study_from_dict
from tl_adapt.testing.analytic import answer, search_best

Array = NDArray[np.float64]

LIMIT = 0.1  # m of clearance
_QUIET, _LOUD = 0.04, 0.4  # standard deviation of log(duration), from best to worst
_RECOVERY = (0.6, 0.15)  # mean and standard deviation of what a recovery adds to log(duration)
_ENERGY = 0.05  # standard deviation of log(energy)
_COLUMNS = ('speed', 'gain', 'inflation', 'particles', 'planner', 'smoothing')
_PLANNERS = ('grid', 'lattice', 'hybrid')


def noisy_study(
    variant: int = 0, *, budget: int = 20, tuning: Mapping[str, Any] | None = None
) -> Study:
    """
    Return the study of an instance.

    It has continuous, integer and categorical parameters, one that is conditional, a constraint
    and a limit; `tuning` is the section of that name.
    """

    def environment(role: str, cost: float) -> dict[str, Any]:
        command = ['{python}', '-m', 'tl_adapt.testing.noisy', role, str(variant)]
        return {'kind': 'command', 'role': role, 'cost': cost, 'command': command}

    return study_from_dict({
        'version': 1,
        'name': 'noisy',
        'parameters': {
            'speed': {'type': 'double', 'range': [0.1, 1.0], 'default': 0.3},
            'gain': {'type': 'double', 'range': [0.5, 20.0], 'log': True, 'default': 2.0},
            'inflation': {'type': 'double', 'range': [0.1, 0.6], 'default': 0.45},
            'particles': {'type': 'int', 'range': [20, 500], 'log': True, 'default': 200},
            'planner': {'type': 'string', 'choices': list(_PLANNERS), 'default': 'grid'},
            'smoothing': {
                'type': 'double', 'range': [0.0, 1.0], 'default': 0.5,
                'condition': "planner == 'hybrid'",
            },
        },
        'constraints': ['speed <= 4 * inflation'],
        'metrics': {
            'duration': {'direction': 'minimize', 'scale': 'log', 'unit': 's', 'failed': 60.0},
            'energy': {'direction': 'minimize', 'scale': 'log', 'unit': 'J'},
            'clearance': {'direction': 'maximize', 'unit': 'm'},
        },
        'objectives': [
            {'metric': 'duration', 'weight': 0.7, 'reference': 20.0},
            {'metric': 'energy', 'weight': 0.3, 'reference': 100.0},
        ],
        'limits': [f'clearance >= {LIMIT}'],
        'environments': {'sim': environment('source', 1.0), 'robot': environment('target', 30.0)},
        'budget': {'source': 48, 'target': budget},
        'tuning': dict(tuning or {}),
    })


class NoisyEnvironment:
    """
    Measure one of the two environments of an instance, in this process.

    `noise` scales the standard deviations and the probability of a recovery; 0 leaves the same
    function without noise.
    """

    def __init__(self, study: Study, role: str, *, variant: int = 0, noise: float = 1.0) -> None:
        """Choose role ('source' or 'target') and constants; raises ValueError if unknown."""
        if role not in ('source', 'target'):
            raise ValueError(f"role must be 'source' or 'target', got {role!r}")
        if not 0.0 <= noise <= 1.0:
            raise ValueError(f'0 <= noise <= 1 must hold, got {noise}')
        self.study = study
        self.target = role == 'target'
        self.name = (study.target if self.target else study.source).name
        self.seed = variant
        self.noise = noise
        draw = np.random.default_rng([23, variant])
        self.optimum = draw.uniform([0.6, 0.2, 0.1, 0.2, 0.1], [0.95, 0.8, 0.5, 0.8, 0.9])
        self.strength = draw.uniform([1.5, 0.6, 0.3, 0.2, 0.4], [2.5, 1.5, 0.8, 0.6, 0.8])
        self.mode = draw.permutation([0.0, 0.1, 0.2])
        self.near = draw.uniform([0.2, 0.25], [0.3, 0.35])
        self.level = 0.3
        other = np.random.default_rng([24, variant])
        if self.target:
            moved = self.optimum + other.uniform(-0.2, 0.2, 5)
            self.optimum = np.clip(moved, 0.05, 0.95)
            self.strength = self.strength * np.exp(other.uniform(-0.4, 0.4, 5))
            self.near = self.near * np.exp(other.uniform([-0.2, -0.1], [0.2, 0.4]))
            self.level += other.uniform(-0.06, 0.02)

    def _places(self, configurations: Sequence[Mapping[str, Any]]) -> tuple[Array, Array]:
        """Return points (n, 6) with _COLUMNS, and how wildly (n,) it is driven, in [0, 1]."""
        space = self.study.space
        u = space.encode(configurations)[:, [space.names.index(name) for name in _COLUMNS]]
        return u, np.asarray(0.55 * u[:, 0] + 0.45 * (1.0 - u[:, 3]))

    def _moments(self, configurations: Sequence[Mapping[str, Any]]) -> dict[str, Array]:
        """Return, each (n,), location and spread of each metric, and P(recovery)."""
        u, wild = self._places(configurations)
        planner = np.round(2.0 * u[:, 4]).astype(int)
        off = u[:, [0, 1, 2, 3, 5]] - self.optimum
        pull = off**2 * self.strength
        smooth = np.where(planner == 2, pull[:, 4], 0.0)
        log_duration = np.log(14.0) + pull[:, :4].sum(axis=1) + self.mode[planner] + smooth
        log_energy = np.log(60.0) + 0.3 * pull[:, 1] + 0.5 * u[:, 0] + 0.3 * u[:, 3]
        if self.target:
            log_duration, log_energy = log_duration + 0.2, log_energy + 0.3
        clearance = self.level + self.near[0] * (u[:, 2] - 0.5) - self.near[1] * u[:, 0]
        clearance = clearance - 0.06 * (u[:, 1] - 0.5) ** 2
        spread = _QUIET * (_LOUD / _QUIET) ** wild
        return {
            'duration': log_duration, 'duration_std': self.noise * spread,
            'recovery': self.noise * 0.3 * expit(10.0 * (wild - 0.75)),
            'energy': log_energy, 'energy_std': np.full(len(u), self.noise * _ENERGY),
            'clearance': clearance, 'clearance_std': self.noise * (0.01 + 0.04 * u[:, 0]),
            'collision': np.asarray(expit(-(clearance + 0.03) / 0.02)),
        }

    def truth(self, configurations: Sequence[Mapping[str, Any]]) -> dict[str, Array]:
        """Return the mean (n,) of each metric over the noise."""
        found = self._moments(configurations)
        tail = np.exp(_RECOVERY[0] + 0.5 * _RECOVERY[1] ** 2)
        mean = np.exp(found['duration'] + 0.5 * found['duration_std'] ** 2)
        return {
            'duration': mean * (1.0 + found['recovery'] * (tail - 1.0)),
            'energy': np.exp(found['energy'] + 0.5 * found['energy_std'] ** 2),
            'clearance': found['clearance'],
        }

    def kept(self, configurations: Sequence[Mapping[str, Any]]) -> Array:
        """Return the probability (n,) that a run does not fail and keeps the limit."""
        found = self._moments(configurations)
        std = np.maximum(found['clearance_std'], 1e-12)
        return np.asarray(
            (1.0 - found['collision']) * ndtr((found['clearance'] - LIMIT) / std)
        )

    def objective(self, configurations: Sequence[Mapping[str, Any]]) -> Array:
        """Return the true mean objective (n,)."""
        truth = self.truth(configurations)
        return np.array([
            self.study.objective({name: values[i] for name, values in truth.items()})
            for i in range(len(configurations))
        ])

    def best(self, *, risk: float = 0.1, samples: int = 8192) -> tuple[Configuration, float]:
        """Return the best configuration that keeps the limit but for `risk`, and its objective."""

        def safe_objective(configurations: Sequence[Configuration]) -> Array:
            safe = self.kept(configurations) >= 1.0 - risk
            return np.where(safe, self.objective(configurations), np.inf)

        return search_best(self.study.space, safe_objective, samples=samples)

    def measure(self, configuration: Mapping[str, Any], seed: int) -> Measurement:
        """Run one configuration; the seed decides the noise."""
        checked: Configuration = self.study.space.validate(configuration)
        rng = np.random.default_rng([self.seed, seed, self.target])
        one = {name: float(values[0]) for name, values in self._moments([checked]).items()}
        normal, chance = rng.standard_normal(4), rng.random(2)
        values = {
            name: one[name] + one[f'{name}_std'] * float(normal[i])
            for i, name in enumerate(('duration', 'energy', 'clearance'))
        }
        if chance[0] < one['recovery']:
            values['duration'] += _RECOVERY[0] + _RECOVERY[1] * float(normal[3])
        found = Measurement(
            environment=self.name, configuration=checked, seed=seed,
            cost=self.study.environment(self.name).cost,
            metrics={
                'duration': float(np.exp(values['duration'])),
                'energy': float(np.exp(values['energy'])), 'clearance': values['clearance'],
            },
        )
        if chance[1] < one['collision']:
            found.valid, found.reason = False, 'collision'
            found.metrics = {'duration': 60.0, 'clearance': 0.0}
        return found

    def close(self) -> None:
        """Do nothing; there is nothing to end."""


def main(arguments: Sequence[str]) -> int:
    """Be the program of an environment whose role and variant are given."""
    role, variant = arguments
    study = noisy_study(int(variant))
    return answer(NoisyEnvironment(study, role, variant=int(variant)).measure)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
