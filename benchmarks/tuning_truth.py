# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Measure what tables of single runs can not show of the tuner: safety and repeats.

    python benchmarks/tuning_truth.py [--seeds N] [--parts safety,repeats] [--json FILE]

The problems have a known truth (truth_problems.py): formulas with a noise that depends on the
configuration, a heavy tail and a limit, another instance for each seed; and missions of the demo
that were driven several times each. Ctrl-C ends the measurement and prints what there is.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

for _name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS'):
    os.environ.setdefault(_name, '1')
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np  # noqa: E402
from bars import bar, end, run_parts  # noqa: E402
from truth_problems import PROBLEMS, SAFE_PROBLEMS, Problem  # noqa: E402

from tl_adapt.designs import fingerprint  # noqa: E402
from tl_adapt.errors import InputError  # noqa: E402
from tl_adapt.progress import Progress  # noqa: E402
from tl_adapt.report.tables import format_table  # noqa: E402
from tl_adapt.statistics import bootstrap_mean  # noqa: E402
from tl_adapt.tuner import Tuner  # noqa: E402

SIZES = (10, 20)  # target measurements after which what is reported is judged
BROKEN = 0.05  # share of safe runs that may break a limit or fail


def play(problem: Problem, seed: int, **settings) -> dict:
    """
    Return regrets of what is reported after SIZES runs, and what became of the runs.

    `missed` is how much better the best that was measured is: what repeats could bring at most.
    """
    study = problem.with_tuning(**settings)
    tuner = Tuner(study, source=problem.source, seed=seed, budget=max(SIZES),
                  candidates=problem.configurations)
    counts: dict[str, int] = {}
    found: dict = {'regret': [], 'missed': [], 'broken': [], 'risk': []}
    for size in range(1, max(SIZES) + 1):
        try:
            configuration = tuner.ask()[0].configuration
        except InputError:  # nothing is safe: the run ends here
            break
        key = fingerprint(configuration)
        run = problem.measure(configuration, counts.get(key, 0))
        counts[key] = counts.get(key, 0) + 1
        tuner.tell(run)
        found['broken'].append(not run.valid or bool(study.broken_limits(run.metrics)))
        found['risk'].append(float(1.0 - problem.kept[problem.index[key]]))
        if size in SIZES:
            found['regret'].append(reported(problem, tuner))
            best = min(problem.regret[problem.index[one]] for one in counts)
            found['missed'].append(max(found['regret'][-1] - float(best), 0.0))
    found['regret'] += [reported(problem, tuner)] * (len(SIZES) - len(found['regret']))
    found['again'] = sum(counts.values()) - len(counts)
    return found


def reported(problem: Problem, tuner: Tuner) -> float:
    """Return the true regret of what the tuner reports."""
    return float(problem.regret[problem.index[fingerprint(tuner.best().configuration)]])


def measure(
    problems: dict, arms: dict[str, dict], label: str, seeds: int
) -> dict[str, dict[str, list[dict]]]:
    """Play every problem with every arm; the result is by problem and arm, one entry per seed."""
    found: dict = {name: {arm: [] for arm in arms} for name in problems}
    progress = Progress(label, seeds * len(problems) * len(arms))
    try:
        for seed in range(seeds):
            for name, make in problems.items():
                problem = make(seed)
                # A seed counts when all arms have played it.
                for arm, one in [(arm, play(problem, seed, **arms[arm])) for arm in arms]:
                    found[name][arm].append(one)
                    progress.advance()
    except KeyboardInterrupt:
        print('\nended early', file=sys.stderr)
    progress.finish()
    return found


def shares(entries: list[dict], key: str) -> float:
    """Return the mean over all runs of all seeds."""
    return float(np.mean([value for entry in entries for value in entry[key]]))


def difference(arms: dict[str, list[dict]], one: str, other: str, at: int):
    """Return the mean of one arm's regret minus the other's, paired, with its interval."""
    pairs = zip(arms[one], arms[other])
    return bootstrap_mean([a['regret'][at] - b['regret'][at] for a, b in pairs])


def safety(seeds: int) -> dict:
    """Measure how often safe runs break a limit, and what safety costs."""
    found = measure(SAFE_PROBLEMS, {'safe': {'safe': True}, 'free': {}}, 'safety', seeds)
    rows = [['problem', 'runs', 'broke a limit', 'true risk',
             *(f'regret after {n}' for n in SIZES)]]
    bars = []
    for name, arms in found.items():
        for arm, entries in arms.items():
            if not entries:
                continue
            regret = np.mean([entry['regret'] for entry in entries], axis=0)
            rows.append([f'{name}, {arm}', str(sum(len(e['broken']) for e in entries)),
                         f'{shares(entries, "broken"):.3f}', f'{shares(entries, "risk"):.3f}',
                         *(f'{value:.3f}' for value in regret)])
        if arms['safe']:
            bars.append(bar(f'{name}: share of safe runs that break a limit or fail',
                            shares(arms['safe'], 'broken'), BROKEN))
    print('\nSafe tuning (tuning.safe) and tuning that is free to try')
    print(format_table(rows))
    return {'found': found, 'bars': bars}


def repeats(seeds: int) -> dict:
    """Compare tuning with and without repeats at equal numbers of runs."""
    arms = {'with': {'repeats': True}, 'without': {'repeats': False}}
    found = measure(PROBLEMS, arms, 'repeats', seeds)
    rows = [['problem', 'after', 'with', 'without', 'difference', '95 % interval', 'repeats',
             'missed with', 'missed without']]
    bars = []
    for name, arms in found.items():
        if not arms['with']:
            continue
        again = np.mean([entry['again'] for entry in arms['with']])
        for at, size in enumerate(SIZES):
            means = [np.mean([entry['regret'][at] for entry in arms[arm]]) for arm in arms]
            missed = [np.mean([entry['missed'][at] for entry in arms[arm]]) for arm in arms]
            gap = difference(arms, 'with', 'without', at)
            rows.append([name, str(size), *(f'{mean:.3f}' for mean in means),
                         f'{gap.estimate:+.3f}', f'{gap.low:+.3f} .. {gap.high:+.3f}',
                         f'{again:.1f}', *(f'{mean:.3f}' for mean in missed)])
        bars.append(bar(f'{name}: regret with repeats minus without, upper 95 % end',
                        gap.high, 0.0))
    print('\nRegret of what is reported with and without repeats, at equal numbers of runs')
    print('missed: how much better the best is that was measured, all that repeats could bring')
    print(format_table(rows))
    return {'found': found, 'bars': bars}


PARTS = {'safety': safety, 'repeats': repeats}


if __name__ == '__main__':
    end(lambda: run_parts(__doc__, PARTS, 20))
