# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Compare the metrics of bags with those of the live traces of the same missions.

The demo's stand-in robot drives; `tl_adapt record` records it in a process of its own, and the
live recorder keeps its traces. The messages of the bag are then written again by the writers of
two libraries in every form that rosbag2 knows, and damaged in the ways that disks, cables and
crashes damage files.
"""

from __future__ import annotations

import atexit
import collections
import dataclasses
import functools
import math
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
from bags_forms import FORMS, Item, read_items
from bars import bar

from tl_adapt.bags.evaluation import BagEvaluator
from tl_adapt.bags.reading import Bag
from tl_adapt.environments.stack import StackEnvironment
from tl_adapt.errors import TlAdaptError
from tl_adapt.metrics import evaluate
from tl_adapt.report.tables import format_table
from tl_adapt.ros.isolation import child_environment
from tl_adapt.study import Study, load_study
from tl_adapt.trace import Trace

_MISSIONS = 2
_ENVIRONMENT = 'robot'
_SAMPLED = ('cpu', 'memory')  # reductions of samples that live and bag take at other moments
_SAME = 1e-9


@dataclasses.dataclass(frozen=True)
class Session:
    """Hold a bag of the recorder, its messages, and all traces; it may lack the first mission."""

    study: Study
    bag: Path
    items: list[Item]
    traces: list[Trace]
    cpu: float  # that the recorder used, as a share of a core


@functools.lru_cache(maxsize=1)
def session() -> Session:
    """Drive and record some missions; what was recorded stays until this process ends."""
    folder = Path(tempfile.mkdtemp(prefix='tl_adapt-bags-'))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    study = load_study('demo')
    environment = StackEnvironment(study, _ENVIRONMENT)
    recorder = None
    print('driving and recording the stand-in robot ...', file=sys.stderr)
    try:
        variables = environment.environment()
        recorder = subprocess.Popen(
            [sys.executable, '-m', 'tl_adapt', 'record', 'demo', '--environment', _ENVIRONMENT,
             '--output', str(folder / 'recorded')],
            env=child_environment(variables),
        )
        # The first mission lets everybody meet; where the recorder was late, it is cut.
        for number in range(_MISSIONS + 1):
            measured = environment.measure(
                study.space.default(), number, trace=folder / f'{number}.npz'
            )
            if not measured.valid:
                raise TlAdaptError(f'the default configuration failed: {measured.reason}')
            if not number:
                used, since = _cpu(recorder.pid), time.monotonic()
        share = (_cpu(recorder.pid) - used) / (time.monotonic() - since)
        recorder.send_signal(signal.SIGINT)
        if recorder.wait(30):
            raise TlAdaptError('the recorder failed')
    finally:
        if recorder is not None:
            recorder.kill()
            recorder.wait()
        environment.close()
    traces = [Trace.load(folder / f'{number}.npz') for number in range(_MISSIONS + 1)]
    bag = folder / 'recorded'
    return Session(study, bag, read_items(bag / 'recorded_0.mcap'), traces, share)


def _cpu(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def timed(study: Study, source: str) -> Study:
    """Return the study with metrics by another time of messages: header or recorder."""
    metrics = {
        name: dataclasses.replace(metric, time=source) if metric.topic else metric
        for name, metric in study.metrics.items()
    }
    return dataclasses.replace(study, metrics=metrics)


def live(study: Study, trace: Trace) -> dict[str, float]:
    """Return the metrics of a live trace, but for those of processes."""
    return {
        name: value for name, value in evaluate(study, trace).items()
        if study.metrics[name].reduction not in _SAMPLED
    }


@dataclasses.dataclass
class Compared:
    """
    Hold how a bag compares with the traces.

    `missions` of those that the recorder certainly saw are in it; `worst` is the largest
    difference of a metric of any mission to the trace that is most like it.
    """

    missions: int = 0
    worst: float = 0.0
    cpu: float = 0.0  # relative
    said: bool = False  # that something is lost or refused


def compare(found: Session, path: Path, study: Study) -> Compared:
    """Evaluate a bag and compare; raises InputError if it can't be read."""
    compared = Compared()
    with Bag(path) as bag:
        evaluator = BagEvaluator(study, bag, study.environment(_ENVIRONMENT))
        missions = list(evaluator.run())
        compared.said = bool(evaluator.losses)
    compared.said = compared.said or any(one.refused for one in missions)
    seen = set()
    for one in missions:
        if one.measurement is None:
            continue
        got = one.measurement.metrics
        worst, number = min(
            (_difference(live(study, trace), got), number)
            for number, trace in enumerate(found.traces)
        )
        seen.add(number)
        compared.worst = max(compared.worst, worst)
        cpu = evaluate(study, found.traces[number])['cpu']
        compared.cpu = max(compared.cpu, abs(got.get('cpu', math.inf) - cpu) / cpu)
    compared.missions = len(seen - {0})
    return compared


def _difference(expected: Mapping[str, float], got: Mapping[str, float]) -> float:
    return max(abs(got.get(name, math.inf) - value) for name, value in expected.items())


