# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for tl_adapt.metrics."""

import warnings

import numpy as np
import pytest

from tl_adapt.errors import MeasurementError
from tl_adapt.metrics import compute, evaluate, fold, folded_name, needed_fields
from tl_adapt.study import Metric
from tl_adapt.trace import POSITION, Topic, Trace, make_topic

SECOND = 1_000_000_000


def metric(reduction, **parts):
    return Metric(name='m', reduction=reduction, **parts)


@pytest.fixture
def trace():
    seconds = [0, 1, 2, 4]
    stamps = [s * SECOND for s in seconds]
    late = [stamp + SECOND // 2 for stamp in stamps]
    late[-1] = stamps[-1] + SECOND
    return Trace(
        {
            'battery': make_topic(
                stamps, late, {'voltage': [12.0] * 4, 'current': [-1.0, -2.0, -2.0, -4.0]}
            ),
            'scan': make_topic(
                stamps,
                late,
                {'ranges': [[1.0, np.inf], [0.5, 2.0], [np.nan, 3.0], [np.inf, np.inf]]},
            ),
            'truth': make_topic(
                stamps, late, {POSITION: [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (4.0, 5.0)]}
            ),
            'pose': make_topic(
                [SECOND // 2, SECOND, 3 * SECOND, 9 * SECOND],
                [0, 0, 0, 0],
                {POSITION: [(0.5, 0.3), (1.4, 0.0), (2.5, 3.0), (99.0, 0.0)]},
            ),
            'flag': make_topic(stamps, late, {'data': [False, True, True, False]}),
            'text': make_topic(stamps, late, {'data': ['a', 'b', 'c', 'd']}),
            'process/driver': make_topic(
                [0, 2 * SECOND, 5 * SECOND],
                [0, 0, 0],
                {'cpu_time': [1.0, 1.5, 2.0], 'rss': [10, 30, 20]},
            ),
            'process/pilot': make_topic(
                [0, 5 * SECOND], [0, 0], {'cpu_time': [0.0, 2.0], 'rss': [1, 2]}
            ),
        },
        {
            'outcome': 'succeeded',
            'start_ns': 0,
            'end_ns': 4 * SECOND,
            'pids': {'process/driver': [11], 'process/pilot': [12]},
        },
    )


@pytest.mark.parametrize(
    ('reduction', 'parts', 'expected'),
    [
        ('mean', {'topic': 'battery', 'field': 'current'}, -2.25),
        ('max', {'topic': 'battery', 'field': 'current'}, -1.0),
        ('min', {'topic': 'battery', 'field': 'current'}, -4.0),
        ('rms', {'topic': 'battery', 'field': 'current'}, 2.5),
        ('last', {'topic': 'battery', 'field': 'current'}, -4.0),
        ('percentile', {'topic': 'battery', 'field': 'current', 'percentile': 75}, -1.75),
        # trapezoids 1.5 + 2 + 6 A s at 12 V
        ('integral', {'topic': 'battery', 'field': '-voltage * current'}, 114.0),
        # the same samples at the recorder's times: the last interval has 2.5 s
        (
            'integral',
            {'topic': 'battery', 'field': '-voltage * current', 'time': 'recorder'},
            12 * (1.5 + 2 + 7.5),
        ),
        ('count', {'topic': 'battery'}, 4.0),
        ('count', {'topic': 'flag', 'field': 'data'}, 2.0),
        ('rate', {'topic': 'battery'}, 0.75),
        ('path_length', {'topic': 'truth'}, 7.0),
        ('time_to_goal', {}, 4.0),
        ('success', {}, 1.0),
        ('min', {'topic': 'scan', 'field': 'ranges', 'array': 'min', 'offset': -0.1}, 0.4),
        ('max', {'topic': 'scan', 'field': 'ranges', 'array': 'max', 'factor': 100}, 300.0),
        ('mean', {'topic': 'scan', 'field': 'ranges', 'array': 'mean'}, (1 + 1.25 + 3) / 3),
        # errors 0.3, 0.4 and, against the interpolated (2.5, 3), 0; the fourth has no reference
        ('pose_error', {'topic': 'pose', 'reference': 'truth'}, np.sqrt(0.25 / 3)),
        ('pose_error', {'topic': 'pose', 'reference': 'truth', 'percentile': 100}, 0.4),
        ('cpu', {'nodes': ('driver',)}, 0.2),
        ('cpu', {'nodes': ('/driver', 'pilot')}, 0.6),
        ('memory', {'nodes': ('driver', 'pilot')}, 32.0),
    ],
)
def test_reductions(trace, reduction, parts, expected):
    assert compute(metric(reduction, **parts), trace) == pytest.approx(expected)


def test_nodes_of_one_process_count_once(trace):
    trace.meta['pids'] = {'process/driver': [11], 'process/pilot': [11]}
    trace.topics['process/pilot'] = trace.topics['process/driver']
    assert compute(metric('cpu', nodes=('driver', 'pilot')), trace) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ('reduction', 'parts', 'message'),
    [
        ('mean', {'topic': 'ghost', 'field': 'x'}, 'm: no message on topic ghost'),
        ('mean', {'topic': 'battery', 'field': 'power'}, 'battery.* has no field power'),
        ('mean', {'topic': 'scan', 'field': 'ranges'}, 'needs array: min, max or mean'),
        ('mean', {'topic': 'text', 'field': 'data'}, 'no number'),
        ('mean', {'topic': 'text', 'field': '-data'}, 'arithmetic needs numbers'),
        ('rate', {'topic': 'ghost'}, 'no message on topic ghost'),
        ('path_length', {'topic': 'scan'}, 'topic scan holds no position'),
        ('pose_error', {'topic': 'pose', 'reference': 'ghost'}, 'no message on topic ghost'),
        ('cpu', {'nodes': ('stranger',)}, 'no process of node stranger'),
        ('given', {}, 'which no trace gives'),
    ],
)
def test_what_can_not_be_computed_names_metric_and_topic(trace, reduction, parts, message):
    with pytest.raises(MeasurementError, match=message):
        compute(metric(reduction, **parts), trace)


def test_not_a_number_is_refused(trace):
    trace.topics['battery'].fields['current'][2] = np.nan
    with pytest.raises(MeasurementError, match=r'metric m \(topic battery\).* not a number'):
        compute(metric('last', topic='battery', field='current'), trace)
    trace.topics['battery'].fields['current'][2] = np.inf
    with pytest.raises(MeasurementError, match='inf, which is not a finite number'):
        compute(metric('max', topic='battery', field='current'), trace)
    trace.topics['battery'].fields['current'][1] = -np.inf
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        with pytest.raises(MeasurementError, match='nan, which is not a finite number'):
            compute(metric('mean', topic='battery', field='current'), trace)
    trace.topics['pose'].fields[POSITION][0] = np.nan
    with pytest.raises(MeasurementError, match='topic pose has a position that is not a number'):
        compute(metric('pose_error', topic='pose', reference='truth'), trace)


def test_failed_mission_keeps_what_can_be_computed(trace):
    trace.meta['outcome'] = 'collision'
    metrics = [
        Metric('time', 'time_to_goal'),
        Metric('success', 'success'),
        Metric('length', 'path_length', topic='truth'),
    ]
    with pytest.raises(MeasurementError, match='metric time: the goal was not reached'):
        evaluate(metrics, trace)
    assert evaluate(metrics, trace, strict=False) == {'success': 0.0, 'length': 7.0}


def test_a_saved_trace_gives_the_same_numbers(trace, tmp_path):
    metrics = [
        Metric('energy', 'integral', topic='battery', field='-voltage * current'),
        Metric('error', 'pose_error', topic='pose', reference='truth'),
        Metric('cpu', 'cpu', nodes=('driver',)),
    ]
    trace.save(tmp_path / 't.npz')
    assert evaluate(metrics, Trace.load(tmp_path / 't.npz')) == evaluate(metrics, trace)


def test_needed_fields():
    metrics = [
        Metric('energy', 'integral', topic='battery', field='-voltage * current'),
        Metric('error', 'pose_error', topic='pose', reference='truth'),
        Metric('length', 'path_length', topic='truth'),
        Metric('rate', 'rate', topic='scan'),
        Metric('cpu', 'cpu', nodes=('driver',)),
    ]
    assert needed_fields(metrics) == {
        'battery': {'voltage', 'current'},
        'pose': {POSITION},
        'truth': {POSITION},
        'scan': set(),
    }


def test_latency_is_the_time_from_a_message_to_the_answer_with_its_stamp():
    stamps = [SECOND, 2 * SECOND, 3 * SECOND, 4 * SECOND]
    asked = make_topic(stamps, [stamp + 1_000_000 for stamp in stamps], {})
    # The second is not answered, the third twice; the first answer counts.
    answered = [SECOND, 3 * SECOND, 3 * SECOND, 4 * SECOND, 9 * SECOND]
    late = [0.011, 0.031, 0.9, 0.021, 0.0]
    received = [stamp + round(delay * SECOND) for stamp, delay in zip(answered, late)]
    trace = Trace({'scan': asked, 'pose': make_topic(answered, received, {})})

    def latency(**parts):
        return compute(metric('latency', topic='pose', reference='scan', **parts), trace)

    assert latency() == pytest.approx(0.02)
    assert latency(percentile=100) == pytest.approx(0.03)
    assert needed_fields([metric('latency', topic='pose', reference='scan')]) == {
        'pose': set(), 'scan': set(),
    }
    trace.topics['pose'] = make_topic([5], [6], {})
    with pytest.raises(MeasurementError, match='never has the stamp of a message of scan'):
        latency()


@pytest.mark.parametrize('array', ['min', 'max', 'mean'])
@pytest.mark.parametrize('field', ['ranges', 'ranges * 2.0', '-ranges'])
@pytest.mark.parametrize('hole', [None, np.inf, np.nan, -np.inf])
def test_a_folded_array_gives_the_number_of_the_whole(array, field, hole):
    ranges = np.random.default_rng(3).uniform(0.1, 9.0, (50, 40)).astype(np.float32)
    if hole is not None:
        ranges[::3, ::2] = hole
        ranges[7] = hole
    scanned = metric('mean', topic='scan', field=field, array=array)
    stamps = np.arange(50)
    whole = Trace({'scan': Topic(stamps, stamps, {'ranges': ranges})})
    folded = fold(scanned, {'ranges': ranges})
    assert folded.dtype == np.float64
    short = Trace({'scan': Topic(stamps, stamps, {folded_name(scanned): folded})})
    assert compute(scanned, short) == compute(scanned, whole)
    factor = {'ranges': 1.0, 'ranges * 2.0': 2.0, '-ranges': -1.0}[field]
    rows = ranges.astype(np.float64) * factor
    rows = [row[np.isfinite(row)] for row in rows]
    wanted = np.mean([getattr(np, array)(row) for row in rows if len(row)])
    assert compute(scanned, whole) == pytest.approx(wanted, rel=1e-12)
