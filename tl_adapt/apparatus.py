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
from tl_adapt.errors import (
    ApparatusError,
    MeasurementError,
    SimulatorFailedError,
    TlAdaptError,
)

#: So many runs in a row without a measurement end a campaign; so many measurements at its very
#: beginning end it, too, if the study does not fit the stack in all of them for one reason.
GIVE_UP = 3
#: How often a run is repeated in which the apparatus failed, unless the environment says so.
RETRIES = 2
#: Set in the provenance of a measurement that failed because study and stack do not fit.
MISMATCH = 'mismatch'
#: Set in the provenance of a measurement in which the simulator failed each time.
SIMULATOR_FAILED = 'simulator_failed'


def measure_with_retry(
    environment: Environment, configuration: Mapping[str, Any], seed: int
) -> Measurement:
    """
    Measure, and again where the apparatus failed: a stack is brought up anew for that.

    After `environment.retries` more tries, a run in which the simulator failed is an invalid
    measurement with the reason, because the configuration may be the cause. Where anything else
    failed there is no measurement: raises ApparatusError, a TlAdaptError. What the software under
    test does always gives a measurement.
    """
    failures: list[str] = []
    simulator = 0  # failures that were the simulator's
    retries = getattr(environment, 'retries', RETRIES)
    while True:
        try:
            measurement = _measure(environment, configuration, seed)
            break
        except ApparatusError as error:
            failures.append(error.reason)
            simulator += isinstance(error, SimulatorFailedError)
            if len(failures) <= retries:
                continue
            if simulator <= retries:  # the stack had no part in that, nor the configuration
                raise
            measurement = Measurement(
                environment.name, dict(configuration), seed, valid=False, reason=error.reason
            )
            measurement.provenance[SIMULATOR_FAILED] = True
            break
    if failures:
        measurement.provenance['failed_before'] = failures
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
    a parameter, a topic never comes), or when the simulator failed in all of them; those are held
    back until it is clear that they are data.
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
            f'{self._label}: {what}, each tried several times: {self.reasons[-1]} '
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
        verdicts = {_verdict(m) for m, _ in held}
        if len(verdicts) > 1 or verdicts == {''}:
            return self.release()
        if len(held) >= GIVE_UP:
            self._held = []
            self._unfit = measurement.reason
            failed = measurement.provenance.get(SIMULATOR_FAILED)
            what = 'the simulator fails' if failed else 'the study does not fit the stack'
            raise TlAdaptError(
                f'{self._label}: {what}, the first {GIVE_UP} '
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


def _verdict(measurement: Measurement) -> str:
    """Return why a measurement may be none of the configuration's doing; empty if it is data."""
    if measurement.valid:
        return ''
    if measurement.provenance.get(SIMULATOR_FAILED):
        return SIMULATOR_FAILED  # the reasons name times and places, so no two are equal
    return measurement.reason if measurement.provenance.get(MISMATCH) else ''


def reference_loop() -> float:
    """Return how long a fixed piece of work took just now, in s: it tells how busy the host is."""
    begun = time.perf_counter()
    total = 0.0
    for number in range(150_000):
        total += math.sqrt(number)
    return round(time.perf_counter() - begun, 6) if total else math.nan
