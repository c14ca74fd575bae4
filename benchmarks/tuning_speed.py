# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Measure how long the tuner takes to ask and tell, on one core, in a process of its own.

The target has about 50 points, the source 1000, in 34 dimensions: a pair of that size, or a
made-up one. Once the tuner may measure the table's rows alone, once all of the space. What counts
is the processor's time, which others on the machine do not change; wall time is printed too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from transfer_data import Pair, split
from transfer_speed import SOURCE_ROWS, large_pair
from tuning_problem import Problem

from tl_adapt.tuner import Tuner

POINTS = 50
CYCLES = 20  # of ask and tell, around POINTS
REPEATS = 6
LIMIT = 0.5  # s, of the 99th percentile
MODES = {'rows': "among the table's rows", 'space': 'in the whole space'}


def clocks() -> np.ndarray:
    """Return the processor's and the wall's time."""
    return np.array([time.process_time(), time.perf_counter()])


def cycles(pair: Pair, mode: str, repeat: int, points: int, count: int) -> np.ndarray:
    """
    Return the processor's and the wall's seconds (count + 1, 2) of each ask + tell.

    The first learns the source.
    """
    known, order = split(pair, repeat)
    problem = Problem((pair.Xs, {'y': pair.ys}), (pair.Xt, {'y': pair.yt}), 2 * points, repeat)
    tuner = Tuner(
        problem.study, source=problem.source_runs(known[:SOURCE_ROWS]), seed=repeat,
        candidates=problem.configurations if mode == 'rows' else None,
    )
    for row in order[: points - count // 2]:
        tuner.tell(problem.measure(row, problem.configurations[row]))
    seconds = []
    for _ in range(count + 1):
        start = clocks()
        configuration = tuner.ask()[0].configuration
        asked = clocks() - start
        # Where nobody measured, the nearest row says what comes of it.
        place = problem.study.space.encode([configuration])[0]
        row = int(np.abs(pair.Xt - place).sum(axis=1).argmin())
        measurement = problem.measure(row, configuration)
        start = clocks()
        tuner.tell(measurement)
        seconds.append(asked + clocks() - start)
    return np.array(seconds)


def measure(pair: Pair, repeats: int = REPEATS, points: int = POINTS, count: int = CYCLES) -> dict:
    """Return the percentiles of both modes, in s."""
    found = {}
    for mode, text in MODES.items():
        runs = []
        for repeat in range(repeats):
            print(f'speed: {text}, {repeat + 1} of {repeats}', file=sys.stderr)
            runs.append(cycles(pair, mode, repeat, points, count))
        seconds = np.concatenate([run[1:] for run in runs])
        found[mode] = {
            'first': float(np.median([run[0, 0] for run in runs])), 'count': len(seconds),
            **{f'p{q}': np.percentile(seconds, q, axis=0).tolist() for q in (50, 99)},
        }
    return {'pair': pair.name, 'modes': found}


def run(folder: Path) -> dict:
    """Measure in a process with one thread, print, return; `bars` are arguments of bars.bar."""
    alone = dict.fromkeys(('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS'), '1')
    done = subprocess.run(
        [sys.executable, str(Path(__file__).resolve()), str(Path(folder).resolve())],
        stdout=subprocess.PIPE, text=True, env={**os.environ, **alone}, check=False,
    )
    if done.returncode:
        print(f'speed: FAILED, it ended with {done.returncode}')
        return {'bars': [('ask + tell', float('inf'), LIMIT, 's')]}
    found = json.loads(done.stdout.splitlines()[-1])
    print(f'\nask + tell with {SOURCE_ROWS} source rows and about {POINTS} target points '
          f'({found["pair"]}), one thread: seconds of the processor (of the wall)')
    for mode, entry in found['modes'].items():
        texts = [f'p{q} {entry[f"p{q}"][0]:7.3f} ({entry[f"p{q}"][1]:.3f})' for q in (50, 99)]
        print(f'{MODES[mode]:26s}{"   ".join(texts)}   of {entry["count"]}; the first, which '
              f'learns the source, {entry["first"]:.3f}')
    found['bars'] = [
        (f'ask + tell {MODES[mode]}, p99', entry['p99'][0], LIMIT, 's')
        for mode, entry in found['modes'].items()
    ]
    return found


if __name__ == '__main__':
    print(json.dumps(measure(large_pair(Path(sys.argv[1])))))
