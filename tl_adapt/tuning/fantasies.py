# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for runs that are under way: as if each had given what is predicted of it.

Ginsbourger et al. 2010 (the believer's strategy): further proposals then go elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tl_adapt.environments.base import Measurement
from tl_adapt.models.model_set import ModelSet
from tl_adapt.tuning.proposal import Proposal


def fantasies(
    model: ModelSet, pending: Sequence[Proposal], *, simulated: bool = False
) -> list[Measurement]:
    """Return the measurements that are predicted of runs of the target, or of the source."""
    if not pending:
        return []
    configurations = [dict(proposal.configuration) for proposal in pending]
    predicted = model.predict(configurations, model.needed).mean
    if simulated:
        X = model.study.space.encode(configurations)
        sources = {name: model.models[name].source for name in predicted}
        predicted = {
            name: np.asarray(source.predict(X))
            for name, source in sources.items() if source is not None
        }
    return [
        Measurement(
            environment='', configuration=configuration, seed=0,
            metrics={name: float(mean[i]) for name, mean in predicted.items()},
        )
        for i, configuration in enumerate(configurations)
    ]
