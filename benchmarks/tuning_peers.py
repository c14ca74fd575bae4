# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Run the peers on a table: the optimisers of a harness file, and three more.

The file is a Python module with `OPT` (name -> function of Xs, ys, table, rng that measures rows
of the table until it is full; ys are logarithms), `Table`, and what transfer_peers.py needs. The
three are Optuna's Gaussian process, and BoTorch's noisy expected improvement (Letham et al. 2019,
in its logarithmic form, Ament et al. 2023) on a Gaussian process of the target alone and on a
multi-task one of both environments.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import numpy as np
import transfer_peers
from transfer_data import Pair

ALONE = ('random', 'gp_ei', 'optuna_tpe', 'optuna_gp', 'smac3', 'botorch_nei')
SLOW = ('botorch_mt_nei', 'botorch_mt_nehvi')
NEEDS = {'optuna': 'optuna', 'smac': 'smac'}  # the begin of a name -> its package
# Few enough that a run takes minutes; in between, the multi-task model keeps its hyperparameters.
REFIT = (2, 3, 5, 7, 10, 14, 20, 28)
CHUNK = 500


def names(path: Path) -> tuple[str, ...]:
    """Return the names of the peers that can be run here; say so if there are none."""
    try:
        harness = transfer_peers.load_harness(path)
    except ImportError as error:
        print(f'the peers can not be run: {error}', file=sys.stderr)
        return ()
    return there([*harness.OPT, *EXTRA])


