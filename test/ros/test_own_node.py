# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of what is said of our simulator before a stack is brought up."""

import pytest
import yaml

pytestmark = pytest.mark.ros
pytest.importorskip('rclpy')

from tl_adapt import cli  # noqa: E402
from tl_adapt.errors import InputError, TlAdaptError  # noqa: E402
from tl_adapt.simulators import own_node  # noqa: E402
from tl_adapt.simulators.own_node import check_parameters  # noqa: E402
from tl_adapt.study import load_study, shipped_file  # noqa: E402


@pytest.mark.parametrize('name', ['demo', 'demo_gazebo'])
def test_the_shipped_studies_are_sound(name):
    for environment in load_study(name).environments.values():
        for values in environment.options['node_parameters'].values():
            assert check_parameters(values).mode == 'lock_step'


@pytest.mark.parametrize(
    ('values', 'text'),
    [
        ({'engine': 'gazbo'}, r"engine: must be one of \['mujoco', 'gazebo'\], got 'gazbo'"),
        ({'enginee': 'gazebo'}, 'enginee: is no parameter of the simulator; did you mean engine'),
        ({'engine': 3}, 'engine: must be a text'),
        ({'viewable': 'yes'}, 'viewable: must be a bool'),
        ({'payload': 1}, 'payload: must be a number with a point'),
        ({'physics_step': 0.005}, 'physics_step: must be at most 0.0025 s for the engine mujoco'),
        ({'engine': 'gazebo', 'physics_step': 0.0037}, r'step \(physics_step: 0.0037 s\)'),
        ({'world': 'nowhere'}, 'world: must be a YAML file or one of'),
        ({'payload': 99.0}, 'payload: must lie in'),
    ],
)
def test_mistakes_are_named(values, text):
    with pytest.raises(InputError, match=text):
        check_parameters(values)


def test_a_world_that_is_wrong_is_named_with_its_own_file(tmp_path):
    path = tmp_path / 'bad.yaml'
    path.write_text('a: [\n')
    with pytest.raises(InputError) as caught:
        check_parameters({'world': str(path)})
    assert 'bad.yaml' in str(caught.value) and '\n' not in str(caught.value)


def test_a_campaign_with_a_mistake_ends_at_once_in_one_line(tmp_path, capsys):
    path = tmp_path / 'wrong.yaml'
    path.write_text(yaml.safe_dump({
        'extends': str(shipped_file('demo_gazebo.yaml')),
        'environments': {'simulation': {'node_parameters': {'simulator': {'engine': 'gazbo'}}}},
    }))
    assert cli.main(['campaign', str(path), '--output', str(tmp_path)]) == 2
    said = capsys.readouterr().err.strip()
    assert 'environments.simulation.node_parameters.simulator.engine: must be one of' in said
    assert str(path) in said and len(said.splitlines()) == 1


def test_what_the_engine_needs_is_compiled_before(monkeypatch):
    def missing():
        raise TlAdaptError('run make gazebo')

    monkeypatch.setattr('tl_adapt.simulators.gazebo.simulator.require_gazebo', missing)
    with pytest.raises(TlAdaptError, match='run make gazebo'):
        own_node.make_ready(check_parameters({'engine': 'gazebo'}))
    own_node.make_ready(check_parameters({}))
