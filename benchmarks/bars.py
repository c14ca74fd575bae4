# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Judge what was measured by limits, print and write it, and end a benchmark."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from tl_adapt.errors import TlAdaptError


def bar(text: str, value: float, limit: float, unit: str = '', *, least: bool = False) -> dict:
    """Return one line of the verdict: a value that must be at most (or at least) a limit."""
    met = bool(value >= limit if least else value <= limit)
    return {'bar': text, 'value': float(value), 'limit': limit, 'unit': unit, 'least': least,
            'met': met}


def show_bars(bars: list[dict]) -> None:
    """Print what was reached for each bar."""
    if bars:
        print('\nBars')
    for entry in bars:
        limit = f'{"at least" if entry["least"] else "at most"} {entry["limit"]:g}{entry["unit"]}'
        print(f'{entry["bar"]:78s}{entry["value"]:10.3f}{entry["unit"]:4s}{limit:18s}'
              f'{"met" if entry["met"] else "NOT MET"}')


def plain(value):
    """Return a value as JSON has it: a number that is not finite becomes null."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: Path, found: dict) -> None:
    """Write everything measured to a file."""
    path.write_text(json.dumps(plain(found), indent=1) + '\n')


def split_names(text: str) -> list[str]:
    """Return the words between commas."""
    return [word.strip() for word in text.split(',') if word.strip()]


def end(main: Callable[[], int]) -> NoReturn:
    """Run a benchmark and exit; a known problem is one line, without a trace."""
    try:
        sys.exit(main())
    except TlAdaptError as problem:
        print(problem, file=sys.stderr)
        sys.exit(problem.exit_code)
