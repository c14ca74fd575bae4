# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Summarise orders in which methods measured the rows of tables: regret, and how soon it is good.

The normalised regret after b measurements is (best found - optimum) / (median - optimum) of the
table, on the original scale. A method is good enough once it has measured one of the best 1 % of
the rows; one that has not within BUDGET counts as BUDGET + 1. All is averaged over seeds first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

import numpy as np

BUDGET = 40
SIZES = (5, 10, 20, 40)
FIRST = 'until the best 1 %'
LEVEL = 0.05  # of the paired tests
FEWEST = 5  # seeds: the signs of fewer are never rarer than LEVEL
FLIPS = 20_000
OURS = ('transfer', 'no source')

Values = dict[str, np.ndarray]


def is_ours(method: str) -> bool:
    """Say whether a method is the package's tuner, or a variant of it ('transfer b')."""
    return method.startswith(OURS)


def curve(values: np.ndarray, order: Iterable[int]) -> Values:
    """Return the regret after each of SIZES, and FIRST, of rows measured in an order."""
    low, median = values.min(), float(np.median(values))
    scale = median - low or values.max() - low or 1.0
    best = np.minimum.accumulate(values[list(order)[:BUDGET]])
    good = best <= np.sort(values)[max(1, len(values) // 100) - 1]
    found = {str(size): (best[min(size, len(best)) - 1] - low) / scale for size in SIZES}
    return {**found, FIRST: np.argmax(good) + 1 if good.any() else BUDGET + 1}


class Results:
    """Give the measures of methods by pair and seed; `truth` returns a pair's values (n,)."""

    def __init__(self, rows: list[dict], truth: Callable[[str], np.ndarray]) -> None:
        """Index the rows; one with an error counts as failed."""
        self._found: dict = defaultdict(dict)
        self.failed: dict[str, list[str]] = defaultdict(list)
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.pairs = list(dict.fromkeys(row['pair'] for row in rows))
        self.methods = list(dict.fromkeys(row['method'] for row in rows))
        for row in sorted(rows, key=lambda row: self.pairs.index(row['pair'])):
            method = row['method']
            if row['error'] or not row['rows']:
                self.failed[method].append(f'{row["pair"]}, seed {row["seed"]}: {row["error"]}')
                continue
            order = [int(word) for word in row['rows'].split()]
            self._found[row['pair'], method][row['seed']] = curve(truth(row['pair']), order)
            self.seconds[method].append(row['seconds'])

    def seeds(self, pair: str, *methods: str) -> list[int]:
        """Return the seeds at which all of the methods have been measured on a pair."""
        return sorted(set.intersection(*(set(self._found[pair, method]) for method in methods)))

    def values(
        self, pair: str, method: str, measure: str, seeds: list[int] | None = None
    ) -> np.ndarray:
        """Return a measure (seeds,) of a method on a pair."""
        by_seed = self._found[pair, method]
        chosen = sorted(by_seed) if seeds is None else seeds
        return np.array([by_seed[seed][measure] for seed in chosen], dtype=float)

    def complete(self) -> list[str]:
        """Return the methods that have been measured on every pair."""
        return [m for m in self.methods if all(self._found[pair, m] for pair in self.pairs)]

    def mean(self, method: str, measure: str, other: str = '') -> float:
        """Return the mean over pairs of the mean over the seeds, those that `other` has too."""
        return float(np.mean([
            self.values(p, method, measure, self.seeds(p, method, other or method)).mean()
            for p in self.pairs
        ]))


def worse(ours: np.ndarray, peer: np.ndarray) -> float:
    """
    Return the one-sided p-value of ours (seeds,) being no worse than the peer's on average.

    A paired permutation test: under the hypothesis the sign of each difference is a coin's.
    """
    off = ours - peer
    if not off.any():
        return 1.0
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(FLIPS, len(off)))
    # The observed signs are one of the possible ones; rounding must not make them the rarest.
    return float((1 + (signs @ off >= off.sum() - 1e-12).sum()) / (1 + FLIPS))


def holm(p: list[float]) -> list[float]:
    """Return p-values adjusted for their number (Holm 1979)."""
    order = np.argsort(p)
    steps = np.asarray(p)[order] * (len(p) - np.arange(len(p)))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted.tolist()


def single(results: Results, ours: str, peers: list[str]) -> dict[str, dict]:
    """
    Return for each measure the peer with the lowest mean over pairs, and ours by its mean.

    Both means are over the seeds that both have.
    """
    found = {}
    peers = [peer for peer in peers
             if all(results.seeds(pair, ours, peer) for pair in results.pairs)]
    for measure in (*map(str, SIZES), FIRST) if peers else ():
        peer = min(peers, key=lambda peer: results.mean(peer, measure))
        mine, theirs = results.mean(ours, measure, peer), results.mean(peer, measure, ours)
        ratio = mine / theirs if theirs > 0 else float(mine > 0) * np.inf if mine else 1.0
        logs = [
            np.log(results.values(pair, ours, measure, seeds).mean()
                   / results.values(pair, peer, measure, seeds).mean())
            for pair in results.pairs
            for seeds in [results.seeds(pair, ours, peer)]
        ] if measure == FIRST else []
        found[measure] = {
            'peer': peer, 'ours': mine, 'best': theirs, 'ratio': ratio,
            'geometric': float(np.exp(np.mean(logs))) if logs else None,
        }
    return found


def compare(results: Results, ours: str, peers: list[str]) -> list[dict]:
    """Return ours against each pair's best peer, chosen in hindsight for each measure."""
    cells = []
    for pair in results.pairs:
        there = [peer for peer in peers if results.seeds(pair, ours, peer)]
        for measure in (*map(str, SIZES), FIRST) if there else ():
            peer = min(there, key=lambda peer: results.values(pair, peer, measure).mean())
            seeds = results.seeds(pair, ours, peer)
            mine, theirs = (results.values(pair, m, measure, seeds) for m in (ours, peer))
            cells.append({
                'pair': pair, 'measure': measure, 'seeds': len(seeds), 'peer': peer,
                'ours': float(mine.mean()), 'best': float(theirs.mean()),
                'p': worse(mine, theirs),
            })
    for measure in (*map(str, SIZES), FIRST):
        some = [cell for cell in cells if cell['measure'] == measure]
        for cell, p in zip(some, holm([cell['p'] for cell in some])):
            cell['holm'] = p
    return cells


# ------------------------------------------------------------------------------- printing
def show_methods(results: Results, ours: str) -> dict[str, dict]:
    """Print and return the means of each method, the best after 20 first."""
    found = {}
    for method in results.complete():
        counts = [len(results.seeds(pair, method)) for pair in results.pairs]
        found[method] = {
            **{m: results.mean(method, m) for m in (*map(str, SIZES), FIRST)},
            'seeds': (min(counts), max(counts)),
            'seconds': float(np.mean(results.seconds[method])),
        }
    print(f'\nMean normalised regret after so many measurements, {len(results.pairs)} pairs; '
          f'measurements {FIRST} ({BUDGET + 1}: not within {BUDGET}); seconds of a whole run')
    print(f'{"":28s}' + ''.join(f'{size:9d}' for size in SIZES)
          + f'{"best 1 %":>11s}{"seconds":>9s}{"seeds":>8s}')
    for method in sorted(found, key=lambda method: found[method]['20']):
        entry = found[method]
        few, most = entry['seeds']
        print(f'{method:28s}' + ''.join(f'{entry[str(size)]:9.4f}' for size in SIZES)
              + f'{entry[FIRST]:11.1f}{entry["seconds"]:9.2f}'
              + f'{few if few == most else f"{few}-{most}":>8}'
              + ('  <' if method == ours else ''))
    left = [m for m in results.methods if m not in found]
    if left:
        print(f'not on every pair, so not in this table: {", ".join(left)}')
    for method, texts in results.failed.items():
        print(f'FAILED: {method} in {len(texts)} runs, which are left out; {texts[0]}')
    return found


def show_single(ours: str, found: dict[str, dict]) -> None:
    """Print ours against the best single peer of each measure."""
    if not found:
        return
    print(f'\n{ours} against the best single peer, on the seeds of both')
    for measure, entry in found.items():
        more = entry['geometric']
        print(f'{measure:20s}{entry["ours"]:9.4f}{entry["best"]:9.4f}  ratio {entry["ratio"]:6.3f}'
              f'  {entry["peer"]}'
              + ('' if more is None else f"   geometric mean of the pairs' ratios {more:.3f}"))


def show_compared(ours: str, cells: list[dict]) -> None:
    """Print ours against each pair's best peer; p is that of ours being no worse."""
    if not cells:
        return
    print(f'\n{ours} against the best peer of each pair, chosen in hindsight; p: one-sided '
          'paired permutation test\nof ours being no worse, adjusted by Holm over the pairs in '
          'brackets')
    print(f'{"":18s}{"after":>20s}{"seeds":>6s}{"ours":>9s}{"best":>9s}{"ratio":>8s}'
          f'{"p":>8s}          peer')
    for cell in cells:
        ratio = cell['ours'] / cell['best'] if cell['best'] else np.nan
        mark = '  WORSE' if cell['p'] < LEVEL else ''
        print(f'{cell["pair"]:18s}{cell["measure"]:>20s}{cell["seeds"]:6d}{cell["ours"]:9.4f}'
              f'{cell["best"]:9.4f}{ratio:8.3f}{cell["p"]:8.4f} ({cell["holm"]:.3f})  '
              f'{cell["peer"]}{mark}')


def geometric(cells: list[dict]) -> float:
    """Return the geometric mean over pairs of ours by the pair's best peer, of FIRST."""
    logs = [np.log(c['ours'] / c['best']) for c in cells if c['measure'] == FIRST]
    return float(np.exp(np.mean(logs)))
