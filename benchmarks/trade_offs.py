# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Show the trade-offs in the demo's robot software, and how reliable its defaults are.

Runs filter, planner and controller in one process with the embedded simulator, without ROS.
Prints a table for each sweep: means over missions that reached the goal, and how many did.

    python benchmarks/trade_offs.py [--seeds N] [--json FILE] [--only NAME ...]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tl_adapt.demo.closed_loop import Run, closed_loop
from tl_adapt.demo.world import load_world
from tl_adapt.simulators.base import PHYSICS_OPTIONS, Physics
from tl_adapt.simulators.mujoco_sim import MujocoSimulator

SWEEPS: dict[str, list[dict[str, Any]]] = {
    'default': [{}],
    'particles (without refinements)': [
        {'particles': n, 'refinements': 0} for n in (20, 60, 200, 600, 1000)
    ],
    'refinements (100 particles)': [
        {'particles': 100, 'refinements': n} for n in (0, 1, 2, 4)
    ],
    'beams': [{'beams': n} for n in (8, 20, 60, 120)],
    'sigma_hit': [{'sigma_hit': s} for s in (0.02, 0.1, 0.2, 0.4)],
    'max_vel_x': [{'max_vel_x': v} for v in (0.16, 0.24, 0.36, 0.48, 0.6)],
    'sim_time': [{'sim_time': t} for t in (0.6, 1.2, 2.0, 3.0)],
    'vtheta_samples': [{'vtheta_samples': n} for n in (5, 11, 21, 41)],
    'obstacle_weight': [{'obstacle_weight': w} for w in (0.05, 0.5, 3.0, 10.0)],
    'inflation_radius': [{'inflation_radius': r} for r in (0.15, 0.25, 0.4, 0.6)],
    'worst together': [
        {'max_vel_x': 0.6, 'particles': 1000, 'beams': 120, 'refinements': 4, 'vx_samples': 15,
         'vtheta_samples': 41},
        {'particles': 20, 'refinements': 0, 'beams': 8, 'sigma_hit': 0.4, 'max_vel_x': 0.6},
    ],
}  # fmt: skip

COLUMNS = (
    ('time', 's', 1.0, 1),
    ('energy', 'J', 1.0, 0),
    ('path_length', 'm', 1.0, 2),
    ('clearance', 'm', 1.0, 3),
    ('error', 'mm', 1000.0, 1),
    ('cpu', 'ms/s', 1000.0, 1),
    ('modelled', 'ms', 1000.0, 0),
)


def conditions() -> dict[str, tuple[MujocoSimulator, float]]:
    """Return simulator and CPU factor of the demo study's source and target."""
    path = Path(__file__).resolve().parents[1] / 'config' / 'demo.yaml'
    environments = yaml.safe_load(path.read_text(encoding='utf-8'))['environments']
    result = {}
    for name in ('simulation', 'robot'):
        values = environments[name]['node_parameters']['simulator']
        physics = Physics(**{k: float(v) for k, v in values.items() if k in PHYSICS_OPTIONS})
        result[name] = (MujocoSimulator(physics=physics), float(values['cpu_factor']))
    return result


def summary(runs: list[Run]) -> dict[str, Any]:
    good = [r for r in runs if r.success]
    row: dict[str, Any] = {'succeeded': len(good), 'of': len(runs)}
    row['reasons'] = sorted({r.reason for r in runs if not r.success})
    for name, _, scale, _ in COLUMNS:
        values = [getattr(r, name) * scale for r in good]
        row[name] = float(np.mean(values)) if values else None
    return row


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).strip().splitlines()[0])
    parser.add_argument('--seeds', type=int, default=3, help='missions for each line')
    parser.add_argument('--default-seeds', type=int, default=20, help='those of the defaults')
    parser.add_argument('--only', nargs='*', default=list(SWEEPS), help='sweeps to run')
    parser.add_argument('--json', type=Path, help='file for the figures')
    options = parser.parse_args(argv)
    unknown = [name for name in options.only if name not in SWEEPS]
    if unknown or options.seeds < 1 or options.default_seeds < 1:
        parser.error(f'--only takes some of {list(SWEEPS)}, seeds must be >= 1, got {unknown}')
    world = load_world()
    figures = []
    header = ''.join(f'{name + " " + unit:>{width(name, unit)}}' for name, unit, _, _ in COLUMNS)
    simulators = conditions()
    for sweep in options.only:
        print(f'\n{sweep}\n{"":<52}{"physics":<11}{"ok":>6}{header}')
        for configuration in SWEEPS[sweep]:
            seeds = options.seeds if configuration else options.default_seeds
            for name, (simulator, factor) in simulators.items():
                runs = [
                    closed_loop(
                        simulator, configuration, seed=seed, world=world, cpu_factor=factor
                    )
                    for seed in range(seeds)
                ]
                row = summary(runs)
                figures.append(
                    {'sweep': sweep, 'configuration': configuration, 'physics': name, **row}
                )
                print(line(configuration, name, row), flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + '\n', encoding='utf-8')
    return 0


def width(name: str, unit: str) -> int:
    return max(len(name) + len(unit) + 3, 8)


def line(configuration: dict[str, Any], physics: str, row: dict[str, Any]) -> str:
    text = ' '.join(f'{k}={v}' for k, v in configuration.items()) or 'default'
    cells = ''
    for name, unit, _, digits in COLUMNS:
        value = '-' if row[name] is None else f'{row[name]:.{digits}f}'
        cells += f'{value:>{width(name, unit)}}'
    reasons = '  ' + ', '.join(row['reasons']) if row['reasons'] else ''
    ok = f'{row["succeeded"]}/{row["of"]}'
    return f'{text[:51]:<52}{physics:<11}{ok:>6}{cells}{reasons}'


if __name__ == '__main__':
    sys.exit(main())
