# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Measure the transfer model against its peers, and print how it stands to each of its bars.

    python benchmarks/transfer.py --data DIR [--pairs a,b] [--seeds N] [--json FILE]

DIR is described in transfer_data.py. The peers come from a harness file (transfer_peers.py) and
need the packages of benchmarks/requirements.txt; without them ours alone is measured. Finished
predictions are kept in --results, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

for _name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS'):
    os.environ.setdefault(_name, '1')
sys.path.insert(0, str(Path(__file__).resolve().parent))

import similarity  # noqa: E402
import transfer_peers  # noqa: E402
import transfer_runs  # noqa: E402
import transfer_speed  # noqa: E402
import transfer_tables as tables  # noqa: E402
from bars import bar, end, show_bars, split_names, write_json  # noqa: E402
from transfer_data import descriptions  # noqa: E402

from tl_adapt.errors import InputError  # noqa: E402

PARTS = ('error', 'active', *transfer_speed.PARTS, 'similarity')


def peers_of(path: Path, wanted: list[str]) -> tuple[str, ...]:
    """Return the names of the peers that can be run here; say so if there are none."""
    try:
        names = tuple(transfer_peers.load_harness(path).METHODS)
    except ImportError as error:
        print(f'the peers can not be run: {error}', file=sys.stderr)
        return ()
    return tuple(name for name in names if not wanted or name in wanted)


def errors(plan: transfer_runs.Plan, workers: int, parts: list[str]) -> dict:
    """Measure, print and return the tables of the error and the active part, and their bars."""
    found: dict = {'bars': [], 'stopped': False}
    try:
        transfer_runs.run(plan, workers)
    except KeyboardInterrupt:
        print(f'\nstopped; what is finished is in {plan.results}', file=sys.stderr)
        found['stopped'] = True
    rows = [
        row for row in transfer_runs.current(transfer_runs.FORMAT.read(plan.results))
        if row['pair'] in plan.pairs and row['seed'] < plan.seeds and row['points'] in plan.points
    ]
    found['rows'] = rows
    failed = [row for row in rows if row['error'] and row['method'] in transfer_runs.OURS]
    for row in failed[:10]:
        print(f'FAILED: {row["method"]} on {row["pair"]}, {row["n_target"]} {row["points"]} '
              f'points, seed {row["seed"]}: {row["error"]}')
    if failed:
        found['bars'].append(bar('predictions of ours that failed', len(failed), 0))
    results = tables.Results(rows)
    chosen = tables.separating(results)
    found['separating'] = chosen
    if results.peers('random'):
        print(f'{tables.RULE}: {", ".join(chosen) or "none"}')
    if 'error' in parts:
        found |= random_tables(results, chosen, found['bars'])
    if 'active' in plan.points:
        found |= active_tables(results, chosen, found['bars'])
    return found


def ratio_bars(text: str, cells: list[dict], pairs: list[str], limit: float) -> list[dict]:
    """Return the bar on the geometric mean of ratios for each size and both sets of pairs."""
    return [
        bar(f'{text}, {size} points, {label}', value, limit)
        for label, chosen in tables.groups(cells, pairs)
        for size, value in tables.geometric(cells, chosen).items()
    ]


def random_tables(results: tables.Results, chosen: list[str], bars: list[dict]) -> dict:
    """Print and return what is measured with random target points."""
    compared = tables.compare(results, 'random', 'random')
    negative, covered = tables.negative(results), tables.coverage(results)
    found = tables.measures(results)
    tables.show_compared('Random target points: transfer against the best peer in hindsight',
                         compared, chosen)
    tables.show_measures(found)
    tables.show_negative(negative)
    tables.show_coverage(covered)
    bars += ratio_bars("error by the best peer's", compared, chosen, 1.0)
    if negative:
        over = sum(not cell['bound'] <= 0.05 for cell in negative)
        bars.append(bar('cells where transfer may be > 5 % worse than target only', over, 0))
        share = sum(c['worse'] for c in negative) / sum(c['seeds'] for c in negative)
        bars.append(bar('splits in which it is > 10 % worse', 100 * share, 3, '%'))
    if covered:
        values = [cell['coverage'] for cell in covered]
        inside = 100 * sum(0.85 <= value <= 0.95 for value in values) / len(values)
        bars.append(bar('cells that 90 % intervals cover by 85-95 %', inside, 80, '%', least=True))
        bars.append(bar('least coverage of a cell', 100 * min(values), 70, '%', least=True))
    return {'compared': compared, 'measures': found, 'negative': negative, 'coverage': covered}


