# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Run the peers of a harness file: existing methods, measured in the same run as ours.

The file is a Python module with `METHODS` (name -> function of Xs, ys, Xt, yt, X that returns the
mean at X; y are logarithms) and `_memo`, `_extra`, `_charged`: models that several methods share
are fitted once per split, and their time is charged to each that uses them.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np


@functools.cache
def load_harness(path: Path) -> ModuleType:
    """Import the harness; raises ImportError if it or one of its packages is not there."""
    path = Path(path)
    if not path.is_file():
        raise ImportError(f'{path} is not there')
    spec = importlib.util.spec_from_file_location('transfer_harness', path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def begin(harness: ModuleType) -> None:
    """Let the next method begin as if none had run before; what is shared is charged anew."""
    if 'torch' in sys.modules:
        # Some fits begin at random values: the result must not depend on what was fitted before.
        sys.modules['torch'].manual_seed(0)
    harness._extra[0] = 0.0
    harness._charged.clear()


def predict(
    harness: ModuleType, method: str, Xs: np.ndarray, ys: np.ndarray, Xt: np.ndarray,
    yt: np.ndarray, X: np.ndarray,
) -> tuple[np.ndarray, float]:
    """Return a peer's log prediction (n,) and its seconds; y are on the original scale."""
    begin(harness)
    start = time.perf_counter()
    mean = np.asarray(harness.METHODS[method](Xs, np.log(ys), Xt, np.log(yt), X), dtype=float)
    return mean, time.perf_counter() - start + harness._extra[0]


def forget(harness: ModuleType) -> None:
    """Drop the models shared by the methods of one split."""
    harness._memo.clear()
