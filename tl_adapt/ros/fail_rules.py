# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for judging messages by the rules that end a mission early."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tl_adapt.expressions import Expression
from tl_adapt.trace import extract

if TYPE_CHECKING:
    from tl_adapt.study import FailRule

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    '>=': operator.ge,
    '<=': operator.le,
    '>': operator.gt,
    '<': operator.lt,
    '==': operator.eq,
    '!=': operator.ne,
}


def applies(rule: FailRule, message: Any) -> bool:
    """Say whether the message ends the mission."""
    expression = Expression(rule.field)
    value = expression.evaluate({name: extract(message, name) for name in expression.names})
    return bool(_COMPARE[rule.op](value, rule.value))
