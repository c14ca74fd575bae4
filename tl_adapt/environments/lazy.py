# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for environments that are made when the first run needs them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from tl_adapt.environments.base import Environment


class ByName(Protocol):
    """Have environments by name, as a mapping does."""

    def __getitem__(self, name: str, /) -> Environment:
        """Return the environment; raises KeyError if nothing is known of it."""


#: Environments by name, or what makes one of them.
Environments = ByName | Callable[[str], Environment]


class LazyEnvironments:
    """
    Give environments by name; made here, they are closed here, others are left alone.

    `close` may be called from another thread, to end a run under way.
    """

    def __init__(self, first: Environment, others: Environments) -> None:
        """Keep the one that is there already, and where the others come from."""
        self._open: dict[str, Environment] = {first.name: first}
        self._others = others
        self._made: list[Environment] = []
        self._lock = threading.Lock()
        self._closed = False

    def __getitem__(self, name: str) -> Environment:
        """Return the environment; raises KeyError if nothing is known of it."""
        if name not in self._open:
            made = callable(self._others)
            one = self._others(name) if callable(self._others) else self._others[name]
            with self._lock:
                self._open[name] = one
                if made:
                    self._made.append(one)
                late = made and self._closed
            if late:  # `close` came while it was being made
                one.close()
        return self._open[name]

    def close(self) -> None:
        """Close what was made here; a second call does nothing."""
        with self._lock:
            self._closed = True
            made, self._made = self._made, []
        for environment in made:
            environment.close()

    def __enter__(self) -> LazyEnvironments:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
