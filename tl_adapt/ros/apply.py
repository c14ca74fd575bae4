# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for applying configurations to a running robot, as one transaction over several nodes.

Everything here blocks for a bounded time: it belongs into a thread that does not spin.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from tl_adapt.adaptation.events import Configuration
from tl_adapt.errors import InputError
from tl_adapt.ros.parameters import Assignment, ParameterClient, ParameterError, assignments
from tl_adapt.ros.values import Snapshot
from tl_adapt.space import Space


@dataclasses.dataclass(frozen=True)
class Outcome:
    """
    Say how a change ended.

    `configuration` is what is in force now, None if that is not known; `values` what each node
    has now (full node name -> parameter -> value), empty if the change failed.
    """

    ok: bool
    reason: str = ''
    configuration: Configuration | None = None
    refused: bool = False
    values: Snapshot = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Obstacle:
    """Say why nothing can be set now; `ambiguous` means that it must never be set like this."""

    reason: str
    ambiguous: bool = False


class Applier:
    """Read and set the parameters that a study's space names, and no others."""

    def __init__(
        self, space: Space, client: ParameterClient, *, distribution: str | None = None
    ) -> None:
        """Use `client`, whose node another thread spins; `distribution` picks apply modes."""
        self._space = space
        self._client = client
        self._distribution = distribution
        targets = assignments(space, space.default(), distribution=distribution)
        self.nodes = tuple(dict.fromkeys(client.full_name(item.node) for item in targets))

    def obstacle(self) -> Obstacle | None:
        """Return why nothing can be set now: a node is missing, or there more than once."""
        for node in self.nodes:
            count = self._client.count(node)
            if count > 1:
                return Obstacle(f'{count} nodes have the name {node}: none is touched', True)
            try:
                self._client.wait_for_nodes([node], deadline=0.0)
            except ParameterError as error:
                return Obstacle(error.reason)
        return None

    def read(self) -> Configuration | None:
        """
        Return the configuration that the nodes have.

        None if the targets of one parameter don't agree. It may be outside of the space. Raises
        ParameterError if a node does not answer or lacks a parameter.
        """
        return self._decode(self._client.get_many(self._names()))

    def waits_for_idle(self, configuration: Configuration) -> bool:
        """Tell whether the change sets anything that must not change while a mission runs."""
        return any(item.mode == 'idle' for item in self._differing(configuration))

    def apply(self, configuration: Configuration) -> Outcome:
        """
        Set what differs, verify it, and on any failure restore what was there.

        The space is checked here once more: nothing outside of it is ever sent.
        """
        try:
            wanted = self._space.validate(configuration)
        except InputError as error:
            return Outcome(False, f'never sent: {error}', refused=True)
        names = self._names()
        try:
            before = self._client.get_many(names)
        except ParameterError as error:
            return Outcome(False, error.reason)
        restart = [
            item.name for item in self._differing(wanted, before) if item.mode == 'restart'
        ]
        if restart:
            return Outcome(
                False, f'{", ".join(restart)} can only be set by a restart of the node, which '
                'the adapter does not do', self._decode(before), refused=True,
            )
        try:
            self._client.apply(self._assign(wanted), before)
            values = self._client.get_many(names)
            if self._decode(values) is None:
                raise ParameterError(self.nodes[0], 'the nodes do not agree after the change')
        except ParameterError as error:
            return self._failed(error, before)
        return Outcome(True, configuration=dict(wanted), values=values)

    def _failed(self, error: ParameterError, before: Snapshot) -> Outcome:
        """Restore what is not as before, and tell what is in force."""
        refused = 'refused' in error.reason or 'was not taken' in error.reason
        try:
            self._client.restore(before)
            self._client.verify(before)
        except ParameterError as second:
            return Outcome(False, f'{error.reason}; and then {second.reason}', refused=refused)
        return Outcome(False, error.reason, self._decode(before), refused)

    def _assign(self, configuration: Mapping[str, object]) -> list[Assignment]:
        return assignments(self._space, configuration, distribution=self._distribution)

    def _names(self) -> dict[str, list[str]]:
        names: dict[str, list[str]] = {}
        for item in self._assign(self._space.default()):
            known = names.setdefault(self._client.full_name(item.node), [])
            if item.name not in known:
                known.append(item.name)
        return names

    def _differing(
        self, configuration: Configuration, present: Snapshot | None = None
    ) -> list[Assignment]:
        """Return the assignments whose ROS parameter would change."""
        wanted = self._assign(configuration)
        changed, _ = self._client.changes(wanted, present)
        return [
            item for item in wanted
            if item.name in changed.get(self._client.full_name(item.node), {})
        ]

    def _decode(self, values: Snapshot) -> Configuration | None:
        """Turn the nodes' values into a configuration; None if that can't be done."""
        found: Configuration = {}
        for parameter in self._space.parameters:
            for target in parameter.targets:
                value = values[self._client.full_name(target.node)][target.name]
                try:
                    value = value if target.index is None else value[target.index]
                    decoded = target.from_ros(value)
                except (IndexError, TypeError):
                    return None
                if found.setdefault(parameter.name, decoded) != decoded:
                    return None
            if not parameter.targets:
                found[parameter.name] = parameter.default
        try:
            return dict(self._space.validate(found))
        except InputError:
            return found
