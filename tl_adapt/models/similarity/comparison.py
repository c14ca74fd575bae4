# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for all similarity metrics of two environments at once.

M1 to M18 of Jamshidi et al. 2017: Transfer Learning for Performance Modeling of Configurable
Systems: An Exploratory Analysis (ASE), Table II. The modules beside this one define them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tl_adapt.models.kernel import Array
from tl_adapt.models.similarity.estimate import FEWEST, Range, estimate_response, unseen
from tl_adapt.models.similarity.influence import (
    Effect,
    InfluenceCounts,
    count_influences,
    effects,
    importance_correlation,
    importances,
    same_direction,
)
from tl_adapt.models.similarity.interactions import (
    Interactions,
    compare_interactions,
    rows_needed,
)
from tl_adapt.models.similarity.pair import Pair, check_enough
from tl_adapt.models.similarity.response import RESPONSE, is_constant, response_metrics
from tl_adapt.models.similarity.validity import classifier_correlation, common_invalid
from tl_adapt.statistics import wilson

LEVEL = 0.9  # of the intervals
_MANY = 200  # configurations in a complete comparison from which intervals say nothing more
TITLES = {
    'M1': 'Pearson correlation of the responses',
    'M2': 'KL divergence of their distributions [nat]',
    'M3': 'Spearman rank correlation',
    'M4': "share of the source's best 10 % also best in the target",
    'M5': "share of the source's worst 10 % also worst in the target",
    'M6': 'influential options in the source',
    'M7': 'influential options in the target',
    'M8': 'influential in both, same direction',
    'M9': 'influential in both, opposite direction',
    'M10': 'correlation of option importances',
    'M11': 'pairwise interactions in the source',
    'M12': 'pairwise interactions in the target',
    'M13': 'interactions in both, same sign',
    'M14': 'correlation of interaction coefficients',
    'M15': 'share of invalid configurations in the source',
    'M16': 'share of invalid configurations in the target',
    'M17': 'share of invalid configurations common to both',
    'M18': 'correlation of the validity classifiers',
}
COUNTS = ('M6', 'M7', 'M8', 'M9', 'M11', 'M12', 'M13')


@dataclasses.dataclass(frozen=True)
class Metric:
    """
    Hold one metric: its value, and where it is an estimate the interval [low, high].

    All are NaN where there is nothing to say; `why` then says why.
    """

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    why: str = ''

    @property
    def known(self) -> bool:
        """Say whether there is a value or an interval."""
        return math.isfinite(self.value) or math.isfinite(self.low)

    @property
    def least(self) -> float:
        """Return the low end of the interval, the value where it has none."""
        return self.low if math.isfinite(self.low) else self.value

    @property
    def most(self) -> float:
        """Return the high end of the interval, the value where it has none."""
        return self.high if math.isfinite(self.high) else self.value


@dataclasses.dataclass(frozen=True)
class Similarity:
    """
    Hold M1 to M18 and what they come from.

    `source_effects`, `target_effects` (d) are in the order of the pair's names; `notes` say what a
    reader has to know about the data.
    """

    pair: Pair
    metrics: dict[str, Metric]
    source_effects: tuple[Effect, ...]
    target_effects: tuple[Effect, ...]
    importances: tuple[Array, Array]
    interactions: Interactions | None
    notes: tuple[str, ...]

    @property
    def unseen(self) -> float:
        """Return which share of the source's variance lies outside of the compared range."""
        population, sample = self.pair.source.measured[1], self.pair.joint.source
        return unseen(population, sample) if len(population) and len(sample) else 0.0

    @property
    def complete(self) -> bool:
        """Say whether the target was measured about as fully as the source."""
        return self.pair.complete


