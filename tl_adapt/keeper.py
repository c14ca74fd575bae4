# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for storing measurements with all that is known about how they came to be."""

from __future__ import annotations

import datetime
import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tl_adapt.digests import KeyMaker
from tl_adapt.environments.base import Measurement
from tl_adapt.provenance import host_provenance, json_safe

if TYPE_CHECKING:
    from tl_adapt.store import Store
    from tl_adapt.study import Study


class Keeper:
    """Complete the measurements of one environment with their provenance, and store them."""

    def __init__(self, study: Study, environment: str, store: Store) -> None:
        """Note what holds for all of them; `done` and `invalid` count what was kept."""
        self._environment = environment
        self._store = store
        self._host = host_provenance(study)
        self._keys = KeyMaker(study, environment)
        self.done = 0
        self.invalid = 0

    def key(self, configuration: Mapping[str, Any], seed: int, purpose: str) -> str:
        """Return the run's key: the same run is measured once."""
        return self._keys.key(configuration, seed, purpose)

    def keep(
        self, key: str, configuration: Mapping[str, Any], seed: int, purpose: str,
        measurement: Measurement,
    ) -> Measurement:
        """
        Store one measurement and return it; it is on the disk then.

        A metric that is not finite makes it invalid. Raises StoreError if it can't be stored.
        """
        m = measurement
        m.environment = self._environment
        m.configuration = dict(configuration)
        m.seed = seed
        m.purpose = purpose
        m.key = key
        if not m.started:
            m.started = datetime.datetime.now(datetime.timezone.utc).isoformat()
        bad = sorted(name for name, value in m.metrics.items() if not math.isfinite(value))
        if bad:
            m.metrics = {name: v for name, v in m.metrics.items() if name not in bad}
            m.reason = m.reason if not m.valid else f'metric {", ".join(bad)} is not finite'
            m.valid = False
        m.provenance = json_safe({**self._host, 'load': list(os.getloadavg()), **m.provenance})
        self._store.add(m)
        self.done += 1
        self.invalid += not m.valid
        return m
