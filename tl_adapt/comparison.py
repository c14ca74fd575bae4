# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for comparing configurations on the same seeds.

Failures count: a failed mission enters with the metric's `failed` value where the study gives a
number, and with the worst successful value of the comparison where the study says `exclude`
and a sum over metrics has to be formed. Leaving failures out would flatter the configuration
that fails on the hard seeds.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tl_adapt.environments.base import Measurement
from tl_adapt.statistics import Interval, bootstrap_mean, wilson

if TYPE_CHECKING:
    from tl_adapt.study import Study

OBJECTIVE = 'objective'
INCONCLUSIVE = 'inconclusive'
_LEVELLED = 'levelled '  # a metric divided by how busy the host was
#: Fewer pairs conclude nothing: even if all agree, a sign test would not at 5 %.
FEWEST_PAIRS = 6


@dataclasses.dataclass(frozen=True)
class Comparison:
    """
    Hold one row per configuration.

    `rows[label]` has `runs`, `success` (share with Wilson's interval), `failures` (reasons with
    counts), `limits_broken` (runs), `metrics` (means) and `difference` (per metric: this row
    minus the baseline's, paired by seed, with a 95 % bootstrap interval and a verdict).
    """

    baseline: str
    rows: dict[str, dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return dataclasses.asdict(self)


def worst_values(study: Study, measurements: Sequence[Measurement]) -> dict[str, float]:
    """Return each metric's worst value among the valid measurements."""
    worst: dict[str, float] = {}
    for name, metric in study.metrics.items():
        values = [m.metrics[name] for m in measurements if m.valid and name in m.metrics]
        if values:
            worst[name] = min(values) if metric.direction == 'maximize' else max(values)
    return worst


def counted_metrics(
    study: Study, measurement: Measurement, worst: Mapping[str, float]
) -> dict[str, float]:
    """Return the metrics with which a measurement counts, with the rules for failures."""
    if measurement.valid:
        return dict(measurement.metrics)
    counted = {}
    for name, metric in study.metrics.items():
        if metric.failed != 'exclude':
            counted[name] = float(metric.failed)
        elif name in worst:
            counted[name] = worst[name]
    return counted


def objective_values(
    study: Study, measurements: Sequence[Measurement], worst: Mapping[str, float]
) -> np.ndarray:
    """Return the objective of each measurement, shape (n,); NaN where a metric is missing."""
    needed = [objective.metric for objective in study.objectives]
    values = []
    for measurement in measurements:
        counted = counted_metrics(study, measurement, worst)
        whole = all(name in counted for name in needed)
        values.append(study.objective(counted) if whole else math.nan)
    return np.array(values)


def compare(
    study: Study, measurements: Mapping[str, Sequence[Measurement]], baseline: str
) -> Comparison:
    """
    Compare configurations, each given by its measurements, against the one called `baseline`.

    A pair is two measurements with the same seed. A difference in CPU time is claimed only if it
    stands with and without dividing by the time of the reference loop that ran before each
    measurement. Raises KeyError for an unknown baseline.
    """
    everything = [m for rows in measurements.values() for m in rows]
    worst = worst_values(study, everything)
    reference = _by_seed(study, measurements[baseline], worst)
    rows: dict[str, dict[str, Any]] = {}
    for label, runs in measurements.items():
        own = _by_seed(study, runs, worst)
        row: dict[str, Any] = {
            'configuration': dict(runs[0].configuration) if runs else {},
            'runs': len(runs),
            'success': (
                wilson(sum(m.valid for m in runs), len(runs)).to_dict() if runs else None
            ),
            'failures': _reasons(runs),
            'limits_broken': sum(bool(study.broken_limits(m.metrics)) for m in runs if m.valid),
            'metrics': {},
            'difference': {},
        }
        for name in [OBJECTIVE, *study.metrics]:
            values = [v[name] for v in own.values() if not math.isnan(v.get(name, math.nan))]
            if values:
                row['metrics'][name] = {
                    'mean': float(np.mean(values)),
                    'std': float(np.std(values, ddof=1)) if len(values) > 1 else 0.0,
                    'n': len(values),
                }
            if label != baseline:
                row['difference'][name] = _difference(own, reference, name)
        rows[label] = row
    return Comparison(baseline, rows)


def _by_seed(
    study: Study, runs: Sequence[Measurement], worst: Mapping[str, float]
) -> dict[int, dict[str, float]]:
    """Map each seed to the metrics that count, with the objective among them."""
    objectives = objective_values(study, runs, worst)
    table = {}
    for run, objective in zip(runs, objectives):
        counted = counted_metrics(study, run, {})
        # CPU time grows with how busy the host is; so does the fixed loop before each run.
        busy = run.provenance.get('reference_loop', math.nan)
        for name, metric in study.metrics.items():
            if metric.reduction == 'cpu' and name in counted and busy > 0.0:
                counted[_LEVELLED + name] = counted[name] / busy
        table[run.seed] = {**counted, OBJECTIVE: float(objective)}
    return table


def _difference(
    own: Mapping[int, Mapping[str, float]], other: Mapping[int, Mapping[str, float]], name: str
) -> dict[str, Any]:
    pairs = _pairs(own, other, name)
    if not pairs:
        return {'pairs': 0, 'verdict': 'no pairs'}
    interval = bootstrap_mean(pairs)
    verdict = _verdict(interval, len(pairs))
    levelled = _pairs(own, other, _LEVELLED + name)
    if levelled and _verdict(bootstrap_mean(levelled), len(levelled)) != verdict:
        verdict = INCONCLUSIVE
    return {'pairs': len(pairs), **interval.to_dict(), 'verdict': verdict}


def _pairs(
    own: Mapping[int, Mapping[str, float]], other: Mapping[int, Mapping[str, float]], name: str
) -> list[float]:
    both = [
        (own[seed].get(name, math.nan), other[seed].get(name, math.nan))
        for seed in sorted(set(own) & set(other))
    ]
    return [a - b for a, b in both if not math.isnan(a) and not math.isnan(b)]


def _verdict(interval: Interval, pairs: int) -> str:
    if not interval.conclusive or pairs < FEWEST_PAIRS:
        return INCONCLUSIVE
    return 'higher' if interval.low > 0 else 'lower'


def _reasons(runs: Sequence[Measurement]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for run in runs:
        if not run.valid:
            counts[run.reason] = counts.get(run.reason, 0) + 1
    return counts
