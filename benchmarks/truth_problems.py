# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Problems whose truth is known: noisy formulas, and a table of replicated missions."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tl_adapt.designs import fingerprint
from tl_adapt.environments.base import Measurement, make_environment
from tl_adapt.seeds import run_seed
from tl_adapt.study import Limit, Study, load_study
from tl_adapt.testing.noisy import NoisyEnvironment, noisy_study

CANDIDATES = 300  # configurations of a noisy problem, NEAR of them near the default
NEAR = 60
SOURCE = 48  # runs of the source
RUNS = 8  # of each configuration in the table of replicated missions, SOURCE_RUNS in its source
SOURCE_RUNS = 2
TABLE = Path(__file__).resolve().parent / 'data' / 'replicated.yaml'


@dataclasses.dataclass(frozen=True)
class Problem:
    """
    Hold a problem: the only configurations (n) there are, and the truth of each on the target.

    `objective` (n,) is its mean, `kept` (n,) the probability that a run is valid and keeps all
    limits. `measure` runs one of them on the target; the number counts its runs.
    """

    study: Study
    configurations: list[dict]
    objective: np.ndarray
    kept: np.ndarray
    source: list[Measurement]
    measure: Callable[[dict, int], Measurement]

    @functools.cached_property
    def index(self) -> dict[str, int]:
        """Return where a configuration is, by its fingerprint."""
        return {fingerprint(c): i for i, c in enumerate(self.configurations)}

    @functools.cached_property
    def regret(self) -> np.ndarray:
        """
        Return how much worse (n,) each is than the best: 1 is as bad as the median.

        Breaking a limit counts as `Tuner.best` counts it, as twice the objective.
        """
        loss = self.objective + np.median(self.objective) * (1.0 - self.kept)
        return (loss - loss.min()) / (np.median(loss) - loss.min())

    def with_tuning(self, **settings) -> Study:
        """Return the study with some settings of the tuner changed."""
        tuning = dataclasses.replace(self.study.tuning, **settings)
        return dataclasses.replace(self.study, tuning=tuning)


def noisy(seed: int, known: int = SOURCE) -> Problem:
    """Return an instance of the noisy problem with `known` runs of the source."""
    study = noisy_study(seed)
    source, target = (
        NoisyEnvironment(study, role, variant=seed) for role in ('source', 'target')
    )
    default, rng = study.space.default(), np.random.default_rng([seed, 2])
    near = [default, *study.space.neighbours(default, rng, NEAR)]
    design = study.space.sample(CANDIDATES + NEAR, seed=run_seed(seed, 'evaluation', 0))
    configurations = [*near, *(one for one in design if one not in near)][:CANDIDATES]
    runs = [
        source.measure(c, run_seed(seed, 'campaign', i))
        for i, c in enumerate(study.space.sample(known, seed=seed))
    ]

    def measure(configuration: dict, number: int) -> Measurement:
        index = configurations.index(configuration)
        return target.measure(configuration, run_seed(seed, 'tuning', 1000 * index + number))

    return Problem(study, configurations, target.objective(configurations),
                   target.kept(configurations), runs, measure)


def replicated(seed: int, clearance: float | None = None) -> Problem:
    """
    Return the problem of the replicated missions; the seed says which run comes when.

    `clearance` [m] replaces the demo's limit on it. The truth is the mean over all runs of a
    configuration; one that never ran validly is as bad as the worst that did.
    """
    study = load_study(TABLE)
    if clearance is not None:
        limits = [limit for limit in study.limits if limit.metric != 'clearance']
        limits.append(Limit('clearance', '>=', clearance, f'clearance >= {clearance}'))
        study = dataclasses.replace(study, limits=tuple(limits))
    source, target = (
        make_environment(study, spec.name) for spec in (study.source, study.target)
    )
    configurations = target.configurations()
    objective, kept = [], []
    for configuration in configurations:
        runs = [target.measure(configuration, i) for i in range(RUNS)]
        values = [study.objective(run.metrics) for run in runs if run.valid]
        objective.append(np.mean(values) if values else np.nan)
        kept.append(np.mean([run.valid and not study.broken_limits(run.metrics) for run in runs]))
    worst = np.nanmax(objective)
    rng = np.random.default_rng([seed, 1])
    orders = {fingerprint(c): rng.permutation(RUNS) for c in configurations}

    def measure(configuration: dict, number: int) -> Measurement:
        order = orders[fingerprint(configuration)]
        return target.measure(configuration, int(order[number % RUNS]))

    known = [source.measure(c, int(rng.integers(SOURCE_RUNS))) for c in source.configurations()]
    return Problem(study, configurations, np.where(np.isnan(objective), worst, objective),
                   np.array(kept), known, measure)


PROBLEMS = {'noisy formulas': noisy, 'replicated missions': replicated}
# The demo's default breaks the demo's own limit in three missions of eight: no start for safe
# tuning. Here it keeps the limit.
SAFE_PROBLEMS = {
    'noisy formulas': noisy,
    'noisy formulas, no source': functools.partial(noisy, known=0),
    'missions, 0.02 m': functools.partial(replicated, clearance=0.02),
}
