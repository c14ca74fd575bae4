# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for finding out how the simulator in a graph can be controlled."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping

from rclpy.node import Node

from tl_adapt.ros.optional_interfaces import simulation_interfaces
from tl_adapt.ros.simulator_control.base import ControlError, SimulatorControl
from tl_adapt.ros.simulator_control.caller import Caller
from tl_adapt.ros.simulator_control.gazebo import EMPTY, GazeboControl
from tl_adapt.ros.simulator_control.graph import Offer, of_kind, offers
from tl_adapt.ros.simulator_control.interfaces import PACKAGE, InterfacesControl
from tl_adapt.ros.simulator_control.named import VERBS, NamedServices

INTERFACES = ('auto', 'gazebo', PACKAGE, 'services')
_GRACE = 0.5  # s that the better of two interfaces may be discovered later than the other
_POLL = 0.02  # s between two looks at the graph
_OFFERED_BY = (
    'ros_gz_sim offers it from 1.0.18 (Jazzy), 2.1.12 (Kilted) and 3.0.4 (Rolling) on, '
    'Isaac Sim and O3DE with an extension'
)
_GAZEBO_BY = 'gazebo_ros offers it for Gazebo classic, in Humble; modern Gazebo does not'


def make_control(
    node: Node,
    simulator: Mapping[str, str] | None,
    *,
    deadline: float = 10.0,
    alive: Callable[[], None] = lambda: None,
) -> SimulatorControl:
    """
    Return the control that the entry `simulator` of a study asks for, once it is ready.

    Without an `interface` it has the services that are named, perhaps none, as on a robot.
    """
    entry = simulator or {}
    interface = entry.get('interface', 'services')
    if interface != 'services':
        return find_control(
            node, interface, owner=entry.get('node'), deadline=deadline, alive=alive
        )
    names = {verb: entry[verb] for verb in VERBS if verb in entry}
    control = NamedServices(Caller(node, deadline=deadline, alive=alive), names)
    control.wait_until_ready()
    return control


def find_control(
    node: Node,
    interface: str = 'auto',
    *,
    prefix: str | None = None,
    owner: str | None = None,
    deadline: float = 10.0,
    alive: Callable[[], None] = lambda: None,
) -> SimulatorControl:
    """
    Look at the graph and return how to control the simulator in it; another thread spins `node`.

    interface: gazebo, simulation_interfaces, or auto: the latter where both are offered. prefix:
    the namespace that the services are in, if there are several simulators; owner: the node that
    offers them then. deadline [s, wall]: to find the simulator, and for each call later.
    Raises ControlError that says what is missing, or which simulators can not be told apart.
    """
    if interface not in INTERFACES[:-1]:
        raise ControlError(f'must be one of {list(INTERFACES[:-1])}, got {interface!r}', 'invalid')
    caller = Caller(node, deadline=deadline, alive=alive)
    end, both = time.monotonic() + deadline, None
    while True:
        alive()
        found = offers(node)
        standard = of_kind(found, f'{PACKAGE}/srv/GetSimulatorFeatures')
        classic = of_kind(found, EMPTY, 'pause_physics')
        late = time.monotonic() > end
        if standard and interface != 'gazebo' and simulation_interfaces() is not None:
            root = _one(standard, 'simulation_interfaces', prefix, owner)
            if root is not None:
                return _ready(InterfacesControl(caller, root))
        if classic and interface != PACKAGE:
            both = both or time.monotonic() + _GRACE
            certain = interface == 'gazebo' or simulation_interfaces() is None
            root = _one(classic, 'gazebo_ros', prefix, owner)
            if root is not None and (certain or late or time.monotonic() > both):
                return _ready(GazeboControl(caller, root))
        if late:
            raise _missing(interface, prefix, standard, classic, deadline)
        time.sleep(_POLL)


def _ready(control: SimulatorControl) -> SimulatorControl:
    try:
        control.wait_until_ready()
    except BaseException:
        control.close()
        raise
    return control


def _one(found: list[Offer], what: str, prefix: str | None, owner: str | None) -> str | None:
    """
    Return the namespace of the one simulator, None if none is in the namespace `prefix`.

    Raises ControlError 'ambiguous' if there are several.
    """
    if prefix is not None:
        wanted = f'/{prefix.strip("/")}'.rstrip('/')
        found = [offer for offer in found if offer.root == wanted]
    if owner is not None and len(found) > 1:
        name = owner.strip('/')
        owned = [o for o in found if o.node.strip('/') == name or o.node.endswith(f'/{name}')]
        found = owned or found
    if len(found) > 1:
        where = ', '.join(sorted(f'{offer.name} of node {offer.node}' for offer in found))
        text = f'more than one simulator offers the services of {what}: {where}'
        raise ControlError(text, 'ambiguous')
    return found[0].root if found else None


def _missing(
    interface: str,
    prefix: str | None,
    standard: list[Offer],
    classic: list[Offer],
    deadline: float,
) -> ControlError:
    """Return the error that says what there should be, and what there is."""
    where = '' if prefix is None else f' in the namespace /{prefix.strip("/")}'
    wanted = []
    if interface != 'gazebo':
        wanted.append(f'no service of type {PACKAGE}/srv/GetSimulatorFeatures ({_OFFERED_BY})')
    if interface != PACKAGE:
        wanted.append(f'no service pause_physics of type {EMPTY} ({_GAZEBO_BY})')
    if standard and interface != 'gazebo' and simulation_interfaces() is None:
        distribution = os.environ.get('ROS_DISTRO', '<distribution>')
        wanted = [
            f'{standard[0].name} is there, but {PACKAGE} is not installed here '
            f'(ros-{distribution}-simulation-interfaces, or `make interfaces`)'
        ]
        return ControlError(wanted[0], 'missing')
    seen = [offer.name for offer in (*standard, *classic)]
    there = f'; there is {", ".join(sorted(set(seen)))}' if seen else ''
    return ControlError(f'{" and ".join(wanted)}{where} within {deadline:g} s{there}', 'missing')
