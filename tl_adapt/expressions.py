# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the small expressions of a study: constraints, conditions and metric fields."""

from __future__ import annotations

import ast
import functools
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from tl_adapt.errors import InputError

_LONGEST = 2000
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_FUNCTIONS = ('min', 'max', 'abs')
_CONSTANTS = {'true': True, 'false': False}
# Names that an expression could not tell from its own words.
RESERVED = frozenset({*_FUNCTIONS, *_CONSTANTS, 'and', 'or', 'not', 'True', 'False', 'None'})
_WHITELIST = (
    'allowed are names, numbers, strings, + - * / // % **, comparisons, and, or, not, '
    'min, max, abs'
)


class Expression:
    """
    Evaluate one expression without `eval`, through a whitelist of syntax.

    Names may be dotted (`pose.position.x`). Values may be numbers, booleans, strings or numpy
    arrays; arrays work element by element. `text` is the source, `names` the names in use.
    """

    __slots__ = ('_tree', 'names', 'text')

    def __init__(self, text: str, names: Iterable[str] | None = None) -> None:
        """
        Parse `text`; `names` are the allowed names, None allows any.

        Raises InputError for a syntax error, for syntax outside of the whitelist and for unknown
        names.
        """
        if not isinstance(text, str):
            raise InputError('an expression must be text', value=text)
        self.text = ' '.join(text.split())
        if not self.text:
            raise InputError('an expression must not be empty', value=text)
        if len(self.text) > _LONGEST:
            raise InputError(f'an expression may have {_LONGEST} characters', value=len(text))
        try:
            self._tree = ast.parse(self.text, mode='eval').body
            used: set[str] = set()
            self._check(self._tree, used)
        except SyntaxError as error:
            raise InputError(f'not an expression ({error.msg})', value=self.text) from None
        except (ValueError, RecursionError, MemoryError):
            raise InputError('not an expression (too deep or unreadable)', value=text) from None
        self.names = frozenset(used)
        if names is not None:
            known = set(names)
            unknown = sorted(self.names - known)
            if unknown:
                raise InputError(
                    f'unknown name {unknown[0]!r}; known are {", ".join(sorted(known)) or "none"}',
                    value=self.text,
                )

    def __repr__(self) -> str:
        return f'Expression({self.text!r})'

    def __str__(self) -> str:
        return self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def evaluate(self, values: Mapping[str, Any]) -> Any:
        """
        Evaluate with `values`, which holds every name in `names`.

        Raises InputError if a name has no value, if the types don't fit, and for scalars also if
        the arithmetic fails (division by zero, overflow). With arrays such elements become inf or
        nan instead.
        """
        try:
            with np.errstate(all='ignore'):
                return self._value(self._tree, values)
        except (ArithmeticError, TypeError, ValueError) as error:
            raise InputError(f'can not be evaluated ({error})', value=self.text) from None

    def _check(self, node: ast.AST, used: set[str]) -> None:
        if isinstance(node, ast.BinOp):
            if not isinstance(node.op, ast.Pow) and type(node.op) not in _ARITHMETIC:
                self._refuse(node.op)
            self._check(node.left, used)
            self._check(node.right, used)
        elif isinstance(node, ast.UnaryOp):
            if not isinstance(node.op, (ast.UAdd, ast.USub, ast.Not)):
                self._refuse(node.op)
            self._check(node.operand, used)
        elif isinstance(node, ast.BoolOp):
            for value in node.values:
                self._check(value, used)
        elif isinstance(node, ast.Compare):
            for op in node.ops:
                if type(op) not in _COMPARISONS:
                    self._refuse(op)
            for value in (node.left, *node.comparators):
                self._check(value, used)
        elif isinstance(node, ast.Call):
            self._check_call(node, used)
        elif isinstance(node, ast.Constant):
            number = isinstance(node.value, (bool, int, float))
            if not (number or isinstance(node.value, str)) or node.value in (math.inf,):
                self._refuse(node)
        else:
            name = _dotted(node)
            if name is None:
                self._refuse(node)
            elif name in _FUNCTIONS:
                raise InputError(f'{name} is a function, not a name', value=self.text)
            elif name not in _CONSTANTS:
                used.add(name)

    def _check_call(self, node: ast.Call, used: set[str]) -> None:
        function = node.func.id if isinstance(node.func, ast.Name) else None
        if function not in _FUNCTIONS or node.keywords:
            self._refuse(node)
        if function == 'abs' and len(node.args) != 1:
            raise InputError('abs takes one argument', value=self.text)
        if function != 'abs' and len(node.args) < 2:
            raise InputError(f'{function} takes two or more arguments', value=self.text)
        for value in node.args:
            self._check(value, used)

    def _refuse(self, node: ast.AST) -> None:
        kind = type(node).__name__
        raise InputError(f'{kind} is not allowed in an expression; {_WHITELIST}', value=self.text)

    def _value(self, node: ast.AST, values: Mapping[str, Any]) -> Any:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.BinOp):
            left = _number(self._value(node.left, values))
            right = _number(self._value(node.right, values))
            if isinstance(node.op, ast.Pow):
                return _power(left, right)
            return _ARITHMETIC[type(node.op)](left, right)
        if isinstance(node, ast.UnaryOp):
            operand = self._value(node.operand, values)
            if isinstance(node.op, ast.Not):
                return np.logical_not(operand) if _is_array(operand) else not operand
            operand = _number(operand)
            return -operand if isinstance(node.op, ast.USub) else operand
        if isinstance(node, ast.BoolOp):
            return self._boolean(node, values)
        if isinstance(node, ast.Compare):
            return self._compare(node, values)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return _call(node.func.id, [_number(self._value(a, values)) for a in node.args])
        name = _dotted(node) or ''
        if name in _CONSTANTS:
            return _CONSTANTS[name]
        try:
            return values[name]
        except KeyError:
            raise InputError(f'no value for the name {name!r}', value=self.text) from None

    def _boolean(self, node: ast.BoolOp, values: Mapping[str, Any]) -> Any:
        conjunction = isinstance(node.op, ast.And)
        result: Any = conjunction
        for part in node.values:
            value = self._value(part, values)
            if _is_array(value) or _is_array(result):
                combine = np.logical_and if conjunction else np.logical_or
                result = combine(result, value)
            else:
                result = bool(value)
                if result is not conjunction:
                    return result
        return result

    def _compare(self, node: ast.Compare, values: Mapping[str, Any]) -> Any:
        left = self._value(node.left, values)
        result: Any = True
        for op, comparator in zip(node.ops, node.comparators):
            right = self._value(comparator, values)
            one = _COMPARISONS[type(op)](left, right)
            if _is_array(one) or _is_array(result):
                result = np.logical_and(result, one)
            else:
                result = bool(one)
                if not result:
                    return False
            left = right
        return result


