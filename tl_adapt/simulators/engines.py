# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for choosing the physics engine; what the others need is not imported."""

from __future__ import annotations

import importlib
from typing import Any

from tl_adapt.demo.world import load_world
from tl_adapt.simulators.engine import Engine
from tl_adapt.simulators.options import Options

_ENGINES = {
    'mujoco': ('tl_adapt.simulators.mujoco_sim', 'MujocoSimulator'),
    'gazebo': ('tl_adapt.simulators.gazebo.simulator', 'GazeboSimulator'),
}


def make_engine(options: Options) -> Engine:
    """
    Start the engine that the options name, in their world.

    Raises InputError for a bad option, TlAdaptError if the engine is not installed or not started.
    """
    module, name = _ENGINES[options.engine]
    own: dict[str, Any] = {'viewable': options.viewable} if options.engine == 'gazebo' else {}
    engine: Engine = getattr(importlib.import_module(module), name)(
        load_world(options.world), physics=options.physics, physics_step=options.physics_step,
        beams=options.beams, **own,
    )
    try:
        engine.check_start(options.start_pose)
    except BaseException:
        engine.close()
        raise
    engine.exact_reset = options.exact_reset
    return engine
