# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for how long the detection takes, and how often it is wrong, by simulation."""

from __future__ import annotations

import dataclasses

import numpy as np

from tl_adapt.adaptation.detection import Detector
from tl_adapt.adaptation.events import Band, Rules

_LOAD = 'load'


@dataclasses.dataclass(frozen=True)
class Stage:
    """
    Hold a made-up robot: what its windows are like, in units of what the model says of the noise.

    `metrics` are judged together; `model_std` is the model's uncertainty, from which each
    configuration's error is drawn. `noise` is the windows' real spread; `far_off` is the share of
    windows that are `tail` off in one metric, upwards. `failing` is the share that fails, of which
    the model knows.
    """

    metrics: int = 4
    model_std: float = 1.0
    noise: float = 1.0
    far_off: float = 0.0
    tail: float = 10.0
    failing: float = 0.0
    configurations: int = 1


def alarms(
    stage: Stage, rules: Rules, *, windows: int, seed: int, shift: float = 0.0, begin: int = 0,
    failing: float | None = None,
) -> list[int]:
    """
    Return at which of the windows there was an alarm; after each the detection begins anew.

    From window `begin` on the first metric is off by `shift` standard deviations of the noise,
    and the share `failing` of windows fails.
    """
    rng = np.random.default_rng(seed)
    names = [_LOAD, *(f'metric {i}' for i in range(1, stage.metrics))]
    band = Band(0.0, stage.model_std, 1.0)
    bands = dict.fromkeys(names, band)
    errors = stage.model_std * rng.standard_normal((stage.configurations, len(names)))
    detector = Detector(
        names, false_alarms=rules.false_alarms, band=rules.band, confirm=rules.confirm
    )
    found = []
    for number in range(windows):
        place = number * stage.configurations // windows
        values = errors[place] + stage.noise * rng.standard_normal(len(names))
        if rng.random() < stage.far_off:
            values[rng.integers(len(names))] += stage.tail
        rate = stage.failing
        if number >= begin:
            values[0] += shift * stage.noise
            rate = stage.failing if failing is None else failing
        failed = bool(rng.random() < rate)
        seen = detector.observe_outcome(
            failed=failed, broken=False, valid=1.0 - stage.failing, kept=1.0
        )
        if not failed:
            seen += detector.observe(
                str(place), {name: float(v) for name, v in zip(names, values)}, bands
            )
        if seen:
            found.append(number)
            detector.renew(model_wrong=True)
    return found


def delays(
    stage: Stage, rules: Rules, shift: float, *, repeats: int, before: int = 20,
    most: int = 100, seed: int = 0, failing: float | None = None,
) -> list[int]:
    """
    Return how many windows each of the repeated changes took to be found; `most` if longer.

    Alarms before the change are left out, as are the windows since.
    """
    found = []
    for number in range(repeats):
        seen = alarms(stage, rules, windows=before + most, seed=seed + number, shift=shift,
                      begin=before, failing=failing)
        after = [one - before + 1 for one in seen if one >= before]
        found.append(after[0] if after else most)
    return found
