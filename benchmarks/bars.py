# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Judge what was measured by limits, print and write it, and end a benchmark."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from tl_adapt.errors import InputError, TlAdaptError


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


def run_parts(doc: str, parts: dict[str, Callable[[int], dict]], seeds: int) -> int:
    """
    Measure the parts that the command line names, print their bars and write what was found.

    Raises InputError for an unknown part and a number of seeds below 1.
    """
    parser = argparse.ArgumentParser(description=doc.split('\n\n')[0])
    parser.add_argument('--seeds', type=int, default=seeds)
    parser.add_argument('--parts', type=split_names, default=list(parts))
    parser.add_argument('--json', type=Path)
    args = parser.parse_args()
    if args.seeds < 1:
        raise InputError('must be at least 1', file='--seeds', value=args.seeds)
    for part in args.parts:
        if part not in parts:
            raise InputError(f'must be one of {", ".join(parts)}', file='--parts', value=part)
    found = {part: parts[part](args.seeds) for part in args.parts}
    show_bars([one for part in found.values() for one in part['bars']])
    if args.json:
        write_json(args.json, found)
    return 0


def end(main: Callable[[], int]) -> NoReturn:
    """Run a benchmark and exit; a known problem is one line, without a trace."""
    try:
        sys.exit(main())
    except TlAdaptError as problem:
        print(problem, file=sys.stderr)
        sys.exit(problem.exit_code)
