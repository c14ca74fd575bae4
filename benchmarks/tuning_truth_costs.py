# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Measure the choice between simulation and robot at equal cost, and how far forecasts hold.

    python benchmarks/tuning_truth_costs.py [--seeds N] [--parts costs,forecasts] [--json FILE]

The problems are the formulas of tl_adapt.testing.analytic, other constants for each seed: a source
that is the target, one whose optimum has moved, and one that has nothing to do with the target.
Ctrl-C ends the measurement and prints what there is.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

for _name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS'):
    os.environ.setdefault(_name, '1')
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np  # noqa: E402
from bars import bar, end, run_parts  # noqa: E402

from tl_adapt.designs import fingerprint  # noqa: E402
from tl_adapt.environments.base import Measurement  # noqa: E402
from tl_adapt.progress import Progress  # noqa: E402
from tl_adapt.report.tables import format_table  # noqa: E402
from tl_adapt.statistics import bootstrap_mean  # noqa: E402
from tl_adapt.study import Study  # noqa: E402
from tl_adapt.testing.analytic import RELATIONS, AnalyticEnvironment, analytic_study  # noqa: E402
from tl_adapt.tuner import Tuner  # noqa: E402

DESIGN, LARGE = 160, 2000  # configurations of a problem's design, and of the larger one
NEAR = {0.05: 15, 0.12: 25}  # step -> configurations near the best of each environment
RUNS = 1000  # numbers of one configuration's runs
COST = 300.0  # in all; a run of the source costs 1, one of the target 30
SHARE = 0.5  # of it that the arm which measures the source first spends on the source
KNOWN, AHEAD = 48, (2, 4, 8)  # the source's runs, and the target's from which on one forecasts
FURTHER = 4  # runs that are forecast
ARMS = ('cost-aware', 'target only', 'source first')


class Problem:
    """
    Hold the two environments of one instance, the only configurations (n) there are, their truth.

    They are a design, the default, and for each environment its best of a larger design with what
    is near it: where the source points there is something to gain, and where it does not, too.
    `regret` (n,) is how much worse each is than the best, 1 is as bad as the median. Breaking the
    limit counts as `Tuner.best` counts it, as twice the objective.
    """

    def __init__(self, relation: str, variant: int, study: Study) -> None:
        self.study, space = study, study.space
        self.source, self.target = (
            AnalyticEnvironment(study, role, relation=relation, variant=variant)
            for role in ('source', 'target')
        )
        rng, pool = np.random.default_rng([variant, 3]), space.sample(LARGE, seed=variant + 500)
        found = [space.default(), *space.sample(DESIGN, seed=variant + 1000)]
        usual = float(np.median(self.target.objective(found, limited=False)))

        def loss(environment: AnalyticEnvironment, configurations: list[dict]) -> np.ndarray:
            broken = 1.0 - environment.kept(configurations)
            return environment.objective(configurations, limited=False) + usual * broken

        for environment in (self.source, self.target):
            best = pool[int(np.argmin(loss(environment, pool)))]
            found.append(best)
            for step, count in NEAR.items():
                found += space.neighbours(best, rng, count, step)
        self.configurations = list({fingerprint(one): one for one in found}.values())
        self.index = {fingerprint(one): i for i, one in enumerate(self.configurations)}
        losses = loss(self.target, self.configurations)
        # The usual one is of the design alone: what is near the best says nothing of it.
        usual_loss = float(np.median(loss(self.target, found[:DESIGN])))
        self.regret = (losses - losses.min()) / (usual_loss - losses.min())

    def measure(self, environment: str, configuration: dict, number: int) -> Measurement:
        """Run one of the configurations; the same `number` of it gives the same again."""
        role = self.source if environment == self.source.name else self.target
        return role.measure(configuration, RUNS * self.index[fingerprint(configuration)] + number)

    def regret_of(self, configuration: dict) -> float:
        """Return the regret of one of the configurations."""
        return float(self.regret[self.index[fingerprint(configuration)]])


def study_of(*, simulate: bool, cost: float | None) -> Study:
    """Return the study with a budget of cost units."""
    study = analytic_study()
    return dataclasses.replace(
        study, tuning=dataclasses.replace(study.tuning, simulate=simulate),
        budget=dataclasses.replace(study.budget, cost=cost),
    )


def spend(relation: str, arm: str, seed: int) -> dict:
    """Return the regret of what one way to spend the cost reports, and what it has run."""
    first = int(SHARE * COST) if arm == 'source first' else 0
    study = study_of(simulate=arm == 'cost-aware', cost=COST - first)
    problem = Problem(relation, seed, study)
    source = [problem.source.measure(configuration, number) for number, configuration in
              enumerate(study.space.sample(first, seed=seed) if first else [])]
    tuner = Tuner(study, source=source, transfer=arm != 'target only', seed=seed, budget=1000,
                  candidates=problem.configurations)
    runs: Counter = Counter()
    while tuner.should_stop() is None:
        proposal = tuner.ask()[0]
        key = proposal.environment, fingerprint(proposal.configuration)
        tuner.tell(problem.measure(proposal.environment, proposal.configuration, runs[key]))
        runs[key] += 1
    return {'regret': problem.regret_of(tuner.best().configuration), 'target': len(tuner.target),
            'source': len(tuner.source), 'cost': tuner.spent + first}


