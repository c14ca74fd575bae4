# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Check explanations by interventions that the data hold: what really happens if one option changes.

    python benchmarks/explain.py --data DIR [--pairs a,b] [--seeds N] [--rows N] [--json FILE]

DIR holds pairs.json and its CSV files; pairs of binary options are used. Each seed learns from 200
rows (or 200 source and 20 target rows) and explains held-out rows of the worst 10 %. For each the
true improvement of every measured single change is known from the table, and methods are judged
by which change they name first: hit rate of the best one (ties count), of the best among the first
three, and the share of the best possible improvement (summed over rows). Where a table holds too
few single changes, changes of up to two options count. Failed rows of DIR/raw are explained by the
validity model: how often the change named first gives a valid run. Remedies are the fewest changes
to the typical value: how often the measured row keeps the promise. Coverage is that of the 90 %
intervals of each option's mean effect over held-out measured pairs.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import time
import zlib
from pathlib import Path

for _name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS'):
    os.environ.setdefault(_name, '1')

import numpy as np  # noqa: E402
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor  # noqa: E402
from transfer_data import descriptions, load, read_table  # noqa: E402

from tl_adapt.errors import InputError  # noqa: E402
from tl_adapt.explanation.result import plain_json  # noqa: E402
from tl_adapt.models.anomaly import chance_below, mend  # noqa: E402
from tl_adapt.models.attribution import attribute  # noqa: E402
from tl_adapt.models.basis import Basis, axes_of  # noqa: E402
from tl_adapt.models.draws import belief, latent_draws  # noqa: E402
from tl_adapt.models.effects import Effects  # noqa: E402
from tl_adapt.models.gaussian_process import GaussianProcess  # noqa: E402
from tl_adapt.models.transfer import TransferModel  # noqa: E402
from tl_adapt.models.validity import ValidityModel  # noqa: E402

SOURCE_ROWS, TARGET_ROWS = 200, 20
WORST = 0.1
OURS, SHAPLEY = 'ours: what if', 'ours: Shapley to the best'
SIGNED, RANKED = 'global influence, signed', 'global influence'
FOREST, FOREST_RANK, RANDOM = 'forest: what if', 'forest: importance', 'random'
ALONE, SOURCE = 'target rows alone', 'source model alone'


class Table:
    """Hold a table of binary options and which rows differ in one (or two) of them."""

    def __init__(self, X, y):
        self.X, self.y = X, y
        self.index = {}
        for row, point in enumerate(X.astype(bool)):
            self.index.setdefault(point.tobytes(), row)  # the first of repeated rows
        d = X.shape[1]
        singles = [(j,) for j in range(d)]
        found = np.mean([len(self.changes(i, singles)) for i in range(0, len(y), 7)])
        self.sets = singles
        if found < 0.5 * d:
            self.sets += list(itertools.combinations(range(d), 2))

    def changes(self, row, sets=None):
        """Return (options, row) for each measured row that differs from one in few options."""
        point = self.X[row].astype(bool)
        found = []
        for options in sets or self.sets:
            moved = point.copy()
            moved[list(options)] ^= True
            other = self.index.get(moved.tobytes())
            if other is not None:
                found.append((options, other))
        return found


def forest(seed):
    return RandomForestRegressor(200, min_samples_leaf=2, random_state=seed, n_jobs=1)


def by_option(amount):
    """Score changes by a number per option."""
    return lambda x, Z, sets: np.array([sum(amount[j] for j in options) for options in sets])


