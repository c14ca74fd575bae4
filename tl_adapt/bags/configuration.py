# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the configurations that a bag's missions had.

They come from what was recorded of parameters (a snapshot, and `/parameter_events` after it), or
from a YAML file beside the bag: the configuration in the study's words, a parameter file as
`ros2 param dump` writes it, or `missions:`, a list with one of these for each mission.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tl_adapt.bags.recorded import parameter_value, typestore
from tl_adapt.errors import InputError
from tl_adapt.snapshot import Snapshot, present_configuration
from tl_adapt.study_file import read_yaml, refuse_strange
from tl_adapt.study_rules import resolved

if TYPE_CHECKING:
    from tl_adapt.study import Study

EVENTS = '/parameter_events'
EVENT_TYPE = 'rcl_interfaces/msg/ParameterEvent'
_LARGEST = 10 << 20
_ROS = 'ros__parameters'
_MISSIONS = 'missions'


class ConfigurationLog:
    """Follow the parameters of nodes over a bag."""

    def __init__(self, study: Study, namespace: str = '') -> None:
        """Follow the parameters that the study tunes."""
        self._space = study.space
        self._namespace = namespace
        self._nodes = {
            resolved(target.node, namespace): set[str]()
            for parameter in study.space.parameters for target in parameter.targets[:1]
        }
        for parameter in study.space.parameters:
            for target in parameter.targets[:1]:
                self._nodes[resolved(target.node, namespace)].add(target.name)
        self._snapshot: Snapshot = {}
        self._told: dict[str, list[int]] = {node: [] for node in self._nodes}
        self._unsettled = 0  # when a parameter changed last before all of them were known
        self._logs: list[int] = []
        self._configurations: list[dict[str, Any]] = []

    def take(
        self, log: int, node: str, values: Mapping[str, Any], *, event: bool = False
    ) -> None:
        """Take note of a node's parameters at a log time [ns]; an `event` says they changed."""
        wanted = self._nodes.get(resolved(node))
        found = {name: values[name] for name in wanted & set(values)} if wanted else {}
        if not found:
            return
        if len(found) == len(wanted or ()):
            self._told[resolved(node)].append(log)
        if event and not self._configurations:
            self._unsettled = log
        self._snapshot.setdefault(resolved(node), {}).update(found)
        try:
            configuration = present_configuration(self._space, self._snapshot, self._namespace)
        except (LookupError, TypeError, ValueError, OverflowError):
            return  # not all is known yet
        if not self._configurations or configuration != self._configurations[-1]:
            self._logs.append(log)
            self._configurations.append(configuration)

    def at(self, log: int) -> dict[str, Any] | None:
        """Return the configuration that held at a log time, None if it is not known."""
        index = bisect.bisect_right(self._logs, log) - 1
        return self._configurations[index] if index >= 0 else None

    def told(self, log: int) -> int:
        """Return since when, up to a log time, only changes were told; 0 if all never was."""
        indices = {node: bisect.bisect_right(logs, log) for node, logs in self._told.items()}
        return min(
            (self._told[node][index - 1] if index else 0 for node, index in indices.items()),
            default=0,
        )

    def soon(self, after: int, until: int) -> dict[str, Any] | None:
        """
        Return the configuration that was known first, if it held from one log time on.

        It was read by another, before which nothing had changed it. A recorder that comes late
        reads parameters while a mission runs.
        """
        if not self._logs or not after < self._logs[0] <= until or self._unsettled > after:
            return None
        return self._configurations[0]

    def first(self) -> dict[str, Any] | None:
        """Return the configuration that was known first."""
        return self._configurations[0] if self._configurations else None

    def changed(self, after: int, until: int) -> list[str]:
        """Return the parameters that were changed in a span of log times."""
        names: list[str] = []
        for index, log in enumerate(self._logs):
            if index and after < log <= until:
                before, now = self._configurations[index - 1 : index + 1]
                names += [name for name in now if now[name] != before[name]]
        return list(dict.fromkeys(names))

    def unknown(self) -> list[str]:
        """Return what the bag does not tell: parameters, with node and name."""
        return [
            f'{node} {name}'
            for node, names in self._nodes.items()
            for name in sorted(names - set(self._snapshot.get(node, {})))
        ]


