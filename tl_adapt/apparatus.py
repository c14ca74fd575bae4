# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for telling failures of what measures from failures of what is measured.

A mission that fails is data. A stack that does not come up, a worker that dies or a study that
asks for what the stack does not have says nothing about a configuration: kept as data, it would
teach the models that good configurations fail.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from tl_adapt.environments.base import Environment, Measurement
from tl_adapt.errors import ApparatusError, MeasurementError, TlAdaptError

#: So many runs in a row without a measurement end a campaign; so many measurements at its very
#: beginning end it, too, if the study does not fit the stack in all of them for one reason.
GIVE_UP = 3
#: Set in the provenance of a measurement that failed because study and stack do not fit.
MISMATCH = 'mismatch'


def measure_with_retry(
    environment: Environment, configuration: Mapping[str, Any], seed: int
) -> Measurement:
    """
    Measure, and once more where the apparatus failed: a stack is brought up anew for that.

    Raises ApparatusError, a TlAdaptError, if it fails again; there is no measurement then.
    Anything that the software under test does gives a measurement.
    """
    try:
        return _measure(environment, configuration, seed)
    except ApparatusError as error:
        first = error.reason
    measurement = _measure(environment, configuration, seed)
    measurement.provenance['failed_before'] = first
    return measurement


def _measure(
    environment: Environment, configuration: Mapping[str, Any], seed: int
) -> Measurement:
    try:
        return environment.measure(configuration, seed)
    except ApparatusError:
        raise
    except MeasurementError as error:
        measurement = Measurement(
            environment.name, dict(configuration), seed, valid=False, reason=error.reason
        )
        if error.mismatch:
            measurement.provenance[MISMATCH] = True
        return measurement


class Watch:
    """
    Watch over a series of runs, and end it where going on makes no sense.

    It ends when GIVE_UP runs in a row could not be measured. It also ends when the first GIVE_UP
    measurements all say for the same reason that the study does not fit the stack (a node lacks
    a parameter, a topic never comes); those are held back until it is clear that they are data.
    """

    def __init__(self, label: str, *, proven: bool) -> None:
        """Name the series in errors; `proven` says that a valid measurement exists already."""
        self._label = label
        self._row = 0
        self._held: list[tuple[Measurement, Any]] | None = None if proven else []
        self._unfit = ''
        self.reasons: list[str] = []

    def unmeasured(self, reason: str) -> None:
        """Note a run without a measurement; raises TlAdaptError when there were too many."""
        self.reasons.append(reason)
        self._row += 1
        if self._row >= GIVE_UP:
            raise self.failure(f'{self._row} runs in a row could not be measured')

    def failure(self, what: str) -> TlAdaptError:
        """Return the error that ends the series with the last reason."""
        return TlAdaptError(
            f'{self._label}: {what}, each tried twice: {self.reasons[-1]} '
            '(what was measured before is kept; the same command goes on)'
        )

    def measured(self, measurement: Measurement, item: Any) -> list[Any]:
        """
        Note a measurement and return the items that may be kept now, in their order.

        Raises TlAdaptError if the study does not fit the stack.
        """
        self._row = 0
        held = self._held
        if held is None:
            return [item]
        held.append((measurement, item))
        reasons = {m.reason for m, _ in held}
        if len(reasons) > 1 or measurement.valid or not measurement.provenance.get(MISMATCH):
            return self.release()
        if len(held) >= GIVE_UP:
            self._held = []
            self._unfit = measurement.reason
            raise TlAdaptError(
                f'{self._label}: the study does not fit the stack, the first {GIVE_UP} '
                f'measurements all failed: {measurement.reason} (they are not kept)'
            )
        return []

    def refuses(self, measurement: Measurement) -> bool:
        """Say whether the series ended for the very reason that this measurement has."""
        return bool(self._unfit) and measurement.reason == self._unfit

    def release(self) -> list[Any]:
        """Return the items that were held back; from now on none is."""
        held, self._held = self._held or [], None
        return [item for _, item in held]


def reference_loop() -> float:
    """Return how long a fixed piece of work took just now, in s: it tells how busy the host is."""
    begun = time.perf_counter()
    total = 0.0
    for number in range(150_000):
        total += math.sqrt(number)
    return round(time.perf_counter() - begun, 6) if total else math.nan