def scorers(table, known, y, model, seed, source=None):
    """Return a function from (point, changed points, options) to scores for each method."""
    X = table.X
    log = bool(np.all(y > 0))
    axes = axes_of(X, [str(j) for j in range(X.shape[1])])
    effects = Effects(belief(model, n=60, seed=seed), Basis(axes), log=model.log_scale)
    mains = np.zeros(X.shape[1])
    for effect in effects.mains:
        middle = effect.change if effect.factor is None else effect.factor
        mains[int(effect.names[0])] = (
            middle.estimate if effect.factor is None else np.log(middle.estimate)
        )
    best = X[known[np.argmin(y)]]
    names = [str(j) for j in range(X.shape[1])]

    def shapley(x, Z, sets):
        found = attribute(lambda P: model.predict(P)[None, :], x, best, names)
        amount = np.zeros(len(x))
        for share in found.options:
            amount[int(share.names[0])] = share.amount.estimate
        return by_option(amount)(x, Z, sets)

    def signed(x, Z, sets):
        return -(Z - x) @ mains

    methods = {
        OURS: lambda x, Z, sets: -model.predict(Z), SHAPLEY: shapley, SIGNED: signed,
        RANKED: by_option(np.abs(mains)),
    }
    logged = np.log(y) if log else y
    if source is None:
        trees = forest(seed).fit(X[known], logged)
        methods[FOREST] = lambda x, Z, sets: -trees.predict(Z)
        methods[FOREST_RANK] = by_option(trees.feature_importances_)
        return methods
    rows, ys = source
    process = GaussianProcess(log=model.log_scale, seed=seed).fit(X[rows], ys)
    alone = GaussianProcess(log=model.log_scale, seed=seed).fit(X[known], y)
    first = forest(seed).fit(X[rows], np.log(ys) if log else ys)
    # Stacked: the source's prediction is one more column for the target's forest.
    def stacked(Z):
        return np.column_stack([Z, first.predict(Z)])

    trees = forest(seed).fit(stacked(X[known]), logged)
    methods[FOREST] = lambda x, Z, sets: -trees.predict(stacked(Z))
    methods[FOREST_RANK] = by_option(first.feature_importances_)
    methods[ALONE] = lambda x, Z, sets: -alone.predict(Z)
    methods[SOURCE] = lambda x, Z, sets: -process.predict(Z)
    return methods


def judge(table, bad, seen, methods, rng):
    """Return top-1, top-3 and share of the improvement for each method, and rows judged."""
    names = [*methods, RANDOM]
    first, three, gained = (dict.fromkeys(names, 0.0) for _ in range(3))
    possible, count = 0.0, 0
    for row in bad:
        changes = [(o, r) for o, r in table.changes(row) if r not in seen]
        if len(changes) < 2:
            continue
        gain = np.array([table.y[row] - table.y[r] for _, r in changes])
        top = gain.max()
        if top <= 0.0:
            continue  # nothing that was measured mends this row
        hit = gain >= top - 1e-12
        possible += top
        count += 1
        x, Z = table.X[row], table.X[[r for _, r in changes]]
        sets = [o for o, _ in changes]
        for name, score in methods.items():
            # Random numbers settle ties, of which scores by option have many.
            order = np.lexsort((rng.random(len(gain)), -score(x, Z, sets)))
            first[name] += hit[order[0]]
            three[name] += hit[order[:3]].any()
            gained[name] += gain[order[0]]
        n, k = len(gain), int(hit.sum())
        missed = np.prod([(n - k - i) / (n - i) for i in range(min(3, n))])
        first[RANDOM] += k / n
        three[RANDOM] += 1.0 - max(missed, 0.0)
        gained[RANDOM] += gain.mean()
    return {
        name: (first[name] / count, three[name] / count, gained[name] / possible)
        for name in names
    } if count else {}, count


def remedies(table, bad, model, goal, seen):
    """Return how many remedies could be looked up, how many of them hold, and were expected to."""
    axes = axes_of(table.X, [str(j) for j in range(table.X.shape[1])])
    chance = chance_below(model, goal)
    found = held = expected = 0
    for row in bad:
        remedy = mend(chance, table.X[row], axes)
        other = table.index.get(remedy.point.astype(bool).tobytes())
        if remedy.reached and other is not None and other not in seen and other != row:
            found += 1
            held += table.y[other] <= goal
            expected += remedy.chance
    return found, held, expected


def coverage(table, model, noise, known, rng):
    """Return how many of the options' mean effects lie in their 90 % interval, and of how many."""
    inside = total = 0
    blocks, edges = [], [0]
    for j in range(table.X.shape[1]):
        pairs = []
        for row in rng.permutation(len(table.y))[:700]:
            if table.X[row, j] == 0 and row not in known:
                pairs += [(row, r) for _, r in table.changes(row, [(j,)]) if r not in known]
            if len(pairs) >= 60:
                break
        if len(pairs) >= 10:
            blocks += pairs
            edges.append(len(blocks))
    if not blocks:
        return 0, 0
    low, high = np.array(blocks).T
    points = np.vstack([table.X[low], table.X[high]])
    drawn = latent_draws(model, points)
    step = drawn[:, len(low):] - drawn[:, :len(low)]
    y = np.log(table.y) if model.log_scale else table.y
    for begin, end in zip(edges, edges[1:]):
        part = step[:, begin:end].mean(axis=1)
        truth = (y[high[begin:end]] - y[low[begin:end]]).mean()
        # The truth is a mean of measurements, with their noise.
        reach = 1.645 * np.sqrt(part.var() + 2.0 * noise / (end - begin))
        inside += abs(truth - np.median(part)) <= reach
        total += 1
    return inside, total


