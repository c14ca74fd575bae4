# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""The conformance suite of environments, on a small stack of real processes."""

import pytest

pytest.importorskip('rclpy')

from tl_adapt.testing.conformance import EnvironmentConformance  # noqa: E402

pytestmark = pytest.mark.ros


def without_cpu(content):
    """CPU time is measured on the host: the one metric that no seed repeats."""
    del content['metrics']['cpu']


class TestStackConforms(EnvironmentConformance):
    deadline = 60.0

    @pytest.fixture(autouse=True)
    def study(self, small_study):
        self.made = small_study(without_cpu)

    def make_study(self):
        return self.made

    def configurations(self, study, environment):
        default = study.space.default()
        return [default, {**default, 'speed': 0.75}]

    def failing(self, study):
        return {**study.space.default(), 'behaviour': 'abort'}

    def endless(self, study):
        return {**study.space.default(), 'behaviour': 'freeze'}
