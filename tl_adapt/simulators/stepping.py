# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for stepping a simulation by less, or more, than one scan period at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from tl_adapt.ros.inbox import Inbox
from tl_adapt.simulators.base import Sample

_LOOK = 0.0005  # s between two looks for an answer


def joined(parts: Sequence[tuple[int, Sample]]) -> Sample:
    """Return the sample of a period from those of its parts (duration [ns], Sample)."""
    _, last = parts[-1]
    if len(parts) == 1:
        return last
    total = sum(duration for duration, _ in parts)

    def mean(values: Iterable[float]) -> float:
        return sum(d * value for (d, _), value in zip(parts, values)) / total

    samples = [sample for _, sample in parts]
    x, y, z = zip(*(sample.linear_acceleration for sample in samples))
    return replace(
        last,
        collision=any(sample.collision for sample in samples),
        current=mean(sample.current for sample in samples),
        odometry_twist=(
            mean(sample.odometry_twist[0] for sample in samples),
            mean(sample.odometry_twist[1] for sample in samples),
        ),
        linear_acceleration=(mean(x), mean(y), mean(z)),
    )


def wait_for_answer(waiting: Callable[[], bool], commands: Inbox, compute_times: Inbox) -> None:
    """Take what comes until `waiting` returns False; for use inside of an executor's callback."""
    commands.open = compute_times.open = False
    try:
        while True:
            commands.take()
            compute_times.take()
            if not waiting():
                return
            time.sleep(_LOOK)
    finally:
        commands.open = True
