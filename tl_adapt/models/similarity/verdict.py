# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for what the similarity of two environments means: is it worth transferring, and how.

The ways and the metrics that speak for them are the conclusions of Jamshidi et al. 2017 (ASE). Two
things are added: a way whose metrics are estimates is named as sure only if the whole interval
speaks for it, and what a transfer model really saved in this pair has the last word on whether it
is worth it. A high M1 alone is no proof: a few extreme configurations can make it.
"""

from __future__ import annotations

import dataclasses
import math

from tl_adapt.models.similarity.comparison import COUNTS, Metric, Similarity
from tl_adapt.models.similarity.learning import POOR, Plan, Point, plan, saved
from tl_adapt.models.similarity.response import is_constant

WAYS = {
    'linear shift': 'scale and shift the source, a straight line',
    'non-linear transfer': 'learn a non-linear relation, as the transfer model does',
    'same terms': (
        "keep the source's influential options and interactions, fit their coefficients anew, and "
        'vary those options in the target first'
    ),
    'validity only': 'transfer which configurations fail, learn the metric in the target alone',
    'none': 'learn the target alone',
}
_LINEAR = 0.9  # M1 from which a straight line is enough (the paper's)
_NEAR = 3.0  # M2 below which distributions are similar (the paper's)
_RANKS = 0.7  # M3 that a straight line needs besides, or M1 comes from a few extremes
_SOME = 0.3  # M3 below which no relation of the responses is left to learn
_ALIKE = 0.8  # correlation from which importances, coefficients or classifiers are alike
_MOST = 0.5  # share from which most options, or interactions, are common to both
_CONSTANT = 5  # equal values from which a response counts as constant
_WORTH = 0.05  # share of the error that the transfer has to save
_UNSEEN = 0.8  # share of the source's variance outside of the measured range to warn of

Answer = float  # 1: yes, 0: no, between: the interval leaves it open


@dataclasses.dataclass(frozen=True)
class Verdict:
    """
    Hold the answer.

    `worth` is 'yes', 'probably', 'unclear' or 'no'; `way` a key of WAYS, `sure` whether the whole
    intervals speak for it. `plan` is None where nothing can be said. `text` has it all in plain
    sentences.
    """

    worth: str
    way: str
    sure: bool
    plan: Plan | None
    text: tuple[str, ...]


def judge(found: Similarity, curve: tuple[Point, ...] = ()) -> Verdict:
    """Return the verdict of the metrics and, where there is one, the learning curve."""
    nothing = _nothing(found)
    if nothing:
        return Verdict('no', 'none', True, None, (f'Worth transferring: no. {nothing}',))
    metrics = found.metrics
    answers = {
        'linear shift': _linear(metrics),
        'non-linear transfer': _non_linear(metrics),
        'same terms': _same_terms(metrics),
        'validity only': _validity(metrics),
    }
    way = next((name for name, answer in answers.items() if answer == 1.0), '')
    sure = bool(way)
    if not sure:
        way = max(answers, key=lambda name: answers[name])
        if answers[way] == 0.0:
            way, sure = 'none', True
    gain = saved(curve)
    worth = _worth(way, sure, gain)
    planned = plan(curve, 0 if found.complete else int(found.pair.target.valid.sum()))
    text = (
        _worth_text(worth, gain, curve),
        _way_text(way, sure and worth != 'no', metrics, worth),
        *_cautions(found),
        *_plan_text(planned, found),
    )
    return Verdict(worth, way, sure, planned, text)


def _nothing(found: Similarity) -> str:
    """Return why there is nothing to transfer or to predict, '' if there is something."""
    for role, side in (('source', found.pair.source), ('target', found.pair.target)):
        y = side.measured[1]
        if not len(y):
            return f'None of {len(side.y)} configurations ran validly in the {role}.'
        if len(y) >= _CONSTANT and is_constant(y):
            return (
                f'The {role} had the same value in all {len(y)} valid configurations: there is '
                'nothing to learn from.'
            )
    return ''


def _above(metric: Metric, bound: float) -> Answer:
    """Say whether a metric is at least `bound`: 1, 0, or which share of its interval is."""
    if not metric.known:
        return 0.25  # nothing is known: not ruled out, but worth less than any evidence
    if metric.least >= bound:
        return 1.0
    if metric.most < bound:
        return 0.0
    return 0.99 * (metric.most - bound) / max(metric.most - metric.least, 1e-12)


def _negative(metric: Metric) -> Metric:
    return Metric(-metric.value, -metric.high, -metric.low, metric.why)


def _size(metric: Metric) -> Metric:
    """Return the metric's absolute value: a falling line is a straight line, too."""
    if not metric.known or metric.least >= 0.0:
        return metric
    if metric.most <= 0.0:
        return _negative(metric)
    return Metric(abs(metric.value), 0.0, max(-metric.least, metric.most))


