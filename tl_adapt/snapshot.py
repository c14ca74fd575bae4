# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what nodes' parameters say of the configuration that they have."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tl_adapt.errors import InputError
from tl_adapt.study_rules import resolved

if TYPE_CHECKING:
    from tl_adapt.space import Space

# Node name -> parameter name -> value.
Snapshot = dict[str, dict[str, Any]]


def present_configuration(
    space: Space, snapshot: Mapping[str, Mapping[str, Any]], namespace: str = ''
) -> dict[str, Any]:
    """
    Return the configuration that nodes have, from their parameters; it may be outside the space.

    Relative names of nodes are in the namespace. The first target of a parameter counts. Raises
    LookupError for a node or parameter that the snapshot does not have.
    """
    configuration = {}
    for parameter in space.parameters:
        for target in parameter.targets[:1]:
            value = snapshot[resolved(target.node, namespace)][target.name]
            value = value if target.index is None else value[target.index]
            configuration[parameter.name] = parameter.read(target, value)
    with contextlib.suppress(InputError):
        return dict(space.validate(configuration))
    return configuration
