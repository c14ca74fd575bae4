# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for metrics: pure functions from a trace to one number.

A trace may come from a live graph or from a file; the same metric gives the same number.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tl_adapt.errors import InputError, MeasurementError
from tl_adapt.expressions import Expression, parsed
from tl_adapt.trace import POSITION, PROCESS_PREFIX, Topic, Trace

if TYPE_CHECKING:
    from tl_adapt.study import Metric, Study

Samples = NDArray[np.float64]

_DEFAULT_PERCENTILE = 50.0
# Reductions of arrays (n, k) by row, and what stands for an element that is not finite.
_ARRAYS: dict[str, tuple[Callable[[NDArray[Any]], NDArray[Any]], float]] = {
    'min': (lambda array: array.min(axis=1), np.inf),
    'max': (lambda array: array.max(axis=1), -np.inf),
    'mean': (lambda array: np.nanmean(array.astype(np.float64, copy=False), axis=1), np.nan),
}


class MissingTopicError(MeasurementError):
    """Say that a topic which a metric reads never came."""

    mismatch = True


def evaluate(
    metrics: Study | Iterable[Metric], trace: Trace, *, strict: bool = True
) -> dict[str, float]:
    """
    Compute the metrics of a study, or the given ones, from a trace.

    With `strict` false, as for a failed mission, metrics that can't be computed are left out.
    Raises MeasurementError that names the metric and its topic.
    """
    values, failure = attempt(metrics, trace)
    if strict and failure is not None:
        raise failure
    return values


def attempt(
    metrics: Study | Iterable[Metric], trace: Trace
) -> tuple[dict[str, float], MeasurementError | None]:
    """Return the metrics that can be computed, and why the first other one can't be, if any."""
    values: dict[str, float] = {}
    failure: MeasurementError | None = None
    for metric in _definitions(metrics):
        try:
            values[metric.name] = compute(metric, trace)
        except MeasurementError as error:
            failure = failure or error
    return values, failure


def _definitions(metrics: Any) -> Iterable[Metric]:
    """Return the metrics of a study, of a mapping or of an iterable."""
    definitions = getattr(metrics, 'metrics', metrics)
    return definitions.values() if isinstance(definitions, Mapping) else definitions


def compute(metric: Metric, trace: Trace) -> float:
    """
    Compute one metric: `factor * reduction + offset`.

    Raises MeasurementError if its topic never came or the result is not a finite number.
    """
    reduction = _REDUCTIONS.get(metric.reduction)
    if reduction is None:
        raise _failure(metric, f'has the reduction {metric.reduction}, which no trace gives')
    with np.errstate(all='ignore'):  # what is not finite is told below, in words
        value = reduction(metric, trace) * metric.factor + metric.offset
    if not np.isfinite(value):
        raise _failure(metric, f'gave {value}, which is not a finite number')
    return float(value)


def needed_fields(metrics: Iterable[Metric]) -> dict[str, set[str]]:
    """Return the message fields that the metrics read, by topic; process topics are left out."""
    needed: dict[str, set[str]] = {}
    for metric in metrics:
        if not metric.topic:
            continue
        fields = needed.setdefault(metric.topic, set())
        if metric.reduction in ('path_length', 'pose_error'):
            fields.add(POSITION)
        elif metric.field:
            fields.update(_expression(metric).names)
        if metric.reference:
            fields = needed.setdefault(metric.reference, set())
            if metric.reduction == 'pose_error':
                fields.add(POSITION)
    return needed


def folded_name(metric: Metric) -> str | None:
    """Return the name of what `fold` makes for the metric, None where it makes nothing."""
    if not metric.array or not metric.field or len(_expression(metric).names) != 1:
        return None
    return f'{metric.array}({_expression(metric).text})'


def fold(metric: Metric, fields: Mapping[str, NDArray[Any]]) -> Samples | None:
    """
    Return each message's array reduced to one number (n,), so that the arrays need not be kept.

    The metric takes it from the field `folded_name` then; NaN where there was nothing to reduce.
    None if nothing is an array, or if it can't be done: the metric itself will say why.
    """
    expression = _expression(metric)
    plain = fields.get(expression.text)
    try:
        # Of an array as it is the smallest and the largest element need no double precision.
        values = np.asarray(
            plain if plain is not None and plain.dtype.kind == 'f'
            else expression.evaluate({n: _as_double(fields[n]) for n in expression.names})
        )
    except InputError:
        return None
    if values.dtype.kind not in 'biuf' or values.ndim != 2 or metric.array not in _ARRAYS:
        return None
    if values.dtype.kind != 'f':
        values = values.astype(np.float64)
    return _reduce_arrays(metric, values)[0]


def process_topic(node: str) -> str:
    """Return the name of the topic with the samples of a node's process."""
    return PROCESS_PREFIX + node.strip('/')


def _expression(metric: Metric) -> Expression:
    """Return the metric's field as an expression over dotted paths."""
    field: Any = metric.field
    return field if isinstance(field, Expression) else parsed(str(field))


