# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Measure time and memory of the transfer model: fit, update, many source rows, a whole space.

What has a limit on memory runs in a process of its own, whose peak is the larger of its resident
set's high-water mark and of the proportional share (PSS) of it and its children, sampled.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import transfer_peers
from transfer_data import Pair, descriptions, load, scores, split

from tl_adapt.models.gaussian_process import GaussianProcess
from tl_adapt.models.transfer import TransferModel

PARTS = ('speed', 'update', 'scale', 'ranking')
DIM, SOURCE_ROWS, TARGET_ROWS, PREDICTED = 34, 1000, 20, 2000


# ------------------------------------------------------------------------------- made-up systems
def robot(rows: int, rng: np.random.Generator, shift: float, dim: int = DIM):
    """Return points (n, dim) of continuous parameters and values (n,) of a smooth system."""
    X = rng.random((rows, dim))
    f = np.sin(3 * X[:, 0]) + X[:, 1] ** 2 + X[:, 3] * X[:, 4] + shift * (X[:, 5] + 1)
    return X, np.exp(f + 0.1 * rng.standard_normal(rows))


def solver(X: np.ndarray, shift: float) -> np.ndarray:
    """Return log times (n,) of a solver with options (n, d): main effects and interactions."""
    rng = np.random.default_rng(7)
    dim = X.shape[1]
    effects = rng.standard_normal(dim) * 0.8 ** np.arange(dim)
    effects[1] += shift  # what another machine changes
    f = (X - 0.5) @ effects + shift
    for i, j in rng.integers(0, dim, (dim // 2, 2)):
        f += 0.5 * rng.standard_normal() * (X[:, i] - 0.5) * (X[:, j] - 0.5)
    return f + 0.4 * X[:, 0] * X[:, 2] * X[:, 3]


def solver_runs(rows: int, dim: int, rng: np.random.Generator, shift: float, binary: int):
    """Return measured options (n, dim), the first `binary` of them 0 or 1, and times (n,)."""
    X = rng.random((rows, dim))
    X[:, :binary] = X[:, :binary].round()
    return X, np.exp(solver(X, shift) + 0.1 * rng.standard_normal(rows))


# ------------------------------------------------------------------------------- in this process
def clock(act) -> tuple[float, object]:
    """Return the seconds that a call takes, and what it returns."""
    begin = time.perf_counter()
    result = act()
    return time.perf_counter() - begin, result


def timings(repeats: int = 3) -> dict[str, float]:
    """Return the median seconds of our models' steps in 34 dimensions, one thread."""
    rng = np.random.default_rng(0)
    source, target = robot(SOURCE_ROWS, rng, 0.0), robot(TARGET_ROWS, rng, 1.0)
    more = robot(TARGET_ROWS + 1, rng, 1.0)
    both = tuple(np.concatenate(parts) for parts in zip(source, target))
    many = rng.random((20_000, DIM))
    gp, model = GaussianProcess(log=True), TransferModel(log=True)
    steps = {
        'GP fit, 1020 points': lambda: gp.fit(*both),
        'GP predict 2,000 with std': lambda: gp.predict(many[:PREDICTED], True),
        'transfer fit, 1000 + 20 points': lambda: TransferModel(log=True).fit(source, target),
        'transfer fit, the source known, 21 points': lambda: model.fit(source, more),
        'transfer predict 2,000 with std': lambda: model.predict(many[:PREDICTED], True),
        'transfer predict 20,000 with std': lambda: model.predict(many, True),
    }
    model.fit(source, target)
    return {
        name: float(np.median([clock(act)[0] for _ in range(repeats)]))
        for name, act in steps.items()
    }


def large_pair(folder: Path) -> Pair:
    """Return the first pair with 34 options and 1000 source rows, or a made-up one."""
    for entry in descriptions(folder):
        pair = load(folder, entry['name'])
        enough = len(pair.ys) >= SOURCE_ROWS and len(pair.yt) >= 2 * TARGET_ROWS
        if pair.Xs.shape[1] == DIM and enough:
            return pair
    rng = np.random.default_rng(0)
    return Pair('made up', *robot(SOURCE_ROWS, rng, 0.0), *robot(PREDICTED, rng, 1.0))


def speed(folder: Path, harness_file: Path, repeats: int = 3) -> dict:
    """Time fit and prediction of 2000 rows against the multi-task GP, taking turns."""
    pair = large_pair(folder)
    try:
        harness = transfer_peers.load_harness(harness_file)
    except ImportError:
        harness = None
    spent: dict = {'transfer': [], 'multi-task GP': []}
    errors: dict = {'transfer': [], 'multi-task GP': []}
    for repeat in range(repeats):
        kept, order = split(pair, repeat)
        kept, known, rest = kept[:SOURCE_ROWS], order[:TARGET_ROWS], order[TARGET_ROWS:]
        Xs, ys, Xt, yt = pair.Xs[kept], pair.ys[kept], pair.Xt[known], pair.yt[known]
        # Rows that nobody measured fill up the 2000; the error is that of the measured ones.
        rng = np.random.default_rng(repeat)
        X = np.vstack([pair.Xt[rest], rng.random((PREDICTED, DIM))])[:PREDICTED]
        true = np.log(pair.yt[rest])[:PREDICTED]

        def ours(Xs=Xs, ys=ys, Xt=Xt, yt=yt, X=X):
            return np.log(TransferModel(log=True).fit((Xs, ys), (Xt, yt)).predict(X))

        def theirs(Xs=Xs, ys=ys, Xt=Xt, yt=yt, X=X):
            model = harness.mtgp_model(Xs, np.log(ys), Xt, np.log(yt))
            return harness.mean_of(model, np.c_[X, np.ones(len(X))])

        for name, act in (('transfer', ours), ('multi-task GP', theirs)):
            if act is ours or harness is not None:
                print(f'speed: {name}, {repeat + 1} of {repeats}', file=sys.stderr)
                seconds, predicted = clock(act)
                spent[name].append(seconds)
                errors[name].append(scores(predicted[:len(true)], true)['nrmse_log'])
    found = {'pair': pair.name, 'seconds': spent, 'nrmse_log': errors, 'timings': timings()}
    print(f'\nFit + predict {PREDICTED} rows, {SOURCE_ROWS} + {TARGET_ROWS} points, {DIM} '
          f'dimensions ({pair.name}), one thread, {repeats} splits in turns')
    for name in spent:
        if spent[name]:
            print(f'{name:20s} median {np.median(spent[name]):8.3f} s   NRMSE (log scale), mean '
                  f'{np.mean(errors[name]):.3f}')
    for name, seconds in found['timings'].items():
        print(f'{name:44s}{seconds:9.3f} s')
    found['bars'] = []
    if harness is None:
        print('the multi-task GP is skipped: its packages are not there')
    else:
        ours, theirs = spent['transfer'], spent['multi-task GP']
        found['ratio'] = float(np.median(np.divide(theirs, ours)))
        worse = np.mean(errors['transfer']) / np.mean(errors['multi-task GP'])
        found['bars'] = [
            (('times faster than the multi-task GP', found['ratio'], 10), {'least': True}),
            (('NRMSE by that of the multi-task GP there', worse, 1.0), {}),
        ]
    return found


# ------------------------------------------------------------------------------- in a child
def update(candidates: int, updates: int = 40) -> dict:
    """Time one new target point: update, and the best ten of the candidates."""
    pool_type = importlib.import_module('tl_adapt.models.pool').Pool
    rng = np.random.default_rng(0)
    source, target = robot(SOURCE_ROWS, rng, 0.0), robot(5, rng, 1.0)
    new = robot(updates, rng, 1.0)
    X = rng.random((candidates, DIM))
    model = TransferModel(log=True).fit(source, target)
    made, pool = clock(lambda: pool_type(model, X))
    pool.rank(n=10)
    times = []
    for x, y in zip(*new):
        begin = time.perf_counter()
        model.update(x[None], np.array([y]))
        pool.rank(n=10)
        times.append(1e3 * (time.perf_counter() - begin))
    # What was updated must be what a fresh prediction says, on whichever scale the pool is.
    some = np.asarray(pool.mean())[:200]
    fresh = (model.latent(X[:200], noise=False)[0], model.predict(X[:200]))
    off = min(float(np.abs(some - mean).max()) for mean in fresh)
    return {'p50': float(np.percentile(times, 50)), 'p99': float(np.percentile(times, 99)),
            'made': made, 'off': off}


def scale(rows: int, binary: int) -> dict:
    """Time a fit to very many source rows of 14 options, and tell how well it predicts."""
    rng = np.random.default_rng(0)
    source = solver_runs(rows, 14, rng, 0.0, binary)
    target = solver_runs(TARGET_ROWS, 14, rng, 1.0, binary)
    X, _ = solver_runs(PREDICTED, 14, rng, 1.0, binary)
    seconds, model = clock(lambda: TransferModel(log=True).fit(source, target))
    predicting, median = clock(lambda: model.predict(X))
    error = scores(np.log(median), solver(X, 1.0))['nrmse_log']
    return {'seconds': seconds, 'predict': predicting, 'nrmse_log': error}


def ranking(dim: int, brute: int) -> dict:
    """Time the ranking of all configurations of binary options; check it if `brute` is 1."""
    rng = np.random.default_rng(0)
    source = solver_runs(SOURCE_ROWS, dim, rng, 0.0, dim)
    target = solver_runs(TARGET_ROWS, dim, rng, 1.0, dim)
    model = TransferModel(log=True).fit(source, target)
    rank = importlib.import_module('tl_adapt.models.ranking').rank_binary
    seconds, (best, predicted) = clock(lambda: rank(model, dim, top=100, workers=2))
    again = np.asarray(model.predict(np.asarray(best, dtype=float)))
    found = {'seconds': seconds, 'off': float(np.abs(again / predicted - 1.0).max()),
             'different': len(np.unique(np.asarray(best), axis=0))}
    if brute:
        every = (np.arange(2**dim)[:, None] >> np.arange(dim)) & 1
        true = np.sort(model.predict(every.astype(float)))[:len(predicted)]
        found['brute'] = float(np.abs(np.sort(predicted) / true - 1.0).max())
    return found


CHILDREN = {'update': update, 'scale': scale, 'ranking': ranking}


def high_water() -> float:
    """Return the most memory this program has had resident, in MiB."""
    # Not getrusage: its figure includes what the parent held when it forked.
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith('VmHWM:'):
            return int(line.split()[1]) / 1024
    return float('nan')


def tree_memory(pid: int) -> float:
    """Return the proportional share of memory of a process and its descendants, in MiB."""
    total, todo = 0.0, [pid]
    while todo:
        base = Path(f'/proc/{todo.pop()}')
        try:
            for line in (base / 'smaps_rollup').read_text().splitlines():
                if line.startswith('Pss:'):
                    total += int(line.split()[1]) / 1024
            for task in (base / 'task').iterdir():
                todo += [int(child) for child in (task / 'children').read_text().split()]
        except (OSError, ValueError):
            pass  # it has just ended
    return total


def in_child(name: str, *arguments: int) -> dict:
    """Run one of CHILDREN in a process of its own; return what it found and `peak` in MiB."""
    print(f'{name}: {" ".join(f"{number:,}" for number in arguments)} ...', file=sys.stderr)
    command = [sys.executable, str(Path(__file__).resolve()), name, *map(str, arguments)]
    peak = 0.0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        while True:
            peak = max(peak, tree_memory(child.pid))
            try:
                output, _ = child.communicate(timeout=0.1)
                break
            except subprocess.TimeoutExpired:
                pass
    if child.returncode:
        return {'error': f'ended with {child.returncode}'}
    found = json.loads(output.splitlines()[-1])
    return {**found, 'peak': max(peak, found['peak'])}


def failed(name: str, row: dict) -> tuple:
    """Say that a child failed; return the arguments of a bar that is not met."""
    print(f'{name}: FAILED, {row["error"]}')
    return (name, float('inf'), 0), {}


def run_update() -> dict:
    found: dict = {'bars': []}
    print(f'\nOne new target point: update, and the best ten of the candidates; {SOURCE_ROWS} '
          f'source rows, {DIM} dimensions, one core, 40 updates')
    for candidates, limit in ((20_000, 100), (100_000, 500)):
        row = found[str(candidates)] = in_child('update', candidates)
        if 'error' in row:
            found['bars'].append(failed(f'update, {candidates:,d} candidates', row))
            continue
        print(f'{candidates:9,d} candidates   p50 {row["p50"]:7.1f} ms   p99 {row["p99"]:7.1f} ms'
              f'   made in {row["made"]:6.2f} s   peak {row["peak"]:6.0f} MiB   off a fresh '
              f'prediction by {row["off"]:.1e}')
        name = f'update and rank {candidates:,d} candidates'
        found['bars'] += [((f'{name}, p99', row['p99'], limit, 'ms'), {}),
                          ((f'{name}, memory', row['peak'], 300, 'MiB'), {})]
    return found


def run_scale() -> dict:
    found: dict = {'bars': []}
    print('\nFit to 100,000 source rows and 20 target points, 14 options, made-up solver')
    for binary in (14, 7):
        row = found[f'{binary} binary'] = in_child('scale', 100_000, binary)
        name = f'{binary} of 14 options binary'
        if 'error' in row:
            found['bars'].append(failed(f'fit to 100,000 rows, {name}', row))
            continue
        print(f'{name:26s} fit {row["seconds"]:7.1f} s   predict 2000 {row["predict"]:6.2f} s   '
              f'peak {row["peak"]:6.0f} MiB   NRMSE (log scale) {row["nrmse_log"]:.3f}')
        found['bars'] += [((f'fit to 100,000 rows, {name}', row['seconds'], 60, 's'), {}),
                          ((f'its memory, {name}', row['peak'], 4096, 'MiB'), {})]
    return found


def run_ranking() -> dict:
    found: dict = {'bars': []}
    print(f'\nThe best 100 of all configurations of binary options; {SOURCE_ROWS} + {TARGET_ROWS} '
          'points')
    for dim in (16, 25):
        row = found[str(dim)] = in_child('ranking', dim, int(dim == 16))
        if 'error' in row:
            found['bars'].append(failed(f'ranking of 2^{dim}', row))
            continue
        print(f'2^{dim}   {row["seconds"]:7.1f} s   peak {row["peak"]:6.0f} MiB   '
              f'{row["different"]} different, off predict by {row["off"]:.1e}'
              + (f', off brute force by {row["brute"]:.1e}' if 'brute' in row else ''))
        if dim == 25:
            found['bars'] += [(('ranking of 2^25', row['seconds'], 60, 's'), {}),
                              (('ranking of 2^25, memory', row['peak'], 2048, 'MiB'), {})]
        else:
            found['bars'].append((('ranking off brute force', row['brute'], 1e-6), {}))
    return found


def run(part: str, folder: Path, harness: Path) -> dict:
    """Measure, print and return one part; `bars` holds arguments of transfer.bar."""
    if part == 'speed':
        return speed(folder, harness)
    needs = {'update': 'tl_adapt.models.pool', 'ranking': 'tl_adapt.models.ranking'}.get(part)
    if needs and importlib.util.find_spec(needs) is None:
        print(f'{part} part skipped: there is no {needs}')
        return {}
    return {'update': run_update, 'scale': run_scale, 'ranking': run_ranking}[part]()


def main() -> int:
    name, *arguments = sys.argv[1:]
    found = CHILDREN[name](*map(int, arguments))
    print(json.dumps({**found, 'peak': high_water()}))
    return 0


if __name__ == '__main__':  # transfer.py has seen to it that there is one thread
    sys.exit(main())
