# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the filters of simulation_interfaces/EntityFilters."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

_MAX_LENGTH = 200  # characters
_CLASSES = {
    'alnum': 'A-Za-z0-9', 'alpha': 'A-Za-z', 'blank': ' \\t', 'cntrl': '\\x00-\\x1f\\x7f',
    'digit': '0-9', 'graph': '!-~', 'lower': 'a-z', 'print': ' -~',
    'punct': '!-/:-@\\[-`{-~', 'space': ' \\t-\\r', 'upper': 'A-Z', 'xdigit': '0-9A-Fa-f',
}  # fmt: skip


def matching(names: Iterable[str], filters: Any) -> list[str]:
    """
    Return the names that pass the filters.

    Raises NotImplementedError for a filter by category, tags or bounds, which these simulators
    do not have, and ValueError for an expression that is wrong.
    """
    for field, asked in (
        ('categories', bool(filters.categories)),
        ('tags', bool(filters.tags.tags)),
        ('bounds', filters.bounds.type != filters.bounds.TYPE_EMPTY),
    ):
        if asked:
            raise NotImplementedError(f'entities can be filtered by name only, got {field}')
    if not filters.filter:
        return list(names)
    pattern = _compiled(filters.filter)
    return [name for name in names if pattern.fullmatch(name)]


def _compiled(expression: str) -> re.Pattern[str]:
    """Return an extended regular expression of POSIX, whose classes Python does not know."""
    if len(expression) > _MAX_LENGTH:
        raise ValueError(f'a filter may have {_MAX_LENGTH} characters, got {len(expression)}')
    text = re.sub(r'\[:(\w+):\]', lambda m: _CLASSES.get(m[1], m[0]), expression)
    try:
        return re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f'must be a regular expression, got {expression!r}: {error}') from None
