# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Score what a method measured of two objectives: the hypervolume of its Pareto front.

The score is a method's hypervolume by that of the whole table's front: 1 is the best. The table's
ideal point, the least of each objective, is at 0 and the reference point at 1. That is the median
of each objective on the original scale, as for the regret of one; and on the log scale the worst
of each, from which nothing is cut off. The front's own nadir would not do: where the objectives
agree, the front is a point or two, and nothing else lies within.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from tuning_tables import LEVEL, is_ours, worse

BUDGET = 20
SIZES = (5, 10, 20)
VIEWS = {'median': 'original scale, up to the median', 'worst': 'log scale, up to the worst'}


def front(Y: np.ndarray) -> np.ndarray:
    """Return the rows (m, 2) of Y (n, 2) that no other is as small as in both, in order."""
    found: list[np.ndarray] = []
    for point in Y[np.lexsort((Y[:, 1], Y[:, 0]))]:
        if not found or point[1] < found[-1][1]:
            found.append(point)
    return np.array(found)


def hypervolume(Y: np.ndarray) -> float:
    """Return the area that points (n, 2) dominate, up to 1 in both objectives."""
    inside = Y[(Y < 1.0).all(axis=1)]
    if not len(inside):
        return 0.0
    best = front(inside)
    right = np.append(best[1:, 0], 1.0)
    return float(((right - best[:, 0]) * (1.0 - best[:, 1])).sum())


def shares(Y: np.ndarray, order: Iterable[int], view: str) -> dict[int, float]:
    """Return the score after each of SIZES of rows of the table Y (n, 2) > 0 in an order."""
    Y = Y if view == 'median' else np.log(Y)
    ideal = Y.min(axis=0)
    reference = np.median(Y, axis=0) if view == 'median' else Y.max(axis=0)
    Y = (Y - ideal) / np.where(reference > ideal, reference - ideal, 1.0)
    whole = hypervolume(Y)
    rows = list(order)
    return {size: hypervolume(Y[rows[:size]]) / whole for size in SIZES}


def summary(rows: list[dict], Y: np.ndarray, ours: str) -> dict:
    """Print and return the scores of each method on one table, and ours against the best."""
    found: dict = {}
    for row in rows:
        if row['error'] or not row['rows']:
            print(f'FAILED: {row["method"]}, seed {row["seed"]}: {row["error"]}')
            continue
        order = [int(word) for word in row['rows'].split()]
        entry = found.setdefault(row['method'], {'seconds': [], **{v: {} for v in VIEWS}})
        entry['seconds'].append(row['seconds'])
        for view in VIEWS:
            entry[view][row['seed']] = shares(Y, order, view)
    means = {
        method: {f'{view} {size}': float(np.mean([by[size] for by in entry[view].values()]))
                 for view in VIEWS for size in SIZES}
        for method, entry in found.items()
    }
    print('\nTwo objectives: hypervolume of the front found by that of the whole table, mean over '
          'seeds,\nafter so many measurements; '
          + '; '.join(f'{view}: {text}' for view, text in VIEWS.items()))
    print(f'{"":20s}' + ''.join(f'{view:>10s}{size:3d}' for view in VIEWS for size in SIZES)
          + '  seconds seeds')
    for method in sorted(means, key=lambda method: -means[method][f'median {BUDGET}']):
        entry = found[method]
        print(f'{method:20s}' + ''.join(f'{value:13.4f}' for value in means[method].values())
              + f'{np.mean(entry["seconds"]):9.1f}{len(entry["median"]):6d}'
              + ('  <' if method == ours else ''))
    return {'means': means, 'against': against(found, ours)}


def against(found: dict, ours: str) -> dict:
    """Print and return ours by the best peer after BUDGET, in each view."""
    result = {}
    for view in VIEWS if ours in found else ():
        scores = {
            method: {seed: by[BUDGET] for seed, by in entry[view].items()}
            for method, entry in found.items() if method == ours or not is_ours(method)
        }
        mine = scores.pop(ours)
        there = [peer for peer, by in scores.items() if set(by) & set(mine)]
        if not there:
            continue
        peer = max(there, key=lambda peer: np.mean(list(scores[peer].values())))
        seeds = sorted(set(scores[peer]) & set(mine))
        own, best = (np.array([by[seed] for seed in seeds]) for by in (mine, scores[peer]))
        p = worse(-own, -best)
        result[view] = {'peer': peer, 'seeds': len(seeds), 'ours': float(own.mean()),
                        'best': float(best.mean()), 'p': p}
        print(f'{ours}, {view}: {own.mean():.4f} against {best.mean():.4f} ({peer}, {len(seeds)} '
              f'seeds); p of being no worse {p:.4f}' + ('  WORSE' if p < LEVEL else ''))
    return result
