# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Measure whether what a recorded drive says of other configurations holds when they drive.

    python benchmarks/bags_replay.py [--seeds N] [--replays N] [--missions N] [--json FILE]

The demo's stand-in robot drives a few missions with the default configuration, which
`tl_adapt record` records. Configurations of the localizer are replayed on that bag; they are the
source of a model, the recorded missions themselves its only target measurements. The best
configuration by the model, and the default, then drive on N seeds that nothing has seen, and are
held against the 90 % intervals that were predicted before.

Replayed with the configuration and seed that it had, the localizer should say what it said then,
to the last bit: the largest difference of a pose is printed. But in a replay it can not make the
robot drive elsewhere, as another configuration does when it drives. How far that, and the machine,
shift a metric is printed: the same configuration with other seeds, replayed and recorded.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

for _name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS'):
    os.environ.setdefault(_name, '1')
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np  # noqa: E402
from bars import bar, end, show_bars, write_json  # noqa: E402

from tl_adapt.bags.evaluation import BagEvaluator  # noqa: E402
from tl_adapt.bags.reading import Bag  # noqa: E402
from tl_adapt.campaign import campaign_runs, run_campaign  # noqa: E402
from tl_adapt.environments.base import make_environment  # noqa: E402
from tl_adapt.environments.stack import StackEnvironment  # noqa: E402
from tl_adapt.errors import TlAdaptError  # noqa: E402
from tl_adapt.models.model_set import ModelSet  # noqa: E402
from tl_adapt.ros.isolation import child_environment  # noqa: E402
from tl_adapt.seeds import run_seed  # noqa: E402
from tl_adapt.store import Store  # noqa: E402
from tl_adapt.study import load_study  # noqa: E402
from tl_adapt.trace import POSITION, Trace  # noqa: E402

STUDY, TARGET, SOURCE = 'demo_replay', 'robot', 'drive'
LEVEL = 0.9
_POOL = 2048
_READY = 60.0  # s that a recorder may take to record


def drive(study, environment, bag, missions):
    """Let the robot drive while the command records; return the live measurements."""
    environment.start()
    recorder = subprocess.Popen(
        [sys.executable, '-m', 'tl_adapt', 'record', str(study.path), '--environment', TARGET,
         '--output', str(bag)],
        env=child_environment(environment.environment()), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )
    try:
        end_ = time.monotonic() + _READY
        while not list(bag.glob('*.mcap')):
            if recorder.poll() is not None or time.monotonic() > end_:
                raise TlAdaptError(f'the recorder does not record: {recorder.stderr.read()}')
            time.sleep(0.05)
        time.sleep(5.0)  # until it has found the topics
        seeds = [run_seed(study.seeds.evaluation, 'tuning', i) for i in range(missions)]
        driven = [environment.measure(study.space.default(), seed) for seed in seeds]
        time.sleep(1.0)
        recorder.send_signal(2)
        text, _ = recorder.communicate(timeout=30.0)
        print(text.strip())
    finally:
        recorder.kill()
    return driven


def with_bag(folder, bag, **options):
    """Return the study that replays this bag."""
    path = folder / f'{STUDY}{len(list(folder.glob("*.yaml")))}.yaml'
    path.write_text(json.dumps({
        'extends': [str(load_study(STUDY).path)], 'name': STUDY,
        'environments': {SOURCE: {'bag': str(bag), **options}},
    }))
    return load_study(path)


def largest_difference(folder, bag, live):
    """Replay each mission as it was driven; return how far apart two poses are at most, in m."""
    found = []
    for number, driven in enumerate(live, 1):
        environment = make_environment(
            with_bag(folder, bag, missions=[number]), SOURCE, traces=folder / 'again'
        )
        try:
            again = environment.measure(driven.configuration, driven.seed)
        finally:
            environment.close()
        if not again.valid:
            raise TlAdaptError(f'mission {number} can not be replayed: {again.reason}')
        was = Trace.load(driven.provenance['trace']).topics['pose']
        now = Trace.load(again.provenance['missions'][0]['trace']).topics['pose']
        if not np.array_equal(was.stamp_ns, now.stamp_ns):
            print(f'mission {number}: {len(was)} poses were recorded, {len(now)} replayed')
            return float('inf')
        found.append(float(np.abs(was.fields[POSITION] - now.fields[POSITION]).max()))
    return max(found)


def recorded(study, bag):
    """Return what `tl_adapt evaluate` makes of the bag's missions."""
    with Bag(bag) as opened:
        found = list(BagEvaluator(study, opened, study.environment(TARGET)).run())
    for one in found:
        if one.refused:
            print(f'mission {one.drive.number} is refused: {one.refused}')
    return [one.measurement for one in found if one.measurement is not None]


def replayed(study, folder, number, workers):
    """Replay a design; return the measurements and the times they took."""
    runs = campaign_runs(study, SOURCE, number, seed=study.seeds.campaign)
    begin = time.monotonic()
    with Store(folder / 'store.sqlite', study=study) as store:
        run_campaign(study, SOURCE, runs, store, workers=workers)
        found = store.get(environment=SOURCE)
    return found, time.monotonic() - begin


def intervals(model, study, configuration):
    """Return by metric the ends of the interval for one run."""
    X = study.space.encode([configuration])
    return {
        name: tuple(float(end_[0]) for end_ in model.models[name].interval(X, LEVEL))
        for name in study.metrics
    }


