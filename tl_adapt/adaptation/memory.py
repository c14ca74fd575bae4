# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what the policy remembers of configurations: the good ones and the banned ones."""

from __future__ import annotations

import json
from collections.abc import Callable

from tl_adapt.adaptation.events import Configuration

_KEPT_GOOD = 16
# Windows that what a model says of keeping the limits is worth against what windows showed.
_MODEL_WORTH = 10.0


def configuration_key(configuration: Configuration) -> str:
    """Return a text that is equal for equal configurations."""
    return json.dumps(configuration, sort_keys=True)


class Memory:
    """
    Remember which configurations may be sent.

    `fallback` is known to be safe and the last resort: `default`, until the robot had another one;
    `contains` tells whether a configuration is in the space and keeps the constraints. What broke
    a limit is `doubted`: banned until it is likely enough that this was bad luck.
    """

    def __init__(
        self, *, fallback: Configuration, contains: Callable[[Configuration], bool]
    ) -> None:
        """Start with nothing but the fallback, which is the default."""
        self.default = dict(fallback)
        self.fallback = dict(fallback)
        self.contains = contains
        self.quarantine: dict[str, tuple[Configuration, str]] = {}
        self._doubted: set[str] = set()
        self._good: list[Configuration] = []

    @property
    def doubted(self) -> list[Configuration]:
        """Return the banned configurations that may be lifted."""
        return [self.quarantine[key][0] for key in self.quarantine if key in self._doubted]

    @property
    def avoided(self) -> list[Configuration]:
        """Return the configurations that must not be sent."""
        return [configuration for configuration, _ in self.quarantine.values()]

    def allowed(self, configuration: Configuration) -> bool:
        """Tell whether the configuration is in the space and not banned."""
        return self.contains(configuration) and (
            configuration_key(configuration) not in self.quarantine
        )

    def remember(self, configuration: Configuration | None) -> None:
        """Note that a window in this configuration went well."""
        if configuration is not None and self.allowed(configuration):
            self._good = [good for good in self._good if good != configuration]
            self._good = [*self._good, dict(configuration)][-_KEPT_GOOD:]

    def ban(
        self, configuration: Configuration | None, reason: str, *, doubted: bool = False
    ) -> bool:
        """
        Never send this configuration again, or not until it is lifted if only `doubted`.

        Return whether that is news.
        """
        if configuration is None:
            return False
        key = configuration_key(configuration)
        news = key not in self.quarantine or (key in self._doubted and not doubted)
        if doubted and key not in self.quarantine:
            self._doubted.add(key)
        elif not doubted:
            self._doubted.discard(key)
        self.quarantine.setdefault(key, (dict(configuration), reason))
        self._good = [good for good in self._good if configuration_key(good) != key]
        return news

    def lift(self, configuration: Configuration) -> bool:
        """Allow a doubted configuration again; return whether it was one."""
        key = configuration_key(configuration)
        if key not in self._doubted:
            return False
        self._doubted.discard(key)
        del self.quarantine[key]
        return True

    def last_good(
        self, *, other_than: Configuration | None, first: Configuration | None = None
    ) -> Configuration | None:
        """
        Return the best known allowed configuration other than the present one, or None.

        `first` comes before all, then what went well last, then the fallback, then the default.
        """
        known = [
            self.default, self.fallback, *self._good, *([] if first is None else [first])
        ]
        for configuration in reversed(known):
            if configuration != other_than and self.allowed(configuration):
                return dict(configuration)
        return None


def posterior(kept: float, windows: int, broken: int) -> float:
    """
    Return the probability that a run keeps all limits, after `broken` of `windows` did not.

    `kept` is what the model says without them (the mean of a beta distribution).
    """
    return (_MODEL_WORTH * kept + windows - broken) / (_MODEL_WORTH + windows)
