# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Measure replicated missions of the demo: the same configurations again and again.

    python benchmarks/replicated.py [--configurations N] [--folder DIR]

Each configuration is driven with several seeds in the study's source and target environment, in
the closed loop without ROS (the same filter, planner, controller and physics as the nodes). One
row of a CSV file is one mission, written when it has ended: begun again, the program goes on
where it was. data/replicated.yaml is the study of the files that come with the project.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from gap import METRICS, drive

from tl_adapt.progress import Progress
from tl_adapt.study import load_study

FOLDER = Path(__file__).resolve().parent / 'data'
DESIGN = 20260  # seed of the design
REPEATS = {'source': 2, 'target': 8}


def design(space, n):
    """Return n configurations: the default, neighbours of it near and far, then a Sobol design."""
    rng = np.random.default_rng(DESIGN)
    default = space.default()
    near = space.neighbours(default, rng, n // 3, 0.15)
    far = space.neighbours(default, rng, n // 3, 0.4)
    rest = space.sample(n - 1 - len(near) - len(far), seed=DESIGN)
    return [default, *near, *far, *rest]


def file_of(folder, name):
    """Return the file of an environment."""
    return folder / f'replicated_{name}.csv'


def finished(path):
    """Return the numbers and seeds of the missions that a file holds."""
    if not path.exists():
        return set()
    with path.open(encoding='utf-8', newline='') as stream:
        return {(int(row['number']), int(row['seed'])) for row in csv.DictReader(stream)}


def write(path, row):
    """Add a mission to a file, with a header if it is the first."""
    new = not path.exists()
    with path.open('a', encoding='utf-8', newline='') as stream:
        writer = csv.DictWriter(stream, list(row), lineterminator='\n')
        if new:
            writer.writeheader()
        writer.writerow(row)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--configurations', type=int, default=60)
    parser.add_argument('--folder', type=Path, default=FOLDER)
    args = parser.parse_args()
    study = load_study('demo')
    configurations = design(study.space, args.configurations)
    names = {role: getattr(study, role).name for role in REPEATS}
    done = {name: finished(file_of(args.folder, name)) for name in names.values()}
    jobs = [
        (names[role], number, seed)
        for seed in range(max(REPEATS.values()))
        for role, repeats in REPEATS.items() if seed < repeats
        for number in range(len(configurations))
    ]
    todo = [(name, number, seed) for name, number, seed in jobs
            if (number, seed) not in done[name]]
    progress = Progress('missions', len(jobs), start=len(jobs) - len(todo))
    for name, number, seed in todo:
        run = drive(name, configurations[number], seed)
        row = {'number': number, 'seed': seed, **configurations[number],
               'valid': int(run['valid'])}
        row |= {metric: f'{run["metrics"][metric]:.6g}' for metric in METRICS}
        write(file_of(args.folder, name), row)
        progress.advance(name)
    progress.finish()


if __name__ == '__main__':
    main()
