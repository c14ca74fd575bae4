# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests that the studies of Nav2 run, on the stand-in for Nav2."""

import pytest
import yaml
from nav2_study import LIFECYCLE_NODES, STAND_IN

pytest.importorskip('rclpy')

from tl_adapt.cli import main  # noqa: E402
from tl_adapt.environments.stack import StackEnvironment  # noqa: E402
from tl_adapt.store import Store  # noqa: E402
from tl_adapt.study import load_study  # noqa: E402
from tl_adapt.testing import nav2_parameters as tables  # noqa: E402

pytestmark = pytest.mark.ros
PLUGINS = {
    'nav2_dwb': 'dwb_core::DWBLocalPlanner',
    'nav2_mppi': 'nav2_mppi_controller::MPPIController',
    'nav2_rpp': 'nav2_regulated_pure_pursuit_controller::RegulatedPurePursuitController',
}
NODES = {
    'controller_server': tables.CONTROLLER, 'planner_server': tables.PLANNER,
    'amcl': tables.AMCL, 'velocity_smoother': tables.SMOOTHER,
    'local_costmap/local_costmap': tables.COSTMAP, 'global_costmap/global_costmap': tables.COSTMAP,
}
TYPES = {'double': float, 'int': int, 'bool': bool}


def on_stand_in(name, folder):
    """Return the study, with what its simulation lacks here left out."""
    plugin = f'controller_server:FollowPath.plugin:={PLUGINS[name]}'
    clear = [
        {'service': f'{costmap}/clear_entirely_{costmap}', 'type': 'std_srvs/srv/Empty'}
        for costmap in ('local_costmap', 'global_costmap')
    ]
    content = {
        'extends': [name, 'nav2/checkers', 'nav2/amcl'],
        'metrics': {'clearance': None},
        'limits': None,
        'mission': {'prepare': clear, 'timeout': 90.0, 'goals': [[0.0, 0.5, 0.0]]},
        'environments': {
            'simulation': {
                'bringup': [
                    {'name': 'robot', 'command': [*STAND_IN, 'robot'], 'nodes': ['robot']},
                    {'name': 'nav2', 'nodes': [*LIFECYCLE_NODES, 'lifecycle_manager_navigation'],
                     'command': [*STAND_IN, 'servers', '--ros-args', '-p', plugin]},
                ],
                'simulator': {'node': 'robot'},
                'lifecycle_nodes': [*LIFECYCLE_NODES, 'local_costmap/local_costmap',
                                    'global_costmap/global_costmap'],
                'lifecycle_manager': None,
                'startup_timeout': 20.0,
            },
        },
    }
    content['metrics']['cpu'] = {'nodes': [*LIFECYCLE_NODES, 'lifecycle_manager_navigation']}
    path = folder / f'{name}.yaml'
    path.write_text(yaml.safe_dump(content))
    return load_study(path)


@pytest.mark.parametrize('name', PLUGINS)
def test_types_and_defaults_are_those_of_the_stand_in(name, tmp_path):
    study = on_stand_in(name, tmp_path)
    known = {**NODES, 'controller_server': {**tables.CONTROLLER, **tables.PLUGINS[PLUGINS[name]]}}
    for parameter in study.space.parameters:
        for target in parameter.targets:
            entry = known[target.node][target.name]
            default = entry.default if target.index is None else entry.default[target.index]
            assert type(default) is TYPES[parameter.type], parameter.name
            if target.node == 'controller_server':
                assert parameter.default == default, parameter.name
            # The stand-in takes at configure what Nav2 takes at configure.
            assert (target.mode('jazzy') == 'restart') == (not entry.live), parameter.name


@pytest.mark.parametrize('name', PLUGINS)
def test_a_study_of_nav2_measures(name, tmp_path):
    study = on_stand_in(name, tmp_path)
    environment = StackEnvironment(study, 'simulation')
    try:
        for configuration in [study.space.default(), *study.space.sample(2, seed=3)]:
            measurement = environment.measure(configuration, 1)
            assert (measurement.valid, measurement.reason) == (True, '')
            assert set(measurement.metrics) == set(study.metrics)
            found = environment.measure(None, 1)  # what all the nodes have
            assert found.configuration == pytest.approx(measurement.configuration)
    finally:
        environment.close()


def test_a_campaign_over_nav2(tmp_path):
    study = on_stand_in('nav2_rpp', tmp_path)
    arguments = [
        'campaign', str(study.path), '--configurations', '4', '--workers', '2', '--output',
        str(tmp_path / 'output'),
    ]
    assert main(arguments) == 0
    with Store(tmp_path / 'output' / 'nav2_rpp.sqlite', study=study, write=False) as store:
        measurements = store.get()
    assert [measurement.reason for measurement in measurements] == [''] * 4
