# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for bags as environments: other configurations of the software on recorded input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tl_adapt.bags.replayed import ReplayedBag
from tl_adapt.environments.base import Measurement
from tl_adapt.environments.stack import StackEnvironment
from tl_adapt.errors import InputError

if TYPE_CHECKING:
    from tl_adapt.study import Study

_POOL = 1024


class ReplayEnvironment(StackEnvironment):
    """
    Replay a bag through the software under test, which a worker process brings up.

    The software is measured in a ROS domain of its own; nothing here imports rclpy. Parameters of
    nodes that are not replayed have the values that they had when the bag was recorded.
    """

    needs_mission = False

    def __init__(
        self, study: Study, name: str, *, worker: int = 0, traces: Path | str | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        """Look into the bag only; raises InputError if it does not fit, see ReplayedBag."""
        super().__init__(study, name, worker=worker, traces=traces)
        bag = ReplayedBag(study, self._spec, progress)
        try:
            self.held = dict(bag.held)
            self.damage: list[str] = bag.losses
            self._longest = bag.wall_timeout * len(bag.missions)
        finally:
            bag.close()
        if self.held:
            # Only then is there a list of what can be measured here, for who looks for one.
            self.configurations = self._configurations

    def measure(
        self,
        configuration: Mapping[str, Any] | None,
        seed: int,
        *,
        trace: Path | str | None = None,
    ) -> Measurement:
        """
        Replay all missions of the bag with a configuration.

        Raises InputError for one that gives a node which is not replayed another value than it
        had, and as StackEnvironment does.
        """
        if configuration is not None:
            configuration = self._study.space.validate(configuration)
            self.check_held(configuration)
        return super().measure(configuration, seed, trace=trace)

    def check_held(self, configuration: Mapping[str, Any]) -> None:
        """Raise InputError unless what can't be varied here has its value."""
        for parameter, value in self.held.items():
            if configuration[parameter] != value:
                node = self._study.space[parameter].targets[0].node
                rule = (
                    f'must be {value!r}, as when the bag of {self.name} was recorded: node '
                    f'{node} is not replayed'
                )
                raise InputError(rule, key=parameter, value=configuration[parameter])

    def held_fast(self, configuration: Mapping[str, Any]) -> dict[str, Any]:
        """Return a configuration with the values that can't be varied here."""
        return {**configuration, **self.held}

    def _configurations(self) -> list[dict[str, Any]]:
        """Return configurations that can be measured here, the default's values first."""
        space = self._study.space
        pool = [space.default(), *space.sample(_POOL, seed=self._study.seeds.campaign)]
        found: list[dict[str, Any]] = []
        for each in map(self.held_fast, pool):
            try:
                valid = dict(space.validate(each))
            except InputError:
                continue  # a constraint does not hold with the values of then
            if valid not in found:
                found.append(valid)
        return found

    def _reading_time(self) -> float:
        # A worker reads the whole bag first.
        return super()._reading_time() + self._longest

    def _mission_time(self) -> float:
        return self._longest
