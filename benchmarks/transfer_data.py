# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Read pairs of environments, split their rows, and score predictions.

A folder holds `pairs.json`, a list of objects with `name`, `files` and `same_configs`, and its CSV
files: columns `opt_*` and the performance, `source` and `target`, smaller is better. If a pair's
environments were measured at the same configurations, one file holds both columns; if not, the
first file is the source's and the second the target's.
"""

from __future__ import annotations

import csv
import functools
import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

from tl_adapt.errors import InputError

LEVEL = 0.9  # of the intervals that are scored
WIDTH = 1.6448536269514722  # standard deviations on either side of the mean that hold LEVEL


@dataclass(frozen=True)
class Pair:
    """Hold all rows of two environments: X (n, d) scaled to [0, 1] in each, y (n,) > 0."""

    name: str
    Xs: np.ndarray
    ys: np.ndarray
    Xt: np.ndarray
    yt: np.ndarray


def descriptions(folder: Path, wanted: list[str] | None = None) -> list[dict]:
    """Return the entries of pairs.json that are pairs; InputError for a name that is not there."""
    path = Path(folder) / 'pairs.json'
    try:
        found = [entry for entry in json.loads(path.read_text()) if not entry.get('opt_only')]
    except (OSError, ValueError) as error:
        raise InputError(f'must be a list of pairs in JSON: {error}', file=path) from error
    names = [entry['name'] for entry in found]
    for name in wanted or []:
        if name not in names:
            raise InputError(f'must be one of {", ".join(names)}', file='--pairs', value=name)
    return [entry for entry in found if not wanted or entry['name'] in wanted]


def read_table(path: Path, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the options scaled to the unit cube (n, d) and one column (n,) of a CSV file."""
    try:
        with open(path, newline='') as file:
            head, *rows = list(csv.reader(file))
        values = np.array(rows, dtype=float)
        performance = values[:, head.index(column)]
    except (OSError, ValueError) as error:
        raise InputError(f'must be a table of numbers: {error}', file=path, key=column) from error
    X = values[:, [i for i, name in enumerate(head) if name.startswith('opt_')]]
    low, high = X.min(axis=0), X.max(axis=0)
    return (X - low) / np.where(high > low, high - low, 1.0), performance


def read(path: Path, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Return what `read_table` does; raises InputError for a performance that is not positive."""
    X, performance = read_table(path, column)
    if not performance.min() > 0:
        raise InputError('must be > 0', file=path, key=column, value=float(performance.min()))
    return X, performance


@functools.lru_cache(maxsize=2)
def load(folder: Path, name: str) -> Pair:
    """Read one pair; each environment's options are scaled by its own minimum and maximum."""
    entry, = descriptions(folder, [name])
    files = entry['files'] if not entry['same_configs'] else 2 * entry['files'][:1]
    source, target = (
        read(Path(folder) / file, column) for file, column in zip(files, ('source', 'target'))
    )
    return Pair(name, *source, *target)


def split(pair: Pair, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """
    Return random orders of the source's and of the target's rows.

    The first n of the target's are measured, so that more measurements hold the fewer; the name
    enters, not the place in the list, so that a pair has the same splits in every selection.
    """
    rng = np.random.default_rng([zlib.crc32(pair.name.encode()), seed])
    return rng.permutation(len(pair.ys)), rng.permutation(len(pair.yt))


def scores(predicted: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """
    Return the errors of predictions (n,) of true (n,), both logarithms.

    `nrmse_log` is the root mean square error by the standard deviation of the truth, on the log
    scale; `nrmse`, `mape` and `mdape` (%) are those of the values themselves.
    """
    y, p = np.exp(true), np.exp(np.clip(predicted, -50, 50))
    share = np.abs(p - y) / y
    flat = np.ptp(predicted) < 1e-9
    ranks = 0.0 if flat else np.corrcoef(rankdata(predicted), rankdata(true))[0, 1]
    return {
        'nrmse_log': float(np.sqrt(np.mean((predicted - true) ** 2)) / true.std()),
        'nrmse': float(np.sqrt(np.mean((p - y) ** 2)) / y.std()),
        'mape': 100.0 * float(share.mean()),
        'mdape': 100.0 * float(np.median(share)),
        'spearman': float(ranks),
    }


def interval_scores(low: np.ndarray, high: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """
    Return the share of true (n,) in the LEVEL intervals (n,) and their score, on one scale.

    The score is the width plus 2 / (1 - LEVEL) times what a value lies outside (Gneiting and
    Raftery 2007, eq. 43), so smaller is better.
    """
    outside = np.maximum(low - true, 0.0) + np.maximum(true - high, 0.0)
    return {
        'coverage': float(np.mean(outside == 0.0)),
        'interval_score': float(np.mean(high - low + 2.0 / (1.0 - LEVEL) * outside)),
    }
