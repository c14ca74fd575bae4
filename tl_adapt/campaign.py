# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for campaigns: many runs in one environment, interruptible and resumable at any time."""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tl_adapt.apparatus import Watch, measure_with_retry
from tl_adapt.designs import fingerprint
from tl_adapt.environments.base import Environment, Measurement, make_environment
from tl_adapt.errors import ApparatusError, InputError
from tl_adapt.keeper import Keeper
from tl_adapt.progress import Progress
from tl_adapt.seeds import PURPOSES, run_seed
from tl_adapt.store import Store

if TYPE_CHECKING:
    from tl_adapt.study import Study

_POLL = 0.1  # s between looks at the stop event
_END = 15.0  # s that environments get to end after a stop
_SPARE = 4  # configurations of a design for each of which some values are held


@dataclasses.dataclass(frozen=True)
class Run:
    """Name one measurement to take: what, with which seed, and for what purpose."""

    configuration: dict[str, Any]
    seed: int
    purpose: str = 'campaign'


@dataclasses.dataclass(frozen=True)
class CampaignResult:
    """
    Count what a campaign did.

    `done` runs were measured and stored now, `invalid` of them gave an invalid measurement,
    `skipped` were in the store already. `unmeasured` runs gave nothing, because what measures
    failed, for the `reasons` (each once); the same campaign again tries them again.
    """

    done: int
    skipped: int
    invalid: int
    interrupted: bool
    unmeasured: int = 0
    reasons: tuple[str, ...] = ()


#: A run with its key, and its measurement or why there is none.
_Result = tuple[str, Run, 'Measurement | ApparatusError']


class ProgressLike(Protocol):
    """Be told of each run that has ended."""

    def advance(self, note: str = '') -> None:
        """Count one run."""

    def finish(self) -> None:
        """End the display."""


def campaign_runs(
    study: Study,
    environment_name: str,
    n: int,
    *,
    seed: int,
    repeats: int = 1,
    purpose: str = 'campaign',
    method: str = 'sobol',
) -> list[Run]:
    """
    Plan the runs of a campaign: up to `n` configurations, `repeats` runs of each.

    The default configuration comes first, then a space-filling design. A table can only be
    asked for its own rows: there a seeded selection of them follows. Repeats are interleaved
    (all configurations once, then all a second time), so that a slow drift of the host does not
    look like a difference between configurations. The same arguments give the same runs.

    Raises InputError if `n` or `repeats` is below 1 or the constraints can't be satisfied.
    """
    for name, value in (('configurations', n), ('repeats', repeats)):
        if value < 1:
            raise InputError('must be at least 1', key=name, value=value)
    default = study.space.default()
    kind = study.environment(environment_name).kind
    if kind == 'table':
        configurations = _table_configurations(study, environment_name, n, seed, default)
    elif kind == 'replay' and (held := _held(study, environment_name)):
        configurations = _held_configurations(study, n, seed, method, held)
    else:
        configurations = [default]
        if n > 1:
            design = study.space.sample(n, seed=seed, method=method)
            configurations += [item for item in design if item != default][: n - 1]
    return plan_runs(configurations, seed=seed, repeats=repeats, purpose=purpose)


def plan_runs(
    configurations: Sequence[dict[str, Any]], *, seed: int, repeats: int = 1,
    purpose: str = 'campaign',
) -> list[Run]:
    """Plan `repeats` runs of each configuration, interleaved, as `campaign_runs` does."""
    # Repeats count on from there: a table gives another of a configuration's rows for each.
    stream = purpose if purpose in PURPOSES else 'campaign'
    first = [run_seed(seed, stream, index) for index in range(len(configurations))]
    return [
        Run(configuration, first[index] + repeat, purpose)
        for repeat in range(repeats)
        for index, configuration in enumerate(configurations)
    ]


def _held(study: Study, name: str) -> dict[str, Any]:
    """Return the parameters that a replay can't vary, with their values."""
    from tl_adapt.environments.replay import ReplayEnvironment

    return ReplayEnvironment(study, name).held


