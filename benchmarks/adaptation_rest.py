# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Measure what an adapter costs while it only watches: CPU share and memory.

A robot of made-up topics, each at 50 Hz, drives no mission; the study judges windows of time.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml

from tl_adapt.demo.adaptation_run import running_adapter, watching
from tl_adapt.environments.base import Measurement
from tl_adapt.models.model_set import ModelSet
from tl_adapt.progress import Progress
from tl_adapt.ros.isolation import child_environment, hold_domain, spawn
from tl_adapt.study import load_study

TOPICS, RATE = 5, 50.0


def content() -> dict[str, Any]:
    """Return a study of a robot with one node and topics of odometry and battery."""
    metrics = {
        f'speed_{i}': {
            'reduction': 'mean', 'topic': f'odom_{i}', 'field': 'twist.twist.linear.x',
            'unit': 'm/s', 'direction': 'maximize',
        } for i in range(TOPICS)
    }
    return {
        'version': 1, 'name': 'rest',
        'parameters': {
            'gain': {'type': 'double', 'range': [0.0, 1.0], 'default': 0.5,
                     'targets': [{'node': 'robot', 'apply': 'live'}]},
        },
        'metrics': metrics,
        'objectives': [{'metric': 'speed_0', 'weight': 1.0, 'reference': 1.0}],
        'mission': {'goals': [[1.0, 0.0, 0.0]], 'timeout': 60.0, 'wall_timeout': 60.0},
        'environments': {'robot': {'kind': 'stack', 'role': 'target'}},
        'adaptation': {'environment': 'robot', 'window': 10.0, 'explore': 0},
    }


def prepare(folder: Path) -> Any:
    """Write the study and a model of made-up measurements."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / 'rest.yaml'
    path.write_text(yaml.safe_dump(content(), sort_keys=False))
    study = load_study(path)
    rng = np.random.default_rng(0)
    rows = [
        Measurement('', configuration, 0, {name: 0.5 + 0.05 * float(rng.standard_normal())
                                           for name in study.metrics})
        for configuration in study.space.sample(20, seed=1)
    ]
    ModelSet(study).fit(rows, rows[:5]).save(folder / 'model')
    (folder / 'model' / 'choice.json').write_text(
        json.dumps({'configuration': study.space.default(), 'why': 'made up'}))
    return study


def run(folder: Path, seconds: float) -> dict[str, Any]:
    """Return share of a core and memory [MiB] of the adapter's process over some seconds."""
    folder = folder / 'rest'
    study = prepare(folder)
    with hold_domain() as domain:
        variables = domain.environment()
        robot = spawn(
            [sys.executable, str(Path(__file__).resolve()), str(TOPICS), str(RATE)],
            env=child_environment(variables),
        )
        try:
            with watching(variables) as watch, running_adapter(study, folder, variables) as own:
                # After the first window a plan is computed ahead, once: that is no rest yet.
                watch.wait('ready', lambda: int(watch.status.get('judged', 0)) >= 2, 60.0)
                process = psutil.Process(own.pid)
                begin, used = time.monotonic(), sum(process.cpu_times()[:2])
                with Progress('at rest [s]', round(seconds)) as progress:
                    while (passed := time.monotonic() - begin) < seconds:
                        time.sleep(min(1.0, seconds - passed))
                        progress.advance('')
                passed = time.monotonic() - begin
                return {
                    'cpu': (sum(process.cpu_times()[:2]) - used) / passed,
                    'memory': process.memory_info().rss / 2**20, 'seconds': passed,
                    'topics': TOPICS, 'rate': RATE, 'windows': int(watch.status['windows']),
                }
        finally:
            robot.kill()
            robot.wait()


def robot(topics: int, rate: float) -> None:
    """Publish odometry for ever, as a robot's node with one parameter."""
    import rclpy
    from nav_msgs.msg import Odometry

    rclpy.init()
    node = rclpy.create_node('robot')
    node.declare_parameter('gain', 0.5)
    publishers = [node.create_publisher(Odometry, f'odom_{i}', 10) for i in range(topics)]
    message = Odometry()

    def publish() -> None:
        message.header.stamp = node.get_clock().now().to_msg()
        message.twist.twist.linear.x = 0.5 + 0.01 * (os.getpid() % 3)
        for publisher in publishers:
            publisher.publish(message)

    node.create_timer(1.0 / rate, publish)
    rclpy.spin(node)


if __name__ == '__main__':
    robot(int(sys.argv[1]), float(sys.argv[2]))
