# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Summarise the rows of transfer_runs.py: ours against the best peer, negative transfer, coverage.

Every cell is a pair and a number of target points; within it all methods are compared on the
splits that all of them were measured on. The best peer is chosen in hindsight for each cell.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from scipy.stats import t as student
from transfer_runs import OURS

MEASURES = {
    'nrmse_log': 'NRMSE on the log scale (geometric mean over pairs)',
    'nrmse': 'NRMSE on the original scale (geometric mean over pairs)',
    'mape': 'MAPE, % (geometric mean over pairs)',
    'log_density': 'log density of a held-out log target (mean over pairs)',
    'interval_score': '90 % interval score on the log scale (mean over pairs)',
    'seconds': 'fit + predict, s (mean over pairs)',
}
ERRORS = ('nrmse_log', 'nrmse', 'mape')
LEARNABLE = 0.9
RULE = (
    f'a pair can separate methods if its best peer at the largest size is below {LEARNABLE:g} of '
    "the error of the target's mean, and at half of the sizes or more the best peer is better "
    'than the median peer by more than two standard errors of the paired difference'
)


class Results:
    """Give the values of methods by points, pair and size."""

    def __init__(self, rows: list[dict]) -> None:
        """Index the rows."""
        self._rows: dict = defaultdict(dict)
        for row in rows:
            key = (row['points'], row['pair'], row['n_target'], row['method'])
            self._rows[key][row['seed']] = row
        self.pairs = list(dict.fromkeys(row['pair'] for row in rows))
        self.sizes = sorted({row['n_target'] for row in rows})
        self._methods: dict = defaultdict(dict)  # dicts keep the order of the file
        for row in rows:
            self._methods[row['points']][row['method']] = None

    def methods(self, points: str) -> list[str]:
        """Return all methods measured on points chosen so, ours and peers."""
        return list(self._methods[points])

    def peers(self, points: str) -> list[str]:
        """Return the peers measured on points chosen so."""
        return [method for method in self._methods[points] if method not in OURS]

    def __contains__(self, key: tuple) -> bool:
        """Say whether a method was measured in a cell, on any split."""
        return key in self._rows

    def common(self, *wanted: tuple) -> tuple[list[int], list[tuple]]:
        """Return the seeds at which all the wanted keys have rows, and the keys without errors."""
        there = [key for key in wanted if key in self]
        if not there:
            return [], []
        seeds = sorted(set.intersection(*(set(self._rows[key]) for key in there)))
        failed = {key for key in there for s in seeds if self._rows[key][s]['error']}
        return seeds, [key for key in there if key not in failed]

    def values(self, key: tuple, seeds: list[int], field: str = 'nrmse_log') -> np.ndarray:
        """Return one field (seeds,) of a method in a cell."""
        return np.array([self._rows[key][seed][field] for seed in seeds], dtype=float)


def compare(results: Results, ours: str, peers: str) -> list[dict]:
    """Return ours (points chosen by `ours`) against the peers (by `peers`), one entry a cell."""
    cells = []
    for pair in results.pairs:
        for size in results.sizes:
            mine = (ours, pair, size, 'transfer')
            others = [(peers, pair, size, method) for method in results.peers(peers)]
            seeds, sound = results.common(mine, *others)
            # Without one of the peers the best of the others would flatter us.
            if mine not in sound or len(sound) < 2 or not all(key in results for key in others):
                continue
            errors = {key: results.values(key, seeds) for key in sound}
            cell = {'pair': pair, 'size': size, 'seeds': len(seeds)}
            for name, average in (('mean', np.mean), ('median', np.median)):
                by = {key[3]: float(average(errors[key])) for key in sound if key != mine}
                best = min(by, key=lambda method: by[method])
                value = float(average(errors[mine]))
                cell[name] = {'ours': value, 'peer': best, 'best': by[best],
                              'ratio': value / by[best]}
            cell['dropped'] = [key[3] for key in others if key not in sound]
            cells.append(cell)
    return cells