def played(label: str, seeds: int, runs: dict[str, Callable[[int], dict]]) -> dict[str, list]:
    """Return what every run gives for every seed; a seed counts when all have played it."""
    found: dict[str, list] = {name: [] for name in runs}
    progress = Progress(label, seeds * len(runs))
    try:
        for seed in range(seeds):
            told = {}
            for name, play in runs.items():
                told[name] = play(seed)
                progress.advance()
            for name, one in told.items():
                found[name].append(one)
    except KeyboardInterrupt:
        print('\nended early', file=sys.stderr)
    progress.finish()
    return found


def costs(seeds: int) -> dict:
    """Compare the three ways to spend the same cost."""
    runs = {f'{relation}, {arm}': lambda seed, relation=relation, arm=arm:
            spend(relation, arm, seed) for relation in RELATIONS for arm in ARMS}
    found = played('costs', seeds, runs)
    rows = [['source is', 'spent', 'regret', 'runs of the target', 'runs of the source']]
    for name, entries in found.items():
        if entries:
            means = [np.mean([e[key] for e in entries]) for key in ('regret', 'target', 'source')]
            rows.append([*name.split(', '), f'{means[0]:.3f}', *(f'{m:.1f}' for m in means[1:])])
    bars = []
    for other in ARMS[1:]:
        gaps = [ours['regret'] - theirs['regret'] for relation in RELATIONS
                for ours, theirs in zip(found[f'{relation}, {ARMS[0]}'],
                                        found[f'{relation}, {other}'])]
        if gaps:
            gap = bootstrap_mean(gaps)
            print(f'cost-aware minus {other}: {gap.estimate:+.3f}, 95 % interval '
                  f'{gap.low:+.3f} .. {gap.high:+.3f} ({len(gaps)} pairs)')
            bars.append(bar(f'mean regret of cost-aware minus {other}', gap.estimate, 0.0))
    print(f'\nRegret of what is reported after {COST:g} cost units')
    print(format_table(rows))
    return {'found': found, 'bars': bars}


def foretell(relation: str, seed: int) -> dict:
    """Return forecasts on the way, and what came true."""
    problem = Problem(relation, seed, study_of(simulate=False, cost=None))
    source = [problem.source.measure(configuration, number) for number, configuration in
              enumerate(problem.study.space.sample(KNOWN, seed=seed))]
    tuner = Tuner(problem.study, source=source, seed=seed, budget=1000,
                  candidates=problem.configurations)
    told, truth = {}, {}
    runs: Counter = Counter()
    for number in range(max(AHEAD) + FURTHER):
        if number in AHEAD:
            told[number] = tuner.forecast(FURTHER)
        configuration = tuner.ask()[0].configuration
        key = fingerprint(configuration)
        tuner.tell(problem.measure(problem.target.name, configuration, runs[key]))
        runs[key] += 1
        truth[number + 1] = problem.target.truth([tuner.best().configuration])
    entries = []
    for number, forecast in told.items():
        metrics = {name: float(v[0]) for name, v in truth[number + FURTHER].items()}
        value = problem.study.objective(metrics)
        entries.append({
            'after': number, 'inside': forecast.low <= value <= forecast.high,
            'error': (value - forecast.mean) / value, 'width':
            (forecast.high - forecast.low) / value,
        })
    return {'forecasts': entries}


def forecasts(seeds: int) -> dict:
    """Count how often the 90 % interval of a forecast holds what came true."""
    runs = {relation: lambda seed, relation=relation: foretell(relation, seed)
            for relation in RELATIONS}
    found = played('forecasts', seeds, runs)
    rows = [['source is', 'after', 'in the 90 % interval', 'mean error', 'width']]
    for relation, told in found.items():
        for after in AHEAD:
            some = [f for one in told for f in one['forecasts'] if f['after'] == after]
            if some:
                rows.append([relation, str(after), f'{np.mean([f["inside"] for f in some]):.2f}',
                             *(f'{100 * np.mean([f[k] for f in some]):+.1f} %'
                               for k in ('error', 'width'))])
    print(f'\nForecasts of the objective after {FURTHER} further runs of the target')
    print(format_table(rows))
    bars = []
    related = [f['inside'] for name in RELATIONS if name != 'unrelated'
               for one in found[name] for f in one['forecasts']]
    if related:
        bars.append(bar('forecasts with a related source that miss their 90 % interval',
                        1.0 - float(np.mean(related)), 0.2))
    return {'found': found, 'bars': bars}


PARTS = {'costs': costs, 'forecasts': forecasts}


if __name__ == '__main__':
    end(lambda: run_parts(__doc__, PARTS, 10))
