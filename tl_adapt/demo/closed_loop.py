# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the robot software in a closed loop with a simulator, in one process, without ROS.

It runs the same filter, planner and controller as the nodes do, so it serves to study and to
tune them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tl_adapt.demo.compute_time import localizer_time, navigator_time
from tl_adapt.demo.geometry import Pose
from tl_adapt.demo.navigation import Navigation
from tl_adapt.demo.particle_filter import make_filter
from tl_adapt.demo.planner import ROBOT_RADIUS, make_planner
from tl_adapt.demo.settings import LocalizerSettings, NavigatorSettings, pick
from tl_adapt.demo.world import World
from tl_adapt.simulators.base import Command, Simulator
from tl_adapt.simulators.latency import CommandQueue, LatencyModel


@dataclass
class Run:
    """What a closed loop gave; times are simulated, except `cpu` (of the host)."""

    outcome: str
    reason: str
    time: float
    energy: float  # J
    path_length: float  # m
    clearance: float  # m, smallest of the hull
    error: float  # m, 90th percentile of the position error
    cpu: float  # s per simulated second
    modelled: float  # s per scan, modelled compute time
    trail: list[tuple[float, ...]] = field(default_factory=list)

    @property
    def success(self) -> bool:
        """Whether the goal was reached without a collision."""
        return self.outcome == 'succeeded'


def closed_loop(
    simulator: Simulator,
    configuration: Mapping[str, Any],
    *,
    seed: int,
    world: World,
    goal: Pose = (2.3, 2.2, 0.0),
    cpu_factor: float = 1.0,
    command_latency: float = 0.0,
    timeout: float = 60.0,
    period: float = 0.1,
    keep_trail: bool = False,
) -> Run:
    """
    Drive one mission with a configuration and return how it went.

    Each command takes effect once the (modelled) compute times, times `cpu_factor`, have passed.
    """
    start: Pose = (float(world.start[0]), float(world.start[1]), float(world.start[2]))
    period_ns = round(period * 1e9)
    simulator.reset(seed=seed, start=start)
    localizer = make_filter(world, pick(LocalizerSettings, configuration), seed=seed)
    localizer.reset(start, seed=seed)
    navigation = Navigation(make_planner(world), pick(NavigatorSettings, configuration))
    navigation.set_goal(goal)
    latency = LatencyModel(('localizer', 'navigator'))
    queue = CommandQueue()
    errors, clearances, modelled = [], [], []
    trail: list[tuple[float, ...]] = []
    energy = length = cpu = 0.0
    last = np.asarray(start[:2])
    outcome, reason = 'aborted', 'timeout'
    while simulator.time_ns < timeout * 1e9:
        now_ns = simulator.time_ns
        sample = simulator.advance(period_ns, queue.take(now_ns + period_ns))
        now = sample.time_ns / 1e9
        energy -= sample.voltage * sample.current * period
        length += math.dist(last, sample.pose[:2])
        last = np.asarray(sample.pose[:2])
        clearances.append(float(np.min(sample.ranges)) - ROBOT_RADIUS)
        if sample.collision:
            outcome, reason = 'aborted', 'collision'
            break
        angles = np.arange(len(sample.ranges)) * (2.0 * math.pi / len(sample.ranges))
        ranges = np.asarray(sample.ranges, dtype=float)
        before = time.process_time()
        estimate = localizer.update(sample.odometry, angles, ranges)
        decision = navigation.step(
            now, estimate.pose, angles, ranges, sample.odometry_twist
        )
        cpu += time.process_time() - before
        errors.append(math.dist(estimate.pose[:2], sample.pose[:2]))
        durations = {
            'localizer': localizer_time(
                len(localizer.particles), estimate.lookups, estimate.gradients
            ),
            'navigator': navigator_time(decision.states, decision.expanded),
        }
        modelled.append(sum(durations.values()))
        effective = latency.effective(
            sample.time_ns,
            {name: round(duration * 1e9) for name, duration in durations.items()},
            period_ns=period_ns,
            cpu_factor=cpu_factor,
            command_latency_ns=round(command_latency * 1e9),
        )
        if effective is not None:
            queue.put(effective, Command(decision.v, decision.w))
        if keep_trail:
            trail.append((now, *sample.pose, *estimate.pose, decision.v, decision.w,
                          clearances[-1]))
        if decision.outcome:
            outcome, reason = decision.outcome, decision.reason
            break
    end = simulator.time_ns / 1e9
    return Run(
        outcome, reason, end, energy, length, min(clearances),
        float(np.percentile(errors, 90)) if errors else 0.0,
        cpu / end, float(np.mean(modelled)) if modelled else 0.0, trail,
    )  # fmt: skip
