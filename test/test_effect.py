# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for tl_adapt.adaptation.effect, by simulation with fixed seeds."""

import math

import numpy as np
import pytest

from tl_adapt.adaptation.effect import EffectWatch, Kind
from tl_adapt.adaptation.events import Band, Window

OLD, NEW = {'v': 1}, {'v': 2}
BEFORE = {'time': Band(math.log(20.0), 0.05, 0.05, log=True)}
AFTER = {'time': Band(math.log(14.0), 0.05, 0.05, log=True)}


def windows(middle, number, rng, spread=0.05):
    return [
        Window({'time': middle * math.exp(spread * rng.standard_normal())}, '', 20.0, NEW)
        for _ in range(number)
    ]


def outcome(before, after, seed=0, number=8, spread=0.05, predicted=(BEFORE, AFTER)):
    """Return the effect that is found, and after how many windows."""
    rng = np.random.default_rng(seed)
    watch = EffectWatch(4, OLD, windows(before, 5, rng), predicted, ['time'])
    for count, window in enumerate(windows(after, number, rng, spread), 1):
        effect = watch.add(window)
        if effect is not None:
            return effect, count
    return watch.close(), number


@pytest.mark.parametrize('before, after, kind', [
    (20.0, 14.0, Kind.AS_PREDICTED),
    (22.0, 15.4, Kind.AS_PREDICTED),  # an error of the model that both share
    (20.0, 20.0, Kind.NONE),
    (22.0, 22.0, Kind.NONE),
    (20.0, 40.0, Kind.OTHER),
    (20.0, 5.0, Kind.OTHER),
])
def test_what_came_of_a_change_is_found_in_a_few_windows(before, after, kind):
    found = [outcome(before, after, seed) for seed in range(20)]
    right = [effect.kind is kind for effect, _ in found]
    assert sum(right) >= 18
    wrong = [effect.kind for effect, _ in found if effect.kind not in (kind, Kind.UNCLEAR)]
    assert len(wrong) <= 1
    assert np.median([count for _, count in found]) <= 3


def test_the_text_gives_the_figures():
    effect, count = outcome(20.0, 20.0)
    assert effect.change == 4
    assert effect.text.startswith(f'no effect after {count} windows: time ')
    assert '-> 14' in effect.text


def test_one_bad_run_decides_nothing():
    for value in (20.0, 14.0, 300.0, 0.0, math.nan):
        watch = EffectWatch(
            1, OLD, windows(20.0, 5, np.random.default_rng(0)), (BEFORE, AFTER), ['time'])
        assert watch.add(Window({'time': value}, '', 20.0, NEW)) is None
        rest = windows(14.0, 7, np.random.default_rng(1))
        found = [effect for window in rest if (effect := watch.add(window))]
        assert found[0].kind is (Kind.UNCLEAR if value == 300.0 else Kind.AS_PREDICTED)


def test_an_effect_that_can_not_be_seen_is_not_looked_for():
    near = {'time': Band(math.log(19.0), 0.05, 0.05, log=True)}
    rng = np.random.default_rng(0)
    watch = EffectWatch(1, OLD, windows(20.0, 5, rng), (BEFORE, near), ['time'])
    assert not watch.visible
    assert watch.close().kind is Kind.INVISIBLE
    unsure = {'time': Band(math.log(14.0), 0.5, 0.05, log=True)}
    assert not EffectWatch(1, OLD, windows(20.0, 5, rng), (BEFORE, unsure), ['time']).visible


def test_without_a_window_before_nothing_can_be_said():
    watch = EffectWatch(1, OLD, [Window({}, 'timeout', 20.0, OLD)], (BEFORE, AFTER), ['time'])
    assert not watch.visible
    assert watch.close().kind is Kind.UNCLEAR
    assert 'no window before' in watch.close().text


def test_what_lies_in_between_stays_unclear():
    kinds = [outcome(20.0, 16.8, seed)[0].kind for seed in range(20)]
    assert Kind.NONE not in kinds or kinds.count(Kind.NONE) <= 1


def test_failed_missions_tell_nothing_of_an_effect():
    watch = EffectWatch(
        1, OLD, windows(20.0, 5, np.random.default_rng(0)), (BEFORE, AFTER), ['time'])
    for _ in range(20):
        assert watch.add(Window({'time': 20.0}, 'timeout', 20.0, NEW)) is None
    assert watch.likely() is None
    assert watch.close('the mission ends').text.endswith('(the mission ends)')


def test_several_metrics_tell_together():
    before = {**BEFORE, 'cpu': Band(1.0, 0.05, 0.05), 'gap': Band(0.5, 0.1, 0.1)}
    after = {**AFTER, 'cpu': Band(0.7, 0.05, 0.05), 'gap': Band(0.5, 0.1, 0.1)}
    base = [Window({'time': 20.0, 'cpu': 1.0, 'gap': 0.5}, '', 20.0, OLD)] * 4
    watch = EffectWatch(1, OLD, base, (before, after), ['time', 'cpu', 'gap'])
    assert watch.add(Window({'time': 20.0, 'cpu': 1.0}, '', 20.0, NEW)) is None
    effect = watch.add(Window({'time': 20.1, 'cpu': 1.01}, '', 20.0, NEW))
    assert effect.kind is Kind.NONE
    assert 'cpu' in effect.text and 'gap' not in effect.text
