# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Short ways to make parameters, and a space of all kinds of them."""

from hypothesis import assume
from hypothesis import strategies as st

from tl_adapt.expressions import Expression
from tl_adapt.space import Parameter, Space


def double(name, low, high, default=None, **more):
    return Parameter(
        name, 'double', low, high, default=low if default is None else default, **more
    )


def integer(name, low, high, default=None, **more):
    more['default'] = low if default is None else default
    return Parameter(name, 'int', low, high, **more)


def boolean(name, default=False, **more):
    return Parameter(name, 'bool', default=default, **more)


def choice(name, type, *choices, **more):  # noqa: A002
    return Parameter(name, type, choices=choices, default=choices[0], **more)


def mixed(constraints=('v <= 1.5 * acc',)):
    return Space(
        [
            double('v', 0.12, 0.6, 0.3, unit='m/s'),
            double('acc', 0.2, 3.0, 1.0, log=True),
            integer('n', 3, 15, 7),
            integer('particles', 20, 1000, 300, log=True),
            boolean('smooth'),
            choice('planner', 'string', 'grid', 'lattice', 'straight'),
            choice('rate', 'int', 5, 10, 50),
            choice('gain', 'double', 0.1, 1 / 3, 2.0),
            double('radius', 0.1, 1.0, 0.5, condition=Expression('smooth')),
            integer('depth', 1, 9, 2, condition=Expression("smooth and planner == 'lattice'")),
        ],
        [Expression(text) for text in constraints],
    )


numbers = st.floats(-1e6, 1e6, allow_nan=False, allow_infinity=False)


@st.composite
def parameters(draw, name='x'):
    kind = draw(st.sampled_from(['double', 'log', 'int', 'logint', 'bool', 'string', 'choices']))
    if kind == 'bool':
        return boolean(name)
    if kind == 'string':
        words = draw(
            st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=6, unique=True)
        )
        return choice(name, 'string', *words)
    if kind == 'choices':
        values = draw(st.lists(numbers, min_size=1, max_size=7, unique_by=lambda v: v + 0.0))
        return choice(name, 'double', *values)
    if kind == 'double':
        low, high = sorted((draw(numbers), draw(numbers)))
        assume(high == low or high - low > max(1e-90, 1e-5 * max(abs(low), abs(high))))
        return double(name, low, high)
    if kind == 'log':
        low = draw(st.floats(1e-12, 1e6))
        return double(name, low, low * draw(st.floats(1.001, 1e9)), log=True)
    low = draw(st.integers(1 if kind == 'logint' else -(10**9), 10**9))
    return integer(name, low, low + draw(st.integers(0, 10**9)), log=kind == 'logint')