def _linear(metrics: dict[str, Metric]) -> Answer:
    m1, m3 = metrics['M1'], metrics['M3']
    falling = m1.known and m1.value < 0.0  # both have to fall then
    ranks = _negative(m3) if falling else m3
    return min(_above(_negative(m1) if falling else m1, _LINEAR), _above(ranks, _RANKS))


def _non_linear(metrics: dict[str, Metric]) -> Answer:
    m2 = metrics['M2']
    near = _above(_negative(m2), -_NEAR)
    return min(
        max(near, _above(metrics['M10'], _ALIKE)), _above(_size(metrics['M3']), _SOME)
    )


def _same_terms(metrics: dict[str, Metric]) -> Answer:
    options = _above(_of(metrics['M8'], metrics['M6'], metrics['M7']), _MOST)
    pairs = min(
        _above(_of(metrics['M13'], metrics['M11'], metrics['M12']), _MOST),
        _above(metrics['M14'], _ALIKE),
    )
    return max(options, pairs)


def _of(common: Metric, source: Metric, target: Metric) -> Metric:
    """Return which share of the larger set is common to both."""
    if not (common.known and source.known and target.known):
        return Metric()
    if source.most < 1.0 or target.most < 1.0:
        return Metric(0.0)  # where nothing matters, nothing is common
    least = common.least / max(source.most, target.most)
    most = common.most / max(source.least, target.least, 1.0)
    if math.isfinite(common.value):
        return Metric(least, least, most)
    return Metric(0.5 * (least + most), least, most)


def _validity(metrics: dict[str, Metric]) -> Answer:
    if not metrics['M17'].known:
        return 0.0
    return min(_above(metrics['M17'], _ALIKE), _above(metrics['M18'], _ALIKE))


def _worth(way: str, sure: bool, gain: float) -> str:
    """Return whether to transfer: what it saved decides, then what the metrics promise."""
    promising = way in ('linear shift', 'non-linear transfer', 'same terms')
    if not math.isfinite(gain):
        return ('probably' if sure else 'unclear') if promising else 'unclear'
    if gain >= _WORTH:
        return 'yes' if promising and sure else 'probably'
    if gain <= -_WORTH or not promising:
        return 'no'
    return 'unclear'


def _worth_text(worth: str, gain: float, curve: tuple[Point, ...]) -> str:
    head = f'Worth transferring: {worth}.'
    if not math.isfinite(gain):
        return f'{head} There are too few measurements to test a transfer on them.'
    sizes = [point.size for point in curve if point.measured]
    few = [size for size in sizes if size <= max(20, sizes[0])]
    span = f'{few[0]}' if len(few) == 1 else f'{few[0]} to {few[-1]}'
    change = f'{abs(gain):.0%} {"less" if gain >= 0 else "more"}'
    return (
        f'{head} With {span} target measurements the transfer model had {change} error than a '
        "model of the target alone, or the target's mean where that is better."
    )


