# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Measure adaptation at runtime: false alarms, detection, changes of the robot, and what it costs.

    python benchmarks/adaptation.py [--missions N] [--json FILE] [--parts a,b] [--oracle N]

`calm`: missions in lock-step with no change at all. `power`: missions until the adapter reacts to
a change of each size. `changes`: a payload, a smoother floor and busy processes come one after the
other, at real-time factor 1; the adapted robot drives beside one with the default configuration,
one that was tuned once, and one with the oracle's. `offline`: the same changes against emulated
robots, many times over. `latency`: how long a decision takes. `rest`: CPU share and memory of an
adapter whose robot stands. Measurements are kept in --folder, so that the next start begins where
this one ended.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

for _name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS'):
    os.environ.setdefault(_name, '1')
sys.path.insert(0, str(Path(__file__).resolve().parent))

import adaptation_calm  # noqa: E402
import adaptation_missions  # noqa: E402
import adaptation_offline  # noqa: E402
import adaptation_rest  # noqa: E402
import adapter_decision  # noqa: E402
from adaptation_setup import PHASES, oracle, prepare  # noqa: E402
from bars import bar, end, show_bars, split_names, write_json  # noqa: E402

from tl_adapt.errors import InputError  # noqa: E402
from tl_adapt.study import load_study  # noqa: E402

PARTS = ('calm', 'power', 'changes', 'offline', 'latency', 'rest')


def calm(args: argparse.Namespace) -> dict[str, Any]:
    """Count false alarms."""
    found = adaptation_calm.calm(prepare(args.folder, 'lock_step'), args.calm)
    print(f'\n{found["missions"]} missions with no change: {found["changes"]} adaptations, '
          f'{found["replans"]} alarms')
    return {**found, 'bars': [bar('adaptations with no change at all', found['changes'], 1)]}


def power(args: argparse.Namespace) -> dict[str, Any]:
    """Measure how soon changes are found."""
    rows = adaptation_calm.power(prepare(args.folder, 'lock_step', explore=0), args.repeats)
    adaptation_calm.show_power(rows)
    return {'rows': rows, 'bars': []}


def changes(args: argparse.Namespace) -> dict[str, Any]:
    """Compare the adapted robot with the others."""
    setup = prepare(args.folder, 'real_time')
    fixed = {
        'default': dict.fromkeys(PHASES, setup.study.space.default()),
        'tuned once': dict.fromkeys(PHASES, setup.tuned),
    }
    if args.oracle:
        fixed[adaptation_missions.ORACLE] = {
            phase: oracle(setup, phase, args.oracle) for phase in PHASES
        }
        print(f'\noracle: the best of {args.oracle} configurations of each phase, measured in '
              'lock-step')
    found = adaptation_missions.summarise(
        setup, adaptation_missions.drive(setup, args.missions, fixed))
    adaptation_missions.show(found)
    means = {name: row['all'] for name, row in found['arms'].items()}
    bars = [
        bar(f"mean objective, adapted by {name}'s", means[adaptation_missions.ADAPTED]
            / means[name], 1.0)
        for name in ('default', 'tuned once') if means[name]
    ]
    return {**found, 'bars': bars}


def offline(args: argparse.Namespace) -> dict[str, Any]:
    """Compare the policy with fixed configurations on emulated robots."""
    setup = prepare(args.folder, 'lock_step')
    for phase in PHASES:
        oracle(setup, phase, max(args.oracle, 2))
    found = adaptation_offline.run(setup, args.sequences, args.missions, args.calm)
    adaptation_offline.show(found)
    means = {name: row['all'] for name, row in found['arms'].items()}
    ours = means[adaptation_missions.ADAPTED]
    bars = [
        bar(f"mean objective on emulated robots, adapted by {name}'s", ours / means[name], 1.0)
        for name in ('default', 'tuned once')
    ]
    return {**found, 'bars': bars}


def latency(args: argparse.Namespace) -> dict[str, Any]:
    """Measure how long decisions take."""
    rows = adapter_decision.run(load_study('demo'), 20_000, 30)
    print()
    for name, row in rows.items():
        print(f'decision, {name:32s}{row["p50_ms"]:10.1f} ms p50{row["p99_ms"]:10.1f} ms p99')
    return {'decisions': rows, 'bars': []}


def rest(args: argparse.Namespace) -> dict[str, Any]:
    """Measure an adapter that has nothing to do."""
    found = adaptation_rest.run(args.folder, args.seconds)
    print(f'\nadapter at rest, {found["topics"]} topics at {found["rate"]:g} Hz, '
          f'{found["seconds"]:.0f} s: {100 * found["cpu"]:.1f} % of a core, '
          f'{found["memory"]:.0f} MiB')
    return {**found, 'bars': [
        bar('share of a core at rest', 100 * found['cpu'], 3.0, ' %'),
        bar('memory at rest', found['memory'], 300.0, 'MiB'),
    ]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--missions', type=int, default=40, help='of the changes (%(default)s)')
    parser.add_argument('--calm', type=int, default=100, help='missions without (%(default)s)')
    parser.add_argument('--repeats', type=int, default=3, help='of each size (%(default)s)')
    parser.add_argument('--oracle', type=int, default=200,
                        help='configurations in each phase, 0: no oracle (%(default)s)')
    parser.add_argument('--sequences', type=int, default=20, help='offline (%(default)s)')
    parser.add_argument('--seconds', type=float, default=60.0, help='at rest (%(default)s)')
    parser.add_argument('--parts', type=split_names, default=list(PARTS),
                        help=f'of {", ".join(PARTS)}')
    parser.add_argument('--folder', type=Path, default=Path('output/benchmarks/adaptation'))
    parser.add_argument('--json', type=Path, help='write everything measured to this file')
    args = parser.parse_args()
    for part in args.parts:
        if part not in PARTS:
            raise InputError(f'must be one of {", ".join(PARTS)}', file='--parts', value=part)
    for name, least in (('missions', len(PHASES)), ('calm', 1), ('repeats', 1), ('oracle', 0),
                        ('sequences', 1)):
        if getattr(args, name) < least:
            raise InputError(f'must be at least {least}', file=f'--{name}',
                             value=getattr(args, name))
    if not args.seconds > 0:
        raise InputError('must be positive', file='--seconds', value=args.seconds)
    parts = {'calm': calm, 'power': power, 'changes': changes, 'offline': offline,
             'latency': latency, 'rest': rest}
    found = {}
    for part in args.parts:
        found[part] = parts[part](args)
        if args.json:
            write_json(args.json, found)
    show_bars([one for part in found.values() for one in part['bars']])
    return 0


if __name__ == '__main__':
    end(main)
