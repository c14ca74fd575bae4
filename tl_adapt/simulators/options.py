# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the simulator node's parameters: what they are, and which values are right."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
)
from rclpy.node import Node

from tl_adapt.errors import InputError
from tl_adapt.simulators.base import PHYSICS_OPTIONS, Physics

MODES = ('lock_step', 'real_time')
ENGINES = ('mujoco', 'gazebo')
_LONGEST_STEP = {'mujoco': 0.0025, 'gazebo': 0.005}  # s; as the engines' `steps`
# Changing one of these makes a new model.
STRUCTURAL = frozenset({'engine', 'world', 'beams', 'physics_step', 'viewable'})


@dataclass(frozen=True)
class Options:
    """Hold what the node's parameters say, those of the physics in `physics`."""

    engine: str = 'mujoco'
    mode: str = 'lock_step'
    real_time_factor: float = 1.0
    world: str = 'room'
    physics_step: float = 0.002
    scan_rate: float = 10.0
    beams: int = 360
    seed: int = 0
    start_pose: tuple[float, ...] = (-2.3, -2.3, 0.6)
    cpu_factor: float = 1.0
    command_latency: float = 0.0
    exact_reset: bool = False
    viewable: bool = False
    compute_time_sources: tuple[str, ...] = ()
    answer_timeout: float = 2.0
    physics: Physics = Physics()

    @property
    def period_ns(self) -> int:
        """Return the time between scans [ns]: a whole number of physics steps."""
        step_ns = round(self.physics_step * 1e9)
        return round(1e9 / self.scan_rate / step_ns) * step_ns

    def changed(self, values: Mapping[str, Any]) -> Options:
        """
        Return a copy with other values, by parameter name.

        Raises InputError with parameter, rule and value for a value that is wrong.
        """
        physics = {k: v for k, v in values.items() if k in PHYSICS_OPTIONS}
        rest: dict[str, Any] = {
            k: tuple(v) if k in ('start_pose', 'compute_time_sources') else v
            for k, v in values.items()
            if k in _OWN
        }
        options = replace(self, physics=self.physics.changed(**physics), **rest)
        for name, known in (('mode', MODES), ('engine', ENGINES)):
            value = getattr(options, name)
            if value not in known:
                raise InputError(f'must be one of {list(known)}', key=name, value=value)
        sources = options.compute_time_sources
        if len(set(sources)) < len(sources) or not all(sources):
            rule = 'must be names that differ'
            raise InputError(rule, key='compute_time_sources', value=list(sources))
        for name, (low, high, _, _) in _NUMBERS.items():
            value = getattr(options, name)
            if not low <= value <= high:
                raise InputError(f'must lie in [{low:g}, {high:g}]', key=name, value=value)
        longest = _LONGEST_STEP[options.engine]
        if options.physics_step > longest:
            rule = f'must be at most {longest:g} s for the engine {options.engine}'
            raise InputError(rule, key='physics_step', value=options.physics_step)
        if abs(1e9 / options.scan_rate - options.period_ns) > 1:
            step = options.physics_step
            rule = f'the period must be a multiple of the physics step (physics_step: {step:g} s)'
            raise InputError(rule, key='scan_rate', value=options.scan_rate)
        return options


_OWN = {field.name for field in fields(Options)} - {'physics'}

_NUMBERS: dict[str, tuple[float, float, str, str]] = {
    'real_time_factor': (0.01, 100.0, '-', 'simulated per wall time in mode real_time'),
    'physics_step': (0.0005, 0.005, 's', 'time step of the physics; at most 0.0025 in MuJoCo'),
    'scan_rate': (1.0, 50.0, 'Hz', 'rate of all sensors'),
    'beams': (1, 4096, '-', 'beams of the lidar over the full circle'),
    'seed': (0, 2**62, '-', 'seed of the sensor noise; counts from the next reset on'),
    'cpu_factor': (0.0, 100.0, '-', 'how much slower than the reference computer nodes run'),
    'command_latency': (0.0, 2.0, 's', 'delay from a command to its effect'),
    'answer_timeout': (0.01, 600.0, 's', 'wall time to wait for the answer to a scan'),
}

_TYPES = {
    bool: 'bool', int: 'whole number', float: 'number with a point', str: 'text', list: 'list',
}  # fmt: skip

_TEXTS = {
    'engine': 'physics engine: mujoco (embedded) or gazebo (a gzserver of its own)',
    'exact_reset': 'whether Gazebo is started anew at each reset, so that runs repeat bit by bit',
    'viewable': 'whether gzclient can watch Gazebo, which costs time',
    'mode': 'lock_step: each scan waits for its answer; real_time: none does',
    'world': 'name or file of the world',
    'start_pose': 'x [m], y [m], yaw [rad] at a reset, in the frame map',
    'compute_time_sources': 'nodes whose compute times delay the commands, in order of the chain',
}


def check_types(values: Mapping[str, Any]) -> None:
    """Raise InputError for a name that is no parameter, or a value of another type."""
    defaults = {**vars(Options()), **vars(Physics())}
    del defaults['physics']
    for name, value in values.items():
        if name not in defaults:
            close = difflib.get_close_matches(name, defaults, n=1)
            hint = f'; did you mean {close[0]}?' if close else ''
            raise InputError(f'is no parameter of the simulator{hint}', key=name, value=value)
        default = defaults[name]
        kind = list if isinstance(default, tuple) else type(default)
        if type(value) is not kind:
            rule = f'must be a {_TYPES[kind]}, as ROS tells them apart'
            raise InputError(rule, key=name, value=value)


def declare(node: Node) -> Options:
    """
    Declare all parameters, with descriptors; return what they say.

    Raises InputError for a wrong value given at the start.
    """
    defaults: dict[str, Any] = {f.name: getattr(Options(), f.name) for f in fields(Options)}
    physics = defaults.pop('physics')
    defaults.update({name: getattr(physics, name) for name in PHYSICS_OPTIONS})
    values = {}
    for name, default in defaults.items():
        value = list(default) if isinstance(default, tuple) else default
        if name == 'compute_time_sources':
            value = ['']  # an empty list has no type; an empty name stands for none
        values[name] = node.declare_parameter(name, value, _descriptor(name)).value
    values['compute_time_sources'] = sources(values['compute_time_sources'])
    return Options().changed(values)


def sources(names: list[str]) -> list[str]:
    """Return the names without the single empty one that stands for none."""
    return [] if list(names) == [''] else list(names)


def _descriptor(name: str) -> ParameterDescriptor:
    if name in _TEXTS:
        return ParameterDescriptor(description=_TEXTS[name])
    low, high, unit, text = _NUMBERS[name] if name in _NUMBERS else PHYSICS_OPTIONS[name]
    descriptor = ParameterDescriptor(description=f'{text} [{unit}]')
    if name in ('seed', 'beams'):
        whole = IntegerRange(from_value=int(low), to_value=int(high), step=0)
        descriptor.integer_range.append(whole)
    else:
        wide = FloatingPointRange(from_value=float(low), to_value=float(high), step=0.0)
        descriptor.floating_point_range.append(wide)
    return descriptor
