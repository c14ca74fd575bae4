# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for JSON text from which values come back as they were.

JSON has no infinity, no bytes and no tuple, and only text as keys; a mapping with the key `$`
stands for these: `{"$": "float", "value": "nan"}`.
"""

from __future__ import annotations

import array
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

_MARK = '$'
_MADE: dict[str, Callable[[Any], Any]] = {
    'float': float,
    'bytes': bytes.fromhex,
    'bytearray': bytearray.fromhex,
    'tuple': lambda items: tuple(from_plain(item) for item in items),
    'pairs': lambda items: {from_plain(key): from_plain(value) for key, value in items},
    'text': str,
}


def to_text(value: Any, *, strict: bool = True) -> str:
    """
    Return the JSON text of a value.

    NumPy's scalars and arrays, and those of `array`, become plain numbers and lists; all else
    comes back from `from_text` in its own type: None, bool, int, float (also nan and infinities),
    str, bytes, bytearray, list, tuple and dict. Raises TypeError for anything else; if not
    `strict`, its `repr` is kept instead, as text.
    """
    return json.dumps(to_plain(value, strict=strict), separators=(',', ':'), allow_nan=False)


def from_text(text: str) -> Any:
    """Return the value of a text of `to_text`; raises ValueError if it is none."""
    try:
        return from_plain(json.loads(text))
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f'no value of ours: {error}') from error


def to_plain(value: Any, *, strict: bool = True) -> Any:
    """Return the value as what JSON has; see `to_text`."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else _marked('float', repr(float(value)))
    if isinstance(value, (bytes, bytearray)):
        return _marked('bytes' if isinstance(value, bytes) else 'bytearray', value.hex())
    if isinstance(value, list):
        return [to_plain(item, strict=strict) for item in value]
    if isinstance(value, tuple):
        return _marked('tuple', [to_plain(item, strict=strict) for item in value])
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value) and _MARK not in value:
            return {key: to_plain(item, strict=strict) for key, item in value.items()}
        pairs = [[to_plain(part, strict=strict) for part in pair] for pair in value.items()]
        return _marked('pairs', pairs)
    if isinstance(value, array.array) or callable(getattr(value, 'tolist', None)):
        return to_plain(value.tolist(), strict=strict)
    if strict:
        raise TypeError(f'{type(value).__name__} can not be kept')
    return _marked('text', repr(value))


def from_plain(value: Any) -> Any:
    """Return the value that `to_plain` made this of."""
    if isinstance(value, list):
        return [from_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    if _MARK in value:
        return _MADE[value[_MARK]](value['value'])
    return {key: from_plain(item) for key, item in value.items()}


def _marked(kind: str, value: Any) -> dict[str, Any]:
    return {_MARK: kind, 'value': value}
