# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tl_adapt.errors import InputError
from tl_adapt.expressions import Expression

VALUES = {'a': 2, 'b': 0.5, 'flag': True, 'mode': 'fast', 'pose.position.x': 3.0}


@pytest.mark.parametrize(
    'text, expected',
    [
        ('a + b * 2', 3.0),
        ('-a', -2),
        ('+a', 2),
        ('a / 4', 0.5),
        ('7 // a', 3),
        ('7 % a', 1),
        ('a ** 3', 8),
        ('a ** -1', 0.5),
        ('a ** 0.5', 2**0.5),
        ('0 < b <= a', True),
        ('a < b < 100', False),
        ('a != 2 or b == 0.5', True),
        ('not flag', False),
        ('flag == true and flag != false', True),
        ("mode == 'fast'", True),
        ('mode != "slow"', True),
        ('min(a, b, 7)', 0.5),
        ('max(a, b)', 2),
        ('abs(-a)', 2),
        ('pose.position.x - 1', 2.0),
        ('flag + 1', 2),
        ('a\n  <= 3', True),
    ],
)
def test_scalars(text, expected):
    result = Expression(text).evaluate(VALUES)
    assert result == expected
    assert isinstance(result, type(expected))


def test_arrays_work_element_by_element():
    values = {
        'v': np.array([1.0, 2.0, 3.0]),
        'i': np.array([2, 0, -1]),
        's': np.array(['a', 'b', 'a']),
    }

    def check(text, expected):
        np.testing.assert_array_equal(Expression(text).evaluate(values), expected)

    check('-v * i', [-2, 0, 3])
    check('1 < v <= 3', [False, True, True])
    check('v > 1 and i < 0', [False, False, True])
    check('v > 2 or i == 2', [True, False, True])
    check('not v > 1', [True, False, False])
    check('min(v, 2)', [1, 2, 2])
    check('max(v, i, 1.5)', [2, 2, 3])
    check('abs(i)', [2, 0, 1])
    check('(v > 1) * 10', [0, 10, 10])
    check('v ** i', [1, 1, 1 / 3])
    check("s == 'a'", [True, False, True])
    check('v / i', [0.5, np.inf, -3])


def test_names():
    assert Expression('a.b.c + d - min(e, 1)').names == {'a.b.c', 'd', 'e'}
    assert Expression('1 < 2').names == frozenset()
    Expression('a + b', names=('a', 'b', 'c'))
    with pytest.raises(InputError, match="unknown name 'x'; known are a, b.*'a < x'"):
        Expression('a < x', names=('a', 'b'))
    with pytest.raises(InputError, match="no value for the name 'x'"):
        Expression('x').evaluate({})


@pytest.mark.parametrize(
    'text',
    [
        '', '  ', 'a +', 'a = 1', 'a; b', '(a', 'a b', 'lambda: 1', '[1, 2]', '(1, 2)', '{}',
        'a[0]',
        "__import__('os')", 'open(1)', 'a if b else c', 'a in b', 'a is b', "f'{a}'", '1j', 'None',
        '...', "b'x'", 'a << 2', 'a & b', '~a', 'a @ b', 'min', 'min(a)', 'min(*a)',
        'max(a, key=b)',
        'abs(a, b)', 'a.min(b, c)', '(a + b).c', 'a := 1', '1e999', 'x\x00y',
        'a' * 3000, '(' * 400,
        'yield a', 'await a', 'sum(a, b)', 'a.b()',
    ],
)  # fmt: skip
def test_refused_syntax(text):
    with pytest.raises(InputError) as caught:
        Expression(text)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize('text', [None, 3, True, ['a']])
def test_only_text_is_an_expression(text):
    with pytest.raises(InputError, match='must be text'):
        Expression(text)


@pytest.mark.parametrize(
    'text',
    ['a / 0', 'a % 0', 'mode * 3', 'mode + mode', 'mode % 2', '-mode', 'mode < 1', 'abs(mode)',
     'min(mode, 1)', '(-1) ** 0.5', '10.0 ** 400', '9 ** 9 ** 9', '2 ** 10 ** 9'],
)  # fmt: skip
def test_arithmetic_that_fails_is_one_error(text):
    with pytest.raises(InputError, match='can not be evaluated'):
        Expression(text).evaluate(VALUES)


def test_value_semantics():
    first, second = Expression('a  <= b'), Expression('a <=\n b')
    assert first == second and hash(first) == hash(second)
    assert first != Expression('b <= a')
    assert str(first) == 'a <= b'
    for copied in (copy.deepcopy(first), pickle.loads(pickle.dumps(first))):  # noqa: S301
        assert copied == first
        assert copied.evaluate({'a': 1, 'b': 2}) is True


@given(
    st.recursive(
        st.sampled_from(['a', 'b', '2', '0.25']),
        lambda part: st.builds(
            '({} {} {})'.format,
            part,
            st.sampled_from(['+', '-', '*', '<', '>=', '==', 'and', 'or']),
            part,
        ),
        max_leaves=8,
    ),
    st.lists(st.tuples(st.integers(-9, 9), st.floats(-9, 9)), min_size=2, max_size=5),
)
def test_arrays_agree_with_scalars(text, rows):
    expression = Expression(text)
    if not expression.names:
        return
    scalars = [expression.evaluate({'a': float(a), 'b': b}) for a, b in rows]
    columns = np.array(rows, dtype=float)
    arrays = expression.evaluate({'a': columns[:, 0], 'b': columns[:, 1]})
    arrays = np.broadcast_to(np.asarray(arrays, dtype=float), (len(rows),))
    np.testing.assert_array_equal(np.asarray(scalars, dtype=float), arrays)


@given(st.text(max_size=30))
def test_any_text_is_an_expression_or_one_input_error(text):
    try:
        Expression(text)
    except InputError:
        pass
