# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Measure the tuner against its peers on tables, and print how it stands to each of its bars.

    python benchmarks/tuning.py --data DIR [--pairs a,b] [--seeds N] [--json FILE]

DIR is described in transfer_data.py. Each method minimises the target's column of a table with 40
measurements; those that transfer know 200 rows of the source. The peers come from a harness file
and from tuning_peers.py, and need the packages of benchmarks/requirements.txt; without them ours
alone is measured. Finished runs are kept in --results as the order of the rows measured, so that
a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from pathlib import Path

for _name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS'):
    os.environ.setdefault(_name, '1')
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np  # noqa: E402
import tuning_front  # noqa: E402
import tuning_front_peers  # noqa: E402
import tuning_peers as peers  # noqa: E402
import tuning_runs as runs  # noqa: E402
import tuning_speed  # noqa: E402
import tuning_tables as tables  # noqa: E402
from bars import bar, end, show_bars, split_names, write_json  # noqa: E402
from transfer_data import descriptions, load  # noqa: E402

from tl_adapt.errors import InputError  # noqa: E402

PARTS = ('source', 'alone', 'front', 'speed')
FRONT = 'husky_tb3_energy+husky_tb3_time'


def judge(results: tables.Results, ours: str, others: list[str], limits: tuple, note: str) -> dict:
    """Print and return how ours stands to the peers; `limits` are on regret and FIRST."""
    if not any(results.seeds(pair, ours) for pair in results.pairs):
        print(f'\n{ours} has not been measured')
        return {'bars': []}
    single = tables.single(results, ours, others)
    cells = tables.compare(results, ours, others)
    tables.show_single(ours, single)
    tables.show_compared(ours, cells)
    bars = []
    absent = [pair for pair in results.pairs if pair not in {cell['pair'] for cell in cells}]
    if absent:
        bars.append(bar(f'{note}: pairs without {ours} or a peer on its seeds', len(absent), 0))
    for size in map(str, tables.SIZES):
        if size in single:
            bars.append(bar(f'{note}: regret after {size} by that of the best single peer',
                            single[size]['ratio'], limits[0]))
        some = [cell for cell in cells if cell['measure'] == size]
        few = sum(cell['seeds'] < tables.FEWEST for cell in some)
        if few:
            text = f'{note}: pairs with fewer than {tables.FEWEST} seeds, too few to test, {size}'
            bars.append(bar(text, few, 0))
        elif some:
            count = sum(cell['p'] < tables.LEVEL for cell in some)
            bars.append(bar(f'{note}: pairs where ours is worse after {size} beyond noise', count,
                            0))
    if limits[1] and single:
        text = f'{note}: measurements {tables.FIRST}, geometric mean of ours by'
        bars.append(bar(f"{text} the best single peer's", single[tables.FIRST]['geometric'],
                        limits[1]))
        bars.append(bar(f"{text} each pair's best", tables.geometric(cells), limits[1]))
    return {'single': single, 'compared': cells, 'bars': bars}


def report(plan: runs.Plan, parts: list[str], judged: list[str]) -> dict:
    """Print and return all tables of the finished rows, and their bars."""
    rows = runs.current(plan)
    found: dict = {'rows': rows, 'bars': []}
    failed = [row for row in rows if row['error'] and tables.is_ours(row['method'])]
    if failed:
        found['bars'].append(bar('runs of ours that failed', len(failed), 0))
    single = [row for row in rows if '+' not in row['pair']]
    if single and {'source', 'alone'} & set(parts):
        found |= one_objective(plan, single, parts, judged, found['bars'])
    for name in plan.pairs:
        some = [row for row in rows if row['pair'] == name]
        if '+' in name and some:
            found['front'] = front(plan, name, some, judged[0], found['bars'])
    return found


def one_objective(
    plan: runs.Plan, rows: list[dict], parts: list[str], judged: list[str], bars: list[dict]
) -> dict:
    """Print and return the tables of one objective."""
    results = tables.Results(rows, lambda name: load(plan.folder, name).yt)
    found: dict = {'methods': tables.show_methods(results, judged[0])}
    for method in peers.SLOW:
        few = min(found['methods'].get(method, {}).get('seeds', [plan.seeds]))
        if few < plan.seeds:
            print(f'{method} is slow: it has {few} seeds, and is compared on those')
    others = [method for method in results.methods if not tables.is_ours(method)]
    if 'source' in parts:
        found['source'] = judge(results, judged[0], others, (0.6, 0.5), 'with a source')
    if 'alone' in parts:
        others = [m for m in others if m in peers.ALONE or m in runs.BASELINES]
        found['alone'] = judge(results, judged[1], others, (1.0, None), 'no source')
    for part in ('source', 'alone'):
        bars += found.get(part, {}).pop('bars', [])
    return found


