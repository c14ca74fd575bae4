# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of telling failures of the apparatus from data."""

import pytest

from tl_adapt.apparatus import GIVE_UP, SIMULATOR_FAILED, Watch, measure_with_retry
from tl_adapt.environments.base import Measurement
from tl_adapt.errors import ApparatusError, SimulatorFailedError, TlAdaptError


class Scripted:
    """Be an environment whose runs fail as told, then succeed."""

    name = 'scripted'

    def __init__(self, *errors, retries=2):
        self.errors = list(errors)
        self.retries = retries

    def measure(self, configuration, seed):
        if self.errors:
            raise self.errors.pop(0)
        return Measurement(self.name, dict(configuration), seed, {'time': 1.0})


def died(number=1):
    return SimulatorFailedError(f'gzserver died ({number})')


def test_runs_are_repeated_and_say_so():
    environment = Scripted(died(1), ApparatusError('did not come up'))
    measurement = measure_with_retry(environment, {'a': 1}, 7)
    assert measurement.valid
    assert measurement.provenance['failed_before'] == ['gzserver died (1)', 'did not come up']


def test_a_simulator_that_fails_each_time_makes_an_invalid_measurement():
    measurement = measure_with_retry(Scripted(died(1), died(2), died(3)), {'a': 1}, 7)
    assert (measurement.valid, measurement.reason) == (False, 'gzserver died (3)')
    assert measurement.provenance[SIMULATOR_FAILED] is True
    assert (measurement.configuration, measurement.seed) == ({'a': 1}, 7)
    assert len(measurement.provenance['failed_before']) == 3


@pytest.mark.parametrize('last', [died(), ApparatusError('did not come up')])
def test_a_stack_that_does_not_come_up_measures_nothing(last):
    with pytest.raises(ApparatusError, match=last.reason.split('(')[0]):
        measure_with_retry(Scripted(*[ApparatusError('did not come up')] * 2, last), {}, 1)


def invalid(number):
    return measure_with_retry(Scripted(died(number), retries=0), {}, number)


def test_a_simulator_that_never_works_ends_the_series():
    watch = Watch('study', proven=False)
    for number in range(GIVE_UP - 1):
        assert watch.measured(invalid(number), number) == []
    with pytest.raises(TlAdaptError, match='study: the simulator fails, the first 3'):
        watch.measured(invalid(GIVE_UP), GIVE_UP)


def test_one_valid_run_proves_that_failures_are_data():
    watch = Watch('study', proven=False)
    assert watch.measured(invalid(1), 'one') == []
    assert watch.measured(measure_with_retry(Scripted(), {}, 2), 'two') == ['one', 'two']
    for number in range(5):
        assert watch.measured(invalid(number), number) == [number]