def _failure(metric: Metric, problem: str) -> MeasurementError:
    """Return the error that names the metric and, if it has one, its topic."""
    topic = f' (topic {metric.topic})' if metric.topic else ''
    return MeasurementError(f'metric {metric.name}{topic} {problem}')


def _topic(metric: Metric, trace: Trace, name: str | None = None) -> Topic:
    """Return the messages of the metric's topic; raises MeasurementError if there are none."""
    wanted = name or metric.topic
    topic = trace.topics.get(str(wanted))
    if topic is None or not len(topic):
        raise MissingTopicError(f'metric {metric.name}: no message on topic {wanted}')
    return topic


def _times(metric: Metric, topic: Topic) -> Samples:
    """Return the time of each message in s."""
    stamps = topic.received_ns if metric.time == 'recorder' else topic.stamp_ns
    return np.asarray(stamps, dtype=np.float64) * 1e-9


def _series(metric: Metric, trace: Trace) -> tuple[Samples, Samples]:
    """Return times and values (n,) of the metric's field, arrays reduced to one number each."""
    topic = _topic(metric, trace)
    folded = topic.fields.get(folded_name(metric) or '')
    if folded is not None:
        return _seen(metric, _times(metric, topic), folded, ~np.isnan(folded))
    expression = _expression(metric)
    missing = expression.names - set(topic.fields)
    if missing:
        raise _failure(metric, f'has no field {", ".join(sorted(missing))}')
    try:
        values = expression.evaluate({n: _as_double(topic.fields[n]) for n in expression.names})
    except InputError as error:
        raise _failure(metric, f'has a field that {error}') from error
    times = _times(metric, topic)
    array = np.asarray(values)
    if array.dtype.kind not in 'biuf':
        raise _failure(metric, 'has a field that is no number')
    array = np.broadcast_to(array.astype(np.float64), (len(times), *array.shape[1:]))
    if array.ndim > 1:
        array, seen = _reduce_arrays(metric, array.reshape(len(times), -1))
        return _seen(metric, times, array, seen)
    if np.isnan(array).any():
        raise _failure(metric, 'has a value that is not a number')
    return times, array


def _seen(
    metric: Metric, times: Samples, values: Samples, seen: NDArray[np.bool_]
) -> tuple[Samples, Samples]:
    """Return times and values of the messages that had anything to reduce."""
    if not seen.any():
        raise _failure(metric, 'has no finite element in any message')
    return times[seen], values[seen]


def _as_double(values: NDArray[Any]) -> NDArray[Any]:
    """Return numbers in double precision, anything else as it is."""
    return values.astype(np.float64, copy=False) if values.dtype.kind in 'iuf' else values


def _reduce_arrays(
    metric: Metric, array: NDArray[Any]
) -> tuple[Samples, NDArray[np.bool_]]:
    """
    Reduce floats (n, k) to (n,), and say which messages had anything to reduce.

    Elements that are not finite are skipped: a lidar reports a beam without hit in that way.
    """
    if metric.array not in _ARRAYS:
        raise _failure(metric, 'is an array: its definition needs array: min, max or mean')
    reduction, instead = _ARRAYS[metric.array]
    if not array.shape[1]:
        return np.full(len(array), np.nan), np.zeros(len(array), dtype=bool)
    finite = np.isfinite(array)
    if finite.all():
        return reduction(array).astype(np.float64), np.ones(len(array), dtype=bool)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', RuntimeWarning)  # messages without a finite element
        reduced = reduction(np.where(finite, array, array.dtype.type(instead)))
    seen = np.asarray(finite.any(axis=1))
    return np.where(seen, reduced, np.nan).astype(np.float64), seen


def _values(metric: Metric, trace: Trace) -> Samples:
    """Return the values of the metric's field without their times."""
    return _series(metric, trace)[1]


def _percentile(metric: Metric, values: Samples) -> float:
    """Return the percentile that the metric asks for, else the median."""
    wanted = _DEFAULT_PERCENTILE if metric.percentile is None else metric.percentile
    return float(np.percentile(values, wanted))


def _integral(metric: Metric, trace: Trace) -> float:
    """Return the integral over time by the trapezoid rule, in the field's unit times s."""
    times, values = _series(metric, trace)
    if len(times) < 2:
        raise _failure(metric, 'has fewer than two messages to integrate')
    return float(np.sum(np.diff(times) * (values[1:] + values[:-1]) / 2.0))


def _count(metric: Metric, trace: Trace) -> float:
    """Return the number of messages; with a field, of those whose value is not zero."""
    if metric.field:
        return float(np.count_nonzero(_values(metric, trace)))
    topic = trace.topics.get(str(metric.topic))
    if topic is None:
        raise MeasurementError(f'metric {metric.name}: topic {metric.topic} was not recorded')
    return float(len(topic))


def _rate(metric: Metric, trace: Trace) -> float:
    """Return the number of messages per second between the first and the last of them."""
    times = _times(metric, _topic(metric, trace))
    if len(times) < 2 or times[-1] <= times[0]:
        raise _failure(metric, 'has fewer than two messages at different times')
    return float((len(times) - 1) / (times[-1] - times[0]))


