# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Measure the simulators: how fast, how exact, and how soon it is noticed that one has died.

Everything has the same robot, world, lidar (360 beams at 10 Hz) and solver iterations. Without
Gazebo only the embedded simulator is measured, and the table says so.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')

import psutil
import yaml

from tl_adapt.apparatus import SIMULATOR_FAILED
from tl_adapt.campaign import campaign_runs, run_campaign
from tl_adapt.demo.world import load_world
from tl_adapt.environments.stack import StackEnvironment
from tl_adapt.errors import SimulatorFailedError
from tl_adapt.simulators.answer import wander
from tl_adapt.simulators.base import Command
from tl_adapt.simulators.engine import Engine
from tl_adapt.simulators.gazebo.locate import find_gazebo
from tl_adapt.simulators.gazebo.plugin import build_plugin
from tl_adapt.simulators.gazebo.sdf import build_sdf
from tl_adapt.simulators.gazebo.server import free_port
from tl_adapt.simulators.gazebo.simulator import GazeboSimulator
from tl_adapt.simulators.mujoco_sim import MujocoSimulator
from tl_adapt.simulators.robot import Robot
from tl_adapt.store import Store
from tl_adapt.study import Study, load_study, shipped_file
from tl_adapt.testing.faults import ServerFaults, servers

PERIOD = 100_000_000  # ns
Rates = list[float]  # simulated s per wall s
DEADLINE = 120.0  # s


def bare(simulator: Engine, seconds: float) -> Rates:
    """Return simulated s per wall s, each second of it: physics, lidar and all other sensors."""
    simulator.reset(seed=0, start=simulator.world.start)
    command, rates = Command(0.0, 0.0), []
    for _ in range(round(seconds)):
        begin = time.perf_counter()
        for _ in range(10):
            sample = simulator.advance(PERIOD, [(simulator.time_ns, command)])
            command = wander(sample.ranges, 0.25)
        rates.append(1.0 / (time.perf_counter() - begin))
    return rates


def embedded(seconds: float = 60.0) -> float:
    """Return simulated s per wall s of the embedded simulator, without ROS, in its best second."""
    return max(bare(MujocoSimulator(), seconds))


def bare_gzserver(step: float, seconds: float, *flags: str) -> Rates:
    """
    Return simulated s per wall s, each second of it, of a gzserver without our bridge.

    Its lidar is switched on. The robot stands still, as nothing drives it: what is measured is
    Gazebo alone.
    """
    gazebo = find_gazebo()
    watch = build_plugin(gazebo, Path(__file__).with_name('free_run.cc'))
    text = build_sdf(
        load_world(), Robot(), plugin=watch, physics_step=step, iterations=50, beams=360
    ).replace('<always_on>0</always_on><update_rate>0.01</update_rate>',
              '<always_on>1</always_on><update_rate>10</update_rate>')
    with tempfile.TemporaryDirectory() as folder:
        world = Path(folder) / 'bare.world'
        world.write_text(text)
        environment = gazebo.environment(port=free_port(), home=Path(folder))
        done = subprocess.run(
            [gazebo.gzserver, *flags, world], check=True, stdin=subprocess.DEVNULL,
            env={**os.environ, **environment, 'FREE_RUN_SECONDS': str(round(seconds))},
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=DEADLINE, text=True,
        )
    return [float(line.split()[1]) for line in done.stdout.splitlines() if 'free_run' in line]


def variant(folder: Path, name: str, base: str, changes: Mapping[str, Any]) -> Study:
    """Return a shipped study with other parameters of its simulator node."""
    path = folder / f'{name}.yaml'
    path.write_text(yaml.safe_dump({
        'extends': str(shipped_file(f'{base}.yaml')), 'name': name,
        'environments': {'simulation': {'node_parameters': {'simulator': dict(changes)}}},
    }))
    return load_study(path)


