# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what can be said of our simulator node before a stack is brought up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tl_adapt.demo.world import load_world
from tl_adapt.errors import InputError
from tl_adapt.simulators.options import Options, check_types

#: Parameters that are the node's own business or every node's.
_OTHERS = {'paused', 'stamped_cmd_vel', 'gazebo_prefix', 'simulation_interfaces_prefix',
           'use_sim_time'}  # fmt: skip


def check_parameters(values: Mapping[str, Any]) -> Options:
    """
    Return what the values mean.

    Raises InputError with the parameter's name for one that the node does not have or would
    refuse, and for a world that can not be read.
    """
    own = {name: value for name, value in values.items() if name not in _OTHERS}
    check_types(own)
    options = Options().changed(own)
    try:
        load_world(options.world)
    except InputError as error:
        rule = f'names a world that is wrong ({error})' if error.file else error.rule
        raise InputError(rule, key='world', value=options.world) from None
    return options


def make_ready(options: Options) -> None:
    """
    Compile what the engine needs, so that nobody waits for that while the node starts.

    Raises TlAdaptError if the engine is not installed.
    """
    if options.engine == 'gazebo':
        from tl_adapt.simulators.gazebo.plugin import build_plugin
        from tl_adapt.simulators.gazebo.simulator import require_gazebo

        build_plugin(require_gazebo())
