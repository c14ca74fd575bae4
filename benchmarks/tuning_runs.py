# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Let ours and the peers tune on tables, and keep the order in which each measured the rows.

A row is one method, pair and seed: `rows` are the indices of the target's rows in the order
measured, so that every figure can be computed from them. `code` is the digest of the code that a
row of ours depends on.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import transfer_peers
import tuning_peers
from kept_rows import Format, digest, in_processes, one_line, sources
from transfer_data import load, split
from tuning_problem import Problem
from tuning_tables import BUDGET, OURS, is_ours

from tl_adapt.transfer import make_tuner

SOURCE_ROWS = 200
BASELINE = 'baseline '  # how the name of a baseline of the package begins here
FORMAT = Format(
    ('pair', 'n_source', 'seed', 'method', 'rows', 'seconds', 'error', 'code'),
    ('pair', 'method', 'rows', 'error', 'code'), ('pair', 'n_source', 'seed', 'method'), ('code',),
)


def is_baseline(method: str) -> bool:
    """Say whether a method is a baseline of the package."""
    return method.startswith(BASELINE)


@dataclass(frozen=True)
class Plan:
    """Say what is to be measured, and where it is kept; rows of `kept` are read only."""

    folder: Path
    pairs: tuple[str, ...]
    seeds: int
    results: Path
    kept: tuple[Path, ...] = ()
    slow_seeds: int = 0
    any_code: bool = False
    ours: tuple[str, ...] = OURS
    peers: tuple[str, ...] = ()
    harness: Path | None = None

    def with_peers(self, names: tuple[str, ...]) -> Plan:
        """Return the plan with peers to be measured too."""
        return dataclasses.replace(self, peers=names)

    def seeds_of(self, method: str) -> int:
        """Return how many seeds a method gets."""
        return min(self.seeds, self.slow_seeds) if method in tuning_peers.SLOW else self.seeds


@functools.cache
def code() -> str:
    """Return the digest of the code that rows of ours depend on."""
    within = tuple(f'tl_adapt.{name}' for name in (
        'acquisition', 'baselines', 'designs', 'models', 'space', 'transfer', 'tuner', 'tuning',
    ))
    return digest(sources('tl_adapt.transfer', within))


def current(plan: Plan) -> list[dict]:
    """Return the finished rows of the plan's pairs and seeds that today's code would give."""
    rows = {}
    for path in (*plan.kept, plan.results):
        for row in FORMAT.read(path):
            own = is_ours(row['method']) or is_baseline(row['method'])
            if row['pair'] in plan.pairs and row['seed'] < plan.seeds_of(row['method']) \
                    and row['n_source'] == SOURCE_ROWS \
                    and (plan.any_code or not own or row['code'] == code()):
                rows[tuple(row[name] for name in FORMAT.key)] = row
    return list(rows.values())


def missing(plan: Plan) -> dict[tuple[str, int], tuple[str, ...]]:
    """Return what is to be measured: (pair, seed) -> methods, in that order."""
    # What failed is tried again at the next start.
    done = FORMAT.done(row for row in current(plan) if not row['error'])
    found = {}
    for seed in range(plan.seeds):
        for name in plan.pairs:
            methods = tuple(
                method for method in (*plan.ours, *plan.peers)
                if seed < plan.seeds_of(method) and (name, SOURCE_ROWS, seed, method) not in done
            )
            if methods and len(load(plan.folder, name).ys) >= SOURCE_ROWS:
                found[name, seed] = methods
    return found


def tune(problem: Problem, method: str, source: np.ndarray, seed: int) -> list[int]:
    """Return the rows of the target that one of ours measures, in order."""
    name = {'transfer': 'transfer', 'no source': 'target-only'}.get(method)
    tuner = make_tuner(
        problem.study, name or method.removeprefix(BASELINE),
        problem.source_runs(source) if method == 'transfer' else [], BUDGET, seed,
        problem.configurations,
    )
    return problem.tune(tuner, BUDGET)


def measure(plan: Plan, name: str, seed: int, methods: tuple[str, ...]) -> None:
    """Measure what is missing of one pair and seed."""
    pair = load(plan.folder, name)
    known = split(pair, seed)[0][:SOURCE_ROWS]
    harness = transfer_peers.load_harness(plan.harness) if plan.peers else None
    problem = Problem((pair.Xs, {'y': pair.ys}), (pair.Xt, {'y': pair.yt}), BUDGET, seed)
    for method in methods:
        own = method not in plan.peers
        row = {**dict(zip(FORMAT.key, (name, SOURCE_ROWS, seed, method))), 'rows': '',
               'seconds': float('nan'), 'error': '', 'code': code() if own else ''}
        try:
            start = time.perf_counter()
            if own:
                order, seconds = tune(problem, method, known, seed), time.perf_counter() - start
            else:
                order, seconds = tuning_peers.run(harness, method, pair, known, seed)
            row |= {'rows': ' '.join(map(str, order)), 'seconds': seconds}
        except Exception as error:  # a peer may fail anyhow; the row says how
            row['error'] = one_line(error)
        FORMAT.append(plan.results, row)
    if harness is not None:
        transfer_peers.forget(harness)


def run(plan: Plan, workers: int) -> None:
    """Measure what is missing in processes of their own; what is finished survives ctrl-C."""
    FORMAT.prepare(plan.results)
    todo = missing(plan)
    steps = {key: len(methods) for key, methods in todo.items()}
    in_processes(
        'tuning', steps, measure, lambda key: (plan, *key, todo[key]), workers
    )
