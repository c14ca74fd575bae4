# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from tl_adapt.simulators import rotations

ANGLES = st.floats(-3.0, 3.0)
RPY = st.tuples(ANGLES, ANGLES, ANGLES)
VECTORS = st.tuples(*[st.floats(-100.0, 100.0)] * 3)


def same(quaternion, rotation):
    """Compare, as a quaternion and its negative are the same rotation."""
    return abs(np.dot(quaternion, rotation.as_quat())) == pytest.approx(1.0)


@given(RPY, RPY, VECTORS)
def test_the_same_as_scipy(first, second, vector):
    a, b = rotations.from_rpy(*first), rotations.from_rpy(*second)
    ra, rb = Rotation.from_euler('xyz', first), Rotation.from_euler('xyz', second)
    assert same(a, ra)
    assert same(rotations.multiply(a, b), ra * rb)
    assert same(rotations.inverse(a), ra.inv())
    assert rotations.rotate(a, vector) == pytest.approx(ra.apply(vector), abs=1e-9)
    assert rotations.tilt_of(a) == pytest.approx(
        math.acos(np.clip(ra.as_matrix()[2, 2], -1, 1)), abs=1e-6
    )


@given(ANGLES)
def test_a_heading_survives(yaw):
    assert rotations.yaw_of(rotations.from_rpy(0.0, 0.0, yaw)) == pytest.approx(yaw)


@given(VECTORS, VECTORS)
def test_vectors(a, b):
    assert rotations.cross(a, b) == pytest.approx(np.cross(a, b))
    assert rotations.subtract(rotations.add(a, b), b) == pytest.approx(a)


@given(st.tuples(*[st.floats(-10.0, 10.0)] * 4))
def test_a_quaternion_gets_the_length_of_1(q):
    assume(rotations.norm(q) > 1e-6)
    assert rotations.norm(rotations.normalized(q)) == pytest.approx(1.0)


def test_no_rotation():
    assert rotations.normalized((0.0, 0.0, 0.0, 0.0)) == rotations.IDENTITY
    assert math.isnan(rotations.normalized((math.nan, 0.0, 0.0, 1.0))[0])
