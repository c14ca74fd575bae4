# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what the options do in one environment: to a number, and to the chance of failure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from tl_adapt.explanation.number import Data, fit_model
from tl_adapt.models.anomaly import held_out_residuals
from tl_adapt.models.basis import Basis
from tl_adapt.models.draws import Belief, belief, ensemble
from tl_adapt.models.effects import Effects
from tl_adapt.models.kernel import Array
from tl_adapt.models.validity import ValidityModel

if TYPE_CHECKING:
    from tl_adapt.study import Study

FEWEST = 4  # valid measurements, without a source to transfer from
_FEWEST_JUDGED = 10
_RARE = 0.05  # probability that any run of a sound environment is called unexplained


@dataclasses.dataclass
class Explained:
    """
    Hold one environment's data, models and effects.

    `effects` is None where nothing can be said of the number; `note` then says why. `failures` are
    effects on the probability of failure, None where no run or every run failed. `unexplained` are
    the rows whose value no configuration explains, with their residuals.
    """

    data: Data
    source: Data | None
    log: bool
    model: Any = None
    effects: Effects | None = None
    note: str = ''
    validity: ValidityModel | None = None
    failures: Effects | None = None
    failure_belief: Belief | None = None
    unexplained: list[tuple[int, float]] = dataclasses.field(default_factory=list)

    def belief(self, study: Study, model: Any, seed: int = 0) -> Belief:
        """Return the belief in a model of this environment."""
        return belief(model, canonical=canonical_points(study), seed=seed)

    @property
    def name(self) -> str:
        """Return the environment's name."""
        return self.data.environment


def canonical_points(study: Study) -> Callable[[Array], Array] | None:
    """Return what gives parameters that are not active their default; None if all always are."""
    space = study.space
    if all(parameter.condition is None for parameter in space.parameters):
        return None
    return lambda X: space.encode(space.decode(X))


def explain_environment(
    study: Study, data: Data, basis: Basis, *, log: bool, source: Data | None = None,
    like: Effects | None = None, seed: int = 0,
) -> Explained:
    """
    Fit the models of one environment, with what a `source` tells, and decompose them.

    `like` are another environment's effects, so that both have the same low and high values.
    """
    if source is not None and not source.usable.any():
        source = None
    found = Explained(data, source, log)
    found.note = _why_not(data, source)
    if not found.note:
        found.model = fit_model(study, data, log=log, source=source, seed=seed)
        found.effects = Effects(
            found.belief(study, found.model, seed), basis, log=log, like=like, seed=seed
        )
        found.unexplained = _unexplained(study, found, seed)
    if data.valid.any() and not data.valid.all():
        _explain_failures(study, found, basis, source, seed)
    return found


def _why_not(data: Data, source: Data | None) -> str:
    """Return why the number can not be explained, '' if it can."""
    total, usable = len(data.measurements), data.y[data.usable]
    if not data.valid.any():
        return f'all {total} runs failed: there is nothing to compare'
    if len(usable) < (FEWEST if source is None else 1):
        return (
            f'only {len(usable)} of {total} measurements are valid and have it; at least '
            f'{FEWEST} are needed'
        )
    if np.ptp(usable) <= 1e-12 * np.abs(usable).max() and source is None:
        return f'it is {usable[0]:g} in all {len(usable)} measurements: nothing influences it'
    return ''


def _unexplained(study: Study, found: Explained, seed: int) -> list[tuple[int, float]]:
    """Return the rows whose held-out residual is too large for chance, the largest first."""
    data = found.data
    rows = np.flatnonzero(data.usable)
    if len(rows) < _FEWEST_JUDGED:
        return []

    def fit(kept: NDArray[np.bool_]) -> Any:
        mask = np.zeros(len(data.y), dtype=bool)
        mask[rows[kept]] = True
        return fit_model(
            study, data, log=found.log, source=found.source, rows=mask, seed=seed
        )

    residual = held_out_residuals(fit, data.X[rows], data.y[rows], seed=seed)
    # Bonferroni's correction: of many sound runs one in twenty would look odd otherwise.
    odd = 2.0 * ndtr(-np.abs(residual)) * len(rows) < _RARE
    order = [i for i in np.argsort(-np.abs(residual)) if odd[i]]
    return [(int(rows[i]), float(residual[i])) for i in order]


def _explain_failures(
    study: Study, found: Explained, basis: Basis, source: Data | None, seed: int
) -> None:
    """Set the validity model, and the effects on the probability of failure."""
    parts = [found.data] if source is None else [source, found.data]
    X = np.vstack([part.X for part in parts])
    valid = np.concatenate([part.valid for part in parts])
    first = len(parts[0].X)
    canonical = canonical_points(study)
    models = []

    def fit(rows: NDArray[np.int_]) -> Callable[[Array], Array]:
        model = ValidityModel(study.space.categorical, seed=seed)
        if source is None:
            model.fit(X[rows], valid[rows])
        else:
            own = rows[rows >= first]
            others = rows[rows < first]
            model.fit(X[others], valid[others], target=(X[own], valid[own]))
        models.append(model)
        return lambda Z: 1.0 - model.probability(Z if canonical is None else canonical(Z))

    found.failure_belief = ensemble(fit, len(X), seed=seed)
    found.validity = models[0]
    found.failures = Effects(found.failure_belief, basis, seed=seed)
