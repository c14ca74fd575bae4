# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Run the peers for two objectives on a table.

Random rows, three samplers of Optuna (NSGA-II, TPE, Gaussian process), and BoTorch's noisy
expected hypervolume improvement (Daulton et al. 2021, in its logarithmic form, Ament et al. 2023)
with Gaussian processes of the target alone, and with multi-task ones of both environments.
"""

from __future__ import annotations

import time
from types import ModuleType

import numpy as np
import transfer_peers
from transfer_data import Pair
from tuning_front import BUDGET
from tuning_peers import REFIT, best_of, fitted, optuna_study, places

POPULATION = 8  # of NSGA-II: its default of 50 would be random search up to the end


def run(
    harness: ModuleType, method: str, pairs: list[Pair], source: np.ndarray, seed: int
) -> tuple[list[int], float]:
    """Return the rows that a peer measured, in order, and its seconds."""
    transfer_peers.begin(harness)

    class Table(harness.Table):
        full = property(lambda self: len(self.idx) >= min(BUDGET, len(self.y)))

    table = Table(pairs[0].Xt, np.column_stack([pair.yt for pair in pairs]))
    known = pairs[0].Xs[source], np.log([pair.ys[source] for pair in pairs])
    start = time.perf_counter()
    PEERS[method](harness, known, table, np.random.default_rng([seed, 7]))
    return list(table.idx), time.perf_counter() - start + harness._extra[0]


def at_random(harness: ModuleType, known, table, rng) -> None:
    """Measure random rows."""
    for row in rng.permutation(len(table.y))[:BUDGET]:
        table.measure(row)


def sampler(name: str, **options):
    """Return the peer that follows a sampler of Optuna."""
    def follow(harness: ModuleType, known, table, rng) -> None:
        import optuna

        seed = int(rng.integers(1 << 30))
        made = getattr(optuna.samplers, name)(seed=seed, **options)
        optuna_study(harness, table, made, ['minimize', 'minimize'])
    return follow


def hypervolume_improvement(harness: ModuleType, table, first, known=None) -> None:
    """Measure the `first` rows, then where the expected hypervolume improvement is largest."""
    import torch
    from botorch.acquisition.multi_objective.logei import (
        qLogNoisyExpectedHypervolumeImprovement,
    )
    from botorch.models import ModelListGP
    from botorch.sampling import SobolQMCNormalSampler
    from botorch.utils.multi_objective.hypervolume import infer_reference_point
    from botorch.utils.multi_objective.pareto import is_non_dominated

    for row in first:
        table.measure(row)
    models = [None, None]
    while not table.full:
        X, Y = table.X[table.idx], table.y[table.idx]
        sources = [None, None] if known is None else [(known[0], y) for y in known[1]]
        refit = len(Y) in REFIT or models[0] is None
        models = [
            fitted(harness, X, y, source, old, refit)
            for y, source, old in zip(Y.T, sources, models)
        ]
        gained = harness.T(-Y)
        acquisition = qLogNoisyExpectedHypervolumeImprovement(
            ModelListGP(*models),
            ref_point=infer_reference_point(gained[is_non_dominated(gained)]),
            X_baseline=places(harness, X, known), prune_baseline=False,
            sampler=SobolQMCNormalSampler(torch.Size([64]), seed=0),
        )
        table.measure(best_of(harness, acquisition, table, known))


def nehvi(harness: ModuleType, known, table, rng) -> None:
    """Run it without the source, from five random rows."""
    hypervolume_improvement(harness, table, rng.permutation(len(table.y))[:5])


def mt_nehvi(harness: ModuleType, known, table, rng) -> None:
    """Run it with the source, from its best row for either objective and a random one."""
    first = [int(harness.src_gp(known[0], y)(table.X).argmin()) for y in known[1]]
    order = [*first, *rng.permutation(len(table.y)).tolist()]
    hypervolume_improvement(harness, table, list(dict.fromkeys(order))[:3], known)


PEERS = {
    'random': at_random,
    'optuna_nsga2': sampler('NSGAIISampler', population_size=POPULATION),
    'optuna_tpe': sampler('TPESampler'),
    'optuna_gp': sampler('GPSampler', deterministic_objective=True),
    'botorch_nehvi': nehvi,
    'botorch_mt_nehvi': mt_nehvi,
}
