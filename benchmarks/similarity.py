# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Compare the similarity metrics M1 to M18 with the published ones, and check their intervals.

    python benchmarks/similarity.py [--data DIR] [--pairs a,b] [--samples N] [--json FILE]

DIR holds pairs.json, its CSV files and raw/ with the invalid rows. Published are Table II of
Jamshidi et al., ASE 2017, for the pairs named below. Each pair is computed as `tl_adapt
similarity` does, and once more by the rules nearest to what the table counts, where those are
looser than what is sound: a time of 0 counts as valid, each option is tested by itself (p <
0.05), interactions enter by p < 0.05. Then few random target measurements are taken from each
pair, N times, and the share of intervals that hold the value on all data is printed, beside the
level that they claim.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import zlib
from pathlib import Path

for _name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS'):
    os.environ.setdefault(_name, '1')

import numpy as np  # noqa: E402

from tl_adapt.models.similarity.comparison import COUNTS, LEVEL, TITLES, compare  # noqa: E402
from tl_adapt.models.similarity.pair import Pair, Side  # noqa: E402
from tl_adapt.progress import Progress  # noqa: E402
from tl_adapt.recorded_pair import invalid_rule, load_recorded  # noqa: E402
from tl_adapt.report.tables import format_table  # noqa: E402

_NAN = math.nan
PUBLISHED = {
    'spear_ec1': (
        1.00, 0.22, 0.97, 0.92, 0.92, 9, 7, 7, 0,
        1, 25, 25, 25, 1.00, 0.47, 0.45, 1, 1.00,
    ),
    'spear_ec4': (
        0.90, 3.36, -0.08, 0.30, 0.11, 7, 7, 4, 3,
        0.99, 22, 23, 22, 0.99, 0.45, 0.49, 1, 0.94,
    ),
    'x264_ec1': (
        0.97, 1.00, 0.99, 0.97, 0.92, 9, 10, 8, 0,
        0.86, 21, 33, 18, 1.00, 0.49, 0.49, 1, 1,
    ),
    'x264_ec3': (
        0.65, 0.06, 0.63, 0.53, 0.58, 9, 11, 8, 1,
        0.89, 27, 33, 22, 0.96, 0.49, 0.49, 1, 1,
    ),
    'sqlite_ec1': (
        0.99, 0.37, 0.82, 0.35, 0.31, 5, 2, 2, 0,
        1, 13, 9, 8, 1.00, _NAN, _NAN, _NAN, _NAN,
    ),
    'sqlite_ec4': (
        0.50, 1.24, 0.43, 0.17, 0.43, 1, 1, 0, 0,
        1, 4, 2, 2, 1.00, _NAN, _NAN, _NAN, _NAN,
    ),
}
BOUND = 0.02  # what M1 and M3 may be off
SIZES = (5, 10, 20)
ESTIMATED = ('M1', 'M2', 'M3', 'M4', 'M5', 'M7', 'M8', 'M9', 'M16', 'M17')


def nearest(folder, entry):
    """Return the pair with a time of 0 as valid; where the data say no more, as it is."""
    limit = entry.get('invalid_threshold')
    raw = len(entry['files']) == 1 and (folder / 'raw' / entry['files'][0]).is_file()
    rule = invalid_rule(f'value >= {limit}') if raw and limit is not None else None
    return load_recorded(folder, entry['name'], rule=rule)


def values(found):
    """Return M1 to M18 as numbers."""
    return [found.metrics[name].value for name in TITLES]


def published_table(folder, entries):
    """Print published and ours, metric by metric; return what was found."""
    results = {}
    with Progress('comparing', len(entries)) as progress:
        for entry in entries:
            name = entry['name']
            results[name] = {
                'published': list(PUBLISHED.get(name, (_NAN,) * len(TITLES))),
                'ours': values(compare(load_recorded(folder, name))),
                'nearest': values(compare(nearest(folder, entry), correct=False, rule='p')),
            }
            progress.advance(name)
    for name, row in results.items():
        print(f'\n{name}')
        table = [['', 'published', 'ours', 'off', 'by the looser rules', 'off', 'what']]
        for i, (key, what) in enumerate(TITLES.items()):
            one = [row[column][i] for column in ('published', 'ours', 'nearest')]
            form = '.0f' if key in COUNTS else '.2f'
            table.append([
                key, shown(one[0], form), shown(one[1], form), shown(one[1] - one[0], '+' + form),
                shown(one[2], form), shown(one[2] - one[0], '+' + form), what,
            ])
        print(format_table(table, text=(0, 6)))
    print()
    for key in ('M1', 'M3'):
        i = list(TITLES).index(key)
        off = {
            name: abs(row['ours'][i] - row['published'][i]) for name, row in results.items()
            if math.isfinite(row['published'][i])
        }
        if off:
            worst = max(off, key=off.get)
            print(f'{key}: at most {off[worst]:.3f} off ({worst}); bound {BOUND}: '
                  f'{"met" if off[worst] <= BOUND else "missed"}')
    return results