def compare(
    pair: Pair, *, seed: int = 0, correct: bool = True, rule: str = 'bic',
    on_step: Callable[[str], None] | None = None,
) -> Similarity:
    """
    Compute M1 to M18 of a pair.

    `correct` controls false discoveries among options, `rule` chooses interactions ('bic' or
    'p'). `on_step` is told what is done. Raises InputError for a side without measurements.
    """
    check_enough(pair)
    tell = on_step or (lambda text: None)
    found = _response(pair, seed)
    tell('responses')
    (Xs, ys), (Xt, yt) = pair.used
    source = effects(Xs, ys, pair.categorical, correct=correct)
    target = effects(Xt, yt, pair.categorical, correct=correct)
    weights = tuple(
        importances(X, y, pair.categorical) for X, y in ((Xs, ys), (Xt, yt))
    )
    found |= _influence(pair, source, target, (weights[0], weights[1]))
    tell('options')
    interactions = compare_interactions((Xs, ys), (Xt, yt), pair.categorical, rule=rule)
    found |= _interactions(pair, interactions, rule)
    tell('interactions')
    found |= _validity(pair)
    tell('validity')
    metrics = {name: found[name] for name in TITLES}
    return Similarity(
        pair, metrics, tuple(source), tuple(target), (weights[0], weights[1]), interactions,
        tuple(_notes(pair)),
    )


def _response(pair: Pair, seed: int) -> dict[str, Metric]:
    """Return M1 to M5."""
    joint = pair.joint
    why = _why_no_response(pair)
    if why:
        return {name: Metric(why=why) for name in RESPONSE}
    exact = response_metrics(joint.source, joint.target)
    certain = pair.complete and len(joint.target) >= _MANY
    population = pair.source.measured[1]
    ranges = {} if certain else estimate_response(
        population if len(population) else joint.source, joint.source, joint.target,
        level=LEVEL, seed=seed,
    )
    if pair.maximize:  # the best configurations are then those of the largest values
        exact |= {'M4': exact['M5'], 'M5': exact['M4']}
        swapped = {'M4': 'M5', 'M5': 'M4'}
        ranges = {swapped.get(name, name): one for name, one in ranges.items()}
    found = {}
    for name in RESPONSE:
        one = ranges.get(name, Range(math.nan, math.nan, math.nan))
        value = exact[name] if pair.complete or name in ('M1', 'M3') else one.value
        low, high = min(one.low, value), max(one.high, value)
        why = "the sample has none of the source's" if name in ('M4', 'M5') else 'undefined'
        found[name] = Metric(value, low, high, '' if math.isfinite(value) else why)
    return found


def _why_no_response(pair: Pair) -> str:
    joint = pair.joint
    if joint.why:
        return joint.why
    if len(joint.target) < FEWEST:
        return f'needs {FEWEST} configurations that ran validly in both, has {len(joint.target)}'
    for role, y in (('source', joint.source), ('target', joint.target)):
        if is_constant(y):
            return f"the {role}'s response is the same in all of them"
    return ''


def _influence(
    pair: Pair, source: list[Effect], target: list[Effect], weights: tuple[Array, Array]
) -> dict[str, Metric]:
    """Return M6 to M10."""
    count = count_influences(source, target)
    why = {
        role: _why_no_effects(role, y) for role, (_, y) in zip(('source', 'target'), pair.used)
    }
    found = {
        'M6': Metric(count.source) if not why['source'] else Metric(why=why['source']),
        'M7': Metric(count.target) if not why['target'] else Metric(why=why['target']),
    }
    either = why['source'] or why['target']
    found['M8'] = Metric(count.same) if not either else Metric(why=either)
    found['M9'] = Metric(count.opposite) if not either else Metric(why=either)
    if not pair.complete and not either:
        # A few rows can show that an option matters, hardly that it does not.
        varied = sum(math.isfinite(one.p) for one in source)
        found |= {
            'M7': Metric(math.nan, count.target, max(varied, count.target)),
            **_shared_bounds(count, source, target),
        }
    found['M10'] = _importance(pair, weights)
    return found


def _why_no_effects(role: str, y: Array) -> str:
    if len(y) < FEWEST:
        return f'needs {FEWEST} valid configurations in the {role}, has {len(y)}'
    return f"the {role}'s response is constant" if is_constant(y) else ''


def _shared_bounds(
    count: InfluenceCounts, source: list[Effect], target: list[Effect]
) -> dict[str, Metric]:
    """Return M8 and M9 as what the target's few rows leave possible."""
    opposite = count.opposite
    same = sum(
        a.influential and b.influential and same_direction(a, b) for a, b in zip(source, target)
    )
    return {
        'M8': Metric(math.nan, same, count.source - opposite),
        'M9': Metric(math.nan, opposite, count.source - same),
    }


