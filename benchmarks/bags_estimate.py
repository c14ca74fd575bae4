# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Measure how often off-policy intervals hold: what a mission gives that was not recorded.

On formulas each recording has a configuration (some have the same) and a day of its own, which
moves all of its missions; on recorded tables each recording has one mission. What is asked for are
other configurations on other days. Beside ours stand the model's own interval, in which missions
of a day count as independent, and the interval of a mission without any model.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from bars import bar
from scipy.stats import t as student
from transfer_data import descriptions, load

from tl_adapt.models.transfer import TransferModel
from tl_adapt.off_policy import LEVEL, Estimator, Recorded
from tl_adapt.report.tables import format_table
from tl_adapt.testing.analytic import AnalyticEnvironment, analytic_study

_TABLES = ('husky_tb3_energy', 'husky_tb3_time')
_SEEDS = 6  # least number of problems: few missions tell little of a share
_SOURCE = 60  # measurements of the source
_ASKED = 40  # missions that are asked for
_DAY, _MISSION = 0.08, 0.04  # standard deviations, of the logarithm
_RECORDINGS = (12, 24)
_MISSIONS = 4  # per recording, on formulas


class _Score:
    """Hold how often intervals held, and how wide they were."""

    def __init__(self) -> None:
        self.held: list[bool] = []
        self.widths: list[float] = []

    def add(self, low, high, y) -> None:
        """Count intervals (n,) of values y (n,) > 0; widths are of the logarithm."""
        low, high = np.maximum(low, 1e-9), np.maximum(high, 1e-9)
        self.held += ((low <= y) & (y <= high)).tolist()
        self.widths += np.log(high / low).tolist()

    @property
    def coverage(self) -> float:
        """Return the share of values that were inside."""
        return float(np.mean(self.held))

    @property
    def width(self) -> float:
        """Return the median width."""
        return float(np.median(self.widths))


def formulas(seed: int, bags: int) -> tuple[Recorded, np.ndarray, np.ndarray]:
    """Return recordings of the analytic target, and points and values that are asked for."""
    study = analytic_study()
    space = study.space
    environments = {
        role: AnalyticEnvironment(study, role, variant=seed) for role in ('source', 'target')
    }
    rng = np.random.default_rng([seed, bags])
    driven = space.sample(bags, seed=seed)
    driven[bags // 2:] = driven[: bags - bags // 2]  # each was driven on two days
    asked = space.sample(_ASKED, seed=seed + 10_000)
    sources = space.sample(_SOURCE, seed=seed + 20_000)

    def values(configurations, role, day):
        true = environments[role].truth(configurations)['duration']
        noise = _MISSION * rng.standard_normal(len(true))
        return true * np.exp(day + noise)

    group = np.repeat(np.arange(bags), _MISSIONS)
    many = [driven[i] for i in group]
    days = _DAY * rng.standard_normal(bags)
    data = Recorded(
        space.encode(many), values(many, 'target', days[group]), group,
        (space.encode(sources), values(sources, 'source', 0.0)),
    )
    y = values(asked, 'target', _DAY * rng.standard_normal(_ASKED))
    return data, space.encode(asked), y


def tables(
    seed: int, bags: int, folder: Path, name: str
) -> tuple[Recorded, np.ndarray, np.ndarray]:
    """Return rows of a recorded table as recordings, and others that are asked for."""
    pair = load(folder, name)
    rows = np.random.default_rng([seed, bags]).permutation(len(pair.yt))
    told, asked = rows[:bags], rows[bags : bags + _ASKED]
    source = (pair.Xs[:_SOURCE], pair.ys[:_SOURCE])
    data = Recorded(pair.Xt[told], pair.yt[told], np.arange(bags), source)
    return data, pair.Xt[asked], pair.yt[asked]


def problems(folder: Path | None) -> Iterator[tuple[str, Callable]]:
    """Yield the problems: name, and what makes one of a seed and a number of recordings."""
    yield 'formulas with days', formulas
    if folder is None:
        print('without --data recorded tables are left out', file=sys.stderr)
        return
    for entry in descriptions(folder):
        if entry['name'] in _TABLES:
            yield entry['name'], functools.partial(tables, folder=folder, name=entry['name'])


def estimate(seeds: int, folder: Path | None) -> dict:
    """Print coverage and width of intervals, and return them with their bars."""
    rows = [['problem', 'recordings', 'ours', 'model alone', 'no model', 'width / no model',
             'support', 's']]
    bars, found = [], []
    for name, make in problems(folder):
        for bags in _RECORDINGS:
            ours, model, none, supports = _Score(), _Score(), _Score(), []
            began = time.monotonic()
            for seed in range(max(seeds, _SEEDS)):
                data, X, y = make(seed, bags)
                estimates = Estimator(data, log=True, seed=seed).predict(X)
                ours.add(np.array([e.low for e in estimates]),
                         np.array([e.high for e in estimates]), y)
                supports += [e.support for e in estimates]
                alone = TransferModel(log=True, seed=seed).fit(data.source, (data.X, data.y))
                model.add(*alone.interval(X, LEVEL), y)
                logs = np.log(data.y)
                reach = student.ppf(0.5 + LEVEL / 2, bags - 1) * logs.std(ddof=1)
                middle = logs.mean()
                none.add(np.full(len(y), np.exp(middle - reach)),
                         np.full(len(y), np.exp(middle + reach)), y)
            seconds = (time.monotonic() - began) / max(seeds, _SEEDS)
            row = {
                'problem': name, 'recordings': bags, 'coverage': ours.coverage,
                'model': model.coverage, 'none': none.coverage,
                'width': ours.width / none.width, 'support': float(np.median(supports)),
                'seconds': seconds, 'asked': len(ours.held),
            }
            found.append(row)
            rows.append([name, str(bags), *(f'{row[key]:.3f}' for key in
                        ('coverage', 'model', 'none', 'width', 'support')), f'{seconds:.1f}'])
    print(f'\nMissions that were not recorded: share inside of {LEVEL:.0%} intervals')
    print(format_table(rows))
    worst = min(row['coverage'] for row in found)
    bars.append(bar(f'off-policy {LEVEL:.0%} intervals: least share of missions inside', worst,
                    0.82, least=True))
    widest = max(row['coverage'] for row in found)
    bars.append(bar(f'off-policy {LEVEL:.0%} intervals: largest share inside', widest, 0.98))
    many = [row['width'] for row in found
            if row['problem'].startswith('formulas') and row['recordings'] == _RECORDINGS[-1]]
    bars.append(bar('off-policy: width against an interval without a model, '
                    f'{_RECORDINGS[-1]} recordings', max(many), 0.9))
    return {'rows': found, 'bars': bars}
