# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Measure ours and the peers on splits of pairs, and keep what is finished in a CSV file.

A row is one method on one split: `points` says who chose the target points, chance or our
design. Rows of ours carry the digest of the code that they depend on (`code`), rows on designed
points that of the points (`design`): a row whose digest is not today's is measured anew.
"""

from __future__ import annotations

import ast
import contextlib
import csv
import functools
import hashlib
import importlib
import importlib.util
import multiprocessing
import signal
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import transfer_peers
from transfer_data import LEVEL, WIDTH, Pair, interval_scores, load, scores, split

from tl_adapt.models.transfer import TransferModel
from tl_adapt.progress import Progress

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
def sources(module: str, known: set[str] | None = None) -> dict[str, Path]:
    """Return the files of a module and of all of tl_adapt.models that it imports, by name."""
    known = set() if known is None else known
    spec = importlib.util.find_spec(module)
    if module in known or spec is None or not spec.origin:
        return {}
    known.add(module)
    found = {module: Path(spec.origin)}
    for node in ast.walk(ast.parse(found[module].read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] + [f'{node.module}.{alias.name}' for alias in node.names]
        for name in names:
            if name.startswith('tl_adapt.models.'):
                with contextlib.suppress(ModuleNotFoundError):
                    found |= sources(name, known)
    return found


@functools.cache
def code(points: str) -> str:
    """Return the digest of the code that rows of ours depend on."""
    files = sources('tl_adapt.models.transfer')
    if points == 'active':
        files |= sources(DESIGN)
    text = hashlib.sha256()
    for name in sorted(files):
        text.update(files[name].read_bytes())
    return text.hexdigest()[:12]


def design_is_there() -> bool:
    """Say whether target points can be chosen by our design."""
    return importlib.util.find_spec(DESIGN) is not None


# ------------------------------------------------------------------------------- results
def read_results(path: Path) -> list[dict]:
    """Return the whole rows of a results file, the last of each key; torn lines are left out."""
    rows = {}
    if Path(path).is_file():
        with open(path, newline='') as file:
            for cells in csv.reader(file):
                if len(cells) != len(FIELDS) or cells[0] == FIELDS[0]:
                    continue
                with contextlib.suppress(ValueError):
                    row = {
                        name: cell if name in WORDS
                        else int(cell) if name in KEY
                        else float(cell) if cell else float('nan')
                        for name, cell in zip(FIELDS, cells)
                    }
                    key = tuple(row[name] for name in (*KEY, 'code', 'design'))
                    rows[key] = row
    return list(rows.values())


def prepare_results(path: Path) -> None:
    """Make the file with its head, or end a line that was torn when a run was killed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or not path.stat().st_size:
        path.write_text(','.join(FIELDS) + '\n')
    elif not path.read_bytes().endswith(b'\n'):
        with open(path, 'a') as file:
            file.write('\n')


def append(path: Path, row: dict) -> None:
    """Add one row with a single write, so that workers don't tear each other's lines."""
    cells = [f'{v:.6g}' if isinstance(v, float) else v for v in map(row.get, FIELDS)]
    with open(path, 'a', newline='') as file:
        csv.writer(file, lineterminator='\n').writerow(cells)


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
    done = {tuple(row[name] for name in KEY) for row in current(read_results(plan.results))}
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
        (row['n_target'], row['method'], row['design']) for row in read_results(plan.results)
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
                'code': code(points) if method in OURS else '', 'design': design, 'error': '',
            }
            try:
                if method in OURS:
                    row |= predict_ours(method, source, target, X, y)
                else:
                    mean, seconds = transfer_peers.predict(harness, method, *source, *target, X)
                    row |= {**scores(mean, np.log(y)), 'seconds': seconds}
            except Exception as error:  # a peer may fail anyhow; the row says how
                row['error'] = ' '.join(f'{type(error).__name__}: {error}'.split())[:200]
            append(plan.results, row)
    if harness is not None:
        transfer_peers.forget(harness)


def run(plan: Plan, workers: int) -> None:
    """Measure what is missing in processes of their own; what is finished survives ctrl-C."""
    prepare_results(plan.results)
    todo = missing(plan)
    if not todo:
        return
    # Not forked: the peers' libraries have threads that a fork would lose.
    pool = ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context('spawn'), initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_DFL),
    )
    total = sum(len(methods) for cells in todo.values() for _, _, methods in cells)
    try:
        with Progress('predictions', total) as progress:
            tasks = {pool.submit(measure, plan, *key, cells): key for key, cells in todo.items()}
            for task in as_completed(tasks):
                task.result()
                name, seed = tasks[task]
                steps = sum(len(methods) for _, _, methods in todo[name, seed])
                progress.advance(f'{name}, seed {seed}', steps)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
