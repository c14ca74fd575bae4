# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from tl_adapt.demo.world import load_world
from tl_adapt.simulators.base import GROUND, ROBOT, EntityError, EntityState
from tl_adapt.simulators.scene import Scene, checked
from tl_adapt.simulators.sdf import write_box

BOX = write_box('box', (0.2, 0.4, 0.6))
HERE = EntityState((1.0, 2.0, 0.0))


@pytest.fixture
def scene():
    return Scene(load_world())


def test_parts_are_where_the_solid_is(scene):
    crate = next(solid for solid in scene.solids() if solid.name == 'crate')
    (part,) = crate.placed()
    assert (part.kind, part.size) == ('box', (0.7, 0.5, 0.6))
    assert part.position == pytest.approx((-0.95, -0.75, 0.3))
    assert not crate.moved
    scene.move('crate', HERE)
    assert scene.solid('crate').moved
    assert scene.solid('crate').placed()[0].position == pytest.approx((1.0, 2.0, 0.3))
    barrel = scene.solid('barrel').placed()[0]
    assert (barrel.kind, barrel.size) == ('cylinder', (0.3, 0.6))


def test_reset_and_restore_say_whether_anything_changed(scene):
    names = scene.names()
    assert not scene.reset()
    assert not scene.restore(deleted=True)
    scene.add('new', BOX, HERE)
    scene.move('new', EntityState((0.0, 0.0, 0.0)))
    scene.remove('bin')
    assert scene.reset()
    assert scene.state('new') == HERE
    assert scene.restore(deleted=False)
    assert not scene.restore(deleted=False)
    assert set(names) - set(scene.names()) == {'bin'}
    assert scene.restore(deleted=True)
    assert scene.names() == names
    assert names[0] == GROUND
    assert names[-1] == ROBOT


def test_a_refused_change_changes_nothing(scene):
    before = scene.solids()
    for call in (
        lambda: scene.add('crate', BOX, HERE),
        lambda: scene.add('new', BOX, EntityState((float('nan'), 0.0, 0.0))),
        lambda: scene.add('new', BOX, EntityState((0.0, 0.0, 0.0), linear=(1.0, 0.0, 0.0))),
        lambda: scene.add('new', '<sdf/>', HERE),
        lambda: scene.move(ROBOT, HERE),
        lambda: scene.remove(GROUND),
        lambda: scene.state('moon'),
    ):
        with pytest.raises(EntityError):
            call()
    assert scene.solids() == before


def test_a_quaternion_is_brought_to_length_1():
    assert checked(EntityState((0, 0, 0), (0.0, 0.0, 0.0, 1.2))).orientation == (0, 0, 0, 1)
    for bad in ((0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 5.0), (0.0, float('nan'), 0.0, 1.0)):
        with pytest.raises(EntityError, match='orientation|finite'):
            checked(EntityState((0.0, 0.0, 0.0), bad))


@pytest.mark.parametrize('name', ['', ' a', 'a ', 'a&b', "a'b", 'a"b', 'a::b', 'a\n', 'a' * 201])
def test_names_that_an_engine_could_not_have_are_refused(name):
    scene = Scene(load_world())
    with pytest.raises(EntityError) as caught:
        scene.add(name, write_box('x', (0.1, 0.1, 0.1)), EntityState((0.0, 0.0, 0.0)))
    assert caught.value.code == 'name'
