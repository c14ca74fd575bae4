# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the rules of environments that replay a bag, as far as the study alone tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tl_adapt import study_parts as parts
from tl_adapt.closed_loop import commands, refusal
from tl_adapt.errors import InputError
from tl_adapt.space import Space
from tl_adapt.study_rules import resolved
from tl_adapt.study_software import check_software

#: Topics that carry what many nodes say, so that one may be input and output.
SHARED = ('/tf', '/tf_static')
_CLOCK = '/clock'
_OF_PROCESS = ('cpu', 'memory')
_OF_MISSION = ('time_to_goal', 'success')


def check_replay(
    key: str,
    entry: Mapping[str, Any],
    data: Mapping[str, Any],
    space: Space,
    metrics: Mapping[str, parts.Metric],
) -> None:
    """Check the environment at `key`; raises InputError, also for software in a closed loop."""
    check_software(key, entry, space, metrics)
    namespace = entry.get('namespace', '')
    nodes = {resolved(n, namespace) for process in entry['bringup'] for n in process['nodes']}
    inputs = {resolved(topic, namespace) for topic in entry['inputs']}
    outputs = {resolved(topic, namespace) for topic in entry['outputs']}
    stacks = [n for n, other in data['environments'].items() if other['kind'] == 'stack']
    if entry.get('recorded_in', '') not in ('', *stacks):
        rule = f'must be an environment of kind stack: {", ".join(stacks) or "there is none"}'
        raise InputError(rule, key=f'{key}.recorded_in', value=entry['recorded_in'])
    if _CLOCK in inputs:
        rule = 'comes by itself, see use_sim_time'
        raise InputError(rule, key=f'{key}.inputs', value=_CLOCK)
    _check_loop(key, entry, data, namespace, inputs)
    answer = entry.get('answer', {})
    for part, known in (('input', inputs), ('output', outputs)):
        if part in answer and resolved(answer[part], namespace) not in known:
            rule = f'must be one of {key}.{part}s: {", ".join(entry[f"{part}s"])}'
            raise InputError(rule, key=f'{key}.answer.{part}', value=answer[part])
    if 'drop_transforms' in entry and not inputs & set(SHARED):
        raise InputError('needs /tf or /tf_static among the inputs', key=f'{key}.drop_transforms',
                         value=entry['drop_transforms'])
    _check_targets(key, space, nodes, namespace)
    for metric in metrics.values():
        _check_metric(key, metric, nodes, outputs, namespace)


def replayed_parameters(space: Space, nodes: set[str], namespace: str) -> set[str]:
    """Return the parameters that are set on these nodes."""
    return {
        parameter.name for parameter in space.parameters
        if any(resolved(target.node, namespace) in nodes for target in parameter.targets)
    }


def _check_loop(
    key: str, entry: Mapping[str, Any], data: Mapping[str, Any], namespace: str, inputs: set[str]
) -> None:
    open_loop = {resolved(topic, namespace) for topic in entry.get('open_loop', ())}
    mission = data.get('mission', {})
    goal = resolved(mission.get('goal_topic', parts.Mission.goal_topic), namespace)
    listed = ', '.join(entry['bringup'][0]['nodes'] if len(entry['bringup']) == 1 else ())
    node = listed or 'the software'
    for number, topic in enumerate(entry['outputs']):
        full = resolved(topic, namespace)
        why = '' if full in open_loop else commands(full, ())
        if full == goal:
            why = f'topic {topic} is where missions send their goals'
        if full in inputs and full not in SHARED:
            why = f'topic {topic} is among its inputs, too'
        if why:
            raise InputError(refusal(node, why), key=f'{key}.outputs[{number}]', value=topic)


def _check_targets(key: str, space: Space, nodes: set[str], namespace: str) -> None:
    """Require that something varies, and nothing of which only a part is replayed."""
    if not replayed_parameters(space, nodes, namespace):
        targets = {target.node for p in space.parameters for target in p.targets}
        rule = (
            'must bring up a node that has parameters of the study '
            f'({", ".join(sorted(targets))}): all others keep what they had when it was recorded'
        )
        raise InputError(rule, key=f'{key}.bringup', value=sorted(nodes))
    for parameter in space.parameters:
        away = [t.node for t in parameter.targets if resolved(t.node, namespace) not in nodes]
        if away and len(away) < len(parameter.targets):
            rule = f'{key} replays only a part of the nodes that have it; not {", ".join(away)}'
            raise InputError(rule, key=f'parameters.{parameter.name}.targets')


def _check_metric(
    key: str, metric: parts.Metric, nodes: set[str], outputs: set[str], namespace: str
) -> None:
    """Refuse a metric that would be the same whatever the replayed software does."""
    where = f'metrics.{metric.name}'
    if metric.reduction in _OF_MISSION:
        rule = (
            f'says how the recorded mission went, which {key} can not change: leave it out of a '
            'study that replays'
        )
        raise InputError(rule, key=f'{where}.reduction', value=metric.reduction)
    if metric.reduction in _OF_PROCESS:
        away = [node for node in metric.nodes if resolved(node, namespace) not in nodes]
        if away:
            raise InputError(f'is not replayed by {key}', key=f'{where}.nodes', value=away[0])
        return
    read = [topic for topic in (metric.topic, metric.reference) if topic]
    if not any(resolved(topic, namespace) in outputs for topic in read):
        rule = (
            f'is recorded, so no configuration changes it: a metric in {key} must read one of '
            f'{key}.outputs'
        )
        raise InputError(rule, key=f'{where}.topic', value=metric.topic)