def _dotted(node: ast.AST) -> str | None:
    """Return `a.b.c` for a chain of attributes, None for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return '.'.join([node.id, *reversed(parts)])


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray)


def _number(value: Any) -> Any:
    # Strings know * and % too, with results that no one wants from a study file.
    if isinstance(value, (str, bytes)) or (_is_array(value) and value.dtype.kind not in 'biuf'):
        raise TypeError('arithmetic needs numbers')
    if isinstance(value, (bool, np.bool_)):
        return int(value)
    if _is_array(value) and value.dtype.kind == 'b':
        return value.astype(float)
    return value


def _power(base: Any, exponent: Any) -> Any:
    if _is_array(base) or _is_array(exponent):
        return np.power(np.asarray(base, dtype=float), exponent)
    # Python's integers have no bound: a few digits of text could eat all memory.
    if not (
        isinstance(base, int)
        and isinstance(exponent, int)
        and 0 <= exponent <= 64
        and abs(base) < 2**40
    ):
        base = float(base)
    result = base**exponent
    if isinstance(result, complex):
        raise ArithmeticError('root of a negative number')
    return result


def _call(function: str, arguments: list[Any]) -> Any:
    if function == 'abs':
        return abs(arguments[0])
    if any(_is_array(a) for a in arguments):
        combine = np.minimum if function == 'min' else np.maximum
        result = arguments[0]
        for argument in arguments[1:]:
            result = combine(result, argument)
        return result
    return min(arguments) if function == 'min' else max(arguments)


@functools.lru_cache(maxsize=256)
def parsed(text: str) -> Expression:
    """Return a text's expression; to parse one takes longer than most evaluations."""
    return Expression(text)
