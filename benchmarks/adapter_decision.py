# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Measure how long the adapter thinks: p50 and p99 over many decisions.

`judge`: one window against the predictive band. `rank`: the model's verdict on 20,000
configurations (objective, limits, validity) and the best of them. `explore`: learn from one more
window and propose the next measurement. The models are those of the demo's study, fitted to
made-up measurements of the study's budgets: the time depends on sizes, not on values.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tl_adapt import acquisition
from tl_adapt.adaptation.events import Rules, Window
from tl_adapt.adaptation.judge import Judge
from tl_adapt.adaptation.model_planner import ModelPlanner
from tl_adapt.environments.base import Measurement
from tl_adapt.models.model_set import ModelSet
from tl_adapt.study import Study, load_study


def measured(study: Study, configuration: dict, shift: float, rng: np.random.Generator):
    """Make up a smooth measurement of every metric."""
    x = study.space.encode([configuration])[0]
    metrics = {}
    for i, metric in enumerate(study.metrics.values()):
        value = 0.3 * math.sin(3.0 * x[i % len(x)] + i) + x[(i + 3) % len(x)] ** 2 + shift
        value += 0.02 * rng.standard_normal()
        metrics[metric.name] = 0.1 * math.exp(value) if metric.scale == 'log' else 1.0 + value
    return Measurement(environment='', configuration=configuration, seed=0, metrics=metrics)


def timed(action: Callable[[], object], repeats: int) -> list[float]:
    """Return the seconds of each call; the first one, which fills caches, is left out."""
    action()
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - begin)
    return seconds


def run(study: Study, candidates: int, repeats: int) -> dict[str, dict[str, float]]:
    """Return p50 and p99 in ms for each kind of decision."""
    rng = np.random.default_rng(0)
    source = [
        measured(study, c, 0.0, rng)
        for c in study.space.sample(study.budget.source, seed=1, method='sobol')
    ]
    target = [
        measured(study, c, 0.3, rng)
        for c in study.space.sample(study.budget.target, seed=2, method='sobol')
    ]
    model = ModelSet(study).fit(source, target)
    planner = ModelPlanner(study, model)
    planner.prepare()
    chosen = study.space.default()
    judge = Judge(
        Rules.of(study.adaptation), matters=list(study.metrics), broken=study.broken_limits
    )
    windows = [
        Window(measured(study, c, 0.8, rng).metrics, '', 25.0, c)
        for c in [chosen, chosen, *study.space.sample(repeats, seed=3, method='random')]
    ]
    X = study.space.encode(study.space.sample(candidates, seed=4, method='sobol'))

    def rank() -> int:
        found = model.assess(X)
        return acquisition.predicted_best(found.mean, found.feasible)

    turns = itertools.count()

    def explore() -> None:
        # As in a run: a change is answered with the windows since then, one more each time.
        planner.propose(windows[: 2 + next(turns) % 5], [])

    results = {
        'judge': timed(
            lambda: judge.judge(windows[0], planner.bands(chosen), dwell=False), repeats
        ),
        f'rank {candidates} configurations': timed(rank, repeats),
        'explore': timed(explore, repeats),
    }
    return {
        name: {
            'p50_ms': float(np.percentile(seconds, 50)) * 1e3,
            'p99_ms': float(np.percentile(seconds, 99)) * 1e3,
            'decisions': len(seconds),
        }
        for name, seconds in results.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--candidates', type=int, default=20_000)
    parser.add_argument('--repeats', type=int, default=50)
    parser.add_argument('--json', type=Path, default=None, help='write the figures here, too')
    args = parser.parse_args()
    results = run(load_study('demo'), args.candidates, args.repeats)
    for name, figures in results.items():
        print(
            f'{name:<30} p50 {figures["p50_ms"]:8.2f} ms   p99 {figures["p99_ms"]:8.2f} ms   '
            f'({figures["decisions"]} decisions)'
        )
    if args.json is not None:
        args.json.write_text(json.dumps(results, indent=1) + '\n')


if __name__ == '__main__':
    main()
