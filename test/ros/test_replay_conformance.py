# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""The conformance suite of environments, on a bag that is replayed through a real process."""

import pytest

pytest.importorskip('rclpy')
pytest.importorskip('rosbags')

from small_bag import small_replay  # noqa: E402

from tl_adapt.testing.conformance import EnvironmentConformance  # noqa: E402

pytestmark = pytest.mark.ros


def without_times(content):
    """CPU time and answer times are measured on the host: no seed repeats them."""
    del content['metrics']['cpu'], content['metrics']['latency']


class TestReplayConforms(EnvironmentConformance):
    deadline = 60.0

    @pytest.fixture(autouse=True)
    def study(self, tmp_path):
        self.made = small_replay(tmp_path, without_times)

    def make_study(self):
        return self.made

    def configurations(self, study, environment):
        default = study.space.default()
        return [default, {**default, 'bias': 0.25}]

    def failing(self, study):
        return {**study.space.default(), 'behaviour': 'die'}

    def endless(self, study):
        return {**study.space.default(), 'behaviour': 'hang'}