def shown(value, form):
    """Return a number as text."""
    if not math.isfinite(value):
        return '-'
    return f'{value:{form}}'


def coverage(folder, entries, samples):
    """Print how often intervals of few measurements hold the full data's value."""
    cells = {}
    with Progress('sampling', len(entries) * len(SIZES) * samples) as progress:
        for entry in entries:
            whole = load_recorded(folder, entry['name'])
            truth = compare(whole).metrics
            for size in SIZES:
                for number in range(samples):
                    progress.advance(f'{entry["name"]}, {size} target measurements')
                    seed = [zlib.crc32(entry['name'].encode()), size, number]
                    kept = np.random.default_rng(seed).choice(
                        len(whole.target.y), size, replace=False
                    )
                    side = whole.target
                    few = Side(side.name, side.X[kept], side.y[kept], side.valid[kept])
                    pair = Pair(whole.names, whole.categorical, whole.source, few)
                    found = compare(pair, seed=number).metrics
                    for key in ESTIMATED:
                        one, value = found[key], truth[key].value
                        if not math.isfinite(value):
                            continue
                        cell = cells.setdefault((key, size, entry['name']), [0, 0, 0, 0.0])
                        cell[0] += 1
                        if math.isfinite(one.low):
                            cell[1] += 1
                            cell[2] += one.low - 0.005 <= value <= one.high + 0.005
                            cell[3] += one.high - one.low
    print(f'\nShare of {LEVEL:.0%} intervals that hold the value on all data '
          '(mean width; share of samples with an interval)')
    names = [entry['name'] for entry in entries]
    rows = [['', 'n', 'all pairs', *names]]
    for key in ESTIMATED:
        for size in SIZES:
            row = [cells.get((key, size, name)) for name in names]
            seen = [cell for cell in row if cell]
            if seen:
                total = [sum(parts) for parts in zip(*seen)]
                rows.append([key, str(size), covered(total), *(covered(cell) for cell in row)])
    print(format_table(rows))
    return [
        {'metric': key, 'size': size, 'pair': name, 'samples': cell[0], 'intervals': cell[1],
         'hold': cell[2], 'width': cell[3] / cell[1] if cell[1] else None}
        for (key, size, name), cell in cells.items()
    ]


def covered(cell):
    """Return a cell of the table of coverage."""
    if not cell:
        return ''
    if not cell[1]:
        return '-'
    return f'{cell[2] / cell[1]:.2f} ({cell[3] / cell[1]:.2g}; {cell[1] / cell[0]:.0%})'


def plain(value):
    """Return JSON's null for what is not finite."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--data', type=Path, default=Path('../shared/data'), help='folder with pairs.json'
    )
    parser.add_argument('--pairs', default='', help='names, separated by commas (default: all)')
    parser.add_argument('--samples', type=int, default=20, help='samples per pair and size (20)')
    parser.add_argument('--json', type=Path, help='write everything to this file')
    arguments = parser.parse_args()
    if not (arguments.data / 'pairs.json').is_file():
        sys.exit(f'no pairs.json in {arguments.data}')
    wanted = set(filter(None, arguments.pairs.split(',')))
    entries = [
        entry for entry in json.loads((arguments.data / 'pairs.json').read_text())
        if not entry.get('opt_only')
    ]
    known = [entry['name'] for entry in entries]
    if wanted - set(known):
        unknown = ', '.join(sorted(wanted - set(known)))
        parser.error(f'--pairs: must be some of {", ".join(known)}, got {unknown}')
    if arguments.samples < 0:
        parser.error(f'--samples: must be at least 0, got {arguments.samples}')
    entries = [entry for entry in entries if not wanted or entry['name'] in wanted]
    results = published_table(arguments.data, entries)
    cells = coverage(arguments.data, entries, arguments.samples) if arguments.samples else []
    if arguments.json:
        found = {'pairs': results, 'metrics': list(TITLES), 'coverage': cells}
        arguments.json.write_text(json.dumps(plain(found), indent=1, default=float) + '\n')


if __name__ == '__main__':
    main()
