# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy import ndimage

from tl_adapt.demo import world as world_module
from tl_adapt.demo.world import Box, Cylinder, load_world
from tl_adapt.errors import InputError

GOAL = (2.3, 2.2)


@pytest.fixture(scope='module')
def room():
    return load_world()


def content():
    wall = {'height': 0.5, 'thickness': 0.1}
    box = {'name': 'a', 'shape': 'box', 'x': 1, 'y': 0, 'yaw': 0.3, 'size': [1, 0.5], 'height': 1}
    return {'name': 'w', 'size': [4, 4], 'wall': wall, 'obstacles': [box]}


def write(tmp_path, value):
    path = tmp_path / 'w.yaml'
    path.write_text(yaml.safe_dump(value))
    return path


def test_room_has_what_the_demo_needs(room):
    assert room.size == (6.0, 6.0)
    assert sum(o.mapped for o in room.obstacles) >= 6
    assert sum(not o.mapped for o in room.obstacles) == 2
    assert room.distance(np.array([room.start[:2], GOAL])).min() > 0.3


@pytest.mark.parametrize('mapped_only', [True, False])
def test_the_goal_can_be_reached(room, mapped_only):
    grid = room.occupancy(0.05, mapped_only)
    labels, _ = ndimage.label(grid.distance_field() > 0.2)
    start, goal = (labels[tuple(grid.cells(np.array(p)))] for p in (room.start[:2], GOAL))
    assert start == goal > 0


def test_occupancy_agrees_with_the_exact_distance(room):
    grid = room.occupancy(0.05)
    cells = np.argwhere(~grid.data)
    points = grid.centres(cells)
    np.testing.assert_array_equal(grid.cells(points), cells)
    exact = room.distance(points, mapped_only=True)
    assert exact.min() > 0
    # From centre to centre is at most a diagonal of a cell longer than to the surface.
    error = grid.distance_field()[~grid.data] - exact
    assert error.min() > -1e-9
    assert error.max() < 0.05 * math.sqrt(2)
    assert grid.inside(cells).all()
    assert not grid.inside(grid.cells(np.array([9.0, 0.0])))


def test_unmapped_obstacles_are_not_in_the_map(room):
    hidden = [o for o in room.obstacles if not o.mapped]
    mapped, real = room.occupancy(0.05), room.occupancy(0.05, mapped_only=False)
    for o in hidden:
        cell = tuple(mapped.cells(np.array([o.x, o.y])))
        assert not mapped.data[cell]
        assert real.data[cell]


def test_distances_to_shapes():
    box = Box(1.0, 0.0, math.pi / 2, 2.0, 1.0, 0.5)
    points = np.array([[1.0, 0.0], [2.0, 0.0], [1.0, 2.0], [1.5 + 3, 1.0 + 4]])
    np.testing.assert_allclose(box.distance(points), [-0.5, 0.5, 1.0, 5.0])
    np.testing.assert_allclose(Cylinder(0, 0, 0.5, 1).distance(points), [0.5, 1.5, 5**0.5 - 0.5,
                               math.hypot(4.5, 5) - 0.5])  # fmt: skip


def test_resolution_must_be_positive(room):
    with pytest.raises(InputError, match='resolution must be positive, got 0'):
        room.occupancy(0)


def change(key, value):
    def apply(world):
        *path, last = key
        for part in path:
            world = world[part]
        if value is None:
            del world[last]
        else:
            world[last] = value

    return apply


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        (['colour'], 'red', r"world: must not have \['colour'\]"),
        (['size'], None, r"world: must have \['size'\]"),
        (['size'], [4], r'size: must be a list of 2 numbers, got \[4\]'),
        (['size'], [4, math.nan], r'size\[1\]: must be a finite number, got nan'),
        (['wall', 'height'], -1, r'wall.height: must be at least 0.01, got -1'),
        (['obstacles'], {}, r'obstacles: must be a list, got \{\}'),
        (['obstacles', 0, 'shape'], 'cone', r'obstacles\[0\]: shape must be box or cylinder'),
        (['obstacles', 0, 'size'], None, r"obstacles\[0\]: must have \['size'\]"),
        (['obstacles', 0, 'mapped'], 'no', r'obstacles\[0\].mapped: must be true or false'),
        (['obstacles', 0, 'x'], True, r'obstacles\[0\].x: must be a finite number, got True'),
        (['start'], [1, 0, 0], r'start: must be free of obstacles'),
    ],
)
def test_mistakes_are_named(tmp_path, key, value, message):
    world = content()
    change(key, value)(world)
    with pytest.raises(InputError, match=rf'w\.yaml: {message}'):
        load_world(write(tmp_path, world))


def test_names_must_differ(tmp_path):
    world = content()
    world['obstacles'] *= 2
    with pytest.raises(InputError, match='obstacles: names must differ'):
        load_world(write(tmp_path, world))


def test_unknown_world_and_unreadable_file(tmp_path):
    with pytest.raises(InputError, match=r"one of \[.*'room'.*\], got 'moon'"):
        load_world('moon')
    with pytest.raises(InputError, match='can not be read'):
        load_world(tmp_path / 'none.yaml')
    (tmp_path / 'bad.yaml').write_text('a: [')
    with pytest.raises(InputError, match='can not be read'):
        load_world(tmp_path / 'bad.yaml')


def test_found_in_an_installed_share_folder(tmp_path):
    package = tmp_path / 'lib' / 'python3' / 'site-packages' / 'tl_adapt'
    source = Path(world_module.__file__).parent
    (package / 'demo').mkdir(parents=True)
    for name in ('errors.py', '__init__.py'):
        shutil.copy(source.parent / name, package)
    for name in ('world.py', '__init__.py'):
        shutil.copy(source / name, package / 'demo')
    share = tmp_path / 'share' / 'tl_adapt' / 'config' / 'worlds'
    share.mkdir(parents=True)
    shutil.copy(source.parent.parent / 'config' / 'worlds' / 'room.yaml', share)
    code = 'from tl_adapt.demo import world; print(world.__file__, world.load_world().name)'
    out = subprocess.run(
        [sys.executable, '-c', code], cwd=package.parent, env={'PYTHONPATH': str(package.parent)},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert out.stdout.split() == [str(package / 'demo' / 'world.py'), 'room']


@pytest.mark.parametrize('name', ['wall_east', 'robot', 'ground_plane'])
def test_names_that_are_taken_are_refused(tmp_path, name):
    path = tmp_path / 'world.yaml'
    path.write_text(
        'name: hall\nsize: [6, 6]\nwall: {height: 0.6, thickness: 0.1}\nobstacles:\n'
        f'  - {{name: {name}, shape: cylinder, x: 1, y: 1, radius: 0.2, height: 0.5}}\n'
    )
    with pytest.raises(InputError, match=r'obstacles\[0\].name: is reserved'):
        load_world(path)