def separating(results: Results) -> list[str]:
    """Return the pairs that can separate methods, see RULE; of the random points alone."""
    found = []
    for pair in results.pairs:
        clear, last = [], 0.0
        for size in results.sizes:
            keys = [('random', pair, size, method) for method in results.peers('random')]
            seeds, sound = results.common(*keys)
            if len(sound) < 3 or ('random', pair, size, 'target_mean') not in sound:
                continue
            errors = {key[3]: results.values(key, seeds) for key in sound}
            order = sorted(errors, key=lambda method: errors[method].mean())
            best, middle = errors[order[0]], errors[order[len(order) // 2]]
            gap = middle - best
            error = gap.std(ddof=1) / np.sqrt(len(gap)) if len(gap) > 1 else 0.0
            clear.append(bool(gap.mean() > 2.0 * error))
            last = best.mean() / errors['target_mean'].mean()
        if clear and last < LEARNABLE and 2 * sum(clear) >= len(clear):
            found.append(pair)
    return found


def geometric(cells: list[dict], pairs: list[str], average: str = 'mean') -> dict[int, float]:
    """Return the geometric mean over pairs of the ratio, by size."""
    logs = defaultdict(list)
    for cell in cells:
        if cell['pair'] in pairs:
            logs[cell['size']].append(np.log(cell[average]['ratio']))
    return {size: float(np.exp(np.mean(values))) for size, values in sorted(logs.items())}


def groups(cells: list[dict], separate: list[str]) -> list[tuple[str, list[str]]]:
    """Return the label and the pairs of each set of pairs that is averaged over."""
    every = list(dict.fromkeys(cell['pair'] for cell in cells))
    some = [pair for pair in every if pair in separate]
    return [(f'all {len(every)} pairs', every), (f'{len(some)} that separate', some)]


def own_ratio(results: Results) -> list[dict]:
    """Return our error with designed points by that with random ones, one entry a cell."""
    cells = []
    for pair in results.pairs:
        for size in results.sizes:
            keys = [(points, pair, size, 'transfer') for points in ('active', 'random')]
            seeds, sound = results.common(*keys)
            if len(sound) < 2 or not seeds:
                continue
            active, chance = (results.values(key, seeds) for key in keys)
            cell = {'pair': pair, 'size': size, 'seeds': len(seeds)}
            for name, average in (('mean', np.mean), ('median', np.median)):
                a, b = float(average(active)), float(average(chance))
                cell[name] = {'ours': a, 'peer': 'random points', 'best': b, 'ratio': a / b}
            cells.append(cell)
    return cells


def negative(results: Results, points: str = 'random') -> list[dict]:
    """Return the relative difference of transfer to target only, one entry a cell."""
    cells = []
    for pair in results.pairs:
        for size in results.sizes:
            keys = [(points, pair, size, method) for method in ('transfer', 'target only')]
            seeds, sound = results.common(*keys)
            if len(sound) < 2 or not seeds:
                continue
            ours, alone = (results.values(key, seeds) for key in keys)
            off = ours / alone - 1.0
            n = len(off)
            margin = student.ppf(0.95, n - 1) * off.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
            cells.append({
                'pair': pair, 'size': size, 'seeds': n, 'difference': float(off.mean()),
                'bound': float(off.mean() + margin), 'worse': int((off > 0.1).sum()),
            })
    return cells


def coverage(results: Results, points: str = 'random') -> list[dict]:
    """Return the coverage of the intervals of our transfer, one entry a cell."""
    cells = []
    for pair in results.pairs:
        for size in results.sizes:
            key = (points, pair, size, 'transfer')
            seeds, sound = results.common(key)
            if sound and seeds:
                values = results.values(key, seeds, 'coverage')
                cells.append({'pair': pair, 'size': size, 'coverage': float(values.mean())})
    return cells


def measures(results: Results, points: str = 'random') -> dict[str, dict]:
    """
    Return each measure of each method by size: the mean over seeds, averaged over pairs.

    Errors are averaged over pairs by the geometric mean; densities and interval scores, which
    only ours have, by the arithmetic one.
    """
    found: dict = {}
    methods = results.methods(points)
    values = defaultdict(list)
    for size in results.sizes:
        for pair in results.pairs:
            keys = [(points, pair, size, method) for method in methods]
            seeds, sound = results.common(*keys)
            for key in sound if seeds else []:
                for field in MEASURES:
                    values[field, key[3], size].append(results.values(key, seeds, field).mean())
    for (field, method, size), by_pair in values.items():
        # A method that lacks a pair, or fails there, can't be compared with the others.
        if len(by_pair) == len(results.pairs) and np.isfinite(by_pair).all():
            value = np.exp(np.mean(np.log(by_pair))) if field in ERRORS else np.mean(by_pair)
            found.setdefault(field, {}).setdefault(method, {})[size] = float(value)
    return found


# ------------------------------------------------------------------------------- printing
def show_compared(title: str, cells: list[dict], pairs: list[str]) -> None:
    """Print ours, the best peer and their ratio for each cell, and the geometric means."""
    if not cells:
        return
    print(f'\n{title}; NRMSE on the log scale')
    print(f'{"":18s}{"points":>7s}{"seeds":>6s}   mean: {"ours":>7s}{"best":>8s}{"ratio":>7s}  '
          f'{"peer":15s} median: {"ours":>7s}{"best":>8s}{"ratio":>7s}  peer')
    for cell in cells:
        mean, median = cell['mean'], cell['median']
        print(f'{cell["pair"]:18s}{cell["size"]:7d}{cell["seeds"]:6d}         '
              f'{mean["ours"]:7.3f}{mean["best"]:8.3f}{mean["ratio"]:7.3f}  {mean["peer"]:15s}'
              f'         {median["ours"]:7.3f}{median["best"]:8.3f}{median["ratio"]:7.3f}  '
              f'{median["peer"]}')
    for label, chosen in groups(cells, pairs):
        for average in ('mean', 'median'):
            ratios = geometric(cells, chosen, average)
            text = ''.join(f'   {size}: {value:.3f}' for size, value in ratios.items())
            if text:
                print(f'geometric mean of ratios, {label}, by {average}:{text}')
    dropped = sorted({method for cell in cells for method in cell.get('dropped', [])})
    if dropped:
        print(f'failed in some cell, and left out there: {", ".join(dropped)}')


def show_negative(cells: list[dict]) -> None:
    """Print where transfer is worse than a model of the target's points alone."""
    if not cells:
        return
    print('\nTransfer against target only, same splits: mean relative difference, and its upper '
          '95 % bound (one-sided, paired t)')
    print(f'{"":18s}{"points":>7s}{"seeds":>6s}{"mean":>9s}{"bound":>9s}{"> 10 % worse":>14s}')
    for cell in cells:
        mark = '' if not cell['bound'] > 0.05 else '   bound above 5 %'
        print(f'{cell["pair"]:18s}{cell["size"]:7d}{cell["seeds"]:6d}'
              f'{100 * cell["difference"]:8.1f}%{100 * cell["bound"]:8.1f}%'
              f'{cell["worse"]:8d} splits{mark}')


def show_coverage(cells: list[dict]) -> None:
    """Print the coverage of our 90 % intervals, pairs down, sizes across."""
    if not cells:
        return
    sizes = sorted({cell['size'] for cell in cells})
    print('\nShare of held-out targets within the 90 % interval, % (mean over seeds)')
    print(f'{"":18s}' + ''.join(f'{size:8d}' for size in sizes))
    for pair in dict.fromkeys(cell['pair'] for cell in cells):
        row = {c['size']: c['coverage'] for c in cells if c['pair'] == pair}
        print(f'{pair:18s}' + ''.join(f'{100 * row.get(size, np.nan):8.1f}' for size in sizes))


def show_measures(found: dict[str, dict]) -> None:
    """Print each measure, methods down, sizes across."""
    for field, methods in found.items():
        sizes = sorted({size for by in methods.values() for size in by})
        print(f'\n{MEASURES[field]}, mean over seeds\n{"":18s}'
              + ''.join(f'{size:9d}' for size in sizes))
        for method, by in methods.items():
            print(f'{method:18s}' + ''.join(f'{by.get(size, np.nan):9.3f}' for size in sizes))
