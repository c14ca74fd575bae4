# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for making the policy that a study asks for."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tl_adapt.adaptation.contexts import Refusal
from tl_adapt.adaptation.events import Rules
from tl_adapt.adaptation.judge import relevance
from tl_adapt.adaptation.planner import Planner
from tl_adapt.adaptation.watched import watched_metrics
from tl_adapt.policy import Policy
from tl_adapt.study import Study


def make_policy(
    study: Study, planner: Planner, chosen: Mapping[str, Any], rules: Rules | None = None,
    refused: Sequence[Refusal] = (),
) -> Policy:
    """Return the policy for a study; its own rules count unless others are given."""
    rules = rules or Rules.of(study.adaptation)
    limits = {limit.metric: limit for limit in study.limits}
    judged = [o.metric for o in study.objectives]
    judged += [name for name in limits if name not in judged]
    limited = [metric.name for metric in watched_metrics(study) if metric.name in limits]

    def objective(metrics: Mapping[str, float]) -> float:
        known = all(o.metric in metrics for o in study.objectives)
        return study.objective(metrics) if known else math.nan

    policy = Policy(
        planner=planner, chosen=dict(chosen), fallback=study.space.default(),
        contains=study.space.contains,
        broken=functools.partial(study.broken_limits, known=True), matters=judged, rules=rules,
        relevant=relevance(study, lambda: policy.rules.minimum_gain), objective=objective,
        risk=study.tuning.risk, refused=refused, limited=limited,
    )
    return policy
