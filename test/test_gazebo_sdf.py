# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of the world file that Gazebo gets: the same room and robot as MuJoCo's."""

import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tl_adapt.demo.world import load_world
from tl_adapt.simulators.gazebo.sdf import build_sdf, build_solid
from tl_adapt.simulators.robot import Robot
from tl_adapt.simulators.scene import Scene
from tl_adapt.simulators.sdf import read_model


@pytest.fixture(scope='module')
def world():
    text = build_sdf(
        load_world(), Robot(), plugin=Path('/some/where/plugin & more.so'), physics_step=0.004,
        iterations=30, beams=360,
    )
    return ElementTree.fromstring(text).find('world')


def test_physics_and_plugin_are_as_asked_for(world):
    assert world.findtext('physics/max_step_size') == '0.004'
    assert world.findtext('physics/ode/solver/iters') == '30'
    assert world.find('plugin').get('filename') == '/some/where/plugin & more.so'


def test_the_robot_weighs_and_measures_what_the_description_says(world):
    robot, model = Robot(), world.find("model[@name='robot']")
    mass = sum(float(m.text) for m in model.iter('mass'))
    assert mass == pytest.approx(robot.mass, abs=2e-3)
    assert [float(v) for v in model.findtext('pose').split()[:2]] == list(load_world().start[:2])
    wheels = [model.find(f"link[@name='{side}_wheel']") for side in ('left', 'right')]
    left, right = ([float(v) for v in w.findtext('pose').split()] for w in wheels)
    assert left[1] - right[1] == pytest.approx(robot.wheel_separation)
    assert left[2] == right[2] == robot.wheel_radius
    scan = model.find('.//scan/horizontal')
    assert float(scan.findtext('max_angle')) == pytest.approx(2 * math.pi * 359 / 360)


def test_the_lidar_looks_over_the_hull(world):
    hull = world.find(".//collision[@name='hull']")
    top = float(hull.findtext('pose').split()[2]) + float(hull.findtext('.//radius'))
    lidar = world.find(".//sensor[@name='lidar']")
    assert top < float(lidar.findtext('pose').split()[2])


def test_every_solid_stands_where_it_should(world):
    scene = Scene(load_world())
    models = {m.get('name'): m for m in world.findall('model')}
    assert list(models) == [*scene.names()[:1], *scene.names()[1:]]
    for solid in scene.solids():
        pose = [float(v) for v in models[solid.name].findtext('pose').split()]
        assert pose[:3] == pytest.approx(solid.state.position)


def test_a_solid_is_read_back_as_it_was_written():
    for solid in Scene(load_world()).solids():
        parts = read_model(build_solid('a<b"', solid.parts)).parts
        for part, again in zip(solid.parts, parts):
            assert (part.kind, part.size) == (again.kind, again.size)
            assert again.position == pytest.approx(part.position)