def there(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names whose packages are there; say which are not."""
    found = []
    for name in names:
        package = next((p for begin, p in NEEDS.items() if name.startswith(begin)), 'numpy')
        if importlib.util.find_spec(package) is None:
            print(f'{name} can not be run: there is no {package}', file=sys.stderr)
        else:
            found.append(name)
    return tuple(found)


def run(
    harness: ModuleType, method: str, pair: Pair, source: np.ndarray, seed: int
) -> tuple[list[int], float]:
    """Return the rows that a peer measured, in order, and its seconds."""
    transfer_peers.begin(harness)
    np.random.seed(0)  # some libraries draw from it
    table = harness.Table(pair.Xt, pair.yt)
    rng = np.random.default_rng([seed, 7])
    start = time.perf_counter()
    known = pair.Xs[source], np.log(pair.ys[source])
    if method in EXTRA:
        EXTRA[method](harness, *known, table, rng)
    else:
        harness.OPT[method](*known, table, rng)
    return list(table.idx), time.perf_counter() - start + harness._extra[0]


# ------------------------------------------------------------------------------- Optuna
def distributions(harness: ModuleType, X: np.ndarray):
    """Return the levels of each option (None: continuous) and Optuna's distributions of them."""
    from optuna.distributions import FloatDistribution, IntDistribution

    levels = harness.levels(X)
    return levels, {
        f'o{j}': FloatDistribution(0, 1) if some is None else IntDistribution(0, len(some) - 1)
        for j, some in enumerate(levels)
    }


def optuna_study(harness: ModuleType, table, sampler, directions: list[str]) -> None:
    """Let a sampler suggest; the nearest row not yet measured is what is recorded."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    levels, space = distributions(harness, table.X)
    study = optuna.create_study(sampler=sampler, directions=directions)
    while not table.full:
        trial = study.ask(space)
        place = np.array([
            trial.params[f'o{j}'] if some is None else some[trial.params[f'o{j}']]
            for j, some in enumerate(levels)
        ])
        row = table.nearest(place)
        values = np.atleast_1d(table.measure(row)).tolist()
        params = {
            f'o{j}': float(table.X[row, j]) if some is None
            else int(np.searchsorted(some, table.X[row, j]))
            for j, some in enumerate(levels)
        }
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        study.add_trial(optuna.trial.create_trial(
            params=params, distributions=space, values=values
        ))


def optuna_gp(harness: ModuleType, Xs, ys, table, rng) -> None:
    """Run Optuna's Gaussian process with its logarithmic expected improvement."""
    import optuna

    seed = int(rng.integers(1 << 30))
    sampler = optuna.samplers.GPSampler(seed=seed, deterministic_objective=True)
    optuna_study(harness, table, sampler, ['minimize'])


# ------------------------------------------------------------------------------- BoTorch
def fitted(harness: ModuleType, X, y, source=None, old=None, refit: bool = True):
    """
    Return a Gaussian process of -y (n,) at X (n, d), or a multi-task one with `source` (Xs, ys).

    The multi-task one begins with the hyperparameters of `old`, and keeps them without `refit`.
    """
    import torch

    if source is None:
        model = harness.SingleTaskGP(harness.T(X), harness.T(-y).unsqueeze(-1))
        return harness.fit(model, 100)
    Xs, ys = source
    dim = X.shape[1]
    both = np.vstack([np.c_[Xs, np.zeros(len(Xs))], np.c_[X, np.ones(len(X))]])
    scaled = harness.StratifiedStandardize(
        stratification_idx=dim, all_task_values=torch.tensor([0, 1])
    )
    model = harness.MultiTaskGP(
        harness.T(both), harness.T(-np.r_[ys, y]).unsqueeze(-1), task_feature=dim,
        output_tasks=[1], outcome_transform=scaled,
    )
    if old is None:
        return harness.fit(model, 200)
    state = {k: v for k, v in old.state_dict().items() if not k.startswith('outcome_transform')}
    model.load_state_dict(state, strict=False)
    return harness.fit(model, 30) if refit else model.eval()


def places(harness: ModuleType, X: np.ndarray, source):
    """Return X (n, d) as the models take it: with a source, the last column is the task."""
    return harness.T(X if source is None else np.c_[X, np.ones(len(X))])


def best_of(harness: ModuleType, acquisition, table, source) -> int:
    """Return the row not yet measured at which an acquisition function is largest."""
    import torch

    left = np.flatnonzero(table.left)
    X = places(harness, table.X[left], source)
    with torch.no_grad():
        worth = torch.cat([
            acquisition(X[begin:begin + CHUNK].unsqueeze(1)) for begin in range(0, len(X), CHUNK)
        ])
    return int(left[int(worth.numpy().argmax())])


def noisy_improvement(harness: ModuleType, table, first: Iterable[int], source=None) -> None:
    """Measure the `first` rows, then where the noisy expected improvement is largest."""
    import torch
    from botorch.acquisition.logei import qLogNoisyExpectedImprovement
    from botorch.sampling import SobolQMCNormalSampler

    for row in first:
        table.measure(row)
    model = None
    while not table.full:
        X, y = table.X[table.idx], table.y[table.idx]
        model = fitted(harness, X, y, source, model, len(y) in REFIT)
        acquisition = qLogNoisyExpectedImprovement(
            model, X_baseline=places(harness, X, source), prune_baseline=False,
            sampler=SobolQMCNormalSampler(torch.Size([64]), seed=0),
        )
        table.measure(best_of(harness, acquisition, table, source))


def first_two(harness: ModuleType, source, table, rng) -> list[int]:
    """Return the best row by a model of the source, and a random one."""
    best = int(harness.src_gp(*source)(table.X).argmin())
    return [best, next(int(row) for row in rng.permutation(len(table.X)) if row != best)]


def botorch_nei(harness: ModuleType, Xs, ys, table, rng) -> None:
    """Run the noisy expected improvement without the source, from five random rows."""
    noisy_improvement(harness, table, rng.permutation(len(table.y))[:5])


def botorch_mt_nei(harness: ModuleType, Xs, ys, table, rng) -> None:
    """Run the noisy expected improvement with a multi-task model of both environments."""
    noisy_improvement(harness, table, first_two(harness, (Xs, ys), table, rng), (Xs, ys))


EXTRA = {
    'optuna_gp': optuna_gp, 'botorch_nei': botorch_nei, 'botorch_mt_nei': botorch_mt_nei,
}
