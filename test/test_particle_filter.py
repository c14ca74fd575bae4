# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Test the particle filter, and the closed loop of all the robot software."""

import math

import numpy as np
import pytest

from tl_adapt.demo.closed_loop import closed_loop
from tl_adapt.demo.compute_time import localizer_time, navigator_time
from tl_adapt.demo.particle_filter import ParticleFilter, make_filter
from tl_adapt.demo.settings import LocalizerSettings
from tl_adapt.demo.world import load_world
from tl_adapt.simulators.base import Physics
from tl_adapt.testing.kinematic import KinematicSimulator, cast_rays

ANGLES = np.arange(120) * (2 * math.pi / 120)
WORLD = load_world('room')


def drive(settings, *, seed=0, drift=0.05, noise=0.02, steps=30):
    """Drive an arc; return the errors [m] and the last estimate."""
    localizer = make_filter(WORLD, settings, seed=seed)
    localizer.reset(WORLD.start, seed=seed)
    rng = np.random.default_rng(seed + 100)
    pose, odometry, errors = WORLD.start, (0.0, 0.0, 0.0), []
    for _ in range(steps):
        pose = moved(pose, 0.03, 0.01)
        odometry = moved(odometry, 0.03 * (1.0 + drift), 0.01 + drift * 0.03)
        ranges = cast_rays(WORLD, pose, ANGLES) + noise * rng.standard_normal(len(ANGLES))
        estimate = localizer.update(odometry, ANGLES, ranges)
        errors.append(math.dist(estimate.pose[:2], pose[:2]))
    return np.array(errors), estimate


def moved(pose, distance, turn):
    heading = pose[2] + 0.5 * turn
    return (pose[0] + distance * math.cos(heading), pose[1] + distance * math.sin(heading),
            pose[2] + turn)


def test_it_follows_the_robot_in_spite_of_drift():
    errors, estimate = drive(LocalizerSettings())
    assert errors[-10:].mean() < 0.03
    assert np.all(np.diag(estimate.covariance) > 0.0)
    assert estimate.lookups == 300 * 40
    assert estimate.gradients > 0


def test_the_same_seed_gives_the_same_estimates():
    first, last = drive(LocalizerSettings(), seed=3, steps=8)
    second, again = drive(LocalizerSettings(), seed=3, steps=8)
    other, _ = drive(LocalizerSettings(), seed=4, steps=8)
    assert np.array_equal(first, second) and last.pose == again.pose
    assert not np.array_equal(first, other)


def test_particles_and_refinements_buy_accuracy():
    def error(**changes):
        settings = LocalizerSettings(**changes)
        return np.mean([drive(settings, seed=s, steps=20)[0][5:].mean() for s in range(3)])

    poor, rich = error(particles=20, refinements=0), error(particles=800, refinements=0)
    refined = error(particles=20, refinements=2)
    assert rich < 0.8 * poor
    assert refined < poor


def test_refinement_pulls_a_wrong_start_to_the_walls():
    ranges = cast_rays(WORLD, WORLD.start, ANGLES)
    wrong = (WORLD.start[0] + 0.1, WORLD.start[1] - 0.08, WORLD.start[2] + 0.06)
    errors = []
    for refinements in (0, 4):
        localizer = make_filter(WORLD, LocalizerSettings(refinements=refinements))
        localizer.reset(wrong, spread=(0.01, 0.01, 0.01), seed=1)
        for _ in range(3):
            estimate = localizer.update((0.0, 0.0, 0.0), ANGLES, ranges)
        errors.append(math.dist(estimate.pose[:2], WORLD.start[:2]))
    assert errors[1] < 0.02 < errors[0]


def test_a_new_number_of_particles_takes_effect_while_running():
    localizer = make_filter(WORLD, LocalizerSettings())
    localizer.reset(WORLD.start, seed=1)
    ranges = cast_rays(WORLD, WORLD.start, ANGLES)
    for count in (50, 900):
        localizer.configure(LocalizerSettings(particles=count))
        estimate = localizer.update((0.0, 0.0, 0.0), ANGLES, ranges)
        assert localizer.particles.shape == (count, 3)
        assert math.dist(estimate.pose[:2], WORLD.start[:2]) < 0.1


def test_readings_without_a_hit_are_left_out():
    localizer = make_filter(WORLD)
    localizer.reset(WORLD.start, seed=1)
    for bad in (np.inf, np.nan, -1.0):
        estimate = localizer.update((0.0, 0.0, 0.0), ANGLES, np.full(len(ANGLES), bad))
        assert estimate.lookups == 0
        assert math.dist(estimate.pose[:2], WORLD.start[:2]) < 0.05


def test_a_map_must_have_two_dimensions():
    with pytest.raises(ValueError, match='ndim == 2'):
        ParticleFilter(np.zeros(3), 0.05, (0.0, 0.0))


def test_modelled_compute_times_are_those_of_the_text():
    default = localizer_time(300, 300 * 40, 30 * 40 * 2)
    most = localizer_time(1000, 1000 * 120, 100 * 120 * 5)
    assert 0.013 < default < 0.017
    assert 5.0 < most / default < 25.0
    default = navigator_time(7 * 17 * 15, 1100)
    most = navigator_time(15 * 41 * 30, 1100)
    assert 0.017 < default < 0.023
    assert 5.0 < most / default < 25.0


def test_a_short_mission_succeeds_and_repeats():
    simulator = KinematicSimulator(physics=Physics(odometry_drift=0.05), beams=60)
    runs = [
        closed_loop(simulator, {'max_vel_x': 0.5, 'beams': 20}, seed=2, world=WORLD,
                    goal=(-1.4, -2.0, 0.0), keep_trail=True)
        for _ in range(2)
    ]
    assert runs[0].success and runs[0].reason == ''
    assert runs[0].time < 5.0 and runs[0].error < 0.05 and runs[0].clearance > 0.02
    assert runs[0].trail == runs[1].trail


def test_a_blinded_software_hits_something():
    """A computer that is far too slow must show as collisions or getting nowhere."""
    simulator = KinematicSimulator(beams=60)
    run = closed_loop(simulator, {'max_vel_x': 0.6}, seed=2, world=WORLD, cpu_factor=60.0,
                      timeout=15.0)
    assert not run.success