class GivenConfigurations:
    """Hold what a YAML file says of the configurations of missions."""

    def __init__(self, path: Path, study: Study, namespace: str = '') -> None:
        """Read the file; raises InputError that names file, key, rule and value."""
        self.path = path
        self._study = study
        self._namespace = namespace
        content = _read(path)
        self._missions: list[dict[str, Any]] | None = None
        self._all: dict[str, Any] = {}
        if _MISSIONS in content:
            missions = content[_MISSIONS]
            if set(content) != {_MISSIONS} or not isinstance(missions, list) or not missions:
                raise InputError('must be a list, and all there is', file=path, key=_MISSIONS)
            self._missions = [
                self._values(item, f'{_MISSIONS}[{number}]')
                for number, item in enumerate(missions)
            ]
        else:
            self._all = self._values(content, '')

    def covers(self, number: int) -> bool:
        """Tell whether the file has all parameters of a mission (the first is 1)."""
        missions = [self._all] if self._missions is None else self._missions
        index = 0 if self._missions is None else number - 1
        return index < len(missions) and set(self._study.space.names) <= set(missions[index])

    def of(self, number: int, recorded: Mapping[str, Any] | None) -> dict[str, Any]:
        """
        Return the configuration of a mission (the first is 1); what is not given was `recorded`.

        Raises InputError if there is none, or if it is outside of the study's space.
        """
        key = ''
        given = self._all
        if self._missions is not None:
            if number > len(self._missions):
                raise InputError(
                    f'must have a configuration for mission {number}, too', file=self.path,
                    key=_MISSIONS, value=len(self._missions),
                )
            given, key = self._missions[number - 1], f'{_MISSIONS}[{number - 1}]'
        missing = sorted(set(self._study.space.names) - set(given) - set(recorded or {}))
        if missing:
            raise InputError(
                f'must have parameter {missing[0]}, which the bag does not tell', file=self.path,
                key=key or None,
            )
        try:
            return dict(self._study.space.validate({**(recorded or {}), **given}))
        except InputError as error:
            raise error.at(file=self.path, key=key or None) from None

    def _values(self, content: Any, key: str) -> dict[str, Any]:
        """Return what one part of the file gives, by the study's names."""
        if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
            raise InputError('must be a mapping', file=self.path, key=key or None, value=content)
        dump = [isinstance(item, dict) and set(item) == {_ROS} for item in content.values()]
        if any(dump):
            return self._dumped(content, key)
        unknown = sorted(set(content) - set(self._study.space.names))
        if unknown:
            raise InputError(
                'no parameter of the study has this name', file=self.path, key=key or None,
                value=unknown[0],
            )
        return dict(content)

    def _dumped(self, content: Mapping[str, Any], key: str) -> dict[str, Any]:
        """Return what a parameter file of ROS says of the parameters of the study."""
        snapshot: Snapshot = {}
        for node, item in content.items():
            values = item.get(_ROS) if isinstance(item, dict) else None
            if not isinstance(values, dict):
                raise InputError(
                    f'must have {_ROS}', file=self.path, key='.'.join(filter(None, (key, node)))
                )
            snapshot[resolved(node, self._namespace)] = _flat(values)
        found: dict[str, Any] = {}
        for parameter in self._study.space.parameters:
            for target in parameter.targets[:1]:
                values = snapshot.get(resolved(target.node, self._namespace), {})
                if target.name not in values:
                    continue
                value = values[target.name]
                try:
                    value = value if target.index is None else value[target.index]
                    found[parameter.name] = parameter.read(target, value)
                except (TypeError, LookupError, ValueError, OverflowError):
                    raise InputError(
                        f'can not be a value of {parameter.name}', file=self.path,
                        key='.'.join(filter(None, (key, target.node, _ROS, target.name))),
                        value=value,
                    ) from None
        return found


def configuration_file(bag: Path) -> Path | None:
    """Return the YAML file with configurations that lies beside a bag, None if there is none."""
    places = [bag.with_name(f'{bag.name}.yaml'), bag.with_suffix('.yaml')]
    if bag.is_dir():
        places = [bag / 'configuration.yaml', bag.with_name(f'{bag.name}.yaml')]
    return next((path for path in places if path.is_file()), None)


def _flat(values: Mapping[Any, Any], prefix: str = '') -> dict[str, Any]:
    """Return nested parameters by their dotted names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found.update(_flat(value, f'{prefix}{name}.'))
        else:
            found[f'{prefix}{name}'] = value
    return found


def event_values(raw: bytes) -> tuple[str, dict[str, Any]]:
    """
    Return a message's node, and its parameters that are new or changed.

    Raises ValueError if the message is broken.
    """
    try:
        message = typestore().deserialize_cdr(raw, EVENT_TYPE)
        changed = [*message.new_parameters, *message.changed_parameters]
        return str(message.node), {p.name: parameter_value(p.value) for p in changed}
    except Exception as error:  # the deserialiser raises whatever broken bytes lead it to
        raise ValueError(str(error)) from error


def _read(path: Path) -> dict[str, Any]:
    """Return the mapping that a YAML file holds; raises InputError."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise InputError(f'can not be read ({error.strerror or error})', file=path) from None
    if size > _LARGEST:
        raise InputError(f'may have {_LARGEST} bytes', file=path, value=size)
    content = read_yaml(path, 'a file of configurations')
    refuse_strange(content, path)
    if not content:
        raise InputError('must have a configuration', file=path)
    return content
