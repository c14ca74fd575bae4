# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the conformance suite of environments.

Every environment, also one from outside of this package, has to pass it: derive a test class from
EnvironmentConformance and let pytest run it.

    class TestMine(EnvironmentConformance):
        def make_study(self):
            return load_study('my_study.yaml')
"""

from __future__ import annotations

import copy
import datetime
import json
import math
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import psutil

from tl_adapt.environments.base import Environment, Measurement, make_environment
from tl_adapt.errors import InputError

if TYPE_CHECKING:
    from tl_adapt.space import Configuration
    from tl_adapt.study import Study


def require(condition: bool, rule: str, value: Any) -> None:
    """Raise AssertionError that states the rule and the value unless the condition holds."""
    if not condition:
        raise AssertionError(f'{rule}, got {value!r}')


def check_measurement(
    measurement: Measurement, study: Study, name: str, configuration: Configuration, seed: int
) -> None:
    """Require what every measurement has to keep, valid or not."""
    m = measurement
    require(isinstance(m, Measurement), 'measure must return a Measurement', m)
    require(m.environment == name, f'environment must be {name!r}', m.environment)
    require(
        m.configuration == study.space.validate(configuration),
        'configuration must be the canonical form of what was asked for',
        m.configuration,
    )
    require(m.seed == seed, f'seed must be {seed}', m.seed)
    require(isinstance(m.valid, bool), 'valid must be a bool', m.valid)
    for metric, value in m.metrics.items():
        require(metric in study.metrics, 'a metric must be one of the study', metric)
        require(isinstance(value, float), f'metric {metric} must be a float', value)
        require(math.isfinite(value), f'metric {metric} must be finite', value)
    if m.valid:
        require(
            set(m.metrics) == set(study.metrics),
            'a valid measurement must have every metric of the study',
            sorted(m.metrics),
        )
        require(m.reason == '', 'a valid measurement must have no reason', m.reason)
    else:
        require(m.reason != '', 'an invalid measurement must have a reason', m.reason)
    for field in ('cost', 'sim_time', 'wall_time'):
        value = getattr(m, field)
        require(math.isfinite(value) and value >= 0.0, f'{field} must be >= 0', value)
    started = datetime.datetime.fromisoformat(m.started)
    require(started.tzinfo is not None, 'started must have a time zone', m.started)
    text = json.dumps(m.to_dict(), allow_nan=False)
    again = Measurement.from_dict(json.loads(text))
    require(again == m, 'a measurement must survive JSON', again)


def children() -> set[int]:
    """Return the ids of the processes that this one has started, dead ones left out."""
    return {
        process.pid
        for process in psutil.Process(os.getpid()).children(recursive=True)
        if process.status() != psutil.STATUS_ZOMBIE
    }


class EnvironmentConformance:
    """
    Check one kind of environment; every method named `test_...` is one rule.

    The class attributes say what the environment can do.
    """

    #: The environment's name in the study; None for its source.
    environment: str | None = None
    #: Whether equal seeds give equal metrics.
    repeatable = True
    #: Whether environments may run side by side.
    parallel = True
    #: s that one measurement may take.
    deadline = 120.0

    def make_study(self) -> Study:
        """Return the study that has the environment under test."""
        raise NotImplementedError

    def configurations(self, study: Study, environment: Environment) -> list[Configuration]:
        """Return at least two different configurations that can be measured."""
        listed = getattr(environment, 'configurations', None)
        if listed is not None:
            rows: list[Configuration] = listed()
            return rows[:2]
        return [study.space.default(), study.space.sample(1, seed=3)[0]]

    def failing(self, study: Study) -> Configuration | None:
        """Return a configuration whose run fails, None if there is none."""
        return None

    def endless(self, study: Study) -> Configuration | None:
        """Return a configuration whose run takes longer than `deadline`, None without one."""
        return None

    def _make(self, worker: int = 0) -> tuple[Study, str, Environment]:
        study = self.make_study()
        name = self.environment or study.source.name
        return study, name, make_environment(study, name, worker=worker)

    def test_it_is_an_environment(self) -> None:
        """It has the protocol's methods and its name in the study."""
        _, name, environment = self._make()
        try:
            require(isinstance(environment, Environment), 'must be an Environment', environment)
            require(environment.name == name, f'name must be {name!r}', environment.name)
        finally:
            environment.close()

    def test_it_measures(self) -> None:
        """Measurements are complete, take place within the deadline, and leave the input alone."""
        study, name, environment = self._make()
        try:
            for seed, configuration in enumerate(self.configurations(study, environment), 1):
                given = copy.deepcopy(configuration)
                begin = time.monotonic()
                measurement = environment.measure(given, seed)
                took = time.monotonic() - begin
                require(given == configuration, 'measure must not change its input', given)
                require(took < self.deadline, f'must take less than {self.deadline} s', took)
                require(
                    measurement.wall_time <= took + 0.01, 'wall_time must fit the clock',
                    measurement.wall_time,
                )
                check_measurement(measurement, study, name, configuration, seed)
        finally:
            environment.close()

    def test_equal_seeds_give_equal_metrics(self) -> None:
        """The same configuration and seed give the same metrics, where that is promised."""
        if not self.repeatable:
            return
        study, _, environment = self._make()
        try:
            first, second = self.configurations(study, environment)[:2]
            before = environment.measure(first, 7)
            environment.measure(second, 8)
            after = environment.measure(first, 7)
            require(
                (before.metrics, before.valid) == (after.metrics, after.valid),
                f'metrics must be {before.metrics} again',
                after.metrics,
            )
        finally:
            environment.close()

    def test_what_is_outside_of_the_space_is_refused(self) -> None:
        """Unknown names, missing names and values out of range raise InputError."""
        study, name, environment = self._make()
        try:
            good = self.configurations(study, environment)[0]
            parameter = study.space.parameters[0].name
            without = {key: value for key, value in good.items() if key != parameter}
            for bad in ({**good, 'no_such_parameter': 1}, without, {**good, parameter: [1]}):
                try:
                    got = environment.measure(bad, 1)
                except InputError:
                    continue
                require(False, f'{bad} must raise InputError', got)
            check_measurement(environment.measure(good, 1), study, name, good, 1)
        finally:
            environment.close()

    def test_a_failed_run_is_a_measurement(self) -> None:
        """A run that fails is invalid with a reason, and the next one works."""
        study, name, environment = self._make()
        try:
            failing = self.failing(study)
            if failing is None:
                return
            measurement = environment.measure(failing, 1)
            require(not measurement.valid, 'a failed run must be invalid', measurement)
            check_measurement(measurement, study, name, failing, 1)
            good = self.configurations(study, environment)[0]
            require(environment.measure(good, 1).valid, 'must work after a failed run', good)
        finally:
            environment.close()

    def test_close_ends_everything(self) -> None:
        """No process is left after `close`, and a second call does nothing."""
        before = children()
        study, _, environment = self._make()
        try:
            environment.measure(self.configurations(study, environment)[0], 1)
        finally:
            environment.close()
        environment.close()
        require(children() <= before, 'close must end every process', children() - before)

    def test_close_ends_a_run(self) -> None:
        """`close` from another thread ends the run under way, within seconds."""
        study, _, environment = self._make()
        endless = self.endless(study)
        before = children()
        results: list[Any] = []

        def work() -> None:
            try:
                results.append(environment.measure(endless or {}, 1))
            except Exception as error:
                results.append(error)

        thread = threading.Thread(target=work, daemon=True)
        if endless is not None:
            thread.start()
            pause = threading.Event()
            end = time.monotonic() + self.deadline
            while children() <= before and thread.is_alive() and time.monotonic() < end:
                pause.wait(0.01)
        environment.close()
        if endless is None:
            return
        thread.join(20.0)
        require(not thread.is_alive(), 'close must end the run under way', thread)
        got = results[0]
        require(
            isinstance(got, Exception) or not got.valid,
            'a run that was ended must not be valid',
            got,
        )
        require(children() <= before, 'close must end every process', children() - before)

    def test_side_by_side(self) -> None:
        """Two environments of one study measure at the same time."""
        if not self.parallel:
            return
        study, name, first = self._make(0)
        _, _, second = self._make(1)
        configurations = self.configurations(study, first)
        results: dict[int, Any] = {}

        def work(index: int, environment: Environment) -> None:
            try:
                results[index] = environment.measure(configurations[index], 5)
            except Exception as error:
                results[index] = error

        threads = [
            threading.Thread(target=work, args=item, daemon=True)
            for item in enumerate((first, second))
        ]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(self.deadline)
            for index, configuration in enumerate(configurations[:2]):
                require(index in results, f'must end within {self.deadline} s', results)
                check_measurement(results[index], study, name, configuration, 5)
        finally:
            first.close()
            second.close()
