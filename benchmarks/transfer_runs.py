# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Measure ours and the peers on splits of pairs, and keep what is finished in a CSV file.

A row is one method on one split: `points` says who chose the target points, chance or our
design. Rows of ours carry the digest of the code that they depend on (`code`), rows on designed
points that of the points (`design`): a row whose digest is not today's is measured anew.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import transfer_peers
from kept_rows import Format, digest, in_processes, keep, sources
from transfer_data import LEVEL, WIDTH, Pair, interval_scores, load, scores, split

from tl_adapt.models.transfer import TransferModel

SOURCE_ROWS = 200
SIZES = (5, 10, 20, 50)
ACTIVE_SIZES = (5, 10)
OURS = ('transfer', 'target only', 'source only')
ACTIVE_OURS = ('transfer', 'target only')
DESIGN = 'tl_adapt.models.design'
WORDS = ('pair', 'points', 'method', 'error', 'code', 'design')
FIELDS = (
    'pair', 'n_source', 'n_target', 'seed', 'points', 'method', 'nrmse_log', 'nrmse', 'mape',
    'mdape', 'spearman', 'log_density', 'interval_score', 'coverage', 'seconds', 'error', 'code',
    'design',
)
KEY = ('pair', 'n_source', 'n_target', 'seed', 'points', 'method')
FORMAT = Format(FIELDS, WORDS, KEY, ('code', 'design'))


@dataclass(frozen=True)
class Plan:
    """Say what is to be measured, and where it is kept."""

    folder: Path
    pairs: tuple[str, ...]
    seeds: int
    results: Path
    points: tuple[str, ...] = ('random', 'active')
    ours: tuple[str, ...] = OURS
    peers: tuple[str, ...] = ()
    harness: Path | None = None


# ------------------------------------------------------------------------------- digests
@functools.cache
def code(points: str) -> str:
    """Return the digest of the code that rows of ours depend on."""
    files = sources('tl_adapt.models.transfer', ('tl_adapt.models.',))
    if points == 'active':
        files |= sources(DESIGN, ('tl_adapt.models.',))
    return digest(files)


def design_is_there() -> bool:
    """Say whether target points can be chosen by our design."""
    return importlib.util.find_spec(DESIGN) is not None


# ------------------------------------------------------------------------------- results
def current(rows: Iterable[dict]) -> list[dict]:
    """Keep the rows that today's code, and today's design of the target points, would give."""
    rows = [row for row in rows if row['method'] not in OURS or row['code'] == code(row['points'])]
    designs = {
        (row['pair'], row['n_target'], row['seed']): row['design']
        for row in rows if row['points'] == 'active' and row['method'] in OURS
    }
    return [
        row for row in rows if row['points'] == 'random'
        or row['design'] == designs.get((row['pair'], row['n_target'], row['seed']))
    ]


def missing(plan: Plan) -> dict[tuple[str, int], list[tuple[str, int, tuple[str, ...]]]]:
    """Return what is to be measured: (pair, seed) -> (points, size, methods), in that order."""
    done = FORMAT.done(current(FORMAT.read(plan.results)))
    found: dict = {}
    for seed in range(plan.seeds):
        for name in plan.pairs:
            pair = load(plan.folder, name)
            if len(pair.ys) < SOURCE_ROWS:
                continue
            for points in plan.points:
                chosen = points == 'active'
                ours = [m for m in plan.ours if not chosen or m in ACTIVE_OURS]
                for size in ACTIVE_SIZES if chosen else SIZES:
                    methods = tuple(
                        method for method in (*ours, *plan.peers)
                        if (name, SOURCE_ROWS, size, seed, points, method) not in done
                    )
                    if methods and size + 10 <= len(pair.yt):
                        found.setdefault((name, seed), []).append((points, size, methods))
    return found


# ------------------------------------------------------------------------------- measuring
def predict_ours(method: str, source, target, X, y) -> dict:
    """Return the scores of one of our methods at X (n, d), whose truth is y (n,)."""
    begin = time.perf_counter()
    model = TransferModel(log=True).fit(
        None if method == 'target only' else source, None if method == 'source only' else target
    )
    median = model.predict(X)
    seconds = time.perf_counter() - begin
    logs = np.log(y)
    if hasattr(model, 'interval'):
        low, high = (np.log(bound) for bound in model.interval(X, LEVEL))
    else:
        mean, var = model.latent(X, noise=True)
        low, high = mean - WIDTH * np.sqrt(var), mean + WIDTH * np.sqrt(var)
    # The density of the logarithm: it does not depend on the unit.
    density = float(np.mean(model.log_predictive_density(X, y) + logs))
    return {
        **scores(np.log(median), logs), **interval_scores(low, high, logs),
        'log_density': density, 'seconds': seconds,
    }


def predict(harness, method: str, source, target, X, y) -> dict:
    """Return the scores of any method at X (n, d), whose truth is y (n,)."""
    if method in OURS:
        return predict_ours(method, source, target, X, y)
    mean, seconds = transfer_peers.predict(harness, method, *source, *target, X)
    return {**scores(mean, np.log(y)), 'seconds': seconds}


def choose(pair: Pair, source, size: int, seed: int) -> list[int]:
    """Return the rows of the target that our design wants to measure, knowing none of them."""
    design = importlib.import_module(DESIGN)
    chosen = [int(row) for row in design.choose_for_transfer(source, pair.Xt, size, seed=seed)]
    if len(set(chosen)) != size:
        raise ValueError(f'the design must name {size} different rows, got {chosen}')
    return chosen


def measure(plan: Plan, name: str, seed: int, cells: list) -> None:
    """Measure what is missing of one pair and seed."""
    pair = load(plan.folder, name)
    kept, order = split(pair, seed)
    kept = kept[:SOURCE_ROWS]
    source = (pair.Xs[kept], pair.ys[kept])
    # The design may choose what it chose before its code changed: the peers' rows hold then.
    known = {
        (row['n_target'], row['method'], row['design']) for row in FORMAT.read(plan.results)
        if row['points'] == 'active' and (row['pair'], row['seed']) == (name, seed)
    }
    harness = transfer_peers.load_harness(plan.harness) if plan.peers else None
    for points, size, methods in cells:
        design = ''
        chosen = order[:size]
        if points == 'active':
            chosen = np.array(choose(pair, source, size, seed))
            design = hashlib.sha256(str(sorted(chosen.tolist())).encode()).hexdigest()[:12]
        rest = order[~np.isin(order, chosen)]
        target, X, y = (pair.Xt[chosen], pair.yt[chosen]), pair.Xt[rest], pair.yt[rest]
        for method in methods:
            if design and method not in OURS and (size, method, design) in known:
                continue
            row = {
                **dict(zip(KEY, (name, SOURCE_ROWS, size, seed, points, method))),
                'code': code(points) if method in OURS else '', 'design': design,
            }
            keep(FORMAT, plan.results, row, predict, harness, method, source, target, X, y)
    if harness is not None:
        transfer_peers.forget(harness)


def run(plan: Plan, workers: int) -> None:
    """Measure what is missing in processes of their own; what is finished survives ctrl-C."""
    todo = missing(plan)
    steps = {key: sum(len(methods) for *_, methods in cells) for key, cells in todo.items()}
    in_processes('predictions', FORMAT, plan, todo, steps, measure, workers)
