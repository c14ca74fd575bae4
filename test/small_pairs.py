# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""A folder with small made-up pairs of environments, as the benchmarks read them."""

import json

import numpy as np


def write_pairs(folder, names=('made',), rows=260):
    """Write pairs of the same configurations, whose targets are those of the first and others."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 2, (rows, 4))
    entries = []
    for number, name in enumerate(names):
        effects = np.roll([1.0, 0.5, 0.0, -0.5], number)
        source = np.exp(X @ effects + 0.05 * rng.standard_normal(rows))
        lines = [','.join(map(str, (*x, y, 3 * y))) for x, y in zip(X, source)]
        head = 'opt_a,opt_b,opt_c,opt_d,source,target'
        (folder / f'{name}.csv').write_text('\n'.join([head, *lines]) + '\n')
        entries.append({'name': name, 'files': [f'{name}.csv'], 'same_configs': True})
    (folder / 'pairs.json').write_text(json.dumps(entries))
    return folder
