# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for reading configurations that a user lists in a YAML file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tl_adapt.errors import InputError
from tl_adapt.space import Configuration
from tl_adapt.study_file import load_yaml

_LARGEST = 10 << 20  # bytes


def read_configurations(
    path: Path, complete: Callable[[Mapping[str, Any]], Configuration], most: int
) -> list[Configuration]:
    """
    Return the configurations of a file that has one mapping of names to values, or a list of such.

    `complete` makes a configuration of what each gives, or raises InputError. Raises InputError
    that names the file and the place in it; there may be `most` of them.
    """
    if path.is_file() and path.stat().st_size > _LARGEST:
        raise InputError(f'may have {_LARGEST} bytes', file=path, value=path.stat().st_size)
    content = load_yaml(path)
    rows = content if isinstance(content, list) else [content]
    if not 1 <= len(rows) <= most:
        raise InputError(
            f'must hold between 1 and {most} configurations', file=path, value=len(rows)
        )
    found = []
    for index, row in enumerate(rows):
        key = f'[{index}]'
        if not isinstance(row, Mapping):
            raise InputError('a configuration maps names of parameters to values',
                             file=path, key=key, value=row)
        try:
            found.append(complete(row))
        except InputError as error:
            raise error.at(file=path, key=key) from None
    return found
