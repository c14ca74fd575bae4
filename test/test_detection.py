# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for tl_adapt.adaptation.detection, mostly by simulation with fixed seeds."""

import math

import numpy as np
import pytest

from tl_adapt.adaptation.detection import (
    FAILURES,
    REFERENCE,
    Detector,
    Expected,
    RareEvents,
    average_run_length,
    chart_threshold,
)
from tl_adapt.adaptation.events import Band, Rules
from tl_adapt.adaptation.run_lengths import Stage, alarms, delays

RULES = Rules()
BAND = Band(mean=10.0, model_std=0.5, noise_std=0.5)


def detector(**rules):
    rules = Rules(**rules)
    return Detector(['time'], false_alarms=rules.false_alarms, band=rules.band,
                    confirm=rules.confirm)


def good(watch, value, place='here', band=BAND):
    return watch.observe(place, {'time': value}, {'time': band})


def test_residuals_are_white_although_a_configuration_has_an_error_of_its_own():
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(150):
        expected, level = Expected(), BAND.mean + BAND.model_std * rng.standard_normal()
        row = []
        for value in level + BAND.noise_std * rng.standard_normal(20):
            row.append(expected.next('here', BAND).residual(value))
            expected.learn('here', BAND, value)
        rows.append(row)
    residuals = np.array(rows)
    assert abs(residuals.mean()) < 0.05
    assert 0.75 < residuals.std() < 1.02, 'the noise is rather taken for larger than smaller'
    assert residuals[:, -5:].std() > residuals[:, :5].std(), 'and learnt'
    assert abs(np.corrcoef(residuals[:, :-1].ravel(), residuals[:, 1:].ravel())[0, 1]) < 0.05


def test_the_noise_is_learnt_where_the_model_is_wrong_about_it():
    rng = np.random.default_rng(1)
    expected = Expected()
    for value in 10.0 + 3.0 * BAND.noise_std * rng.standard_normal(300):
        expected.learn('here', BAND, value)
    assert expected.noise('here', BAND)[0] == pytest.approx(3.0 * BAND.noise_std, rel=0.15)
    assert expected.noise('there', BAND)[0] < 2.0 * BAND.noise_std, 'places differ in it'


def test_a_lasting_shift_is_not_taken_for_noise():
    rng = np.random.default_rng(1)
    expected = Expected()
    for i, value in enumerate(10.0 + BAND.noise_std * rng.standard_normal(40)):
        expected.learn('here', BAND, value + (20.0 if i >= 20 else 0.0))
    assert expected.noise('here', BAND)[0] < 1.3 * BAND.noise_std


@pytest.mark.parametrize('shift', [0.0, 1.0, 2.0])
def test_the_run_length_of_a_chart_is_siegmunds(shift):
    threshold = chart_threshold(100.0)
    assert average_run_length(threshold) == pytest.approx(100.0)
    rng = np.random.default_rng(2)
    lengths = []
    for _ in range(600):
        total, windows = 0.0, 0
        while total < threshold:
            total = max(0.0, total + shift + rng.standard_normal() - REFERENCE)
            windows += 1
        lengths.append(windows)
    assert np.mean(lengths) == pytest.approx(average_run_length(threshold, shift), rel=0.15)


def test_a_longer_run_length_needs_a_higher_threshold():
    assert chart_threshold(1e5) > chart_threshold(1e3) > chart_threshold(10.0) > 0.0
    assert average_run_length(3.0, REFERENCE) == pytest.approx(average_run_length(3.0, 0.7501),
                                                               rel=0.01)


@pytest.mark.parametrize('stage', [
    Stage(), Stage(model_std=4.0), Stage(model_std=0.05), Stage(configurations=5),
    Stage(far_off=0.03), Stage(failing=0.1), Stage(noise=0.5), Stage(noise=1.5),
])
def test_a_hundred_windows_without_any_change_raise_at_most_one_alarm(stage):
    counts = [len(alarms(stage, RULES, windows=100, seed=seed)) for seed in range(30)]
    assert sum(count > 1 for count in counts) <= 1, 'at most one alarm, as good as always'
    assert sum(counts) <= 0.4 * len(counts)


