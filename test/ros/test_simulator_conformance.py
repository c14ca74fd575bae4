# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""The conformance suite of simulators: both interfaces, and each engine of our own node."""

import pytest

pytestmark = pytest.mark.ros
pytest.importorskip('rclpy')

from simulator_process import process, spun_node  # noqa: E402

from tl_adapt.ros import optional_interfaces  # noqa: E402
from tl_adapt.ros.isolation import hold_domain  # noqa: E402
from tl_adapt.ros.simulator_control import find_control  # noqa: E402
from tl_adapt.testing.simulator_conformance import SimulatorConformance  # noqa: E402

ENGINES = ['mujoco', pytest.param('gazebo', marks=pytest.mark.gazebo)]


@pytest.fixture(scope='module', params=ENGINES)
def simulator(request):
    if request.param == 'mujoco':
        pytest.importorskip('mujoco')
    with pytest.MonkeyPatch.context() as patch, hold_domain() as domain:
        for name, value in domain.environment().items():
            patch.setenv(name, value)
        parameters = ('mode:=real_time', 'real_time_factor:=5.0', f'engine:={request.param}')
        with process(*parameters), spun_node(domain=domain.id) as node:
            yield node


class OwnSimulator(SimulatorConformance):
    start = (-2.3, -2.3, 0.6)
    elsewhere = (1.0, 2.2, -1.0)
    static = 'bin'
    free = ((2.0, -2.5), (-2.5, 2.5))
    step = 0.002
    interface = ''

    @pytest.fixture(autouse=True)
    def in_graph(self, simulator):
        self.begin(simulator)
        yield
        self.finish()

    def make_control(self):
        control = find_control(self.node, self.interface)
        assert control.interface == self.interface
        return control


@pytest.mark.skipif(
    optional_interfaces.simulation_interfaces() is None, reason='no simulation_interfaces'
)
class TestSimulationInterfaces(OwnSimulator):
    interface = 'simulation_interfaces'


@pytest.mark.skipif(optional_interfaces.gazebo_msgs() is None, reason='no gazebo_msgs')
class TestGazebo(OwnSimulator):
    interface = 'gazebo'
    features = set(SimulatorConformance.features) - {'step'}
    reset_removes = False
