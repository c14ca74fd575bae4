# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the verb `demo`: the main job, from the campaign to the adapter."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tl_adapt.cli import INTERRUPTED
from tl_adapt.database import take_lock
from tl_adapt.demo import findings
from tl_adapt.demo import job as steps
from tl_adapt.errors import InputError, import_ros
from tl_adapt.parameter_file import write_text
from tl_adapt.report.page import write_report
from tl_adapt.store import Store
from tl_adapt.study import load_study
from tl_adapt.verbs.transfer import write_result

#: The shipped study by the simulator that it measures in.
_STUDIES = {'mujoco': 'demo', 'gazebo': 'demo_gazebo'}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument(
        '--study', default='', help='study file, or the name of a shipped one (demo)'
    )
    parser.add_argument(
        '--simulator', choices=('mujoco', 'gazebo'), default='mujoco',
        help='what the shipped study simulates in (mujoco, which is embedded)',
    )
    parser.add_argument(
        '--output', type=Path, default=Path('output'), help='folder for all results (output)'
    )
    parser.add_argument(
        '--workers', type=int, default=2, help='missions that run side by side (2)'
    )
    parser.add_argument(
        '--seeds', type=int, default=0,
        help="paired seeds of the final comparison (0: the study's budget.evaluation)"
    )
    parser.add_argument(
        '--fresh', action='store_true', help='begin anew: ignore what the folder holds already'
    )


def run(args: argparse.Namespace) -> int:
    """Run the job and return the exit code: 0, or 130 after ctrl-C."""
    for name, low in (('workers', 1), ('seeds', 0)):
        value = getattr(args, name)
        if value < low:
            raise InputError(f'must be at least {low}', key=f'--{name}', value=value)
    adapt = import_ros('tl_adapt.demo.adaptation_run', 'the demo').adaptation
    if args.study and args.simulator != 'mujoco':
        rule = 'the study names its simulator, so there can be no --study'
        raise InputError(rule, key='--simulator', value=args.simulator)
    study = load_study(args.study or _STUDIES[args.simulator])
    folder = args.output / study.name
    path = folder / 'measurements.sqlite'
    if args.fresh:
        with take_lock(path):  # nobody may be writing to what goes
            for suffix in ('', '-wal', '-shm'):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
    begin = time.monotonic()
    with Store(path, study=study) as store:
        seeds = args.seeds or study.budget.evaluation
        job = steps.Job(study, store, folder, args.workers, seeds, _say)
        _say(f'study {study.name}: {len(study.space.parameters)} parameters; results in {folder}')
        try:
            run_steps(job, adapt, lambda result: _write(folder, result))
        except (steps.Interrupted, KeyboardInterrupt):
            _say(f'interrupted: {store.count()} measurements are kept; the same command goes on')
            return INTERRUPTED
    _say(
        f'\nDone in {time.monotonic() - begin:.0f} s. Written: {folder / "result.json"}, '
        f'{folder / "tuned_parameters.yaml"}, {folder / "report.html"}'
    )
    return 0


def run_steps(
    job: steps.Job,
    adapt: Callable[..., dict[str, Any]],
    write: Callable[[dict[str, Any]], None] = lambda result: None,
) -> dict[str, Any]:
    """
    Do the steps in their order and return the result; `adapt` is the last one.

    `write` gets the result before the last step, too, so that nothing is lost if that one fails.
    Raises Interrupted after ctrl-C.
    """
    study = job.study
    budget = study.budget.target
    longer = 3 * budget
    source = job.timed(f'1. Campaign in {job.source}', steps.campaign)
    results = job.timed(
        f'2. Tuning on {job.target}: ours, random search, target-only', steps.tune, source, longer
    )
    ours = results['transfer']
    write_result(study, ours, job.output)
    candidates = {
        'default': study.space.default(),
        'simulation best': steps.best_measured(study, source),
        'target-only': steps.choice_after(job, results['target-only'], budget),
        'random': dict(results['random'].choice.configuration),
        steps.OURS: dict(ours.choice.configuration),
    }
    title = f'3. Comparison on {job.target} with {job.seeds} new seeds each'
    evaluation = job.timed(title, steps.evaluate, candidates)
    comparison = steps.compare_and_show(job, evaluation)
    saved = job.timed(
        '4. What the transfer saved', findings.saved, results, evaluation,
        (budget, 2 * budget, longer),
    )
    gap = job.timed(f'5. How like {job.source} and {job.target} are', findings.audit, results, 16)
    influence = findings.influence(job, source, ours.tuner.model)
    result = findings.summarise(
        job, results, comparison, source, saved=saved, gap=gap, influence=influence
    )
    write(result)
    result['adaptation'] = job.timed('6. The adapter meets a changed environment', adapt, ours)
    write(result)
    return result


def _write(folder: Path, result: Mapping[str, Any]) -> None:
    write_text(folder / 'result.json', json.dumps(result, indent=1) + '\n')
    write_report(result, folder / 'report.html')


def _say(text: str) -> None:
    print(text, flush=True)