def missions(study: Study, workers: int, number: int) -> dict[str, float]:
    """
    Drive the default configuration over ROS, on so many workers at the same time.

    Returns simulated s per wall s of all workers together: in the missions, and with the set-up
    of each run (reset, parameters, poses).
    """
    results: list[tuple[float, float, float]] = []
    ready = threading.Barrier(workers, timeout=DEADLINE)

    def work(index: int) -> None:
        environment = StackEnvironment(study, study.source.name, worker=index)
        simulated = driven = whole = 0.0
        try:
            for seed in range(number + 1):
                begin = time.monotonic()
                run = environment.measure(study.space.default(), seed)
                if not run.valid:
                    raise SystemExit(f'the default configuration failed: {run.reason}')
                if seed == 0:  # it warms up; then all begin together
                    ready.wait()
                    continue
                simulated += run.sim_time
                driven += run.provenance['mission_wall_time']
                whole += time.monotonic() - begin
        finally:
            environment.close()
        results.append((simulated, driven, whole))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(results) < workers:
        raise SystemExit('a worker failed')
    return {
        'in the mission': sum(s / driven for s, driven, _ in results),
        'with set-up': sum(s / whole for s, _, whole in results),
    }


def poses(simulator: Engine, seconds: float) -> list[tuple[float, float, float]]:
    """Return where a fixed series of commands leads, period by period."""
    simulator.reset(seed=0, start=simulator.world.start)
    result = []
    for n in range(round(seconds * 10)):
        command = Command(0.3 * math.sin(n / 15), 0.9 * math.sin(n / 7))
        result.append(simulator.advance(PERIOD, [(simulator.time_ns, command)]).pose)
    return result


def largest_difference(one: float, other: float, seconds: float) -> tuple[float, float]:
    """Return the largest distance [m] and turn [rad] between runs with two physics steps [s]."""
    runs = []
    for step in (one, other):
        simulator = GazeboSimulator(physics_step=step)
        try:
            runs.append(poses(simulator, seconds))
        finally:
            simulator.close()
    pairs = list(zip(*runs))
    return (
        max(math.dist(a[:2], b[:2]) for a, b in pairs),
        max(abs(math.remainder(a[2] - b[2], 2 * math.pi)) for a, b in pairs),
    )


def detection(study: Study, times: int) -> Iterator[float]:
    """Kill gzserver in mid-mission; give the wall time [s] until the worker's run has ended."""
    for seed in range(times):
        environment = StackEnvironment(study, study.source.name)
        killed: list[float] = []

        def kill(victim: psutil.Process, killed: list[float], used: float) -> None:
            # It has simulated for a while once it has used some CPU time.
            end = time.monotonic() + DEADLINE
            while time.monotonic() < end and sum(victim.cpu_times()[:2]) < used:
                time.sleep(0.01)
            killed.append(time.monotonic())
            victim.kill()

        try:
            environment.start()
            victim = servers()[0]
            used = sum(victim.cpu_times()[:2]) + 0.3
            killer = threading.Thread(target=kill, args=(victim, killed, used))
            killer.start()
            try:
                environment.measure(study.space.default(), seed)
                raise SystemExit('the mission was over before gzserver was killed')
            except SimulatorFailedError:
                noticed = time.monotonic()
            killer.join()
        finally:
            environment.close()
        yield noticed - killed[0]


def fault_injection(study: Study, folder: Path, configurations: int) -> dict[str, Any]:
    """Kill and stop gzservers throughout a campaign; return what became of its runs."""
    runs = campaign_runs(study, study.source.name, configurations, seed=1)
    begin = time.monotonic()
    with Store(folder / 'faults.sqlite', study=study) as store:
        with ServerFaults(1, between=(4.0, 12.0)) as faults:
            result = run_campaign(study, study.source.name, runs, store, workers=2)
        found = store.get()
    again = [m.provenance.get('failed_before', []) for m in found]
    return {
        'configurations': configurations,
        'gzservers killed': faults.killed,
        'gzservers stopped (hung)': faults.stopped,
        'runs stored': len(found),
        'of these valid': sum(m.valid for m in found),
        'of these repeated until measured': sum(bool(a) and m.valid for a, m in zip(again, found)),
        'of these invalid, as the simulator failed each time': sum(
            bool(m.provenance.get(SIMULATOR_FAILED)) for m in found
        ),
        'left for the next call (nothing stored)': result.unmeasured,
        'gzservers left afterwards': len(servers()),
        'wall time [s]': round(time.monotonic() - begin, 1),
    }


def line(label: str, value: float, unit: str = '', note: str = '') -> None:
    """Print one row."""
    print(f'  {label:58s}{value:9.2f} {unit:6s} {note}'.rstrip(), flush=True)


