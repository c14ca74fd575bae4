# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for who offers which service in a graph."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node


@dataclass(frozen=True)
class Offer:
    """Stand for one service that one node offers; full names."""

    name: str
    kind: str
    node: str

    @property
    def root(self) -> str:
        """Return the namespace of the service, '' for the root."""
        return self.name.rpartition('/')[0]

    @property
    def base(self) -> str:
        """Return the name of the service in its namespace."""
        return self.name.rpartition('/')[2]


def offers(node: Node) -> list[Offer]:
    """
    Return all services in the graph that `node` sees, but its own.

    Two nodes under one name are two entries, because each of them offers what both do.
    """
    own = node.get_fully_qualified_name()
    found = []
    for (name, namespace), count in Counter(node.get_node_names_and_namespaces()).items():
        full = f'{namespace.rstrip("/")}/{name}'
        if full == own:
            continue
        with contextlib.suppress(rclpy_implementation.NodeNameNonExistentError):
            services = node.get_service_names_and_types_by_node(name, namespace)
            for service, kinds in services:
                found += [Offer(service, kind, full) for kind in kinds] * count
    return found


def of_kind(found: Iterable[Offer], kind: str, base: str | None = None) -> list[Offer]:
    """Return the offers of a type such as `std_srvs/srv/Empty` and, perhaps, of a name."""
    return [o for o in found if o.kind == kind and base in (None, o.base)]
