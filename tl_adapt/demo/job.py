# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the main job from end to end, as the demo does it.

Measure in simulation, learn, transfer with a few target measurements, compare on seeds that
tuning never saw, then let the adapter meet a change of the environment. Every measurement goes
into the store, so a job that was interrupted goes on where it ended.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from tl_adapt.campaign import Run, campaign_runs, run_campaign
from tl_adapt.comparison import Comparison, compare
from tl_adapt.designs import fingerprint
from tl_adapt.environments.base import Environment, Measurement, make_environment
from tl_adapt.environments.lazy import LazyEnvironments
from tl_adapt.errors import TlAdaptError
from tl_adapt.report.tables import difference_rows, format_table, mean_rows
from tl_adapt.seeds import run_seed
from tl_adapt.space import Configuration
from tl_adapt.store import Store
from tl_adapt.study import Study
from tl_adapt.transfer import TransferResult, candidates_of, make_tuner, run_transfer

Plan = list[tuple[str, int]]  # methods with their numbers of measurements

#: The configuration that transfer chose, in tables and plots.
OURS = 'ours'


class Interrupted(Exception):
    """Say that the user ended the job; what was measured is in the store."""


@dataclasses.dataclass
class Job:
    """Hold what every step of the job needs."""

    study: Study
    store: Store
    output: Path
    workers: int
    seeds: int
    say: Callable[[str], None]
    maker: Callable[..., Environment] = make_environment
    stop: threading.Event = dataclasses.field(default_factory=threading.Event)
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)

    def make(self, study: Study, name: str, *, worker: int = 0) -> Environment:
        """Make an environment that keeps its traces in the output folder."""
        return self.maker(study, name, worker=worker, traces=self.output / 'traces')

    @property
    def source(self) -> str:
        """Return the name of the source environment."""
        return self.study.source.name

    @property
    def target(self) -> str:
        """Return the name of the target environment."""
        return self.study.target.name

    @property
    def units(self) -> dict[str, str]:
        """Return each metric's unit."""
        return {name: metric.unit for name, metric in self.study.metrics.items()}

    def measured(self, environment: str, runs: Sequence[Run], purpose: str) -> list[Measurement]:
        """
        Measure what is missing of `runs` and return all of them, in their order.

        Raises Interrupted after ctrl-C, TlAdaptError if some could not be measured.
        """
        done = run_campaign(
            self.study, environment, runs, self.store, workers=self.workers, stop=self.stop,
            make=self.make,
        )
        if done.interrupted:
            raise Interrupted
        if done.unmeasured:
            raise TlAdaptError(
                f'{done.unmeasured} runs in {environment} could not be measured: '
                f'{done.reasons[-1]} (the same command tries them again)'
            )
        found = {
            (fingerprint(m.configuration), m.seed): m
            for m in self.store.get(environment=environment, purpose=purpose)
        }
        return [found[fingerprint(r.configuration), r.seed] for r in runs]

    def timed(self, title: str, step: Callable[..., Any], *args: Any) -> Any:
        """Run one step of the job under its title and keep how long it took."""
        self.say(f'\n== {title}')
        begin = time.monotonic()
        result = step(self, *args)
        self.seconds[step.__name__] = round(time.monotonic() - begin, 1)
        return result


def campaign(job: Job) -> list[Measurement]:
    """Measure the source's design."""
    study = job.study
    runs = campaign_runs(
        study, job.source, study.budget.source, seed=study.seeds.campaign,
        repeats=study.mission.repeats if study.mission else 1,
    )
    measurements = job.measured(job.source, runs, 'campaign')
    invalid = sum(not m.valid for m in measurements)
    simulated = sum(m.sim_time for m in measurements)
    wall = sum(m.wall_time for m in measurements)
    job.say(
        f'{len(measurements)} measurements in simulation, {invalid} of them failed missions; '
        f'{simulated:.0f} s simulated at {simulated / max(wall, 1e-9):.1f} times real time '
        'per worker'
    )
    return measurements


def best_measured(study: Study, measurements: Sequence[Measurement]) -> Configuration:
    """
    Return the configuration with the lowest measured objective that kept all limits.

    Raises TlAdaptError if there is none.
    """
    good = [m for m in measurements if m.valid and not study.broken_limits(m.metrics)]
    if not good:
        raise TlAdaptError(
            f'none of {len(measurements)} measurements was valid and kept all limits: '
            'widen the limits or the mission time-out'
        )
    return dict(min(good, key=lambda m: study.objective(m.metrics)).configuration)


