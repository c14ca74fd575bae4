# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what of the nodes' parameters a study tunes, and what their values mean in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tl_adapt.adaptation.events import Configuration
from tl_adapt.errors import InputError
from tl_adapt.ros.values import Snapshot, equal
from tl_adapt.space import Space

# What is tuned of a ROS parameter: elements of an array, or all of it.
Elements = frozenset[int] | None


class Tuned:
    """Know the ROS parameters that a space names, by the full name of their node."""

    def __init__(self, space: Space, full_name: Callable[[str], str]) -> None:
        """Use `full_name` to complete the names of nodes."""
        self._space = space
        self._full_name = full_name
        self.elements: dict[str, dict[str, Elements]] = {}
        for parameter in space.parameters:
            for target in parameter.targets:
                tuned = self.elements.setdefault(full_name(target.node), {})
                known = tuned.get(target.name, frozenset())
                tuned[target.name] = (
                    None if target.index is None or known is None else known | {target.index}
                )
        self.names = {node: list(each) for node, each in self.elements.items()}

    def same(self, node: str, name: str, one: Any, other: Any) -> bool:
        """Tell whether two values of a parameter are the same in what is tuned of them."""
        return same(self.elements[node][name], one, other)

    def decode(self, values: Snapshot) -> Configuration | None:
        """
        Turn the nodes' values into a configuration; None if the targets of one don't agree.

        It may be outside of the space.
        """
        found: Configuration = {}
        for parameter in self._space.parameters:
            error = 0.0
            for target in parameter.targets:
                value = values[self._full_name(target.node)][target.name]
                try:
                    value = value if target.index is None else value[target.index]
                    decoded = parameter.read(target, value)
                except (IndexError, TypeError):
                    return None
                if isinstance(decoded, float):
                    error += target.error(decoded)
                if not _agree(found.setdefault(parameter.name, decoded), decoded, error):
                    return None
            if not parameter.targets:
                found[parameter.name] = parameter.default
        try:
            return dict(self._space.validate(found))
        except InputError:
            return found

    def fits(self, values: Snapshot) -> bool:
        """Tell whether values of all nodes are a configuration inside of the space."""
        try:
            found = self.decode(values)
        except KeyError:
            return False
        return found is not None and self._space.contains(found)

    def unfit(self, values: Snapshot) -> Snapshot:
        """Return the values that are outside of their parameters' ranges."""
        found: Snapshot = {}
        for parameter in self._space.parameters:
            for target in parameter.targets:
                node = self._full_name(target.node)
                if target.name not in values.get(node, {}):
                    continue
                value = values[node][target.name]
                try:
                    part = value if target.index is None else value[target.index]
                    parameter.canonical(parameter.read(target, part))
                except (InputError, IndexError, TypeError):
                    found.setdefault(node, {})[target.name] = value
        return found

    def differing(self, values: Snapshot, wanted: Mapping[str, Mapping[str, Any]]) -> Snapshot:
        """Return what of `wanted` is not the same in `values`, where that is known."""
        found: Snapshot = {}
        for node, each in wanted.items():
            for name, value in each.items():
                known = values.get(node, {})
                if name in known and not self.same(node, name, known[name], value):
                    found.setdefault(node, {})[name] = value
        return found


def same(elements: Elements, one: Any, other: Any) -> bool:
    """Tell whether two values are the same in the elements of an array, or as a whole."""
    if elements is None or not isinstance(one, list) or not isinstance(other, list):
        return equal(one, other)
    return all(
        # Where both lack the element nothing changed.
        equal(one[index : index + 1], other[index : index + 1]) for index in elements
    )


def _agree(one: Any, other: Any, error: float) -> bool:
    """Tell whether two targets have one value, as far as rounding errors let one say."""
    if equal(one, other):
        return True
    return isinstance(one, float) and isinstance(other, float) and abs(one - other) <= error


def merged(values: Snapshot, more: Snapshot) -> Snapshot:
    """Return values with others in their place."""
    return {node: {**each, **more.get(node, {})} for node, each in values.items()}


def without(values: Snapshot, others: Snapshot) -> Snapshot:
    """Return values but for those of others."""
    return {
        node: {name: value for name, value in each.items() if name not in others.get(node, {})}
        for node, each in values.items()
    }
