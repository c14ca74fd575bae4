# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for which of a study's metrics can be watched while a robot drives."""

from __future__ import annotations

from tl_adapt.study import Metric, Study

_OF_MISSIONS = ('time_to_goal', 'success')


def watched_metrics(study: Study) -> list[Metric]:
    """Return the metrics that each window should give: whole missions, or a length of sim time."""
    of_missions = study.adaptation.get('window', 'mission') == 'mission'
    return [
        metric for metric in study.metrics.values()
        if metric.reduction != 'given' and (of_missions or metric.reduction not in _OF_MISSIONS)
    ]
