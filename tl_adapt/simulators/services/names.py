# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the names of entities and namespaces that a request gives."""

from __future__ import annotations

import re
from collections.abc import Container
from itertools import count

_NAMESPACE = re.compile(r'/?([A-Za-z_][A-Za-z0-9_]*)(/[A-Za-z_][A-Za-z0-9_]*)*/?|/')


def unused(name: str, taken: Container[str]) -> str:
    """Return the name, with the first free number behind it if it is taken."""
    if name not in taken:
        return name
    return next(new for n in count() if (new := f'{name}_{n}') not in taken)


def is_namespace(text: str) -> bool:
    """Return whether a text is a ROS namespace; an empty one is."""
    return not text or (_NAMESPACE.fullmatch(text) is not None and '__' not in text)