def tune(job: Job, source: list[Measurement], longer: int) -> dict[str, TransferResult]:
    """
    Choose on the target in three ways, two of them side by side.

    Target-only tuning gets `longer` measurements, to see how many it needs to catch up.
    """
    study, budget = job.study, job.study.budget.target

    def tell(index: int, measurement: Measurement, tuner: Any) -> None:
        with job.lock:
            objective = (
                f'objective {study.objective(measurement.metrics):.3f}'
                if measurement.valid else f'failed: {measurement.reason}'
            )
            total = longer if measurement.purpose == 'target-only' else budget
            job.say(f'  {measurement.purpose:<11} {index + 1:>2}/{total}  {objective}')

    def stream(
        environment: Environment, simulators: LazyEnvironments, plan: Plan
    ) -> dict[str, TransferResult]:
        results = {}
        try:
            for method, count in plan:
                results[method] = run_transfer(
                    study, job.store, environment, method=method, budget=count,
                    seed=study.seeds.tuning, source=source, on_measurement=tell,
                    stop=job.stop, lock=job.lock, environments=simulators,
                )
        finally:
            simulators.close()
            environment.close()
        return results

    plans: list[Plan] = [[('transfer', budget), ('random', budget)], [('target-only', longer)]]
    pairs = [_environments(job, number) for number in range(len(plans))]
    with ThreadPoolExecutor(len(plans)) as pool:
        futures = [pool.submit(stream, *pair, plan) for pair, plan in zip(pairs, plans)]
        try:
            ended, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in ended:  # one that failed first: the other may have long to go
                future.result()
            results = {k: v for future in futures for k, v in future.result().items()}
        except BaseException as error:
            job.stop.set()
            for environment, simulators in pairs:
                environment.close()
                simulators.close()
            if isinstance(error, KeyboardInterrupt):
                raise Interrupted from None
            raise
    if job.stop.is_set():
        raise Interrupted
    for method, result in results.items():
        job.say(f'  {method}: {len(result.measurements)} measurements; stopped: {result.stopped}')
    if results['transfer'].choice is not None:
        job.say(f'  ours: {results["transfer"].choice.why}')
    return results


def _environments(job: Job, number: int) -> tuple[Environment, LazyEnvironments]:
    """Return the target, and what makes the source if tuning wants to run it."""
    target = job.make(job.study, job.target, worker=number)
    return target, LazyEnvironments(
        target, lambda name: job.make(job.study, name, worker=number)
    )


def choice_after(job: Job, result: TransferResult, count: int) -> Configuration:
    """Return what a tuner would have chosen after the first `count` of its measurements."""
    target = job.make(job.study, job.target)
    candidates = candidates_of(target)
    target.close()
    tuner = make_tuner(
        job.study, result.method, (), count, job.study.seeds.tuning, candidates
    )
    for measurement in result.measurements[:count]:
        tuner.tell(measurement)
    return dict(tuner.best().configuration)


def evaluate(
    job: Job, candidates: Mapping[str, Configuration]
) -> dict[str, list[Measurement]]:
    """Measure configurations on the target, as `evaluate_in` does."""
    return evaluate_in(job, job.target, candidates, job.seeds)


def evaluate_in(
    job: Job, environment: str, candidates: Mapping[str, Configuration], seeds: int
) -> dict[str, list[Measurement]]:
    """Measure configurations, interleaved, each with the first `seeds` evaluation seeds."""
    base = job.study.seeds.evaluation
    runs = [
        Run(configuration, seed, 'evaluation')
        for seed in (run_seed(base, 'evaluation', index) for index in range(seeds))
        for configuration in _distinct(candidates.values())
    ]
    found = job.measured(environment, runs, 'evaluation')
    return {
        label: [m for m in found if m.configuration == configuration]
        for label, configuration in candidates.items()
    }


def compare_and_show(
    job: Job, evaluation: Mapping[str, list[Measurement]]
) -> Comparison:
    """Print the table of the comparison and return it."""
    comparison = compare(job.study, evaluation, OURS)
    show_comparison(job, comparison.to_dict())
    return comparison


def show_comparison(job: Job, comparison: Mapping[str, Any]) -> None:
    """Print a comparison as two tables: means, and differences to the baseline."""
    job.say('Means; success with its Wilson 95 % interval:')
    job.say(format_table(mean_rows(comparison, job.units)))
    job.say(
        f'\nDifferences to {comparison["baseline"]}, paired by seed, bootstrap 95 % intervals '
        '(~: inconclusive):'
    )
    job.say(format_table(difference_rows(comparison, job.units)))
    for label, row in comparison['rows'].items():
        if row['failures']:
            job.say(f'  {label}: failed missions: {row["failures"]}')


def _distinct(configurations: Any) -> list[Configuration]:
    distinct: list[Configuration] = []
    for configuration in configurations:
        if configuration not in distinct:
            distinct.append(configuration)
    return distinct
