# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Measure the models: time of fit, predict and choice, and the accuracy of the transfer.

    python benchmarks/models.py [--data DIR] [--pairs a,b] [--seeds N] [--json FILE]

Accuracy is NRMSE on the log scale (rmse of the log / standard deviation of the log target) on all
target rows that were not measured; 200 source rows. DIR holds pairs.json and its CSV files.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import time
import zlib
from pathlib import Path

for _name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS'):
    os.environ.setdefault(_name, '1')

import numpy as np  # noqa: E402

from tl_adapt.models.gaussian_process import GaussianProcess  # noqa: E402
from tl_adapt.models.transfer import TransferModel  # noqa: E402

SOURCE_ROWS = 200
TARGET_ROWS = (5, 10, 20)
METHODS = ('transfer', 'target only', 'source only')


def timings():
    """Time 1000 source + 20 target points in 34 dimensions, one thread."""
    rng = np.random.default_rng(0)

    def draw(n, shift):
        X = rng.random((n, 34))
        f = np.sin(3 * X[:, 0]) + X[:, 1] ** 2 + X[:, 3] * X[:, 4] + shift * (X[:, 5] + 1)
        return X, np.exp(f + 0.1 * rng.standard_normal(n))

    source, target, many = draw(1000, 0), draw(20, 1), rng.random((20000, 34))
    found = {}

    def clock(name, act, repeats=3):
        times = []
        for _ in range(repeats):
            begin = time.perf_counter()
            act()
            times.append(time.perf_counter() - begin)
        found[name] = float(np.median(times))

    gp = GaussianProcess(log=True)
    both = (np.vstack([source[0], target[0]]), np.concatenate([source[1], target[1]]))
    clock('GP fit, 1020 points', lambda: GaussianProcess(log=True).fit(*both))
    gp.fit(*both)
    clock('GP fit, 1020 points, warm start', lambda: gp.fit(*both, warm=True))
    clock('GP predict 2,000 with std', lambda: gp.predict(many[:2000], True))
    clock('transfer fit, 1000 + 20 points', lambda: TransferModel(log=True).fit(source, target))
    model = TransferModel(log=True).fit(source, target)
    clock('transfer update with target points', lambda: model.fit(source, target))
    clock('transfer update, hyperparameters kept', lambda: model.fit(source, target, quick=True))
    clock('transfer predict 2,000 with std', lambda: model.predict(many[:2000], True))
    clock('transfer predict 20,000 with std', lambda: model.predict(many, True))
    return found


def read(path):
    """Return options scaled to the unit cube (n, d) and the other columns by name."""
    with open(path, newline='') as file:
        head, *rows = list(csv.reader(file))
    values = np.array(rows, dtype=float)
    options = [i for i, name in enumerate(head) if name.startswith('opt_')]
    X = values[:, options]
    low, high = X.min(axis=0), X.max(axis=0)
    return (X - low) / np.where(high > low, high - low, 1.0), {
        name: values[:, i] for i, name in enumerate(head)
    }


def load(folder, pair):
    """Return source (X, y) and target (X, y) of a pair."""
    if pair['same_configs']:
        X, columns = read(folder / pair['files'][0])
        return (X, columns['source']), (X, columns['target'])
    (Xs, source), (Xt, target) = (read(folder / name) for name in pair['files'])
    return (Xs, source['source']), (Xt, target['target'])


def accuracy(folder, wanted, seeds):
    """Return rows of pair, number of target points, seed, and each method's NRMSE."""
    rows = []
    for pair in json.loads((folder / 'pairs.json').read_text()):
        name = pair['name']
        if pair.get('opt_only') or (wanted and name not in wanted):
            continue
        (Xs, ys), (Xt, yt) = load(folder, pair)
        for seed in range(seeds):
            rng = np.random.default_rng([zlib.crc32(name.encode()), seed])
            kept = rng.permutation(len(ys))[:SOURCE_ROWS]
            order = rng.permutation(len(yt))
            source = (Xs[kept], ys[kept])
            model = TransferModel(log=True)
            for n in TARGET_ROWS:
                known, rest = order[:n], order[n:]
                target = (Xt[known], yt[known])
                begin = time.perf_counter()
                logs = {'transfer': np.log(model.fit(source, target).predict(Xt[rest]))}
                seconds = time.perf_counter() - begin
                alone = GaussianProcess(log=True).fit(*target)
                logs['target only'] = np.log(alone.predict(Xt[rest]))
                logs['source only'] = np.log(model.source.predict(Xt[rest]))
                truth = np.log(yt[rest])
                row = {'pair': name, 'points': n, 'seed': seed, 'seconds': seconds}
                for method in METHODS:
                    off = logs[method] - truth
                    row[method] = float(np.sqrt(np.mean(off**2)) / truth.std())
                rows.append(row)
    return rows


def show(rows):
    """Print the median over seeds of each pair, and the geometric mean over pairs."""
    pairs = list(dict.fromkeys(row['pair'] for row in rows))
    for n in TARGET_ROWS:
        print(f'\nNRMSE (log scale), {n} target points, median over seeds')
        print(f'{"":18s}' + ''.join(f'{method:>14s}' for method in METHODS))
        table = np.array([
            [np.median([row[m] for row in rows if row['pair'] == p and row['points'] == n])
             for m in METHODS]
            for p in pairs
        ])
        for name, line in zip(pairs, table):
            print(f'{name:18s}' + ''.join(f'{value:14.3f}' for value in line))
        mean = np.exp(np.log(table).mean(axis=0))
        print(f'{"geometric mean":18s}' + ''.join(f'{value:14.3f}' for value in mean))
        worse = np.mean([row['transfer'] > 1.1 * row['target only'] for row in rows
                         if row['points'] == n])
        print(f'splits in which transfer is > 10 % worse than target only: {100 * worse:.1f} %')


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--data', type=Path, default=Path('../shared/data'))
    parser.add_argument('--pairs', default='', help='names, separated by commas (default: all)')
    parser.add_argument('--seeds', type=int, default=5)
    parser.add_argument('--json', type=Path, help='write everything measured to this file')
    arguments = parser.parse_args()
    times = timings()
    for name, seconds in times.items():
        print(f'{name:42s}{seconds:9.3f} s')
    rows = []
    if (arguments.data / 'pairs.json').is_file():
        rows = accuracy(arguments.data, set(filter(None, arguments.pairs.split(','))),
                        arguments.seeds)
        show(rows)
    else:
        print(f'no pairs.json in {arguments.data}: accuracy is not measured')
    if arguments.json:
        found = {'seconds': times, 'accuracy': rows}
        arguments.json.write_text(json.dumps(found, indent=1) + '\n')


if __name__ == '__main__':
    main()
