# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for all that a simulator's node offers beside its sensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rcl_interfaces.msg import ParameterDescriptor

from tl_adapt.errors import InputError
from tl_adapt.ros.inbox import Inbox
from tl_adapt.simulators.services.gazebo import EntityServices, WorldServices
from tl_adapt.simulators.services.interfaces import InterfaceServices
from tl_adapt.simulators.services.names import is_namespace

if TYPE_CHECKING:
    from tl_adapt.simulators.node import SimulatorNode

_PREFIXES = {
    'gazebo_prefix': ('', 'put before the names of the services that gazebo_ros offers, too'),
    'simulation_interfaces_prefix': (
        'gzserver', 'put before the names of the services of simulation_interfaces'
    ),
}  # fmt: skip


class Services:
    """
    Offer the interfaces of gazebo_ros and simulation_interfaces, as far as they are installed.

    Both have services of the same names, so one of them has to be below a name of its own: the
    standard one is where modern Gazebo has it.
    """

    def __init__(self, node: SimulatorNode) -> None:
        """Declare the prefixes and offer the services; raises InputError for wrong ones."""
        prefixes = {}
        for name, (default, text) in _PREFIXES.items():
            descriptor = ParameterDescriptor(read_only=True, description=text)
            value = str(node.declare_parameter(name, default, descriptor).value).rstrip('/')
            if not is_namespace(value):
                raise InputError('must be a namespace', key=name, value=value)
            prefixes[name] = f'{value}/' if value else ''
        gazebo, standard = prefixes.values()
        if gazebo == standard:
            rule = 'must differ from gazebo_prefix'
            raise InputError(rule, key='simulation_interfaces_prefix', value=standard.rstrip('/'))
        self._group = Inbox(node, open=True)
        WorldServices(node, gazebo)
        self._entities = EntityServices(node, gazebo, self._group)
        InterfaceServices(node, standard, self._group)

    @property
    def open(self) -> bool:
        """
        Say whether requests are served now, other than those to pause, go on and reset.

        Each service that an executor waits for costs time in every turn; in lock-step it is
        enough to look once per period.
        """
        return self._group.open

    @open.setter
    def open(self, value: bool) -> None:
        self._group.open = value

    def publish(self) -> None:
        """Publish what belongs to a period that is complete."""
        self._entities.publish()