def explain_pair(folder, pair, seeds, rows):
    """Return the results of one pair: rows of (environment, seed, method, figures)."""
    Xs, ys, Xt, yt = dataclasses.astuple(load(folder, pair['name']))[1:]
    source, target = Table(Xs, ys), Table(Xt, yt)
    found = []
    for seed in range(seeds):
        rng = np.random.default_rng([zlib.crc32(pair['name'].encode()), seed])
        ks = rng.permutation(len(ys))[:SOURCE_ROWS]
        kt = rng.permutation(len(yt))[:TARGET_ROWS]
        alone = GaussianProcess(log=True, seed=seed).fit(Xs[ks], ys[ks])
        moved = TransferModel(log=True, seed=seed).fit((Xs[ks], ys[ks]), (Xt[kt], yt[kt]))
        for label, table, known, model, given in (
            ('source', source, ks, alone, None),
            ('target', target, kt, moved, (ks, ys[ks])),
        ):
            begin = time.perf_counter()
            methods = scorers(table, known, table.y[known], model, seed, given)
            limit = np.quantile(table.y, 1.0 - WORST)
            held = np.setdiff1d(np.flatnonzero(table.y >= limit), known)
            bad = rng.permutation(held)[:rows]
            result, count = judge(table, bad, set(known.tolist()), methods, rng)
            noise = model.spread**2 * model.noise if given is None else model.noise_variance
            inside, total = coverage(table, model, noise, set(known.tolist()), rng)
            looked, held, expected = remedies(
                table, bad, model, float(np.median(table.y[known])), set(known.tolist())
            )
            found.append({
                'remedies': looked, 'remedies_held': held, 'remedies_expected': expected,
                'pair': pair['name'], 'environment': label, 'seed': seed, 'rows': count,
                'sets': max(map(len, table.sets)), 'methods': result, 'inside': inside,
                'effects': total, 'seconds': time.perf_counter() - begin,
            })
    return found


def explain_failures(folder, pair, seeds, rows):
    """Return how often the change named first mends a failed row of the source, per method."""
    path = folder / 'raw' / f'{pair["name"]}.csv'
    if not path.is_file():
        return []
    X, y = read_table(path, 'source')
    bound = pair.get('invalid_threshold') or np.inf
    valid = (y > 0.0) & (y < bound)
    table = Table(X, valid.astype(float))
    found = []
    for seed in range(seeds):
        rng = np.random.default_rng([zlib.crc32(pair['name'].encode()), seed, 1])
        known = rng.permutation(len(y))[:SOURCE_ROWS]
        seen = set(known.tolist())
        model = ValidityModel(seed=seed).fit(X[known], valid[known])
        trees = RandomForestClassifier(200, min_samples_leaf=2, random_state=seed, n_jobs=1)
        trees.fit(X[known], valid[known])
        single = np.array([
            np.mean(valid[known][X[known, j] == 1]) - np.mean(valid[known][X[known, j] == 0])
            for j in range(X.shape[1])
        ])
        methods = {
            OURS: lambda x, Z, sets, model=model: model.probability(Z),
            SIGNED: lambda x, Z, sets, single=single: (Z - x) @ single,
            RANKED: by_option(np.abs(single)),
            FOREST: lambda x, Z, sets, trees=trees: trees.predict_proba(Z)[:, -1],
            FOREST_RANK: by_option(trees.feature_importances_),
        }
        hits = dict.fromkeys([*methods, RANDOM], 0.0)
        count = 0
        for row in rng.permutation(np.setdiff1d(np.flatnonzero(~valid), known))[:rows]:
            changes = [(o, r) for o, r in table.changes(row) if r not in seen]
            mended = valid[[r for _, r in changes]]
            if len(changes) < 2 or not mended.any():
                continue
            count += 1
            Z, sets = X[[r for _, r in changes]], [o for o, _ in changes]
            for name, score in methods.items():
                order = np.lexsort((rng.random(len(sets)), -score(X[row], Z, sets)))
                hits[name] += mended[order[0]]
            hits[RANDOM] += mended.mean()
        if count:
            found.append({
                'pair': pair['name'], 'seed': seed, 'rows': count,
                'methods': {name: hit / count for name, hit in hits.items()},
            })
    return found