def replay(seeds: int, *, replays: int = 40, missions: int = 3, workers: int = 1) -> dict:
    """Measure all of it; return the figures."""
    with tempfile.TemporaryDirectory(prefix='bags_replay-') as name:
        folder = Path(name)
        bag = folder / 'drive'
        study = with_bag(folder, bag)
        environment = StackEnvironment(study, TARGET, traces=folder / 'live')
        try:
            return _replay(study, environment, folder, bag, seeds, replays, missions, workers)
        finally:
            environment.close()


def _replay(study, environment, folder, bag, seeds, replays, missions, workers):
    default = study.space.default()
    live = drive(study, environment, bag, missions)
    environment.close()
    target = [m for m in recorded(study, bag) if m.valid]
    difference = largest_difference(folder, bag, live)
    print(f'replayed as it was driven, a pose differs by {difference:g} m at most')
    source, seconds = replayed(study, folder, replays, workers)
    valid = [m for m in source if m.valid]
    if not target or not valid:
        why = next((m.reason for m in source if not m.valid), 'no mission')
        raise TlAdaptError(f'nothing to learn from: {why}')
    bag_seconds = sum(m.sim_time for m in valid)
    fed = sum(each['wall_time'] for m in valid for each in m.provenance['missions'])
    print(f'\n{len(live)} missions driven, {len(target)} found in the bag; {len(source)} '
          f'configurations replayed, {len(source) - len(valid)} invalid')
    print(f'speed: {bag_seconds:.0f} s of drive in {fed:.1f} s of replay, '
          f'{bag_seconds / fed:.1f} times real time; {bag_seconds / seconds:.1f} with bring-up '
          f'and all else, {workers} worker(s)')
    model = ModelSet(study, study.seeds.tuning).fit(source, target)
    pool = [default, *study.space.sample(_POOL, seed=study.seeds.tuning),
            *(m.configuration for m in valid)]
    found = model.assess(study.space.encode(pool))
    order = np.lexsort((found.mean, found.feasible < 0.5))
    chosen = {'best': pool[int(order[0])], 'default': default}
    predicted = {label: intervals(model, study, c) for label, c in chosen.items()}
    again = next((m for m in valid if m.configuration == default), None)
    figures = {
        'speed': bag_seconds / fed, 'speed_with_all': bag_seconds / seconds,
        'replays': len(source), 'invalid': len(source) - len(valid), 'missions': len(target),
        'configuration': chosen['best'], 'predicted': predicted, 'live': {}, 'bias': {},
    }
    if again is not None:
        print('\nopen-loop bias at the recorded configuration (replayed / recorded, mean)')
        for metric in study.metrics:
            was = float(np.mean([m.metrics[metric] for m in target]))
            figures['bias'][metric] = again.metrics[metric] / was
            print(f'  {metric:22s} {again.metrics[metric]:.4g} / {was:.4g} = '
                  f'{again.metrics[metric] / was:.3f}')
    hits, total = 0, 0
    objectives = {}
    environment = StackEnvironment(study, TARGET)
    try:
        for label, configuration in chosen.items():
            runs = [
                environment.measure(configuration, run_seed(study.seeds.evaluation, 'evaluation',
                                                            index))
                for index in range(seeds)
            ]
            good = [m for m in runs if m.valid]
            figures['live'][label] = [m.metrics for m in good]
            values = [study.objective(m.metrics) for m in good]
            objectives[label] = float(np.mean(values or [np.nan]))
            print(f'\n{label}: {len(good)} of {seeds} live missions valid')
            for metric, (low, high) in predicted[label].items():
                values = [m.metrics[metric] for m in good]
                inside = sum(low <= value <= high for value in values)
                if label == 'best':
                    hits, total = hits + inside, total + len(runs)
                print(f'  {metric:22s} predicted [{low:.4g}, {high:.4g}], live mean '
                      f'{np.mean(values):.4g} [{min(values):.4g}, {max(values):.4g}], '
                      f'{inside} of {len(runs)} inside')
    finally:
        environment.close()
    means = {
        metric: float(np.mean([row[metric] for row in figures['live']['best']]))
        for metric in study.metrics
    }
    within = [low <= means[metric] <= high for metric, (low, high) in predicted['best'].items()]
    figures['objective'] = objectives
    print(f'\nobjective, live: best {objectives["best"]:.3f}, default {objectives["default"]:.3f}')
    figures['difference'] = difference
    figures['bars'] = [
        bar('replay: recorded configuration and seed, largest difference of a pose', difference,
            0.0, 'm'),
        bar('replay: live means of the best localizer within the predicted 90 % interval',
            float(np.mean(within)), 1.0, least=True),
        bar('replay: single live runs of the best within the 90 % interval',
            hits / max(total, 1), LEVEL, least=True),
        bar('replay: speed of the replay, times real time', figures['speed'], 1.0, 'x',
            least=True),
        bar("replay: objective of the best, live, as a share of the default's",
            objectives['best'] / objectives['default'], 1.0),
    ]
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--seeds', type=int, default=10)
    parser.add_argument('--replays', type=int, default=40)
    parser.add_argument('--missions', type=int, default=3)
    parser.add_argument('--workers', type=int, default=1)
    parser.add_argument('--json', type=Path)
    args = parser.parse_args()
    found = replay(args.seeds, replays=args.replays, missions=args.missions, workers=args.workers)
    show_bars(found['bars'])
    if args.json:
        write_json(args.json, found)
    return 0


if __name__ == '__main__':
    end(main)