def _positions(metric: Metric, trace: Trace, name: str) -> tuple[Samples, Samples]:
    """Return times (n,) and positions (n, 2) of a topic."""
    topic = _topic(metric, trace, name)
    if POSITION not in topic.fields:
        raise MeasurementError(f'metric {metric.name}: topic {name} holds no position')
    position = np.asarray(topic.fields[POSITION], dtype=np.float64)
    if not np.isfinite(position).all():
        raise MeasurementError(
            f'metric {metric.name}: topic {name} has a position that is not a number'
        )
    return _times(metric, topic), position


def _path_length(metric: Metric, trace: Trace) -> float:
    """Return the sum of the distances from position to position in m."""
    _, position = _positions(metric, trace, str(metric.topic))
    return float(np.hypot(*np.diff(position, axis=0).T).sum())


def _pose_error(metric: Metric, trace: Trace) -> float:
    """
    Return the distance between the topic's positions and the reference's in m.

    The reference is interpolated at the topic's stamps. Over time it's the percentile if the
    metric has one, else the root mean square.
    """
    times, position = _positions(metric, trace, str(metric.topic))
    reference_times, reference = _positions(metric, trace, str(metric.reference))
    inside = (times >= reference_times[0]) & (times <= reference_times[-1])
    if not inside.any():
        raise _failure(metric, f'never overlaps its reference {metric.reference} in time')
    error = np.hypot(
        *(
            position[inside, axis] - np.interp(times[inside], reference_times, reference[:, axis])
            for axis in (0, 1)
        )
    )
    if metric.percentile is not None:
        return float(np.percentile(error, metric.percentile))
    return float(np.sqrt(np.mean(error**2)))


def _latency(metric: Metric, trace: Trace) -> float:
    """
    Return how long after the reference's message the topic's message of the same stamp came, in s.

    Both by their reception, on the trace's clock: in a simulation that waits for the software that
    is what its clock says. Over the messages it's the percentile, else the median.
    """
    topic = _topic(metric, trace)
    reference = _topic(metric, trace, metric.reference)
    # Of several messages with one stamp the first counts.
    asked, first = np.unique(reference.stamp_ns, return_index=True)
    answered, where = np.unique(topic.stamp_ns, return_index=True)
    common, ours, theirs = np.intersect1d(answered, asked, return_indices=True)
    if not len(common):
        raise _failure(metric, f'never has the stamp of a message of {metric.reference}')
    delays = topic.received_ns[where[ours]] - reference.received_ns[first[theirs]]
    return _percentile(metric, np.asarray(delays, dtype=np.float64) * 1e-9)


def _time_to_goal(metric: Metric, trace: Trace) -> float:
    """Return the mission's length in s of sim time."""
    if trace.meta.get('outcome') != 'succeeded':
        raise MeasurementError(f'metric {metric.name}: the goal was not reached')
    return trace.duration


def _success(metric: Metric, trace: Trace) -> float:
    """Return 1 if the goal was reached, else 0."""
    return float(trace.meta.get('outcome') == 'succeeded')


def _processes(metric: Metric, trace: Trace) -> list[Topic]:
    """Return the samples of the nodes' processes, each process once."""
    found: dict[tuple[int, ...], Topic] = {}
    for node in metric.nodes:
        name = process_topic(node)
        topic = trace.topics.get(name)
        if topic is None or not len(topic):
            raise MeasurementError(f'metric {metric.name}: no process of node {node} was sampled')
        # Nodes that share a process share its samples, too.
        pids = trace.meta.get('pids', {}).get(name) or [hash(name)]
        found[tuple(pids)] = topic
    return list(found.values())


def _cpu(metric: Metric, trace: Trace) -> float:
    """Return the CPU seconds of the nodes' processes per second of sim time."""
    total = 0.0
    for topic in _processes(metric, trace):
        seconds = float(topic.stamp_ns[-1] - topic.stamp_ns[0]) * 1e-9
        if seconds <= 0.0:
            raise _failure(metric, 'was sampled at one time only')
        used = topic.fields['cpu_time']
        total += float(used[-1] - used[0]) / seconds
    return total


def _memory(metric: Metric, trace: Trace) -> float:
    """Return the largest resident memory of each of the nodes' processes, summed, in bytes."""
    return sum(float(topic.fields['rss'].max()) for topic in _processes(metric, trace))


_REDUCTIONS: dict[str, Callable[[Any, Trace], float]] = {
    'mean': lambda metric, trace: float(np.mean(_values(metric, trace))),
    'max': lambda metric, trace: float(np.max(_values(metric, trace))),
    'min': lambda metric, trace: float(np.min(_values(metric, trace))),
    'rms': lambda metric, trace: float(np.sqrt(np.mean(_values(metric, trace) ** 2))),
    'last': lambda metric, trace: float(_values(metric, trace)[-1]),
    'percentile': lambda metric, trace: _percentile(metric, _values(metric, trace)),
    'integral': _integral,
    'count': _count,
    'rate': _rate,
    'path_length': _path_length,
    'time_to_goal': _time_to_goal,
    'success': _success,
    'pose_error': _pose_error,
    'latency': _latency,
    'cpu': _cpu,
    'memory': _memory,
}
