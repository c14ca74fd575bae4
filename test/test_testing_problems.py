# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from numpy.testing import assert_allclose

from tl_adapt.environments.command import CommandEnvironment
from tl_adapt.testing.noisy import NoisyEnvironment, noisy_study

STUDY = noisy_study(3)
TARGET = NoisyEnvironment(STUDY, 'target', variant=3)
POOL = STUDY.space.sample(300, seed=1)


def test_it_has_every_kind_of_parameter():
    types = {parameter.type for parameter in STUDY.space.parameters}
    assert types == {'double', 'int', 'string'}
    assert any(parameter.condition for parameter in STUDY.space.parameters)
    assert all(one['speed'] <= 4 * one['inflation'] for one in POOL)


def test_the_truth_is_the_mean_of_many_runs():
    for configuration in (STUDY.space.default(), POOL[5]):
        runs = [TARGET.measure(configuration, seed) for seed in range(600)]
        valid = [run for run in runs if run.valid]
        mean = np.mean([STUDY.objective(run.metrics) for run in valid])
        assert mean == pytest.approx(float(TARGET.objective([configuration])[0]), rel=0.05)
        kept = np.mean([run.valid and not STUDY.broken_limits(run.metrics) for run in runs])
        assert kept == pytest.approx(float(TARGET.kept([configuration])[0]), abs=0.05)


def test_the_noise_depends_on_the_configuration():
    fast, slow = (
        STUDY.space.default() | {'speed': speed, 'particles': particles, 'inflation': 0.5}
        for speed, particles in ((1.0, 20), (0.1, 500))
    )
    spread = [
        np.std([np.log(TARGET.measure(c, seed).metrics['duration']) for seed in range(100)])
        for c in (fast, slow)
    ]
    assert spread[0] > 4 * spread[1]


@pytest.mark.parametrize('variant', range(2))
def test_the_default_is_safe_and_the_limit_costs_something(variant):
    study = noisy_study(variant)
    target = NoisyEnvironment(study, 'target', variant=variant)
    assert target.kept([study.space.default()])[0] > 0.98
    best, value = target.best(samples=256)
    assert target.kept([best])[0] >= 0.9
    assert value < target.objective([study.space.default()])[0]
    free = target.best(risk=1.0, samples=256)[1]
    assert free <= value + 1e-9


def test_the_source_is_another_environment_but_related():
    source = NoisyEnvironment(STUDY, 'source', variant=3)
    there, here = source.objective(POOL), TARGET.objective(POOL)
    assert not np.allclose(there, here)
    assert np.corrcoef(np.log(there), np.log(here))[0, 1] > 0.5
    assert source.measure(POOL[0], 1).cost < TARGET.measure(POOL[0], 1).cost


def test_without_noise_a_run_is_the_truth():
    quiet = NoisyEnvironment(STUDY, 'target', variant=3, noise=0.0)
    run = quiet.measure(STUDY.space.default(), 5)
    for name, values in quiet.truth([STUDY.space.default()]).items():
        assert_allclose(run.metrics[name], values[0])


def test_it_runs_as_a_program_too():
    environment = CommandEnvironment(STUDY, STUDY.target.name)
    try:
        got = environment.measure(STUDY.space.default(), 7)
    finally:
        environment.close()
    assert got.metrics == pytest.approx(TARGET.measure(STUDY.space.default(), 7).metrics)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match='role'):
        NoisyEnvironment(STUDY, 'midfield')
    with pytest.raises(ValueError, match='noise'):
        NoisyEnvironment(STUDY, 'target', noise=2.0)
