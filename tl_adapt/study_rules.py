# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the rules of a study that its schema can't say."""

from __future__ import annotations

import contextlib
import keyword
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tl_adapt import study_parts as parts
from tl_adapt.adaptation.context_source import context_sources
from tl_adapt.errors import InputError
from tl_adapt.expressions import RESERVED, Expression
from tl_adapt.polygons import polygon_fault
from tl_adapt.space import Parameter, RosTarget, Space

_LIMIT = re.compile(r'\s*([A-Za-z][A-Za-z0-9_]*)\s*(>=|<=)\s*(\S+)\s*')
_PLAIN = re.compile(r'[A-Za-z][A-Za-z0-9_]*')
PARAMETERS_FILE = '{parameters}'
_ADAPTATION = {
    'window': 'mission',
    'false_alarms': 0.002,
    'band': 3.0,
    'confirm': 2,
    'explore': 4,
    'minimum_gain': 0.02,
    'dwell': 1,
}


@contextlib.contextmanager
def _at(key: str) -> Iterator[None]:
    """Put `key` before the key of an InputError."""
    try:
        yield
    except InputError as error:
        raise error.at(key=key) from None


def resolved(name: str, namespace: str = '') -> str:
    """Return the full name of a node or topic; relative names live in the namespace."""
    return name if name.startswith('/') else f'{namespace.rstrip("/")}/{name}'


def build_space(data: Mapping[str, Any]) -> Space:
    """
    Return the space of a study's content.

    The parameters come in the order of their names, so that the columns of an encoded space
    don't depend on the order of keys in a file.
    """
    parameters = [_parameter(name, entry) for name, entry in sorted(data['parameters'].items())]
    names = [parameter.name for parameter in parameters]
    constraints = []
    for number, text in enumerate(data.get('constraints', ())):
        with _at(f'constraints[{number}]'):
            constraints.append(Expression(text, names))
    space = Space(parameters, constraints)
    # Raises InputError if the constraints can't be satisfied. Other methods import scipy.stats.
    space.sample(1, seed=0, method='random')
    default = space.default()
    for number, constraint in enumerate(constraints):
        if not Space(parameters, [constraint]).satisfied(default):
            value = {name: default[name] for name in sorted(constraint.names)}
            rule = f'{constraint} must hold for the default'
            raise InputError(rule, key=f'constraints[{number}]', value=value)
    _refuse_shared_targets(parameters)
    return space


def _parameter(name: str, data: Mapping[str, Any]) -> Parameter:
    key = f'parameters.{name}'
    if not _PLAIN.fullmatch(name) or name in RESERVED or keyword.iskeyword(name):
        raise InputError('a name has letters, digits and _, and is no word of Python', key=key)
    low, high = data.get('range', (None, None))
    choices = data.get('choices')
    condition = None
    if 'condition' in data:
        with _at(f'{key}.condition'):
            condition = Expression(data['condition'])
    targets = []
    for number, target in enumerate(data.get('targets', ())):
        with _at(f'{key}.targets[{number}]'):
            targets.append(_target(name, target))
    return Parameter(
        name=name,
        type=data['type'],
        low=low,
        high=high,
        choices=None if choices is None else tuple(choices),
        log=data.get('log', False),
        unit=data.get('unit', ''),
        default=data['default'],
        description=data.get('description', ''),
        condition=condition,
        targets=tuple(targets),
    )


def _target(name: str, data: Mapping[str, Any]) -> RosTarget:
    apply = data.get('apply', 'live')
    return RosTarget(
        node=data['node'],
        name=data.get('name', name),
        index=data.get('index'),
        scale=float(data.get('scale', 1.0)),
        offset=float(data.get('offset', 0.0)),
        apply={'default': apply} if isinstance(apply, str) else dict(apply),
    )


def _refuse_shared_targets(parameters: Iterable[Parameter]) -> None:
    owners: dict[tuple[str, str], dict[int | None, str]] = {}
    for parameter in parameters:
        for number, target in enumerate(parameter.targets):
            taken = owners.setdefault((resolved(target.node), target.name), {})
            clash = taken.get(target.index) or taken.get(None)
            if target.index is None and taken:
                clash = next(iter(taken.values()))
            if clash is not None:
                raise InputError(
                    f'the same ROS parameter is a target of parameters.{clash}',
                    key=f'parameters.{parameter.name}.targets[{number}]',
                    value=f'{target.node} {target.name}',
                )
            taken[target.index] = parameter.name