def show(results, failures):
    """Print the tables."""
    for label, text in (('source', f'{SOURCE_ROWS} rows'),
                        ('target', f'{SOURCE_ROWS} source + {TARGET_ROWS} target rows')):
        some = [r for r in results if r['environment'] == label and r['methods']]
        pairs = list(dict.fromkeys(r['pair'] for r in some))
        if not pairs:
            continue
        for place, what in enumerate((
            'best single change named first', 'best single change among the first three',
            'share of the best possible improvement',
        )):
            print(f'\nBad rows of the {label}, learnt from {text}: {what}')
            print(f'{"":28s}' + ''.join(f'{name:>11s}' for name in pairs) + f'{"mean":>11s}')
            for method in some[0]['methods']:
                cells = [
                    np.mean([r['methods'][method][place] for r in some if r['pair'] == name])
                    for name in pairs
                ]
                line = ''.join(f'{cell:11.1%}' for cell in [*cells, np.mean(cells)])
                print(f'{method:28s}{line}')
        counts = [sum(r['rows'] for r in some if r['pair'] == name) for name in pairs]
        print(f'{"rows judged":28s}' + ''.join(f'{count:11d}' for count in counts))
        sets = [max(r['sets'] for r in some if r['pair'] == name) for name in pairs]
        print(f'{"options changed, at most":28s}' + ''.join(f'{size:11d}' for size in sets))
        for text, key in (
            ('remedies that hold', 'remedies_held'), ('expected', 'remedies_expected')
        ):
            cells = [
                sum(r[key] for r in some if r['pair'] == name)
                / max(sum(r['remedies'] for r in some if r['pair'] == name), 1) for name in pairs
            ]
            print(f'{text:28s}' + ''.join(f'{cell:11.1%}' for cell in cells))
        looked = [sum(r['remedies'] for r in some if r['pair'] == name) for name in pairs]
        print(f'{"of remedies looked up":28s}' + ''.join(f'{count:11d}' for count in looked))
        cells = [
            sum(r['inside'] for r in some if r['pair'] == name)
            / max(sum(r['effects'] for r in some if r['pair'] == name), 1) for name in pairs
        ]
        print(f'{"coverage of 90 % intervals":28s}'
              + ''.join(f'{cell:11.1%}' for cell in [*cells, np.mean(cells)]))
    pairs = list(dict.fromkeys(r['pair'] for r in failures))
    if pairs:
        print(f'\nFailed rows of the source, learnt from {SOURCE_ROWS} rows: '
              'the change named first gives a valid run')
        print(f'{"":28s}' + ''.join(f'{name:>11s}' for name in pairs) + f'{"mean":>11s}')
        for method in failures[0]['methods']:
            cells = [
                np.mean([r['methods'][method] for r in failures if r['pair'] == name])
                for name in pairs
            ]
            line = ''.join(f'{cell:11.1%}' for cell in [*cells, np.mean(cells)])
            print(f'{method:28s}{line}')


def binary(folder, pair):
    """Say whether all options of a pair have two values and both environments the same rows."""
    if not pair['same_configs']:
        return False
    X, _ = read_table(folder / pair['files'][0], 'source')
    return bool(np.isin(X, (0.0, 1.0)).all())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument(
        '--data', type=Path, default=Path('../shared/data'), help='folder with pairs.json'
    )
    parser.add_argument('--pairs', default='', help='names, separated by commas (default: all)')
    parser.add_argument('--seeds', type=int, default=5, help='repetitions (5)')
    parser.add_argument('--rows', type=int, default=150, help='bad rows per pair and seed (150)')
    parser.add_argument('--json', type=Path, help='write everything measured to this file')
    arguments = parser.parse_args()
    for name in ('seeds', 'rows'):
        if getattr(arguments, name) < 1:
            parser.error(f'--{name}: must be at least 1, got {getattr(arguments, name)}')
    wanted = [name for name in arguments.pairs.split(',') if name]
    results, failures = [], []
    try:
        chosen = descriptions(arguments.data, wanted)
    except InputError as error:
        parser.error(str(error))
    for pair in chosen:
        if not binary(arguments.data, pair):
            print(f'{pair["name"]}: no interventions in it (options are not binary)')
            continue
        results += explain_pair(arguments.data, pair, arguments.seeds, arguments.rows)
        failures += explain_failures(arguments.data, pair, arguments.seeds, arguments.rows)
    show(results, failures)
    if arguments.json:
        found = {'bad_rows': results, 'failed_rows': failures}
        arguments.json.write_text(json.dumps(plain_json(found), indent=1) + '\n')


if __name__ == '__main__':
    main()
