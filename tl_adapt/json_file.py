# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for reading files of JSON that people may have had their hands on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tl_adapt.errors import InputError


def read_json(path: Path, missing: str) -> Any:
    """
    Return what a file of JSON holds.

    Raises InputError, with `missing` and why if it can't be read.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f'{missing}: {error.strerror}', file=path) from error
    except RecursionError as error:
        raise InputError('is no JSON that can be read: it is nested too deeply',
                         file=path) from error
    except ValueError as error:
        raise InputError(f'is no JSON: {error}', file=path) from error
