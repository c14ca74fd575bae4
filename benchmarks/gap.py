# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Print how like the demo's environments are: rank correlations and influences.

Each configuration of a design is driven in every environment of the study with the same seeds,
in the closed loop without ROS (the same filter, planner, controller and physics as the nodes).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from tl_adapt.demo.closed_loop import closed_loop
from tl_adapt.demo.world import load_world
from tl_adapt.simulators.base import PHYSICS_OPTIONS, Physics
from tl_adapt.simulators.mujoco_sim import MujocoSimulator
from tl_adapt.statistics import rank_correlation
from tl_adapt.study import load_study

METRICS = ('mission_time', 'energy', 'cpu', 'localisation_error', 'clearance', 'path_length')
_PREPARED: dict = {}


def drive(name, configuration, seed):
    """Return one mission's metrics, valid and objective."""
    study = load_study('demo')
    options = study.environment(name).options['node_parameters']['simulator']
    if name not in _PREPARED:
        world = load_world()
        physics = Physics(**{k: v for k, v in options.items() if k in PHYSICS_OPTIONS})
        _PREPARED[name] = (world, MujocoSimulator(world, physics=physics))
    world, simulator = _PREPARED[name]
    run = closed_loop(
        simulator, configuration, seed=seed, world=world, cpu_factor=options['cpu_factor']
    )
    metrics = {
        'mission_time': run.time, 'energy': run.energy, 'cpu': run.cpu + 0.03,
        'localisation_error': run.error, 'clearance': run.clearance,
        'path_length': run.path_length,
    }
    return {
        'valid': run.success, 'reason': run.reason, 'metrics': metrics,
        'objective': study.objective(metrics),
        'kept': run.success and not study.broken_limits(metrics),
    }


def value(result, metric):
    """Return one number of a mission."""
    return result['objective'] if metric == 'objective' else result['metrics'][metric]


def table(rows):
    """Print rows of text in columns."""
    widths = [max(len(str(r[i])) for r in rows) for i in range(len(rows[0]))]
    for row in rows:
        print('  '.join(str(c).rjust(w) if i else str(c).ljust(w)
                        for i, (c, w) in enumerate(zip(row, widths))))
    print()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--configurations', type=int, default=128)
    parser.add_argument('--seeds', type=int, default=1)
    parser.add_argument('--processes', type=int, default=2)
    parser.add_argument('--json', type=Path)
    args = parser.parse_args()
    study = load_study('demo')
    design = [study.space.default(), *study.space.sample(args.configurations - 1, seed=5)]
    jobs = [
        (name, c, seed) for name in study.environments for c in design
        for seed in range(args.seeds)
    ]
    begin = time.monotonic()
    with ProcessPoolExecutor(args.processes) as pool:
        found = []
        for done, result in enumerate(pool.map(drive, *zip(*jobs)), 1):
            found.append(result)
            if done % 20 == 0:
                rate = done / (time.monotonic() - begin)
                print(f'\r{done}/{len(jobs)} missions, {rate:.1f} a second, '
                      f'{(len(jobs) - done) / rate:.0f} s left ', end='', file=sys.stderr)
    print(file=sys.stderr)
    results = {
        name: [found[i] for i, job in enumerate(jobs) if job[0] == name]
        for name in study.environments
    }
    configurations = [c for c in design for _ in range(args.seeds)]
    unit = study.space.encode(configurations)
    source, target, *_ = study.environments
    rows = [('environment', 'missions', 'failed', 'kept limits', 'default', 'best', 'median')]
    for name, runs in results.items():
        good = [r['objective'] for r in runs if r['kept']]
        rows.append((name, len(runs), sum(not r['valid'] for r in runs), len(good),
                     f'{runs[0]["objective"]:.3f}', f'{min(good):.3f}',
                     f'{np.median(good):.3f}'))
    table(rows)
    both = [(a, b) for a, b in zip(results[source], results[target]) if a['valid'] and b['valid']]
    print(f'Spearman rank correlation of {source} and {target}, {len(both)} configurations')
    rows = [('metric', 'correlation')]
    correlations = {}
    for metric in ('objective', *METRICS):
        correlations[metric] = rank_correlation(
            [value(a, metric) for a, _ in both], [value(b, metric) for _, b in both]
        )
        rows.append((metric, f'{correlations[metric]:+.2f}'))
    table(rows)
    print('Influence: rank correlation of option and objective (its rank by size)')
    columns = {}
    for name, runs in results.items():
        valid = [i for i, r in enumerate(runs) if r['valid']]
        values = [runs[i]['objective'] for i in valid]
        columns[name] = [rank_correlation(unit[valid, j], values) for j in range(unit.shape[1])]
    rows = [('option', *results)]
    ranks = {
        name: np.argsort(np.argsort([-abs(v) for v in column])) + 1
        for name, column in columns.items()
    }
    for j, option in enumerate(study.space.names):
        rows.append((option, *(f'{columns[n][j]:+.2f} ({ranks[n][j]})' for n in results)))
    table(rows)
    if args.json:
        args.json.write_text(json.dumps({
            'correlation': {k: None if math.isnan(v) else v for k, v in correlations.items()},
            'influence': {n: dict(zip(study.space.names, c)) for n, c in columns.items()},
        }, indent=1))


if __name__ == '__main__':
    main()