def build_metrics(data: Mapping[str, Any]) -> dict[str, parts.Metric]:
    """Return the metrics of a study's content by name."""
    return {name: _metric(name, entry) for name, entry in data['metrics'].items()}


def _metric(name: str, data: Mapping[str, Any]) -> parts.Metric:
    key = f'metrics.{name}'
    if not _PLAIN.fullmatch(name):
        raise InputError('a name has letters, digits and _', key=key)
    reduction = data.get('reduction', 'given')
    needed, optional = parts.REDUCTIONS[reduction]
    for part in sorted(needed):
        if part not in data:
            raise InputError(f'the reduction {reduction} needs it', key=f'{key}.{part}')
    meaningful = needed | optional
    for part in ('topic', 'field', 'time', 'array', 'percentile', 'reference', 'nodes'):
        if part in data and part not in meaningful:
            rule = f'means nothing for the reduction {reduction}'
            raise InputError(rule, key=f'{key}.{part}', value=data[part])
    if 'array' in data and 'field' not in data:
        raise InputError('needs a field', key=f'{key}.array', value=data['array'])
    if 'field' in data:
        with _at(f'{key}.field'):
            if not Expression(data['field']).names:
                raise InputError('must name a field of the message', value=data['field'])
    if data.get('factor', 1.0) == 0:
        raise InputError('must be a number other than 0', key=f'{key}.factor', value=0)
    failed = data.get('failed', 'exclude')
    if data.get('scale') == 'log' and not isinstance(failed, str) and failed <= 0:
        raise InputError('must be > 0 on a log scale', key=f'{key}.failed', value=failed)
    values = dict(data)
    for part in ('percentile', 'offset', 'factor'):
        if part in values:
            values[part] = float(values[part])
    values['failed'] = failed if isinstance(failed, str) else float(failed)
    values['nodes'] = tuple(data.get('nodes', ()))
    return parts.Metric(name=name, **values)


def build_objectives(
    data: Mapping[str, Any], metrics: Mapping[str, parts.Metric]
) -> tuple[parts.Objective, ...]:
    """Return the objectives of a study's content."""
    result: list[parts.Objective] = []
    for number, entry in enumerate(data['objectives']):
        key = f'objectives[{number}].metric'
        _known(entry['metric'], metrics, 'metric', key)
        if any(entry['metric'] == objective.metric for objective in result):
            raise InputError('has an objective already', key=key, value=entry['metric'])
        weight, reference = float(entry.get('weight', 1)), float(entry.get('reference', 1))
        target = None if 'target' not in entry else float(entry['target'])
        if target is not None and len(data['objectives']) == 1:
            raise InputError('means nothing where there is one objective',
                             key=f'objectives[{number}].target', value=target)
        result.append(parts.Objective(entry['metric'], weight, reference, target))
    return tuple(result)


def build_limits(
    data: Mapping[str, Any], metrics: Mapping[str, parts.Metric]
) -> tuple[parts.Limit, ...]:
    """Return the limits of a study's content."""
    result = []
    for number, text in enumerate(data.get('limits', ())):
        key = f'limits[{number}]'
        match = _LIMIT.fullmatch(text)
        try:
            value = float(match[3]) if match else math.nan
        except ValueError:
            value = math.nan
        if match is None or not math.isfinite(value):
            rule = 'a limit reads METRIC >= NUMBER or METRIC <= NUMBER'
            raise InputError(rule, key=key, value=text)
        _known(match[1], metrics, 'metric', key)
        result.append(parts.Limit(match[1], match[2], value, ' '.join(text.split())))
    return tuple(result)


def _known(name: str, known: Iterable[str], what: str, key: str) -> None:
    if name not in known:
        raise InputError(f'unknown {what}; known are {", ".join(known)}', key=key, value=name)


