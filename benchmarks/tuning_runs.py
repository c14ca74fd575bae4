# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Let ours and the peers tune on tables, and keep the order in which each measured the rows.

A row is one method, pair and seed: `rows` are the indices of the target's rows in the order
measured, so that every figure can be computed from them. `code` is the digest of the code that a
row of ours depends on. Two pairs with the same rows, 'a+b', are two objectives.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import transfer_peers
import tuning_front
import tuning_front_peers
import tuning_peers
from kept_rows import Format, digest, in_processes, keep, sources
from transfer_data import Pair, load, split
from tuning_problem import Problem
from tuning_tables import BUDGET, OURS, is_ours

from tl_adapt import baselines
from tl_adapt.errors import InputError
from tl_adapt.transfer import make_tuner

SOURCE_ROWS = 200
BASELINE = 'baseline '  # how the name of a baseline of the package begins here
BASELINES = tuple(f'{BASELINE}{name}' for name in baselines.BASELINES)
FORMAT = Format(
    ('pair', 'n_source', 'seed', 'method', 'rows', 'seconds', 'error', 'code'),
    ('pair', 'method', 'rows', 'error', 'code'), ('pair', 'n_source', 'seed', 'method'), ('code',),
)


@dataclass(frozen=True)
class Plan:
    """
    Say what is to be measured, and where it is kept; rows of `kept` are read only.

    `peers` and `front_peers` are those for one and for two objectives; `wanted` leaves out all
    other methods. With `any_code` rows of older code count too.
    """

    folder: Path
    pairs: tuple[str, ...]
    seeds: int
    results: Path
    kept: tuple[Path, ...] = ()
    slow_seeds: int = 0
    wanted: tuple[str, ...] = ()
    any_code: bool = False
    harness: Path | None = None
    peers: tuple[str, ...] = ()
    front_peers: tuple[str, ...] = ()

    def methods(self, pair: str, seed: int) -> list[str]:
        """Return the methods to be measured on a pair with a seed."""
        two = '+' in pair
        methods = (*OURS, *(() if two else BASELINES),
                   *(self.front_peers if two else self.peers))
        return [m for m in methods
                if (not self.wanted or m in self.wanted) and seed < self.seeds_of(m)]

    def seeds_of(self, method: str) -> int:
        """Return how many seeds a method gets."""
        return min(self.seeds, self.slow_seeds) if method in tuning_peers.SLOW else self.seeds


@functools.cache
def code(method: str) -> str:
    """Return the digest of the code that rows of one of ours depend on, '' of a peer."""
    begin, parts = 'tl_adapt.tuner', ('acquisition', 'models', 'tuning')
    if method in BASELINES:
        begin, parts = 'tl_adapt.baselines', ('baselines', 'tuning.search', 'tuning.measured')
    elif not is_ours(method):
        return ''
    within = tuple(f'tl_adapt.{name}' for name in (*parts, 'designs', 'space'))
    # How a table becomes a study decides too where a run begins and what the models see.
    return digest(sources(begin, within) | sources('tuning_problem', ()))


def current(plan: Plan) -> list[dict]:
    """Return the finished rows of the plan's pairs and seeds that today's code would give."""
    rows = {}
    for path in (*plan.kept, plan.results):
        for row in FORMAT.read(path):
            if row['pair'] in plan.pairs and row['seed'] < plan.seeds_of(row['method']) \
                    and row['n_source'] == SOURCE_ROWS \
                    and (not plan.wanted or row['method'] in plan.wanted) \
                    and (plan.any_code or row['code'] == code(row['method'])):
                key = tuple(row[name] for name in FORMAT.key)
                if key not in rows or not row['error'] or rows[key]['error']:
                    rows[key] = row
    return list(rows.values())


def missing(plan: Plan) -> dict[tuple[str, int], tuple[str, ...]]:
    """Return what is to be measured: (pair, seed) -> methods, in that order."""
    # What failed is tried again at the next start.
    done = FORMAT.done(row for row in current(plan) if not row['error'])
    found = {}
    for seed in range(plan.seeds):
        for name in plan.pairs:
            methods = tuple(method for method in plan.methods(name, seed)
                            if (name, SOURCE_ROWS, seed, method) not in done)
            if methods and len(tables_of(plan.folder, name)[0].ys) >= SOURCE_ROWS:
                found[name, seed] = methods
    return found


def tables_of(folder: Path, name: str) -> list[Pair]:
    """
    Return the pair of that name, or both of 'a+b'.

    Raises InputError unless both have the same configurations in the same order.
    """
    pairs = [load(folder, part) for part in name.split('+')]
    if not all(np.array_equal(getattr(pair, X), getattr(pairs[0], X))
               for pair in pairs for X in ('Xs', 'Xt')):
        raise InputError('two objectives need the same rows', file='--front', value=name)
    return pairs


def tune(problem: Problem, method: str, source: np.ndarray, seed: int, budget: int) -> list[int]:
    """Return the rows of the target that one of ours measures, in order."""
    name = {'transfer': 'transfer', 'no source': 'target-only'}.get(method)
    known = problem.source_runs(source) if name == 'transfer' else []
    tuner = make_tuner(
        problem.study, name or method.removeprefix(BASELINE), known, budget, seed,
        problem.configurations,
    )
    return problem.tune(tuner, budget)


def measure(plan: Plan, name: str, seed: int, methods: tuple[str, ...]) -> None:
    """Measure what is missing of one pair, or of two objectives, with one seed."""
    pairs = tables_of(plan.folder, name)
    two = len(pairs) > 1
    budget = tuning_front.BUDGET if two else BUDGET
    known = split(pairs[0], seed)[0][:SOURCE_ROWS]
    problem = Problem(
        (pairs[0].Xs, {f'y{i}': pair.ys for i, pair in enumerate(pairs)}),
        (pairs[0].Xt, {f'y{i}': pair.yt for i, pair in enumerate(pairs)}),
        budget, seed, goal='front' if two else 'sum',
    )

    def orders(method: str) -> dict:
        begin = time.perf_counter()
        if is_ours(method) or method in BASELINES:
            order = tune(problem, method, known, seed, budget)
            seconds = time.perf_counter() - begin
        else:
            harness = transfer_peers.load_harness(plan.harness)
            try:
                order, seconds = (
                    tuning_front_peers.run(harness, method, pairs, known, seed) if two
                    else tuning_peers.run(harness, method, pairs[0], known, seed)
                )
            finally:
                transfer_peers.forget(harness)
        return {'rows': ' '.join(map(str, order)), 'seconds': seconds}

    for method in methods:
        row = {**dict(zip(FORMAT.key, (name, SOURCE_ROWS, seed, method))), 'rows': '',
               'seconds': float('nan'), 'code': code(method)}
        keep(FORMAT, plan.results, row, orders, method)


def run(plan: Plan, workers: int) -> None:
    """Measure what is missing in processes of their own; what is finished survives ctrl-C."""
    todo = missing(plan)
    steps = {key: len(methods) for key, methods in todo.items()}
    in_processes('tuning', FORMAT, plan, todo, steps, measure, workers)