def _importance(pair: Pair, weights: tuple[Array, Array]) -> Metric:
    rows = [len(y) for _, y in pair.used]
    need = max(30, 3 * len(pair.names))
    if min(rows) < need:
        return Metric(why=f'a regression tree needs about {need} valid rows, has {min(rows)}')
    value = importance_correlation(*weights)
    return Metric(value, why='' if math.isfinite(value) else 'the trees found nothing to compare')


def _interactions(pair: Pair, found: Interactions | None, rule: str) -> dict[str, Metric]:
    """Return M11 to M14."""
    names = ('M11', 'M12', 'M13', 'M14')
    if found is None:
        need = rows_needed(len(pair.names))
        why = (
            f'step-wise regression needs about {need} valid rows in both that are not constant, '
            f'has {" and ".join(str(len(y)) for _, y in pair.used)}'
        )
        return {name: Metric(why=why) for name in names}
    none = 'less than 3 interactions to compare'
    result = {
        'M11': Metric(found.source), 'M12': Metric(found.target), 'M13': Metric(found.same),
        'M14': Metric(found.correlation, why='' if math.isfinite(found.correlation) else none),
    }
    if not pair.complete:
        options = len(pair.names)
        most = max(options * (options - 1) // 2, found.target)
        result['M12'] = Metric(math.nan, found.target, most)
        result['M13'] = Metric(math.nan, found.same, found.source - found.opposite)
        result['M14'] = Metric(
            why='the target has too few rows for coefficients that can be compared'
        )
    return result


def _validity(pair: Pair) -> dict[str, Metric]:
    """Return M15 to M18."""
    source, target = pair.source, pair.target
    certain = pair.complete and len(target.valid) >= _MANY
    found = {'M15': _share(~source.valid, False), 'M16': _share(~target.valid, not certain)}
    good = pair.rows
    if source.valid.all() and target.valid.all():
        why = 'no configuration is invalid'
        return found | {name: Metric(why=why) for name in ('M17', 'M18')}
    if not len(good):
        found['M17'] = Metric(why='no configuration was run in both')
    else:
        both, smaller = common_invalid(source.valid[good[:, 0]], target.valid[good[:, 1]])
        if smaller == 0:
            why = 'one environment has no invalid configuration among those run in both'
            found['M17'] = Metric(why=why)
        elif certain:
            found['M17'] = Metric(both / smaller)
        else:
            found['M17'] = _interval(both, smaller)
    need = 2 * len(pair.names)
    rows = min(len(source.valid), len(target.valid))
    if rows < need:
        found['M18'] = Metric(why=f'a classifier needs about {need} rows, has {rows}')
    else:
        value = classifier_correlation(
            (source.X, source.valid), (target.X, target.valid), pair.categorical
        )
        why = '' if math.isfinite(value) else 'one environment has too few of one kind'
        found['M18'] = Metric(value, why=why)
    return found


def _share(bad: NDArray[np.bool_], estimated: bool) -> Metric:
    return _interval(int(bad.sum()), len(bad)) if estimated else Metric(float(bad.mean()))


def _interval(count: int, total: int) -> Metric:
    one = wilson(count, total, level=LEVEL)
    return Metric(one.estimate, one.low, one.high)


def _notes(pair: Pair) -> list[str]:
    notes = []
    joint = pair.joint
    if joint.predicted:
        notes.append(
            f'{joint.predicted} of {len(joint.target)} target configurations were not measured in '
            f'{pair.source.name}: its values there are predictions of its model, whose '
            f'predictions of the measured ones, each from the others, have rank correlation '
            f'{joint.quality:.2f} with them'
        )
    still = [
        name for j, name in enumerate(pair.names)
        if all(len(np.unique(X[:, j])) < 2 for X, _ in pair.used)
    ]
    if still:
        notes.append(f'never varied among valid configurations: {", ".join(still)}')
    count = int(pair.target.valid.sum())
    if not pair.complete and count:
        verb = ' is' if count == 1 else 's are'
        notes.append(
            f'{count} valid target measurement{verb} a sample: intervals (90 %) say what they '
            'leave open, as if they were drawn at random; a tuner looks where it promises most, '
            'so after tuning the best configurations count too much'
        )
    if pair.complete and len(pair.target.y) < _MANY:
        notes.append(
            'intervals (90 %) are those for all configurations like the ones that were compared'
        )
    return notes
