# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for one change of a robot's parameters: what it needs, and how it ended."""

from __future__ import annotations

import dataclasses
from typing import Any

from tl_adapt.adaptation.events import Configuration
from tl_adapt.ros.tuned import merged
from tl_adapt.ros.values import Snapshot


@dataclasses.dataclass(frozen=True)
class Outcome:
    """
    Say how a change ended.

    `configuration` is what is in force now, None if that is not known; `values` what each node
    has now (full node name -> parameter -> value), without those of which that is not known.
    `open` holds the nodes that could not be restored, with what they are to get once they answer,
    `foreign` what someone else changed meanwhile, with the values that it had before.
    """

    ok: bool
    reason: str = ''
    configuration: Configuration | None = None
    refused: bool = False
    values: Snapshot = dataclasses.field(default_factory=dict)
    open: Snapshot = dataclasses.field(default_factory=dict)
    foreign: Snapshot = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Change:
    """
    Hold what has to be sent for a configuration.

    `present` are all tuned parameters as they are now, `before` and `after` those that differ;
    `restarting` are the nodes that take some of it by a restart only. What is outside of the
    space's ranges now (`unfit`) is not in `before`, as it is not to come back.
    """

    configuration: Configuration
    present: Snapshot
    before: Snapshot
    after: Snapshot
    restarting: tuple[str, ...] = ()
    unfit: Snapshot = dataclasses.field(default_factory=dict)

    @property
    def restored(self) -> Snapshot:
        """Return all tuned parameters as they are to be once the change is undone."""
        known = {
            node: {name: self.after.get(node, {}).get(name, value) for name, value in each.items()}
            for node, each in self.unfit.items()
        }
        return merged(self.present, known)

    @property
    def wanted(self) -> Snapshot:
        """Return all tuned parameters as they are to be."""
        return merged(self.present, self.after)


@dataclasses.dataclass(frozen=True)
class Obstacle:
    """Say why nothing can be set now; `ambiguous` means that it must never be set like this."""

    reason: str
    ambiguous: bool = False


class Listener:
    """Hear nothing of what nodes tell of their parameters; see `ParameterWatch`."""

    def told(self, name: str, key: str, value: Any) -> bool:
        """Tell whether a node said that a parameter got this value since the change began."""
        return False

    def limited(self, name: str, key: str, value: Any) -> None:
        """Take note that a node made this value of one that we sent."""
