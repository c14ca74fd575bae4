# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for where a parameter goes in the ROS graph, and what its values are there."""

from __future__ import annotations

import dataclasses
import math
import os
import sys
from collections.abc import Mapping

from tl_adapt.errors import InputError

Value = bool | int | float | str
MODES = ('live', 'idle', 'restart')
LARGEST = 1e100  # of a double, of a scale and of an offset
_SMALLEST = 1e-200  # far more than the smallest double by the smallest scale


@dataclasses.dataclass(frozen=True)
class RosTarget:
    """
    Say where a parameter goes in the ROS graph: `scale * value + offset` to `name` of `node`.

    `index` is an element of an array parameter, None for the whole parameter. `apply` maps
    'default' and names of ROS distributions to a mode.
    """

    node: str
    name: str
    index: int | None = None
    scale: float = 1.0
    offset: float = 0.0
    apply: Mapping[str, str] = dataclasses.field(default_factory=lambda: {'default': 'live'})

    def __post_init__(self) -> None:
        """Check what the types alone don't say."""
        if not self.scale or not math.isfinite(self.scale):
            raise InputError('must be a number other than 0', key='scale', value=self.scale)
        if not 1 / LARGEST <= abs(self.scale) <= LARGEST:
            raise InputError('must stay within 1e-100 and 1e100', key='scale', value=self.scale)
        if not abs(self.offset) <= LARGEST:
            raise InputError('must stay within 1e100', key='offset', value=self.offset)
        if 'default' not in self.apply:
            raise InputError("needs a 'default' mode", key='apply', value=dict(self.apply))
        for distribution, mode in self.apply.items():
            if mode not in MODES:
                rule = f'must be one of {", ".join(MODES)}'
                raise InputError(rule, key=f'apply.{distribution}', value=mode)

    @property
    def plain(self) -> bool:
        """Say whether the value goes over unchanged."""
        return self.scale == 1 and self.offset == 0

    def mode(self, distribution: str | None = None) -> str:
        """
        Return 'live', 'idle' or 'restart' for a ROS distribution.

        None means the sourced one (ROS_DISTRO); without that the default counts.
        """
        if distribution is None:
            distribution = os.environ.get('ROS_DISTRO', 'default')
        return self.apply.get(distribution, self.apply['default'])

    def to_ros(self, value: Value) -> Value:
        """Return what the node gets for `value`; the type is kept."""
        if self.plain or isinstance(value, (bool, str)):
            return value
        if isinstance(value, int):
            return int(self.scale) * value + int(self.offset)
        return float(self.scale * value + self.offset)

    def from_ros(self, value: Value) -> Value:
        """Return the parameter's value for what the node has; inverse of `to_ros`."""
        if self.plain or isinstance(value, (bool, str)):
            return value
        if isinstance(value, int):
            return round((value - int(self.offset)) / int(self.scale))
        return float((value - self.offset) / self.scale)

    def error(self, value: float) -> float:
        """
        Return how far `from_ros(to_ros(value))` may be from `value`, for a double.

        These are the roundings of the way: each is half an ulp, of the value or of the offset, or
        of the smallest double.
        """
        if self.plain:
            return 0.0
        size = abs(value) + abs(self.offset / self.scale)
        return 4.0 * sys.float_info.epsilon * size + _SMALLEST