def front(plan: runs.Plan, name: str, rows: list[dict], ours: str, bars: list[dict]) -> dict:
    """Print and return the table of two objectives."""
    Y = np.column_stack([pair.yt for pair in runs.tables_of(plan.folder, name)])
    found = tuning_front.summary(rows, Y, ours)
    for view, entry in found['against'].items():
        bars.append(bar(f"two objectives: hypervolume by the best peer's, {view}",
                        entry['ours'] / entry['best'], 1.0, least=True))
    return found


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--data', type=Path, required=True, help='folder with pairs.json')
    parser.add_argument('--pairs', default='', help='names, separated by commas (default: all)')
    parser.add_argument('--seeds', type=int, default=20)
    parser.add_argument('--slow-seeds', type=int, default=10,
                        help=f'of {", ".join(peers.SLOW)} (%(default)s)')
    parser.add_argument('--json', type=Path, help='write everything measured to this file')
    parser.add_argument('--harness', type=Path, help='default: DIR/../bench/harness.py')
    parser.add_argument('--methods', default='', help='ours or peers, separated by commas')
    parser.add_argument('--parts', default=','.join(PARTS), help='default: %(default)s')
    parser.add_argument('--front', default=FRONT, help='pairs with the same rows (%(default)s)')
    parser.add_argument('--results', type=Path, default=Path('output/benchmarks/tuning.csv'))
    parser.add_argument('--kept', default='', help='more files of rows, read only')
    parser.add_argument('--only-report', action='store_true',
                        help='measure nothing; rows of older code count too')
    parser.add_argument('--judge', default=','.join(tables.OURS),
                        help='with and without a source (%(default)s)')
    parser.add_argument('--workers', type=int, default=1, help='processes')
    arguments = parser.parse_args()
    for part in split_names(arguments.parts):
        if part not in PARTS:
            raise InputError(f'must be one of {", ".join(PARTS)}', file='--parts', value=part)
    if len(split_names(arguments.judge)) != 2:
        raise InputError('must be two methods', file='--judge', value=arguments.judge)
    return arguments


def plan_of(arguments: argparse.Namespace) -> runs.Plan:
    """Return what is to be measured and reported."""
    parts = split_names(arguments.parts)
    names = [entry['name'] for entry in descriptions(arguments.data)]
    wanted = split_names(arguments.pairs)
    pairs = [entry['name'] for entry in descriptions(arguments.data, wanted)]
    if not {'source', 'alone'} & set(parts):
        pairs = []
    there = all(part in names for part in arguments.front.split('+'))
    if 'front' in parts and not there:
        print(f'front part skipped: there is no {arguments.front}', file=sys.stderr)
    elif 'front' in parts:
        pairs.append(arguments.front)
    return runs.Plan(
        arguments.data, tuple(pairs), arguments.seeds, arguments.results.resolve(),
        kept=tuple(Path(name) for name in split_names(arguments.kept)),
        slow_seeds=arguments.slow_seeds, wanted=tuple(split_names(arguments.methods)),
        any_code=arguments.only_report,
        harness=(arguments.harness or arguments.data / '..' / 'bench' / 'harness.py').resolve(),
    )


def main() -> int:
    arguments = parse()
    plan = plan_of(arguments)
    stopped = False
    if not arguments.only_report and plan.pairs:
        names = peers.names(plan.harness)
        plan = dataclasses.replace(
            plan, peers=names, front_peers=peers.there(tuning_front_peers.PEERS) if names else ()
        )
        try:
            runs.run(plan, arguments.workers)
        except KeyboardInterrupt:
            print(f'\nstopped; what is finished is in {plan.results}', file=sys.stderr)
            stopped = True
    found = report(plan, split_names(arguments.parts), split_names(arguments.judge))
    if 'speed' in split_names(arguments.parts) and not arguments.only_report and not stopped:
        found['speed'] = tuning_speed.run(arguments.data)
        found['bars'] += [bar(*line) for line in found['speed'].pop('bars')]
    show_bars(found['bars'])
    if arguments.json:
        write_json(arguments.json, {**found, 'stopped': stopped})
    return 130 if stopped else 0


if __name__ == '__main__':
    end(main)
