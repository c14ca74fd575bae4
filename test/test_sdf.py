# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tl_adapt.simulators.base import EntityError
from tl_adapt.simulators.rotations import IDENTITY
from tl_adapt.simulators.sdf import MAX_LENGTH, read_model, write_box

BOX = '<collision name="c"><geometry><box><size>1 2 3</size></box></geometry></collision>'


def sdf(inside, static='<static>true</static>'):
    return f'<sdf version="1.6"><model name="m">{static}{inside}</model></sdf>'


def link(inside):
    return f'<link name="l">{inside}</link>'


def geometry(shape):
    return sdf(link(f'<collision name="c"><geometry>{shape}</geometry></collision>'))


def refused(xml):
    with pytest.raises(EntityError) as caught:
        read_model(xml)
    return caught.value


def test_a_box_that_stands_on_the_floor():
    model = read_model(write_box('block', (0.2, 0.3, 0.5)))
    assert (model.name, model.position, model.orientation) == ('block', (0, 0, 0), IDENTITY)
    (part,) = model.parts
    assert (part.kind, part.size, part.position) == ('box', (0.2, 0.3, 0.5), (0, 0, 0.25))


def test_poses_of_link_and_collision_are_composed():
    turned = f'<pose>1 0 0 0 0 {math.pi / 2}</pose>'
    model = read_model(
        sdf(
            '<pose>5 6 7 0 0 1</pose>'
            + link(turned + BOX.replace('<geometry>', '<pose>0 2 0 0 0 0</pose><geometry>'))
            + '<link name="two"><collision name="d"><geometry><sphere><radius>0.5</radius>'
            '</sphere></geometry></collision><visual name="v"/></link>'
        )
    )
    box, sphere = model.parts
    assert box.position == pytest.approx((-1, 0, 0), abs=1e-12)
    assert box.orientation == pytest.approx((0, 0, math.sqrt(0.5), math.sqrt(0.5)))
    assert (sphere.kind, sphere.size, sphere.position) == ('sphere', (0.5,), (0, 0, 0))
    assert model.position == (5, 6, 7)
    moved = box.placed((1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0))
    assert moved.position == pytest.approx((2, 0, 0), abs=1e-12)


def test_a_model_in_a_world_is_found_and_a_static_attribute_too():
    xml = f'<sdf version="1.5"><world name="w"><model name="m" static="1">{link(BOX)}</model>'
    assert read_model(xml + '</world></sdf>').name == 'm'
    degrees = '<pose degrees="true">0 0 0 0 0 90</pose>'
    assert read_model(sdf(degrees + link(BOX))).orientation[2] == pytest.approx(math.sqrt(0.5))


@pytest.mark.parametrize(
    ('xml', 'words'),
    [
        ('', 'well-formed'),
        ('no xml', 'well-formed'),
        ('<sdf>', 'well-formed'),
        ('<!DOCTYPE sdf><sdf/>', 'document type'),
        ('<!DOCTYPE s [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><sdf>&b;</sdf>', 'document type'),
        ('<!DOCTYPE s SYSTEM "file:///etc/passwd"><sdf/>', 'document type'),
        ('<a>' * 60 + '</a>' * 60, 'nested 50 deep'),
        ('<sdf>' + ' ' * MAX_LENGTH + '</sdf>', f'{MAX_LENGTH} characters'),
        ('<sdf>\ud800</sdf>', 'well-formed'),
        (sdf(link(BOX), '<static>maybe</static>'), "<static> must be true or false, got 'maybe'"),
        (geometry('<box><size>1 2</size></box>'), '<size> must be 3 finite numbers'),
        (geometry('<box><size>1 2 nan</size></box>'), '<size> must be 3 finite numbers'),
        (geometry('<box><size>1 1_0 2</size></box>'), '<size> must be 3 finite numbers'),
        (geometry('<box/>'), "<size> must be 3 finite numbers, got '' in <box>"),
        (geometry('<sphere><radius>0</radius></sphere>'), 'sizes must lie in'),
        (geometry('<sphere><radius>-1</radius></sphere>'), 'sizes must lie in'),
        (geometry('<sphere><radius>1e9</radius></sphere>'), '[0.0001, 1000] m'),
        (sdf(link('<pose>1e9 0 0 0 0 0</pose>' + BOX)), 'at most 1000 m away'),
        (sdf(link('<pose>1 2 3</pose>' + BOX)), '<pose> must be 6 finite numbers'),
    ],
)  # fmt: skip
def test_what_can_not_be_read(xml, words):
    error = refused(xml)
    assert error.code == 'parse'
    assert words in str(error)


@pytest.mark.parametrize(
    ('xml', 'words'),
    [
        ('<sdf version="1.6"/>', 'got 0 models'),
        (sdf(link(BOX), ''), 'not static'),
        (sdf(link(BOX), '<static>false</static>'), 'not static'),
        (sdf(''), 'no collision'),
        (sdf(link('')), 'no collision'),
        (geometry('<mesh><uri>model://a</uri></mesh>'), 'got <mesh>'),
        (geometry('<plane/>'), 'got <plane>'),
        (geometry(''), 'got no geometry'),
        (sdf(link('<collision name="c"/>')), 'got no geometry'),
        (sdf(link(BOX) + '<include><uri>model://b</uri></include>'), 'got <include>'),
        (sdf(link(BOX) + '<plugin name="p" filename="libp.so"/>'), 'got <plugin>'),
        (sdf(link(BOX + '<sensor name="s" type="ray"/>')), 'got <sensor>'),
        (sdf(link(BOX) + f'<model name="n">{link(BOX)}</model>'), 'got <model>'),
        (sdf(link('<pose relative_to="a">0 0 0 0 0 0</pose>' + BOX)), 'another frame'),
        (sdf(link('<pose rotation_format="quat_xyzw">0 0 0 0 0 0 1</pose>' + BOX)), 'euler_rpy'),
        (sdf(link(BOX * 1001)), '1000 collisions'),
    ],
)  # fmt: skip
def test_what_is_more_than_a_static_solid(xml, words):
    error = refused(xml)
    assert error.code == 'unsupported'
    assert words in str(error)


@pytest.mark.parametrize('xml', ['<robot name="r"/>', '<mujoco/>', '<a/>'])
def test_another_format(xml):
    error = refused(xml)
    assert error.code == 'format'
    assert 'must be SDF, got <' in str(error)


SHAPES = st.sampled_from(['box', 'cylinder', 'sphere', 'mesh', 'plane', 'x'])
WORDS = st.one_of(st.floats(allow_nan=True).map(str), st.text(alphabet='0123 .-e&;<', max_size=6))


@given(text=st.text(max_size=60), shape=SHAPES, words=st.lists(WORDS, max_size=7))
def test_any_text_is_read_or_refused(text, shape, words):
    values = ' '.join(words)
    size = f'<size>{values}</size><radius>{values}</radius><length>{values}</length>'
    for xml in (text, geometry(f'<{shape}>{size}</{shape}>'), sdf(text + link(BOX))):
        try:
            model = read_model(xml)
        except EntityError as error:
            assert error.code in ('parse', 'format', 'unsupported')
        else:
            assert all(side > 0 for part in model.parts for side in part.size)


NAMES = st.text(st.sampled_from('abcXYZ_0 -'), min_size=1)


@given(st.tuples(*[st.floats(0.001, 100.0)] * 3), NAMES)
def test_a_written_box_is_read_as_it_was(size, name):
    model = read_model(write_box(name, size))
    assert model.name == name
    assert model.parts[0].size == size
