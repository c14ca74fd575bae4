# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for environments that are made when the first run needs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tl_adapt.environments.base import Environment

#: Environments by name, or what makes one of them.
Environments = Mapping[str, Environment] | Callable[[str], Environment]


class LazyEnvironments:
    """Give environments by name; made here, they are closed here, others are left alone."""

    def __init__(self, first: Environment, others: Environments) -> None:
        """Keep the one that is there already, and where the others come from."""
        self._open: dict[str, Environment] = {first.name: first}
        self._others = others
        self._made: list[Environment] = []

    def __getitem__(self, name: str) -> Environment:
        """Return the environment; raises KeyError if nothing is known of it."""
        if name not in self._open:
            if callable(self._others):
                self._open[name] = self._others(name)
                self._made.append(self._open[name])
            else:
                self._open[name] = self._others[name]
        return self._open[name]

    def __enter__(self) -> LazyEnvironments:
        return self

    def __exit__(self, *error: object) -> None:
        for environment in self._made:
            environment.close()
