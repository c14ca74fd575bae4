# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Measure how fast the embedded simulator is: alone, and over ROS with software that answers."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import rclpy
from rosgraph_msgs.msg import Clock
from std_srvs.srv import Empty

from tl_adapt.ros.isolation import hold_domain
from tl_adapt.simulators.answer import wander
from tl_adapt.simulators.base import Command
from tl_adapt.simulators.mujoco_sim import MujocoSimulator

DEADLINE = 30.0  # s


def bare(seconds: float, repeats: int) -> tuple[float, float]:
    """Return simulated s per wall s and per CPU s, best of `repeats`, all sensors included."""
    simulator = MujocoSimulator()
    results = []
    for _ in range(repeats):
        simulator.reset(seed=0, start=simulator.world.start)
        command = Command(0.0, 0.0)
        begin, cpu = time.perf_counter(), time.process_time()
        for _ in range(round(seconds * 10)):
            sample = simulator.advance(100_000_000, [(simulator.time_ns, command)])
            command = wander(sample.ranges, 0.25)
        wall, cpu = time.perf_counter() - begin, time.process_time() - cpu
        results.append((seconds / wall, seconds / cpu))
    return max(r[0] for r in results), max(r[1] for r in results)


def over_ros(seconds: float, repeats: int) -> tuple[float, float]:
    """Return simulated s per wall s, best of `repeats`, and CPU ms per scan of the node."""
    modules = (
        ['node', '--ros-args', '-p', 'compute_time_sources:=[wanderer]'],
        ['answer'],
    )
    processes = [
        subprocess.Popen([sys.executable, '-m', f'tl_adapt.simulators.{name}', *rest])
        for name, *rest in modules
    ]
    rclpy.init()
    try:
        node = rclpy.create_node('benchmark')
        clock: list[float] = []
        node.create_subscription(
            Clock, '/clock', lambda m: clock.append(m.clock.sec + m.clock.nanosec / 1e9), 10
        )

        def wait(condition: Callable[[], bool]) -> None:
            end = time.monotonic() + DEADLINE
            while not condition():
                if time.monotonic() > end:
                    raise SystemExit('the simulator does not answer')
                rclpy.spin_once(node, timeout_sec=0.1)

        def call(name: str) -> None:
            client = node.create_client(Empty, name)
            wait(client.service_is_ready)
            future = client.call_async(Empty.Request())
            wait(future.done)

        results = []
        for _ in range(repeats):
            call('pause_physics')
            call('reset_simulation')
            clock.clear()
            call('unpause_physics')
            wait(lambda: bool(clock) and clock[-1] >= 1.0)
            first, begin, cpu = clock[-1], time.perf_counter(), _cpu(processes[0])
            wait(lambda: clock[-1] >= seconds + 1.0)
            passed = clock[-1] - first
            cpu = (_cpu(processes[0]) - cpu) / passed / 10 * 1e3
            results.append((passed / (time.perf_counter() - begin), cpu))
        return max(r[0] for r in results), min(r[1] for r in results)
    finally:
        rclpy.try_shutdown()
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(timeout=DEADLINE)


def _cpu(process: subprocess.Popen[bytes]) -> float:
    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--json', type=Path, help='also write the figures to this file')
    parser.add_argument('--seconds', type=float, default=60.0, help='simulated time of each run')
    parser.add_argument('--repeats', type=int, default=3, help='runs; the best one counts')
    args = parser.parse_args()
    with hold_domain() as domain:
        os.environ.update(domain.environment())
        alone, per_cpu = bare(args.seconds, args.repeats)
        ros, cpu = over_ros(args.seconds, args.repeats)
    print('embedded simulator, 2 ms steps, 360 beams at 10 Hz   simulated s / wall s')
    print(f'  MuJoCo with lidar, alone                          {alone:10.1f}')
    print(f'  the same per CPU s                                {per_cpu:10.1f}')
    print(f'  node in lock-step with an answering process       {ros:10.1f}')
    print(f'  CPU of the node per scan                          {cpu:10.2f} ms')
    if args.json:
        names = ('bare', 'bare_per_cpu', 'lock_step', 'node_cpu_ms_per_scan')
        figures = dict(zip(names, (alone, per_cpu, ros, cpu)))
        args.json.write_text(json.dumps(figures) + '\n', encoding='utf-8')
    return 0


if __name__ == '__main__':
    sys.exit(main())