def test_more_false_alarms_are_had_where_they_are_allowed():
    often = Rules(false_alarms=0.1)
    counts = [len(alarms(Stage(), often, windows=100, seed=seed)) for seed in range(20)]
    assert 0.7 < np.mean(counts) <= 11.0


def test_larger_shifts_are_found_sooner():
    found = [np.median(delays(Stage(), RULES, shift, repeats=15)) for shift in (2.0, 3.0, 10.0)]
    assert found[0] > found[1] >= found[2]
    assert found[0] <= 10.0
    assert found[2] <= 3.0
    early = delays(Stage(), RULES, 5.0, repeats=15, before=3)
    assert np.median(early) <= 6.0


def test_failures_are_found_by_their_number_and_what_is_usual_is_not():
    sudden = delays(Stage(failing=0.02), RULES, 0.0, repeats=10, failing=1.0)
    assert max(sudden) <= 4
    half = delays(Stage(failing=0.02), RULES, 0.0, repeats=10, failing=0.5)
    assert np.median(half) <= 15
    usual = delays(Stage(failing=0.2), RULES, 0.0, repeats=10, failing=1.0)
    assert np.median(usual) > np.median(sudden), 'failures that are usual tell less'


def test_a_bad_run_alone_never_raises_an_alarm():
    for value in (1e9, -1e9, math.inf, -math.inf):
        watch = detector(confirm=1)
        assert not [alarm for _ in range(20) for alarm in good(watch, 10.0)]
        assert good(watch, value) == []
        assert [alarm for _ in range(20) for alarm in good(watch, 10.0)] == []


def test_the_alarm_says_what_how_much_and_since_when():
    watch = detector()
    for _ in range(20):
        assert good(watch, 10.0) == []
    found = []
    while not found:
        found = good(watch, 13.0)
    assert (found[0].what, found[0].windows) == ('time', 2)
    assert found[0].shift == pytest.approx(3.0, abs=0.1)
    assert 'time' in found[0].text


def test_a_shift_goes_on_over_a_change_of_the_configuration():
    watch = detector()
    for place in ('here', 'there'):
        for _ in range(10):
            good(watch, 10.0, place)
    assert [len(good(watch, 14.0, place)) for place in ('here', 'there')] == [0, 1]


def test_at_least_so_many_windows_are_needed():
    for confirm in (2, 6):
        watch = detector(confirm=confirm, false_alarms=0.1)
        for _ in range(20):
            good(watch, 10.0)
        count = 0
        while not good(watch, 30.0):
            count += 1
        assert count + 1 >= confirm


def test_what_is_absorbed_is_usual_from_then_on_but_not_forgotten():
    watch = detector()
    for _ in range(20):
        good(watch, 10.0)
    shifts = []
    for value in (12.0, 14.0):
        found = []
        while not found:
            found = good(watch, value)
        shifts.append(found[0].shift)
        watch.absorb(found[0])
        assert not [alarm for _ in range(20) for alarm in good(watch, value)]
    assert shifts == pytest.approx([2.0, 4.0], abs=0.2), 'small ones add up'


def test_a_value_that_can_not_be_had_is_left_out():
    watch = detector()
    assert good(watch, math.nan) == []
    assert watch.observe('here', {'other': 1.0}, {}) == []
    log = Band(0.0, 0.1, 0.1, log=True)
    assert good(watch, 0.0, band=log) == []
    assert good(watch, 1.0, band=log) == []


def test_rare_events_need_their_number():
    count = RareEvents(run_length=2.0, least=2, worth=30.0)
    assert not count.add(True, 0.01)
    assert count.add(True, 0.01)
    count.forget()
    assert not count.add(True, 0.01)
    watch = detector()
    found = []
    while not found:
        found = watch.observe_outcome(failed=True, broken=False, valid=0.99, kept=1.0)
    assert found[0].what == FAILURES
    assert '3 of 3' in found[0].text


def test_a_bad_first_run_does_not_make_good_ones_look_odd():
    for value in (30.0, -10.0):
        watch = detector()
        assert good(watch, value) == []
        assert [alarm for _ in range(20) for alarm in good(watch, 10.0)] == []
