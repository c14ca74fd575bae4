# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the values nearest to many places in the unit cube, and their own places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tl_adapt.parameter import Parameter


class Lattice:
    """
    Turn places into values and back, for all parameters at once.

    Linear ranges, which most parameters have, are rounded together: bit for bit what
    `Parameter.decode` and `Parameter.encode` give one by one, in a fraction of their time.
    """

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        """Find the linear ranges."""
        self.parameters = tuple(parameters)
        self._linear = np.array(
            [i for i, p in enumerate(self.parameters) if p.fineness is not None], dtype=int
        )
        chosen = [self.parameters[i] for i in self._linear.tolist()]
        numbers = [(p.low, p.high, p.fineness) for p in chosen]
        self._low, self._high, self._fine = np.array(numbers, dtype=float).reshape(-1, 3).T
        self._wide = np.array([float(p.high - p.low) for p in chosen])  # type: ignore[operator]
        self._whole = {i for i in self._linear.tolist() if self.parameters[i].type == 'int'}

    def decode(self, places: np.ndarray) -> dict[str, np.ndarray]:
        """
        Return the values (n,) per parameter nearest to places (n, d).

        Places outside of the cube are clipped; conditions and constraints are not looked at.
        """
        found = np.where(np.isnan(places), 0.5, places)
        found = np.minimum(np.maximum(found, 0.0), 1.0)
        linear = self._low + found[:, self._linear] * self._wide
        linear = np.rint(linear * self._fine) / self._fine
        linear = np.minimum(np.maximum(linear, self._low), self._high) + 0.0  # no -0.0
        together = dict(zip(self._linear.tolist(), linear.T))
        columns = {}
        for number, parameter in enumerate(self.parameters):
            values = together.get(number)
            if values is None:
                values = parameter.decode(found[:, number])
            elif number in self._whole:
                values = values.astype(np.int64)
            columns[parameter.name] = values
        return columns

    def encode(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the places (n, d) of values (n,) per parameter, which must be in range."""
        found = np.empty((len(columns[self.parameters[0].name]), len(self.parameters)))
        for number, parameter in enumerate(self.parameters):
            values = columns[parameter.name]
            if parameter.fineness is None:
                values = parameter.encode(values)  # type: ignore[arg-type]
            found[:, number] = values
        linear = (found[:, self._linear] - self._low) / self._wide
        found[:, self._linear] = np.minimum(np.maximum(linear, 0.0), 1.0)
        return found
