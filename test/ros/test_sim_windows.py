# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import pytest

pytest.importorskip('rclpy')

from tl_adapt.ros.sim_windows import Due, SimWindows  # noqa: E402


def all_due(windows, times):
    found = []
    for now in times:
        while (due := windows.due(now)) is not None:
            found.append((due.start, due.end, due.overlapping))
    return found


def test_full_windows_lie_side_by_side_and_others_slide_over_them():
    windows = SimWindows(8, 2)
    windows.restart(100)
    assert all_due(windows, range(100, 119)) == [
        (100, 108, False), (102, 110, True), (104, 112, True), (106, 114, True),
        (108, 116, False), (110, 118, True),
    ]


def test_whoever_comes_late_gets_all_full_windows_and_one_that_slides():
    windows = SimWindows(8, 2)
    windows.restart(0)
    assert all_due(windows, [29]) == [
        (0, 8, False), (8, 16, False), (16, 24, False), (20, 28, True)]


def test_a_new_context_restarts_only_the_full_windows():
    windows = SimWindows(8, 2)
    windows.restart(0)
    assert all_due(windows, range(12)) == [(0, 8, False), (2, 10, True)]
    windows.restart(11, keep=True)
    assert windows.needed_since == 4
    assert all_due(windows, range(11, 21)) == [
        (4, 12, True), (6, 14, True), (8, 16, True), (10, 18, True), (11, 19, False)]


def test_nothing_from_before_a_restart_is_seen():
    windows = SimWindows(8, 2)
    windows.restart(0)
    all_due(windows, range(12))
    windows.restart(11)
    assert windows.needed_since == 11
    assert all_due(windows, range(11, 20)) == [(11, 19, False)]


def test_a_stride_as_long_as_the_window_means_no_overlap():
    windows = SimWindows(8, 8)
    windows.restart(0)
    assert all_due(windows, range(33)) == [(n, n + 8, False) for n in (0, 8, 16, 24)]
    assert windows.due(33) is None
    assert windows.due(40) == Due(32, 40, False)