def formats() -> dict:
    """Print how bags of every form compare with the live traces, and return it with bars."""
    found = session()
    rows = [['bag', 'missions', 'header stamps', "recorder's time", 'cpu']]
    result = []
    with tempfile.TemporaryDirectory(prefix='tl_adapt-forms-') as name:
        for number, (form, write) in enumerate(FORMS.items()):
            path = Path(name) / f'bag{number}'
            path = write(found.bag, found.items, path)
            compared = [compare(found, path, timed(found.study, source))
                        for source in ('header', 'recorder')]
            missions = min(one.missions for one in compared)
            result.append({
                'form': form, 'missions': missions, 'header': compared[0].worst,
                'recorder': compared[1].worst, 'cpu': compared[0].cpu,
            })
            rows.append([form, f'{missions} of {_MISSIONS}', f'{compared[0].worst:.1e}',
                         f'{compared[1].worst:.1e}', f'{compared[0].cpu:.1%}'])
    print('\nBags and live traces of the same missions: largest difference of a metric')
    print(format_table(rows))
    print(f'the recorder used {found.cpu:.1%} of a core')
    print(f'metrics: {", ".join(live(found.study, found.traces[0]))}')
    worst = max(max(row['header'], row['recorder']) for row in result)
    return {'rows': result, 'bars': [
        bar('bags of every form: largest difference to the live trace, in 1e-9', worst / _SAME,
            1.0),
        bar('bags of every form: missions found of those driven',
            min(row['missions'] for row in result) / _MISSIONS, 1.0, least=True),
        bar('CPU seconds per second: largest relative difference to live',
            max(row['cpu'] for row in result), 0.1),
    ]}


# --- damage -------------------------------------------------------------------------------------


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def cut_end(data: bytes, rng: random.Random) -> bytes:
    return data[: -rng.randrange(1, 2000)]


def zeros(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    length = min(4096, len(data) - at)
    return data[:at] + bytes(length) + data[at + length :]


def noise(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(20):
        changed[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(changed)


def missing_part(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + data[at + 1000 :]


def nothing(data: bytes, rng: random.Random) -> bytes:
    return b''


def garbage(data: bytes, rng: random.Random) -> bytes:
    return rng.randbytes(5000)


Damage = Callable[[bytes, random.Random], bytes]
#: Form, and what is done to its files: what no checksum covers is only cut.
DAMAGES: list[tuple[str, Damage]] = [
    *(('as recorded', damage) for damage in
      (cut, cut_end, zeros, noise, missing_part, nothing, garbage)),
    *(('mcap: lz4 chunks', damage) for damage in (cut, zeros, noise)),
    *(('mcap: no chunks, no index', damage) for damage in (cut, cut_end)),
    *(('rosbags: sqlite3', damage) for damage in (cut, nothing, garbage)),
    *(('rosbags: mcap, whole file', damage) for damage in (cut, noise)),
    *(('rosbags: sqlite3, whole file', damage) for damage in (cut, noise)),
]


def damaged(found: Session, seeds: int, folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield damaged bags: what was done, and the bag."""
    for form, damage in DAMAGES:
        for seed in range(seeds):
            path = FORMS[form](found.bag, found.items, folder / 'bag')
            files = [one for one in path.iterdir() if one.suffix != '.yaml']
            rng = random.Random(f'{form} {damage.__name__} {seed}')
            for file in files:
                file.write_bytes(damage(file.read_bytes(), rng))
            yield f'{form}: {damage.__name__.replace("_", " ")}', path
            shutil.rmtree(folder / 'bag')
    for seed in range(seeds):
        path = FORMS['as recorded'](found.bag, found.items, folder / 'bag')
        metadata = path / 'metadata.yaml'
        metadata.write_bytes(noise(metadata.read_bytes(), random.Random(seed)))
        yield 'as recorded: noise in metadata.yaml', path
        shutil.rmtree(folder / 'bag')
    path = FORMS['mcap: three splits'](found.bag, found.items, folder / 'bag')
    sorted(path.glob('*.mcap'))[1].unlink()
    yield 'mcap: three splits: the second is missing', path
    shutil.rmtree(folder / 'bag')


def judged(found: Session, path: Path) -> str:
    """Return what came of a damaged bag."""
    try:
        compared = compare(found, path, found.study)
    except TlAdaptError as error:
        return 'error' if len(str(error).splitlines()) == 1 else 'long error'
    except (sqlite3.Error, ArithmeticError, LookupError, OSError, RuntimeError, TypeError,
            ValueError, AttributeError) as error:
        return f'traceback ({type(error).__name__})'
    if compared.worst > _SAME:
        return 'wrong, but said' if compared.said else 'wrong'
    if compared.missions == _MISSIONS:
        return 'all missions'
    return 'fewer, and said' if compared.said else 'fewer, not said'


def corruption(seeds: int) -> dict:
    """Print what comes of damaged bags, and return it with bars."""
    found = session()
    counts: dict[str, collections.Counter] = {}
    with tempfile.TemporaryDirectory(prefix='tl_adapt-damage-') as name:
        for what, path in damaged(found, 4 * seeds, Path(name)):
            counts.setdefault(what, collections.Counter())[judged(found, path)] += 1
    print('\nDamaged bags')
    rows = [['damage', 'what came of it']]
    for what, each in counts.items():
        rows.append([what, ', '.join(f'{n} x {outcome}' for outcome, n in each.most_common())])
    print(format_table(rows, text=(0, 1)))
    total = sum(counts.values(), collections.Counter())
    bad = {
        outcome: n for outcome, n in total.items()
        if outcome not in ('all missions', 'error') and not outcome.startswith('fewer, and')
    }
    return {'rows': {what: dict(each) for what, each in counts.items()}, 'bars': [
        bar(f'damaged bags ({total.total()}): other numbers, silence or tracebacks',
            sum(bad.values()), 0),
    ]}
