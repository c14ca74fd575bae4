# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Keep what a benchmark has finished in a CSV file, and measure what is missing in processes.

Rows of ours carry the digest of the code that they depend on, so that a row of older code can be
told from today's.
"""

from __future__ import annotations

import ast
import contextlib
import csv
import hashlib
import importlib.util
import multiprocessing
import signal
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tl_adapt.progress import Progress


# ------------------------------------------------------------------------------- digests
def sources(
    module: str, within: tuple[str, ...], known: set[str] | None = None
) -> dict[str, Path]:
    """Return the files of a module and of all that it imports whose name begins so, by name."""
    known = set() if known is None else known
    spec = importlib.util.find_spec(module)
    if module in known or spec is None or not spec.origin:
        return {}
    known.add(module)
    found = {module: Path(spec.origin)}
    for node in ast.walk(ast.parse(found[module].read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] + [f'{node.module}.{alias.name}' for alias in node.names]
        for name in names:
            if name.startswith(within):
                with contextlib.suppress(ModuleNotFoundError):
                    found |= sources(name, within, known)
    return found


def digest(files: dict[str, Path]) -> str:
    """Return a digest of the content of files."""
    text = hashlib.sha256()
    for name in sorted(files):
        text.update(files[name].read_bytes())
    return text.hexdigest()[:12]


# ------------------------------------------------------------------------------- rows
@dataclass(frozen=True)
class Format:
    """
    Say what a file of finished rows holds.

    `fields` are its columns; `words` those that are no number; `key` names what was measured,
    `digests` the columns that tell older rows of the same key apart.
    """

    fields: tuple[str, ...]
    words: tuple[str, ...]
    key: tuple[str, ...]
    digests: tuple[str, ...]

    def read(self, path: Path) -> list[dict]:
        """Return the whole rows of a file, the last of each key; torn lines are left out."""
        rows = {}
        if Path(path).is_file():
            with open(path, newline='') as file:
                for cells in csv.reader(file):
                    if len(cells) != len(self.fields) or cells[0] == self.fields[0]:
                        continue
                    with contextlib.suppress(ValueError):
                        row = {
                            name: cell if name in self.words
                            else int(cell) if name in self.key
                            else float(cell) if cell else float('nan')
                            for name, cell in zip(self.fields, cells)
                        }
                        rows[tuple(row[name] for name in (*self.key, *self.digests))] = row
        return list(rows.values())

    def prepare(self, path: Path) -> None:
        """Make the file with its head, or end a line that was torn when a run was killed."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or not path.stat().st_size:
            path.write_text(','.join(self.fields) + '\n')
        elif not path.read_bytes().endswith(b'\n'):
            with open(path, 'a') as file:
                file.write('\n')

    def append(self, path: Path, row: dict) -> None:
        """Add one row with a single write, so that workers don't tear each other's lines."""
        cells = [f'{v:.6g}' if isinstance(v, float) else v for v in map(row.get, self.fields)]
        with open(path, 'a', newline='') as file:
            csv.writer(file, lineterminator='\n').writerow(cells)

    def done(self, rows: Iterable[dict]) -> set[tuple]:
        """Return the keys of rows."""
        return {tuple(row[name] for name in self.key) for row in rows}


def keep(form: Format, path: Path, row: dict, work: Callable[..., dict], *arguments: Any) -> None:
    """Add a row with what work(*arguments) returns, or with its error: a peer may fail anyhow."""
    row = {'error': '', **row}
    try:
        row |= work(*arguments)
    except Exception as error:
        row['error'] = one_line(error)
    form.append(path, row)


def one_line(error: Exception) -> str:
    """Return what a row says of an error."""
    return ' '.join(f'{type(error).__name__}: {error}'.split())[:200]


# ------------------------------------------------------------------------------- processes
def in_processes(
    label: str, form: Format, plan: Any, todo: dict[tuple, Any], steps: dict[tuple, int],
    measure: Callable[..., None], workers: int,
) -> None:
    """
    Call measure(plan, *key, todo[key]) for each key (name, seed), which is so many steps.

    Each adds its own rows to `plan.results`, so that what is finished survives ctrl-C.
    """
    form.prepare(plan.results)
    if not todo:
        return
    # Not forked: the peers' libraries have threads that a fork would lose.
    pool = ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context('spawn'), initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        with Progress(label, sum(steps.values())) as progress:
            futures = {pool.submit(measure, plan, *key, todo[key]): key for key in todo}
            for future in as_completed(futures):
                future.result()
                key = futures[future]
                progress.advance(f'{key[0]}, seed {key[1]}', steps[key])
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