def gazebo_speeds(step: float, seconds: float, repeats: int) -> tuple[float, float, float]:
    """Return the best rates of gzserver, of it with --minimal_comms, and with the bridge."""
    rates: tuple[Rates, Rates, Rates] = ([], [], [])
    simulator = GazeboSimulator(physics_step=step)
    try:
        for _ in range(repeats):  # in turns, so that the machine's moods hit all alike
            rates[0].extend(bare_gzserver(step, seconds))
            rates[1].extend(bare_gzserver(step, seconds, '--minimal_comms'))
            rates[2].extend(bare(simulator, seconds))
    finally:
        simulator.close()
    return max(rates[0]), max(rates[1]), max(rates[2])


def speeds(args: argparse.Namespace, folder: Path, gazebo: bool) -> dict[str, Any]:
    """Print the table of speeds and return it."""
    result: dict[str, Any] = {}
    print('simulated s per wall s (without ROS: in the best second, as machines have moods)')
    result['mujoco bare'] = embedded(args.seconds * args.repeats)
    line('MuJoCo, 2 ms, without ROS', result['mujoco bare'])
    kinds = [('mujoco', 'demo', 0.002)]
    if gazebo:
        for step in (0.001, 0.002, 0.004):
            label = f'{step * 1e3:g} ms'
            alone, quiet, bridge = gazebo_speeds(step, args.seconds, args.repeats)
            result |= {
                f'gazebo {label} bare': alone, f'gazebo {label} bare, minimal_comms': quiet,
                f'gazebo {label} bridge': bridge,
            }
            line(f'gzserver alone, {label}', alone)
            line(f'gzserver --minimal_comms alone, {label}', quiet)
            note = f'{bridge / alone:.2f} and {bridge / quiet:.2f} of these'
            line(f'gzserver + bridge (with --minimal_comms), {label}', bridge, '', note)
        kinds += [('gazebo', 'demo_gazebo', 0.002), ('gazebo', 'demo_gazebo', 0.004)]
    for name, base, step in kinds:
        study = variant(folder, f'{name}_{step * 1e3:g}', base, {'physics_step': step})
        both = []
        for workers in (1, 2):
            found = missions(study, workers, args.missions)
            both.append(found['in the mission'])
            label = f'{name} {step * 1e3:g} ms, {workers} worker{"s"[:workers - 1]}'
            result[label] = found
            note = '' if workers == 1 else f'{both[1] / both[0]:.2f} of one worker'
            line(f'{label}: robot software in the loop', found['in the mission'], '', note)
            line(f'{"":{len(label)}}  the same with set-up', found['with set-up'])
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--json', type=Path, help='also write the figures to this file')
    parser.add_argument('--seconds', type=float, default=30.0, help='simulated time of each run')
    parser.add_argument('--repeats', type=int, default=3, help='runs without ROS')
    parser.add_argument('--missions', type=int, default=5, help='missions of each worker')
    parser.add_argument('--kills', type=int, default=20, help='times that gzserver is killed')
    parser.add_argument('--configurations', type=int, default=30, help='of the faulty campaign')
    args = parser.parse_args()
    gazebo = find_gazebo() is not None
    result: dict[str, Any] = {'gazebo': gazebo}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result['speed'] = speeds(args, folder, gazebo)
        if gazebo:
            print('largest difference to 1 ms steps in 20 s of open-loop driving')
            for step in (0.002, 0.004):
                metres, radians = largest_difference(0.001, step, 20.0)
                result[f'difference {step * 1e3:g} ms'] = [metres, radians]
                line(f'{step * 1e3:g} ms', metres * 1e3, 'mm', f'{radians:.3f} rad')
            study = load_study('demo_gazebo')
            if args.kills:
                found = list(detection(study, args.kills))
                result['detection [s]'] = found
                print('time from killing gzserver in mid-mission to the end of the run')
                line(f'p50 of {args.kills}', statistics.median(found), 's')
                line('max', max(found), 's')
            if args.configurations:
                print('faults injected into a campaign')
                result['faults'] = fault_injection(study, folder, args.configurations)
                for label, value in result['faults'].items():
                    line(label, value)
        else:
            print('Gazebo is not installed (make gazebo): the rest was not measured')
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + '\n', encoding='utf-8')
    return 0


if __name__ == '__main__':
    sys.exit(main())