def _held_configurations(
    study: Study, n: int, seed: int, method: str, held: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return up to n configurations with the values of `held`, the default's others first."""
    design = study.space.sample(_SPARE * n, seed=seed, method=method)
    found: dict[str, dict[str, Any]] = {}
    for item in (study.space.default(), *design):
        with contextlib.suppress(InputError):  # a constraint that these values do not keep
            configuration = study.space.validate({**item, **held})
            found.setdefault(fingerprint(configuration), configuration)
        if len(found) == n:
            break
    if not found:
        raise InputError(
            'no configuration keeps the constraints with the values of the nodes that are not '
            'replayed', key='constraints', value=held,
        )
    return list(found.values())


def _table_configurations(
    study: Study, name: str, n: int, seed: int, default: dict[str, Any]
) -> list[dict[str, Any]]:
    from tl_adapt.environments.table import TableEnvironment

    rows = TableEnvironment(study, name).configurations()
    order = np.random.default_rng(abs(seed)).permutation(len(rows))
    shuffled = [rows[index] for index in order]
    if default in rows:
        shuffled.remove(default)
        shuffled.insert(0, default)
    return shuffled[:n]


def run_campaign(
    study: Study,
    environment_name: str,
    runs: Sequence[Run],
    store: Store,
    *,
    workers: int = 1,
    progress: ProgressLike | bool = True,
    stop: threading.Event | None = None,
    make: Callable[..., Environment] = make_environment,
) -> CampaignResult:
    """
    Measure the runs that are not in the store yet, and store each as soon as it has ended.

    Each of `workers` threads has an environment of its own, made by `make(study, name,
    worker=i)`. A first ctrl-C (or SIGTERM, or `stop`) ends the campaign at once: the runs under
    way are given up, all that have ended are kept. `progress` False shows nothing.

    A run whose apparatus fails (ApparatusError) is tried once more and then left out of the
    store.

    Raises InputError for a run outside of the space, before anything is measured; TlAdaptError
    if no run could be measured, or several in a row could not, or the first measurements show
    that the study does not fit the stack (see Watch); StoreError if a measurement can't be
    stored; and what an environment raises, after storing what ended.
    """
    if workers < 1:
        raise InputError('must be at least 1', key='workers', value=workers)
    study.environment(environment_name)
    keeper = Keeper(study, environment_name, store)
    pending: list[tuple[str, Run]] = []
    keys: set[str] = set()
    for run in runs:
        configuration = study.space.validate(run.configuration)
        key = keeper.key(configuration, run.seed, run.purpose)
        if key not in keys and not store.has(key):
            pending.append((key, dataclasses.replace(run, configuration=configuration)))
        keys.add(key)
    skipped = len(runs) - len(pending)
    stop = threading.Event() if stop is None else stop
    shown = progress
    label = f'{study.name}/{environment_name}'
    if isinstance(shown, bool):
        shown = Progress(label, len(runs), start=skipped) if shown and pending else _Silent()
    proven = store.count(environment=environment_name, valid=True) > 0
    book = _Book(keeper, shown, Watch(label, proven=proven))
    crew = _Crew(study, environment_name, pending, min(workers, len(pending)), make)
    try:
        with _interruptible(stop):
            try:
                for item in crew.results(stop):
                    book.take(*item)
            finally:
                crew.stop()
                book.close(crew.leftover())
    finally:
        shown.finish()
    reasons = book.watch.reasons
    interrupted = stop.is_set() and keeper.done < len(pending)
    if reasons and not keeper.done and not interrupted:
        raise book.watch.failure(f'none of {len(pending)} runs could be measured')
    return CampaignResult(
        keeper.done, skipped, keeper.invalid, interrupted, len(reasons),
        tuple(dict.fromkeys(reasons)),
    )


class _Book:
    """Keep what the crew brings."""

    def __init__(self, keeper: Keeper, progress: ProgressLike, watch: Watch) -> None:
        self._keeper = keeper
        self._progress = progress
        self.watch = watch

    def take(self, key: str, run: Run, got: Measurement | ApparatusError) -> None:
        """Store a measurement; raises TlAdaptError where going on makes no sense."""
        if isinstance(got, ApparatusError):
            self.watch.unmeasured(got.reason)
            self._progress.advance(f'{len(self.watch.reasons)} not measured (last: {got.reason})')
            return
        for item in self.watch.measured(got, (key, run, got)):
            self._keep(*item)

    def close(self, left: Iterable[_Result]) -> None:
        """Store what was held back and what is `left`, without judging it anew."""
        for item in self.watch.release():
            self._keep(*item)
        for key, run, got in left:
            if isinstance(got, ApparatusError):
                self.watch.reasons.append(got.reason)
            elif not self.watch.refuses(got):
                self._keep(key, run, got)

    def _keep(self, key: str, run: Run, measurement: Measurement) -> None:
        keeper = self._keeper
        m = keeper.keep(key, run.configuration, run.seed, run.purpose, measurement)
        note = f'{keeper.invalid} invalid' if keeper.invalid else ''
        self._progress.advance(note if m.valid else f'{note} (last: {m.reason})')


class _Silent:
    """Show nothing."""

    def advance(self, note: str = '') -> None:
        """Do nothing."""

    def finish(self) -> None:
        """Do nothing."""


class _Crew:
    """Run the worker threads; only this class knows about threads."""

    def __init__(
        self,
        study: Study,
        name: str,
        pending: list[tuple[str, Run]],
        workers: int,
        make: Callable[..., Environment],
    ) -> None:
        self._study = study
        self._name = name
        self._make = make
        self._todo: queue.SimpleQueue[tuple[str, Run]] = queue.SimpleQueue()
        for item in pending:
            self._todo.put(item)
        self._results: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._environments: list[Environment] = []
        # Daemons: an environment that hangs in its own clean-up must not keep the process.
        self._threads = [
            threading.Thread(target=self._work, args=(index,), daemon=True)
            for index in range(workers)
        ]

    def _work(self, worker: int) -> None:
        environment = None
        try:
            environment = self._make(self._study, self._name, worker=worker)
            with self._lock:
                self._environments.append(environment)
            while not self._stopping.is_set():
                try:
                    key, run = self._todo.get_nowait()
                except queue.Empty:
                    break
                got: Measurement | ApparatusError
                try:
                    got = measure_with_retry(environment, run.configuration, run.seed)
                    got.provenance.setdefault('worker', worker)
                except ApparatusError as error:
                    got = error
                if self._stopping.is_set():
                    # Its processes may have been ended under it: not a result.
                    break
                self._results.put((key, run, got))
        except BaseException as error:  # raised again in the main thread
            self._results.put(error)
        finally:
            if environment is not None:
                with contextlib.suppress(Exception):
                    environment.close()
            self._results.put(None)

    def results(self, stop: threading.Event) -> Iterator[_Result]:
        """Start the threads; give each result as it comes, until all is done or `stop`."""
        for thread in self._threads:
            thread.start()
        active = len(self._threads)
        while active and not stop.is_set():
            try:
                item = self._results.get(timeout=_POLL)
            except queue.Empty:
                continue
            if item is None:
                active -= 1
            elif isinstance(item, BaseException):
                if not self._stopping.is_set():
                    raise item
            else:
                yield item

    def stop(self) -> None:
        """End what runs, and wait for the threads within a deadline."""
        self._stopping.set()
        with self._lock:
            environments = list(self._environments)
        for environment in environments:
            with contextlib.suppress(Exception):
                environment.close()
        end = time.monotonic() + _END
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(end - time.monotonic(), 0.0))

    def leftover(self) -> Iterator[_Result]:
        """Give the results that ended before the stop but were not taken yet."""
        while True:
            try:
                item = self._results.get_nowait()
            except queue.Empty:
                return
            if isinstance(item, tuple):
                yield item


@contextlib.contextmanager
def _interruptible(stop: threading.Event) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM set `stop`; the second one raises KeyboardInterrupt."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