def active_tables(results: tables.Results, chosen: list[str], bars: list[dict]) -> dict:
    """Print and return what is measured with target points that our design chose."""
    found = {
        'random': tables.compare(results, 'active', 'random'),
        'same': tables.compare(results, 'active', 'active'),
        'own': tables.own_ratio(results),
    }
    tables.show_compared('Designed target points against the best peer in hindsight with random '
                         'ones', found['random'], chosen)
    tables.show_compared('Designed target points, the best peer in hindsight with the same ones',
                         found['same'], chosen)
    tables.show_compared('Designed against random target points, both ours', found['own'], chosen)
    bars += ratio_bars("designed points by the best peer's random ones",
                       found['random'], chosen, 0.9)
    return {'active': found}


def similarity_table(data: Path, names: list[str], bars: list[dict]) -> dict:
    """Print and return the similarity metrics beside the published ones, and their bars."""
    entries = [entry for entry in descriptions(data, names)
               if entry['name'] in similarity.PUBLISHED]
    found = similarity.published_table(data, entries) if entries else {}
    for number, name in ((0, 'M1'), (2, 'M3')):
        off = [abs(row['ours'][number] - row['published'][number]) for row in found.values()]
        if off:
            bars.append(bar(f'{name} off the published value, at most', max(off),
                            similarity.BOUND))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--data', type=Path, required=True, help='folder with pairs.json')
    parser.add_argument('--pairs', default='', help='names, separated by commas (default: all)')
    parser.add_argument('--seeds', type=int, default=20)
    parser.add_argument('--json', type=Path, help='write everything measured to this file')
    parser.add_argument('--peers', type=Path, help='default: DIR/../bench/harness.py')
    parser.add_argument('--methods', default='', help='ours or peers, separated by commas')
    parser.add_argument('--parts', default=','.join(PARTS), help='default: %(default)s')
    parser.add_argument('--results', type=Path, default=Path('output/benchmarks/transfer.csv'))
    parser.add_argument('--workers', type=int, default=1, help='processes for the errors')
    arguments = parser.parse_args()
    parts, methods = split_names(arguments.parts), split_names(arguments.methods)
    for part in parts:
        if part not in PARTS:
            raise InputError(f'must be one of {", ".join(PARTS)}', file='--parts', value=part)
    harness = (arguments.peers or arguments.data / '..' / 'bench' / 'harness.py').resolve()
    names = [entry['name'] for entry in descriptions(arguments.data, split_names(arguments.pairs))]
    found: dict = {'bars': [], 'stopped': False}
    if {'error', 'active'} & set(parts):
        points = ('random',)
        if 'active' in parts and transfer_runs.design_is_there():
            points = ('random', 'active')
        elif 'active' in parts:
            print(f'active part skipped: there is no {transfer_runs.DESIGN}', file=sys.stderr)
        plan = transfer_runs.Plan(
            arguments.data, tuple(names), arguments.seeds, arguments.results.resolve(), points,
            tuple(m for m in transfer_runs.OURS if not methods or m in methods),
            peers_of(harness, methods), harness,
        )
        found |= errors(plan, arguments.workers, parts)
    for part in transfer_speed.PARTS:
        if part not in parts or found['stopped']:
            continue
        try:
            result = found[part] = transfer_speed.run(part, arguments.data, harness)
            found['bars'] += [bar(*args, **more) for args, more in result.pop('bars', [])]
        except KeyboardInterrupt:
            print(f'\nstopped in part {part}', file=sys.stderr)
            found['stopped'] = True
    if 'similarity' in parts and not found['stopped']:
        found['similarity'] = similarity_table(arguments.data, names, found['bars'])
    show_bars(found['bars'])
    if arguments.json:
        write_json(arguments.json, found)
    return 130 if found['stopped'] else 0


if __name__ == '__main__':
    end(main)