def _way_text(way: str, sure: bool, metrics: dict[str, Metric], worth: str) -> str:
    names = {
        'linear shift': ('M1', 'M3'), 'non-linear transfer': ('M2', 'M3', 'M10'),
        'same terms': ('M6', 'M7', 'M8', 'M11', 'M12', 'M13'), 'validity only': ('M17', 'M18'),
        'none': ('M1', 'M3', 'M8', 'M13'),
    }[way]
    shown = ', '.join(f'{name} {show(name, metrics[name])}' for name in names)
    if way == 'none':
        return f'By which way: none, nothing is alike ({WAYS[way]}): {shown}.'
    head = 'By which way is open; the best guess'
    if worth == 'no':
        head = 'If at all, by which way'
    elif sure:
        head = 'By which way'
    return f'{head}: {way} ({WAYS[way]}): {shown}.'


def show(name: str, metric: Metric) -> str:
    """Return a metric as people read it: its value, and the interval where it has one."""
    form = '{:.0f}' if name in COUNTS else '{:.2f}'
    if not metric.known:
        return '-'
    value = form.format(metric.value) if math.isfinite(metric.value) else ''
    if not math.isfinite(metric.low):
        return value
    ends = f'{form.format(metric.low)} .. {form.format(metric.high)}'
    return f'{value} [{ends}]' if value else f'[{ends}]'


def _cautions(found: Similarity) -> list[str]:
    """Return what speaks against reading the metrics at their face value."""
    metrics, joint = found.metrics, found.pair.joint
    lines = []
    m1, m3 = metrics['M1'], metrics['M3']
    if m1.known and m3.known and m1.value >= _LINEAR and m3.most < _RANKS:
        lines.append(
            'The high correlation M1 comes from a few extreme configurations; among the others '
            f'the order differs (M3 {m3.value:.2f}), so a straight line would mislead there.'
        )
    if m1.known and m1.most < 0.0:
        lines.append('The relation is a falling one: what is good in the source is bad here.')
    if joint.predicted and not joint.quality > 0.5:
        lines.append(
            "The source's model predicts even the source badly "
            f'(rank correlation {joint.quality:.2f}), so what compares its predictions with the '
            'target understates how alike the environments are.'
        )
    if found.unseen > _UNSEEN:
        lines.append(
            f"{found.unseen:.0%} of the source's variance lies in configurations outside of the "
            'range that was measured in the target: M1 and M2 depend on those. Measure some.'
        )
    m17, m18 = metrics['M17'], metrics['M18']
    if m17.known and metrics['M15'].value > 0.0:
        alike = _validity(metrics)
        words = {
            1.0: ('the same in both', "the source's can be avoided from the start"),
            0.0: ('not the same in both', "the source's are a hint only"),
        }.get(alike, ('perhaps the same in both', "avoid the source's until more is known"))
        lines.append(
            f'Invalid configurations: {words[0]} (M17 {show("M17", m17)}, '
            f'M18 {show("M18", m18)}); {words[1]}.'
        )
    return lines


def _plan_text(planned: Plan | None, found: Similarity) -> list[str]:
    if planned is None:
        return [
            'Plan: 5 valid target measurements first, spread at random; then ask again.'
        ]
    present = int(found.pair.target.valid.sum())
    error = f'the error is then about {planned.error:.2f} of the spread of the target'
    if found.complete:
        line = f'Plan: {planned.size} target measurements; {error}, {planned.why}.'
    elif planned.size <= present:
        line = f'Plan: no more than the {present} there are; {error}, {planned.why}.'
    else:
        line = (
            f'Plan: {planned.size - present} more than the {present} valid target measurements '
            f'there are; {error}, {planned.why}.'
        )
    lines = [line]
    if planned.error > POOR:
        lines.append(
            'Even then a model says little: noise, or influences that need many more measurements.'
        )
    return lines
