# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for telling a topic that has stopped from one that is slow.

A mean over what came before a sensor died looks as good as any other number. A topic is held
against its own rate: it is silent where nothing came for many of its usual periods and for a good
part of the window.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Fewer messages than this say nothing of a topic's rate.
_FEW = 5
_PERIODS = 10
_SHARE = 0.25  # of a window: a number over the rest of it is still one


def usual_gap(times: Sequence[int]) -> float | None:
    """Return the median time between messages that came at `times`; None if they are few."""
    if len(times) < _FEW:
        return None
    return float(np.median(np.diff(np.asarray(times, dtype=np.int64))))


def silent_since(
    times: Sequence[int], start: int, end: int, usual: float | None = None
) -> int | None:
    """
    Return since when nothing came within a window; None if all is well.

    `times`, `start` and `end` in ns of one clock, `times` in their order; `usual` is the topic's
    usual gap where the window holds too few messages to tell. The first long gap counts, also
    if the topic came back. A window without any message is silent since its start.
    """
    if not len(times):
        return start
    found = usual_gap(times)
    usual = usual if found is None else found
    if usual is None:
        return None
    edges = np.array([start, *times, end], dtype=np.int64)
    longest = max(_PERIODS * usual, _SHARE * (end - start))
    index = np.flatnonzero(np.diff(edges) > longest)
    return int(edges[index[0]]) if len(index) else None
