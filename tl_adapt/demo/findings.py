# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what the demo's measurements tell, beside the comparison itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tl_adapt import __version__
from tl_adapt.campaign import Run
from tl_adapt.comparison import OBJECTIVE, Comparison, compare, objective_values, worst_values
from tl_adapt.demo.job import OURS, Job, choice_after, evaluate_in
from tl_adapt.environments.base import Measurement
from tl_adapt.models.influence import influences
from tl_adapt.models.model_set import ModelSet
from tl_adapt.report.tables import format_table
from tl_adapt.statistics import rank_correlation
from tl_adapt.study import Study
from tl_adapt.transfer import TransferResult


def audit(job: Job, results: Mapping[str, TransferResult], most: int) -> dict[str, Any]:
    """
    Measure configurations of the target also in simulation: how like are the two?

    It is done after tuning and nothing is chosen by it.
    """
    target = [
        m for method in ('random', 'target-only', 'transfer')
        for m in results[method].measurements if m.valid
    ][:most]
    runs = [Run(m.configuration, m.seed, 'audit') for m in target]
    source = job.measured(job.source, runs, 'audit')
    pairs = [(s, t) for s, t in zip(source, target) if s.valid]
    gap = {}
    for name, metric in [(OBJECTIVE, None), *job.study.metrics.items()]:
        if metric is not None and metric.reduction == 'success':
            continue
        value = rank_correlation(
            [_value(job.study, s, name) for s, _ in pairs],
            [_value(job.study, t, name) for _, t in pairs],
        )
        gap[name] = {
            'rank_correlation': None if math.isnan(value) else value, 'pairs': len(pairs),
        }
    job.say('Spearman rank correlation between simulation and robot, per metric:')
    for name, entry in gap.items():
        found = entry['rank_correlation']
        shown = '-' if found is None else f'{found:+.2f}'
        job.say(f'  {name:<20} {shown}  ({entry["pairs"]} pairs)')
    return gap


def saved(
    job: Job, results: Mapping[str, TransferResult], evaluation: dict[str, list[Measurement]],
    checkpoints: Sequence[int],
) -> dict[str, Any]:
    """
    Tell how many target measurements target-only tuning needed for our result.

    Its choice after each of `checkpoints` measurements is driven with half of the evaluation
    seeds; the first whose objective is not conclusively above ours counts.
    """
    seeds = max(2, job.seeds // 2)
    ours = evaluation[OURS][:seeds]
    spent = len(results['transfer'].measurements)
    tried: dict[str, dict[str, Any]] = {}
    needed = None
    for count in checkpoints:
        if count > len(results['target-only'].measurements):
            break
        label = f'target-only after {count}'
        choice = {label: choice_after(job, results['target-only'], count)}
        found = evaluate_in(job, job.target, choice, seeds)
        rows = compare(job.study, {OURS: ours, **found}, OURS).rows
        difference = rows[label]['difference'][OBJECTIVE]
        tried[str(count)] = difference
        if difference['pairs']:
            job.say(
                f'  {label}: objective {difference["estimate"]:+.3f} against ours '
                f'({difference["low"]:+.3f} .. {difference["high"]:+.3f}, {seeds} seeds)'
            )
        if difference['pairs'] and difference['verdict'] != 'higher':
            needed = count
            break
    if needed is not None:
        text = (
            f'Target-only tuning came level with our objective after {needed} target '
            f'measurements; we used {spent}.'
        )
    else:
        most = max((int(count) for count in tried), default=0)
        text = (
            f'Target-only tuning had not come level with our objective after {most} target '
            f'measurements; we used {spent}.'
        )
    job.say(text)
    return {'ours_measurements': spent, 'target_only': tried, 'needed': needed, 'text': text}


def influence(job: Job, source: list[Measurement], model: ModelSet) -> dict[str, Any]:
    """
    Tell how each parameter moves the objective, by the source's and the transferred model.

    Prints those whose place among all moved most, or whose sign turned.
    """

    def table(one: ModelSet) -> dict[str, Any]:
        found = influences(job.study.space, lambda c: one.objective(c)[0])
        return {
            i.parameter: {'span': i.span, 'change': i.change, 'place': place}
            for place, i in enumerate(found, 1)
        }

    tables = {job.source: table(ModelSet(job.study).fit(source, [])), job.target: table(model)}
    before, after = tables.values()
    moved = sorted(before, key=lambda name: -abs(before[name]['place'] - after[name]['place']))
    turned = [n for n in before if before[n]['change'] * after[n]['change'] < 0]
    shown = list(dict.fromkeys([*moved[:4], *turned]))[:8]
    rows = [['parameter', f'in {job.source}', f'on {job.target}']]
    for name in shown:
        rows.append([name, *(
            f'{one[name]["change"]:+.3f} (place {one[name]["place"]})' for one in (before, after)
        )])
    job.say('Parameters whose influence on the objective changed most, by the models:')
    job.say(format_table(rows))
    return tables


def summarise(
    job: Job, results: Mapping[str, TransferResult], comparison: Comparison,
    source: Sequence[Measurement], **parts: Any,
) -> dict[str, Any]:
    """Return everything that was learnt, as JSON's types."""
    study = job.study
    worst = worst_values(study, [m for r in results.values() for m in r.measurements])
    curves = {}
    axes = [objective.metric for objective in study.objectives][:2]
    groups = {job.source: _front_points(source, axes)}
    for method, result in results.items():
        values = objective_values(study, result.measurements, worst)
        allowed = [
            v if m.valid and not study.broken_limits(m.metrics) else math.inf
            for v, m in zip(values, result.measurements)
        ]
        best = np.minimum.accumulate(allowed) if allowed else np.array([])
        curves[method] = [None if math.isinf(v) else float(v) for v in best]
        groups[method] = _front_points(result.measurements, axes)
    budget = study.budget
    return {
        'tl_adapt': __version__,
        'study': study.name,
        'digest': study.digest,
        'summary': (
            f'{len(source)} measurements in simulation, at most {budget.target} on the robot '
            f'(a stand-in); {job.seeds} paired seeds in the comparison. Differences are to '
            f'the row {OURS}, with paired bootstrap 95 % intervals; ~ marks an inconclusive one.'
        ),
        'seconds': job.seconds,
        'units': job.units,
        'transfer': {
            method: {
                'stopped': result.stopped,
                'choice': None if result.choice is None else {
                    'configuration': result.choice.configuration, 'why': result.choice.why,
                },
                'measurements': [
                    {
                        'configuration': m.configuration, 'seed': m.seed, 'valid': m.valid,
                        'reason': m.reason, 'metrics': m.metrics,
                    }
                    for m in result.measurements
                ],
            }
            for method, result in results.items()
        },
        'comparison': comparison.to_dict(),
        'curves': curves,
        'pareto': {
            'axes': [f'{name} [{study.metrics[name].unit}]' for name in axes], 'groups': groups,
        } if len(axes) == 2 else None,
        **parts,
    }


def _front_points(
    measurements: Sequence[Measurement], axes: Sequence[str]
) -> list[list[float]]:
    return [
        [m.metrics[name] for name in axes]
        for m in measurements
        if m.valid and set(axes) <= set(m.metrics)
    ]


def _value(study: Study, measurement: Measurement, name: str) -> float:
    if name == OBJECTIVE:
        return study.objective(measurement.metrics)
    return measurement.metrics[name]
