# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Measure what bags are good for: the same metrics as live, from any writer, whole or damaged.

    python benchmarks/bags.py [--parts formats,...] [--seeds N] [--data DIR] [--json FILE]

`formats` and `corruption` drive the demo's stand-in robot, which `tl_adapt record` records, and
write the same messages again in every form that rosbag2 has, then damage them. `speed` and
`memory` make large bags in a temporary folder (TMPDIR; 2 GB). `estimate` asks for missions that
were not recorded, on formulas with days that differ, and with --data on recorded tables, see
transfer_data.py. `replay` is in bags_replay.py.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

for _name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS'):
    os.environ.setdefault(_name, '1')
sys.path.insert(0, str(Path(__file__).resolve().parent))

from bars import end, show_bars, split_names, write_json  # noqa: E402

from tl_adapt.errors import InputError  # noqa: E402


def formats(args: argparse.Namespace) -> dict:
    import bags_formats

    return bags_formats.formats()


def corruption(args: argparse.Namespace) -> dict:
    import bags_formats

    return bags_formats.corruption(args.seeds)


def speed(args: argparse.Namespace) -> dict:
    import bags_large

    return bags_large.speed(args.seeds)


def memory(args: argparse.Namespace) -> dict:
    import bags_large

    return bags_large.memory()


def estimate(args: argparse.Namespace) -> dict:
    import bags_estimate

    return bags_estimate.estimate(args.seeds, args.data)


def replay(args: argparse.Namespace) -> dict:
    import bags_replay

    return bags_replay.replay(args.seeds)


PARTS = {
    'formats': formats, 'corruption': corruption, 'speed': speed, 'memory': memory,
    'estimate': estimate, 'replay': replay,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--parts', type=split_names, default=list(PARTS))
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--data', type=Path)
    parser.add_argument('--json', type=Path)
    args = parser.parse_args()
    if args.seeds < 1:
        raise InputError('must be at least 1', file='--seeds', value=args.seeds)
    for part in args.parts:
        if part not in PARTS:
            raise InputError(f'must be one of {", ".join(PARTS)}', file='--parts', value=part)
    found = {part: PARTS[part](args) for part in args.parts}
    show_bars([one for part in found.values() for one in part['bars']])
    if args.json:
        write_json(args.json, found)
    return 0


if __name__ == '__main__':
    end(main)
