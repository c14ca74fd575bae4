# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for spending target measurements one by one: ask the tuner, measure, tell, keep."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from tl_adapt.apparatus import measure_with_retry
from tl_adapt.baselines import BASELINES
from tl_adapt.environments.base import BAG, Environment, Measurement, make_environment
from tl_adapt.environments.lazy import Environments, LazyEnvironments
from tl_adapt.errors import ApparatusError, StoreError
from tl_adapt.keeper import Keeper
from tl_adapt.seeds import run_seed
from tl_adapt.space import Configuration
from tl_adapt.store import Store
from tl_adapt.tuner import Tuner
from tl_adapt.tuning.operator import Answer
from tl_adapt.tuning.optimiser import Optimiser
from tl_adapt.tuning.proposal import Choice, Proposal

if TYPE_CHECKING:
    from tl_adapt.study import Study

#: How target measurements may be chosen; each is the purpose under which the store keeps them.
METHODS = ('transfer', 'target-only', *BASELINES)

SIMULATED = 'tuning'  # the purpose under which runs of the source are kept that tuning took

ENDED_BY_OPERATOR = 'the operator ended it'


@dataclasses.dataclass
class TransferResult:
    """Hold what a tuning run on the target gave and why it ended."""

    method: str
    measurements: list[Measurement]
    choice: Choice | None
    stopped: str
    tuner: Optimiser
    simulations: list[Measurement] = dataclasses.field(default_factory=list)
    interrupted: bool = False


def make_tuner(
    study: Study, method: str, source: Sequence[Measurement], budget: int, seed: int,
    candidates: Sequence[Configuration] | None = None,
) -> Optimiser:
    """
    Make the optimiser of one of METHODS; only `transfer` is shown the source's measurements.

    `candidates` are the only configurations that the target can measure (None: all of the space).
    """
    if method not in METHODS:
        raise ValueError(f'method must be one of {METHODS}, got {method!r}')
    if method in BASELINES:
        return BASELINES[method](study, seed=seed, budget=budget, candidates=candidates)
    return Tuner(
        study,
        source=source if method == 'transfer' else (),
        transfer=method == 'transfer',
        seed=seed,
        budget=budget,
        candidates=candidates,
    )


def candidates_of(environment: Environment) -> list[Configuration] | None:
    """Return the configurations of an environment that has a list of them, as tables have."""
    listed = getattr(environment, 'configurations', None)
    return list(listed()) if callable(listed) else None


def nothing_to_transfer(study: Study, source: Sequence[Measurement]) -> str:
    """Return why nothing that was measured in the source can be transferred, '' if it can be."""
    needed = {objective.metric for objective in study.objectives}
    if any(m.valid and needed <= set(m.metrics) for m in source):
        return ''
    return (
        f'none of {len(source)} measurements of {study.source.name} is valid and has what the '
        'objective needs: nothing can be transferred, the target is learnt from nothing'
    )


def floored(study: Study, measurements: Sequence[Measurement]) -> list[str]:
    """Return a warning for each metric on a log scale that was measured as 0 or below."""
    lines = []
    for name, metric in study.metrics.items():
        values = [m.metrics[name] for m in measurements if m.valid and name in m.metrics]
        low = sum(value <= 0 for value in values)
        if metric.scale == 'log' and low:
            lines.append(
                f'metric {name} has scale: log, but {low} of {len(values)} measurements of '
                f'{measurements[0].environment} are 0 or below: the models take each as half of '
                'the smallest positive one'
            )
    return lines


