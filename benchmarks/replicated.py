# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Measure replicated missions of the demo: the same configurations again and again.

Each configuration is driven with several seeds in the study's source and target environment, in
the closed loop without ROS (the same filter, planner, controller and physics as the nodes). One
row of the CSV file is one mission, written when it has ended: begun again, the program goes on
where it was.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import numpy as np
from gap import METRICS, drive

from tl_adapt.study import load_study

FILE = Path(__file__).parent / 'data' / 'replicated_missions.csv'
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


def header(space):
    """Return the names of the file's columns."""
    return ['environment', 'configuration', 'seed', *space.names, 'valid', *METRICS]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--configurations', type=int, default=60)
    parser.add_argument('--file', type=Path, default=FILE)
    args = parser.parse_args()
    study = load_study('demo')
    columns = header(study.space)
    done = set()
    if args.file.exists():
        with args.file.open(encoding='utf-8', newline='') as stream:
            done = {(r['environment'], r['configuration'], r['seed'])
                    for r in csv.DictReader(stream)}
    configurations = design(study.space, args.configurations)
    jobs = [
        (getattr(study, role).name, i, seed)
        for seed in range(max(REPEATS.values()))
        for role, repeats in REPEATS.items() if seed < repeats
        for i in range(len(configurations))
    ]
    todo = [job for job in jobs if tuple(map(str, job)) not in done]
    begin = time.monotonic()
    with args.file.open('a', encoding='utf-8', newline='') as stream:
        writer = csv.writer(stream, lineterminator='\n')
        if not done:
            writer.writerow(columns)
        for count, (name, index, seed) in enumerate(todo, 1):
            configuration = configurations[index]
            run = drive(name, configuration, seed)
            metrics = [f'{run["metrics"][metric]:.6g}' for metric in METRICS]
            values = [configuration[parameter] for parameter in study.space.names]
            values = [f'{v:.17g}' if isinstance(v, float) else v for v in values]
            writer.writerow([name, index, seed, *values, int(run['valid']), *metrics])
            stream.flush()
            left = (time.monotonic() - begin) / count * (len(todo) - count)
            print(f'\r{count}/{len(todo)} missions, {left:.0f} s left ', end='', flush=True)
    print()


if __name__ == '__main__':
    main()