def build_mission(data: Mapping[str, Any]) -> parts.Mission | None:
    """Return the mission of a study's content, None if it has none."""
    if 'mission' not in data:
        return None
    mission = data['mission']
    for number, rule in enumerate(mission.get('fail_when', ())):
        _check_rule(rule, f'mission.fail_when[{number}]')
    values = dict(mission)
    values['start'] = _pose(mission['start']) if 'start' in mission else None
    values['goals'] = tuple(_pose(goal) for goal in mission['goals'])
    values['timeout'] = float(mission['timeout'])
    # Without a bound in the file: a simulator may be five times slower than the world.
    values['wall_timeout'] = float(mission.get('wall_timeout', 60.0 + 5 * mission['timeout']))
    values['settle'] = float(mission.get('settle', 0.0))
    values['fail_when'] = tuple(parts.FailRule(**r) for r in mission.get('fail_when', ()))
    action = mission.get('action', parts.Mission.action)
    values['outcome_topic'] = mission.get('outcome_topic', f'{action}/_action/status')
    values['prepare'] = tuple(parts.ServiceCall(**c) for c in mission.get('prepare', ()))
    values['seed_targets'] = tuple((t['node'], t['name']) for t in mission.get('seed_targets', ()))
    return parts.Mission(**values)


def _pose(values: Iterable[float]) -> parts.Pose:
    x, y, yaw = values
    return float(x), float(y), float(yaw)


def build_adaptation(
    data: Mapping[str, Any], environments: Mapping[str, parts.EnvironmentSpec], space: Space
) -> dict[str, Any]:
    """Return the rules of adaptation, with what the content leaves out filled in."""
    result = {**_ADAPTATION, **data.get('adaptation', {})}
    if 'environment' in result:
        _known(result['environment'], environments, 'environment', 'adaptation.environment')
    else:
        targets = [e.name for e in environments.values() if e.role == 'target']
        result['environment'] = targets[0] if targets else None
    spec = environments.get(result['environment'] or '')
    namespace = spec.options.get('namespace', '') if spec is not None else ''
    tuned = {resolved(t.node, namespace): t.node for p in space.parameters for t in p.targets}
    for node, command in result.get('restart', {}).items():
        key = f'adaptation.restart.{node}'
        if resolved(node, namespace) not in tuned:
            rule = f'no parameter has this node as a target; known are {", ".join(tuned.values())}'
            raise InputError(rule, key=key, value=node)
        if not any(PARAMETERS_FILE in word for word in command):
            rule = f'must have {PARAMETERS_FILE} for the file with what the node is to get'
            raise InputError(rule, key=key, value=list(command))
    _check_watching(result)
    return result


def _check_watching(adaptation: Mapping[str, Any]) -> None:
    for number, source in enumerate(context_sources(adaptation)):
        for name, corners in source.polygons.items():
            if fault := polygon_fault(corners):
                key = f'adaptation.contexts[{number}].polygons.{name}'
                raise InputError(fault, key=key, value=[list(corner) for corner in corners])
    window, stride = adaptation['window'], adaptation.get('stride')
    if stride is not None and window != 'mission' and stride > window:
        raise InputError('must not be longer than the window', key='adaptation.stride',
                         value=stride)
    rule = adaptation.get('explore_when')
    if rule is not None:
        _check_rule(rule, 'adaptation.explore_when')


def _check_rule(rule: Mapping[str, Any], key: str) -> None:
    value, op = rule['value'], rule['op']
    if op not in ('==', '!=') and isinstance(value, (bool, str)):
        raise InputError(f'{op} needs a number', key=f'{key}.value', value=value)
    with _at(f'{key}.field'):
        Expression(rule['field'])


def build_tuning(
    data: Mapping[str, Any], objectives: Sequence[parts.Objective],
    environments: Mapping[str, parts.EnvironmentSpec],
) -> parts.Tuning:
    """Return how a study's content wants target measurements to be chosen."""
    tuning = parts.Tuning(**data.get('tuning', {}))
    if tuning.goal == 'front' and not 2 <= len(objectives) <= 3:
        rule = 'front needs 2 or 3 objectives'
        raise InputError(rule, key='tuning.goal', value=[one.metric for one in objectives])
    if tuning.simulate and all(spec.role != 'source' for spec in environments.values()):
        raise InputError('needs an environment with the role source', key='tuning.simulate',
                         value=True)
    return tuning


def build_seeds(data: Mapping[str, Any]) -> parts.Seeds:
    """Return the seeds of a study's content; equal ones are fine, see tl_adapt.seeds."""
    return parts.Seeds(**data.get('seeds', {}))