def aim_digest(study: Study, seed: int) -> str:
    """Return a digest of what a tuning run aims at, to tell a resumed run from another one."""
    # A target is for the choice from what was measured; it does not change what is measured.
    parts = [
        seed, [(one.metric, one.weight, one.reference) for one in study.objectives],
        [limit.text for limit in study.limits],
    ]
    if study.tuning.goal != 'sum':
        parts.append(study.tuning.goal)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def run_transfer(
    study: Study,
    store: Store,
    environment: Environment,
    *,
    method: str = 'transfer',
    budget: int,
    seed: int,
    source: Sequence[Measurement] = (),
    confirm: Callable[[int, Proposal, Optimiser], Answer] | None = None,
    on_measurement: Callable[[int, Measurement, Optimiser], None] | None = None,
    environments: Environments | None = None,
    on_simulation: Callable[[int, Measurement, Optimiser], None] | None = None,
    stop: threading.Event | None = None,
    lock: threading.Lock | None = None,
    reuse: bool = False,
    refused: Iterable[Configuration] = (),
) -> TransferResult:
    """
    Measure on the target until the budget is spent or more is not worth it.

    Measurements that the store already holds for this method are told to the tuner first, so a
    run that was interrupted goes on where it ended; what was recorded in bags is learnt from, too,
    and not charged to the budget. `budget` counts measurements. `confirm`
    is asked before each run. What is `refused`, or was by the store, is not proposed, and what
    `confirm` refuses is kept there. A run that fails after `stop` is set is not kept: what ended
    it may be the stop. `lock` guards the store if other threads write to it too.

    With `tuning.simulate` the tuner may also want runs of the source. `environments` gives or
    makes it then (None: the study's own), and `on_simulation` is called after each; they need no
    confirmation, and a further tuning learns from them, too.

    Raises ApparatusError if a run could not be measured, twice; StoreError if the store holds
    measurements that this method took for another aim (seed, objectives or limits), unless
    `reuse`: then they are learnt from and not charged to the budget.
    """
    lock = lock or threading.Lock()
    aim = aim_digest(study, seed)
    with lock:
        stored = store.get(environment=environment.name, purpose=method)
        recorded = store.get(environment=environment.name, purpose=BAG)
        refused = [*refused, *store.refused(environment.name)]
    known = [m for m in stored if m.provenance.get('aim') == aim][:budget]
    others = [m for m in stored if m.provenance.get('aim') != aim]
    if others and not reuse:
        raise StoreError(
            f'{store.name} holds {len(others)} measurements of {environment.name} that were '
            f'chosen by {method} for another seed, other objectives or other limits: learn from '
            'them with --reuse, name another store, or begin anew'
        )
    source, simulations = list(source), []
    if method == 'transfer' and any(e.role == 'source' for e in study.environments.values()):
        with lock:
            taken = store.get(environment=study.source.name, purpose=SIMULATED)
        ours = aim if study.tuning.simulate else None
        simulations = [m for m in taken if m.provenance.get('aim') == ours]
        source += [m for m in taken if m.provenance.get('aim') != ours]
    tuner = make_tuner(study, method, source, budget, seed, candidates_of(environment))
    for measurement in [*others, *recorded]:
        tuner.tell(measurement, charged=False)
    for measurement in [*simulations, *known]:
        tuner.tell(measurement)
    for configuration in refused:
        tuner.refuse(configuration)
    measurements = list(known)
    interrupted, stopped = False, ''
    stop = threading.Event() if stop is None else stop
    made = environments or functools.partial(make_environment, study)
    keepers: dict[str, Keeper] = {}
    with LazyEnvironments(environment, made) as open_environments:
        while True:
            if stop.is_set():
                interrupted, stopped = True, 'interrupted'
                break
            reason = tuner.should_stop()
            if reason is not None:
                stopped = reason
                break
            asked = tuner.ask()
            if not asked:
                stopped = 'nothing is left that may be run'
                break
            proposal = asked[0]
            configuration = proposal.configuration
            simulated = proposal.environment != environment.name
            runs, purpose = (simulations, SIMULATED) if simulated else (measurements, method)
            index = len(runs)
            answer = Answer.RUN
            if not simulated and confirm is not None:
                answer = confirm(index, proposal, tuner)
            if answer is Answer.SKIP:
                tuner.withdraw(proposal, again=False)
                with lock:
                    store.refuse(environment.name, configuration)
                continue
            if answer is not Answer.RUN:
                interrupted = answer is Answer.LATE
                stopped = 'the operator gave no answer' if interrupted else ENDED_BY_OPERATOR
                break
            if proposal.environment not in keepers:
                keepers[proposal.environment] = Keeper(study, proposal.environment, store)
            number = run_seed(seed, 'tuning', index)
            filing = _Filing(keepers[proposal.environment], lock, purpose, aim)
            run = _measure(open_environments, proposal, number, filing, stop)
            if run is None:
                interrupted, stopped = True, 'interrupted'
                break
            runs.append(run)
            tuner.tell(run)
            told = on_simulation if simulated else on_measurement
            if told is not None:
                told(index, run, tuner)
    choice = tuner.best() if measurements else None
    return TransferResult(
        method, measurements, choice, stopped, tuner, simulations, interrupted
    )


@dataclasses.dataclass(frozen=True)
class _Filing:
    """Keep the measurements of one environment for an aim; `lock` guards the store."""

    keeper: Keeper
    lock: threading.Lock
    purpose: str
    aim: str

    def keep(self, configuration: Configuration, seed: int, measurement: Measurement) -> None:
        """Store a measurement; a second time does nothing."""
        measurement.provenance['aim'] = self.aim
        with self.lock:
            key = self.keeper.key(configuration, seed, self.purpose)
            self.keeper.keep(key, configuration, seed, self.purpose, measurement)


def _measure(
    environments: LazyEnvironments, proposal: Proposal, seed: int, filing: _Filing,
    stop: threading.Event,
) -> Measurement | None:
    """
    Measure what is proposed and keep it; return None if the run was ended by `stop`.

    What was measured when ctrl-C comes is kept before that is passed on.
    """
    measurement = None
    try:
        try:
            measurement = measure_with_retry(
                environments[proposal.environment], proposal.configuration, seed
            )
        except ApparatusError:
            if not stop.is_set():
                raise
        if measurement is None or (stop.is_set() and not measurement.valid):
            # Its processes may have been ended under it: not a result.
            return None
        filing.keep(proposal.configuration, seed, measurement)
    except KeyboardInterrupt:
        if measurement is not None:
            filing.keep(proposal.configuration, seed, measurement)
        raise
    return measurement
