# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for carrying a model over a change of the environment, as measurements to start from."""

from __future__ import annotations

import numpy as np

from tl_adapt.environments.base import Measurement
from tl_adapt.errors import InputError
from tl_adapt.models.kernel import Array
from tl_adapt.models.model_set import ModelSet
from tl_adapt.models.transfer import TransferModel
from tl_adapt.study import Study

# Points that carry the present model over a change: more cost time and tell little more.
_CARRIED = 200


def carried(study: Study, model: ModelSet, *, seed: int = 0) -> list[Measurement]:
    """
    Return what the present model says, as measurements that a new model can start from.

    Each measurement of the source is moved to what the present model predicts there and keeps
    its own scatter, so that the new model learns the noise, too; those of the target stay as
    they are. Configurations that failed teach validity.
    """
    rows: dict[bytes, tuple[Array, dict[str, float]]] = {}
    for name, one in model.models.items():
        X, y = _moved(one)
        values = np.exp(y) if one.log_scale else y
        for point, value in zip(X, values):
            rows.setdefault(point.tobytes(), (point, {}))[1][name] = float(value)
    process = model.validity.process
    failed = [] if process is None else list(process.X[process.y < 0.0])
    failed += list(model.validity.X[model.validity.seen < 0.5]) if len(model.validity.seen) else []
    entries: list[tuple[Array, dict[str, float], bool]] = [
        *((point, metrics, True) for point, metrics in rows.values()),
        *((point, {}, False) for point in failed),
    ]
    if len(entries) > _CARRIED:
        keep = np.random.default_rng(seed).choice(len(entries), _CARRIED, replace=False)
        entries = [entries[i] for i in sorted(keep)]
    if not entries:
        raise InputError('the model holds no measurement')
    configurations = study.space.decode(np.array([point for point, _, _ in entries]))
    return [
        Measurement(
            environment='', configuration=configuration, seed=0, metrics=metrics, valid=valid,
            reason='' if valid else 'failed before', purpose='model',
        )
        for configuration, (_, metrics, valid) in zip(configurations, entries)
    ]


def _moved(model: TransferModel) -> tuple[Array, Array]:
    """Return points (n, d) and values (n,) on the model's scale."""
    source = model.source
    if source is None:
        return model.X, model.y
    scatter = source.y - source.latent(source.X, noise=False)[0]
    moved = model.latent(source.X, noise=False)[0] + scatter
    return np.vstack([source.X, model.X]), np.concatenate([moved, model.y])
