# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Measure what the main job waits for: simulation, models, decisions.

It prints one table from the benchmarks of the parts and from missions of the demo's stack.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')
sys.path.insert(0, str(Path(__file__).resolve().parent))

import adapter_decision  # noqa: E402
import simulators  # noqa: E402
import transfer_speed  # noqa: E402

from tl_adapt.environments.stack import StackEnvironment  # noqa: E402
from tl_adapt.study import load_study  # noqa: E402


def missions(number: int) -> dict[str, float]:
    """Drive the demo's default configuration over ROS; rates in simulated s per wall s."""
    study = load_study('demo')
    environment = StackEnvironment(study, study.source.name)
    simulated = driven = whole = 0.0
    try:
        begin = time.monotonic()
        environment.start()
        start = time.monotonic() - begin
        for seed in range(number + 1):
            begin = time.monotonic()
            run = environment.measure(study.space.default(), seed)
            if not run.valid:
                raise SystemExit(f'the default configuration failed: {run.reason}')
            if seed:  # the first one warms up
                simulated += run.sim_time
                driven += run.provenance['mission_wall_time']
                whole += time.monotonic() - begin
            print(f'\rmission {seed}/{number} ', end='', file=sys.stderr)
    finally:
        environment.close()
    print(file=sys.stderr)
    return {
        'in the mission': simulated / driven, 'with reset and set-up': simulated / whole,
        'start of the stack [s]': start,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--json', type=Path, help='also write the figures to this file')
    parser.add_argument('--missions', type=int, default=8)
    parser.add_argument('--decisions', type=int, default=30)
    args = parser.parse_args()
    alone = simulators.embedded()
    print(f'{"MuJoCo with lidar, alone":52s}{alone:10.1f} simulated s / wall s')
    stack = missions(args.missions)
    for name in ('in the mission', 'with reset and set-up'):
        print(f'{"robot software over ROS, " + name:52s}{stack[name]:10.1f} simulated s / wall s')
    print(f'{"start of the stack":52s}{stack["start of the stack [s]"]:10.1f} s')
    fits = transfer_speed.timings()
    for name, seconds in fits.items():
        print(f'{name:52s}{seconds:10.3f} s')
    decisions = adapter_decision.run(load_study('demo'), 20_000, args.decisions)
    for name, row in decisions.items():
        label = f'adapter: {name}'
        print(f'{label:52s}{row["p50_ms"]:10.1f} ms p50 {row["p99_ms"]:10.1f} ms p99')
    if args.json:
        result = {'mujoco': alone, 'stack': stack, 'models': fits, 'decisions': decisions}
        args.json.write_text(json.dumps(result, indent=1) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
