# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the parameters of other nodes: set, read back, keep and restore.

Nothing here spins, see `tl_adapt.ros.parameter_services`: never call it from a callback.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rcl_interfaces.msg import Parameter as ParameterMsg
from rcl_interfaces.srv import (
    DescribeParameters,
    GetParameters,
    ListParameters,
    SetParametersAtomically,
)

from tl_adapt.ros.parameter_services import NoAnswerError, ParameterError, ParameterServices
from tl_adapt.ros.values import (
    Assignment,
    RosValue,
    Snapshot,
    assignments,
    coerce,
    equal,
    from_message,
    replaced,
    to_message,
)

__all__ = [
    'Assignment',
    'NoAnswerError',
    'ParameterClient',
    'ParameterError',
    'RefusedError',
    'RosValue',
    'Snapshot',
    'assignments',
]


class UnfitParameterError(ParameterError):
    """Say that a node lacks a parameter, or has it with another type."""

    mismatch = True


class RefusedError(ParameterError):
    """Say that a node did not take a value; the node itself is well."""


class ParameterClient(ParameterServices):
    """Read and set the parameters of other nodes, from any thread that does not spin."""

    def names(self, node: str) -> list[str]:
        """Return the names of all parameters of the node."""
        return self.names_of([node])[self.full_name(node)]

    def names_of(self, nodes: Iterable[str]) -> dict[str, list[str]]:
        """Return the names of all parameters of each node, by its full name."""
        answers = self._call({node: (ListParameters, ListParameters.Request()) for node in nodes})
        return {node: list(answer.result.names) for node, answer in answers.items()}

    def get(self, node: str, names: Sequence[str]) -> dict[str, RosValue]:
        """Return the values; raises ParameterError for a parameter that the node lacks."""
        return self.get_many({node: names})[self.full_name(node)]

    def get_many(self, wanted: Mapping[str, Sequence[str]]) -> Snapshot:
        """Read parameters of several nodes at the same time."""
        values, errors = self.get_each(wanted)
        _raise_first(errors)
        return values

    def get_each(
        self,
        wanted: Mapping[str, Sequence[str]],
        *,
        patience: float | None = None,
        deadline: float | None = None,
    ) -> tuple[Snapshot, dict[str, ParameterError]]:
        """Read as `get_many` does; return what was read, and what went wrong for each node."""
        asked = {self.full_name(node): list(names) for node, names in wanted.items()}
        answers, errors = self.ask(
            {
                node: (GetParameters, GetParameters.Request(names=names))
                for node, names in asked.items()
            },
            patience=patience,
            deadline=deadline,
        )
        values: Snapshot = {}
        for node, answer in answers.items():
            read = [from_message(message) for message in answer.values]
            try:
                if len(read) != len(asked[node]) or any(value is None for value in read):
                    self._refuse_unknown(node, asked[node])
                if len(read) != len(asked[node]):
                    raise ParameterError(
                        node, f'{node} gave {len(read)} of {len(asked[node])} parameters'
                    )
            except ParameterError as error:
                errors[node] = error
            else:
                values[node] = dict(zip(asked[node], read))
        return values, errors

    def describe(self, node: str, names: Sequence[str]) -> dict[str, Any]:
        """Return the descriptors (rcl_interfaces/ParameterDescriptor) by name."""
        full = self.full_name(node)
        request = DescribeParameters.Request(names=list(names))
        answer = self._call({full: (DescribeParameters, request)})[full]
        if len(answer.descriptors) != len(names):
            self._refuse_unknown(full, names)
        return dict(zip(names, answer.descriptors))

    def set(self, node: str, values: Mapping[str, RosValue]) -> None:
        """Set values on one node, all or none, and read them back; see `set_many`."""
        self.set_many({node: values})

    def set_many(self, values: Mapping[str, Mapping[str, RosValue]]) -> None:
        """
        Set values on several nodes at the same time, atomically on each, and read them back.

        Raises ParameterError if a node refuses or reads back anything else.
        """
        self.wait_for_nodes(node for node, each in values.items() if each)
        _raise_first(self.set_each(values))
        self.verify(values)

    def set_each(
        self, values: Mapping[str, Mapping[str, RosValue]], *, patience: float | None = None
    ) -> dict[str, ParameterError]:
        """
        Set values on several nodes at the same time, atomically on each; nothing is read back.

        Return what went wrong: a RefusedError where nothing was set, a NoAnswerError where that
        is not known, another ParameterError where nothing was sent as the node is not there
        within `patience` s.
        """
        wanted = {self.full_name(node): dict(each) for node, each in values.items() if each}
        requests = {}
        for node, each in wanted.items():
            request = SetParametersAtomically.Request()
            for name, value in each.items():
                request.parameters.append(ParameterMsg(name=name, value=to_message(value)))
            requests[node] = (SetParametersAtomically, request)
        self.on_set(wanted)
        answers, errors = self.ask(requests, patience=patience)
        for node, answer in answers.items():
            if not answer.result.successful:
                reason = answer.result.reason or 'no reason given'
                # All or none are set: the reason may tell which of them was meant.
                named = [name for name in wanted[node] if name in reason] or list(wanted[node])
                errors[node] = RefusedError(
                    node, f'set of {node} {_listed(named)} refused: {reason}'
                )
        return errors

    def verify(self, values: Mapping[str, Mapping[str, RosValue]]) -> None:
        """Read parameters and raise ParameterError for the first that is not as given."""
        _raise_first(self.verify_each(values))

    def verify_each(
        self,
        values: Mapping[str, Mapping[str, RosValue]],
        *,
        patience: float | None = None,
        taken: Callable[[str, str, RosValue, RosValue], bool] = lambda *_: False,
    ) -> dict[str, ParameterError]:
        """
        Read parameters and return what is wrong: RefusedError for one that is not as given.

        `taken` gets the node, the name, what was given and what was read, and tells whether the
        node had taken it all the same.
        """
        wanted = {self.full_name(node): each for node, each in values.items() if each}
        read, errors = self.get_each(
            {node: list(each) for node, each in wanted.items()}, patience=patience
        )
        for node, present in read.items():
            for name, value in wanted[node].items():
                if not equal(present[name], value) and not taken(node, name, value, present[name]):
                    errors.setdefault(node, RefusedError(
                        node, f'set of {node} {name} was not taken: set {value!r}, '
                        f'reads {present[name]!r}',
                    ))
        return errors

    def snapshot(self, nodes: Iterable[str]) -> Snapshot:
        """Return all parameters of each node, by its full name."""
        return self.get_many(self.names_of(nodes))

    def changes(
        self, wanted: Sequence[Assignment], present: Snapshot | None = None
    ) -> tuple[Snapshot, Snapshot]:
        """
        Return what has to be set, and what is there instead, only where the two differ.

        `present` holds values that have just been read; what it lacks is read. Array elements
        are merged into the whole array. Raises ParameterError for a parameter that the node
        lacks, an index outside of the array, and a value of another type.
        """
        after, known = self._merge(wanted, present)
        changed = {
            node: {
                name: value for name, value in each.items() if not equal(value, known[node][name])
            }
            for node, each in after.items()
        }
        changed = {node: each for node, each in changed.items() if each}
        before = {
            node: {name: known[node][name] for name in each} for node, each in changed.items()
        }
        return changed, before

    def merged(self, wanted: Sequence[Assignment]) -> Snapshot:
        """Return the values that the parameters get, whole arrays, also where nothing changes."""
        return self._merge(wanted, None)[0]

    def apply(self, wanted: Sequence[Assignment], present: Snapshot | None = None) -> Snapshot:
        """
        Set what differs, atomically on each node, verify it, and return what was there before.

        The result is for `restore`. If a node refuses, the nodes that did not are set back
        before the ParameterError is raised. All modes are treated alike here: which of them may
        be set now is the caller's to decide.
        """
        changed, before = self.changes(wanted, present)
        try:
            self.set_many(changed)
        except ParameterError as error:
            others = {node: each for node, each in before.items() if node != error.node}
            try:
                self.restore(others)
            except ParameterError as second:
                raise ParameterError(error.node, f'{error}; and then {second}') from error
            raise
        return before

    def restore(self, before: Snapshot) -> Snapshot:
        """Set back to `before`, sending only what differs; return what was sent."""
        present = self.get_many({node: list(each) for node, each in before.items() if each})
        changed = {
            node: {
                name: value
                for name, value in each.items()
                if value is not None and not equal(value, present[self.full_name(node)][name])
            }
            for node, each in before.items()
            if each
        }
        changed = {node: each for node, each in changed.items() if each}
        self.set_many(changed)
        return changed

    def _merge(
        self, wanted: Sequence[Assignment], present: Snapshot | None
    ) -> tuple[Snapshot, Snapshot]:
        """Return the values to be and the present ones."""
        known = {self.full_name(node): dict(each) for node, each in (present or {}).items()}
        missing: dict[str, list[str]] = {}
        for item in wanted:
            node = self.full_name(item.node)
            if item.name not in known.get(node, {}) and item.name not in missing.get(node, []):
                missing.setdefault(node, []).append(item.name)
        for node, each in self.get_many(missing).items():
            known.setdefault(node, {}).update(each)
        after: Snapshot = {}
        for item in wanted:
            node = self.full_name(item.node)
            value = after.get(node, {}).get(item.name, known[node][item.name])
            try:
                if item.index is None:
                    value = coerce(item.value, value)
                else:
                    value = replaced(value, item.index, item.value)
            except TypeError as error:
                raise UnfitParameterError(node, f'{node} {item.name} {error}') from error
            after.setdefault(node, {})[item.name] = value
        return after, known

    def _call(self, requests: Mapping[str, tuple[Any, Any]]) -> dict[str, Any]:
        """Send one request to each node at the same time and return the answers by full name."""
        answers, errors = self.ask(requests)
        _raise_first(errors)
        return answers

    def _refuse_unknown(self, node: str, names: Sequence[str]) -> None:
        """Raise UnfitParameterError that names the parameters which the node lacks."""
        lacking = [name for name in names if name not in set(self.names(node))]
        if lacking:
            raise UnfitParameterError(
                node, f'node {node} has no parameter {", ".join(lacking)}'
            )


def _listed(names: Sequence[str]) -> str:
    """Return the names for a message, shortened."""
    return ', '.join(names) if len(names) <= 4 else f'{", ".join(names[:4])}, ...'


def _raise_first(errors: Mapping[str, ParameterError]) -> None:
    """Raise one of several errors, if there is any: that a node is gone tells less."""
    for error in sorted(errors.values(), key=lambda error: not isinstance(error, RefusedError)):
        raise error
