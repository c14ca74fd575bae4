# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for planning with models.

After a change of the environment the present model becomes the source, and the windows since then
are the target's measurements: transfer, once more.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tl_adapt.adaptation.events import Band, Choice, Configuration, Outlook, Window
from tl_adapt.adaptation.memory import configuration_key
from tl_adapt.environments.base import Measurement
from tl_adapt.errors import InputError, TlAdaptError
from tl_adapt.models.kernel import Array
from tl_adapt.models.model_set import Assessment, ModelSet
from tl_adapt.models.transfer import TransferModel
from tl_adapt.study import Study
from tl_adapt.tuner import Tuner

CHOICE = 'choice.json'
# Points that carry the present model over a change: more cost time and tell little more.
_CARRIED = 200
_UNLIMITED = 10**6
# Configurations to choose from where the tuner's own choice is not safe.
_CANDIDATES = 512


@contextlib.contextmanager
def _said(what: str) -> Iterator[None]:
    """Raise TlAdaptError that says what failed where the numerics do."""
    try:
        yield
    except (ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
        raise TlAdaptError(f'{what}: {error}') from error


class ModelPlanner:
    """Plan with a study's models; `model` is the present one."""

    def __init__(self, study: Study, model: ModelSet, *, seed: int | None = None) -> None:
        """Keep the model; nothing is computed before `prepare`."""
        self._study = study
        self._model = model
        self._seed = study.seeds.tuning if seed is None else seed
        self._tuner: Tuner | None = None
        self._told = 0
        self._bands: dict[str, dict[str, Band]] = {}
        self._outlooks: dict[str, Outlook] = {}
        self._design: list[Configuration] | None = None

    @property
    def model(self) -> ModelSet:
        """Return the present model."""
        return self._model

    def branch(self) -> ModelPlanner:
        """Return a planner of its own, which begins with the present model of this one."""
        return ModelPlanner(self._study, self._model, seed=self._seed)

    def prepare(self) -> None:
        """
        Fit ahead what the next change will need; does nothing if that was done.

        Raises TlAdaptError if that fails.
        """
        if self._tuner is not None:
            return
        with _said('the model can not be carried on'):
            tuner = self._make_tuner()
            tuner.best()
            self._tuner = tuner

    def bands(self, configuration: Configuration) -> Mapping[str, Band]:
        """Return what one window in this configuration should give; TlAdaptError if it fails."""
        key = configuration_key(configuration)
        if key not in self._bands:
            with _said('the model can not predict'):
                self._bands[key] = self._predict(self._model, configuration)
        return self._bands[key]

    def outlook(self, configuration: Configuration) -> Outlook:
        """Return what the present model predicts of a whole configuration, or TlAdaptError."""
        key = configuration_key(configuration)
        if key not in self._outlooks:
            with _said('the model can not predict'):
                found = self._model.assess(self._study.space.encode([configuration]))
            self._outlooks[key] = Outlook(
                float(found.mean[0]), float(found.valid[0]), float(found.feasible[0])
            )
        return self._outlooks[key]

    def _predict(self, models: ModelSet, configuration: Configuration) -> dict[str, Band]:
        X = self._study.space.encode([configuration])
        found = {}
        for name, model in models.models.items():
            mean, var = model.latent(X, noise=False)
            found[name] = Band(
                float(mean[0]), float(np.sqrt(var[0])), float(np.sqrt(model.noise_variance)),
                bool(model.log_scale),
            )
        return found

    def propose(
        self, evidence: Sequence[Window], avoid: Sequence[Configuration]
    ) -> Choice | None:
        """Return the configuration with the largest constrained expected improvement."""
        with _said('the model can not propose'):
            tuner = self._learnt(evidence)
            try:
                # What was asked for counts as pending, so that each turn gives another one.
                for _ in range(len(avoid) + 1):
                    for asked in tuner.ask():
                        if asked.configuration not in avoid:
                            return Choice(
                                asked.configuration, why='the largest expected improvement'
                            )
            finally:
                for proposal in list(tuner.pending):
                    tuner.withdraw(proposal)
        return None

    def best(
        self,
        evidence: Sequence[Window],
        anchor: Configuration,
        avoid: Sequence[Configuration],
    ) -> Choice | None:
        """
        Return the best safe configuration by posterior mean and its gain over `anchor`.

        One run of it is valid and keeps all limits with probability 1 - `tuning.risk`, or at
        least as surely as one of the anchor.
        """
        with _said('the model can not choose'):
            tuner = self._learnt(evidence)
            found = tuner.best()
            if not np.isfinite(found.mean):
                return None
            wanted = dict(found.configuration)
            seen = [window.configuration for window in evidence if window.configuration]
            known = [anchor, wanted, *seen]
            space = self._study.space
            if self._design is None:
                self._design = space.sample(_CANDIDATES, seed=self._seed, method='sobol')
            candidates = [*known, *self._design]
            said = tuner.model.assess(space.encode(candidates))
        enough = min(1.0 - self._study.tuning.risk, float(said.feasible[0]))
        safe = np.array([one not in avoid for one in candidates]) & (said.feasible >= enough)
        index, why = 1, found.why
        if not safe[1]:
            if not safe.any():
                return None
            index = _most_promising(said, safe, len(known))
            why = f'the best that keeps limits with probability {said.feasible[index]:.2f}'
        present = float(said.mean[0])
        gain = (present - float(said.mean[index])) / max(abs(present), 1e-12)
        return Choice(dict(candidates[index]), gain, why)

    def accept(self, evidence: Sequence[Window]) -> None:
        """
        Make the model that was learnt from the evidence the present one.

        Raises TlAdaptError if that fails; the present one stays then.
        """
        with _said('what was learnt can not be taken over'):
            model = self._learnt(evidence).model
            # Models learn when they are first asked: all must have before they are relied on.
            self._predict(model, self._study.space.default())
        self._model = model
        self._tuner, self._told = None, 0
        self._bands, self._outlooks = {}, {}

    def _learnt(self, evidence: Sequence[Window]) -> Tuner:
        """Return the tuner that was told all the evidence."""
        self.prepare()
        tuner = self._tuner
        if tuner is None:
            raise TlAdaptError('the model can not be carried on')
        if len(evidence) < self._told or self._evidence_changed(tuner, evidence):
            # Another change than the one that was being learnt: begin anew, the source stays.
            tuner.forget()
            self._told = 0
        for window in evidence[self._told:]:
            tuner.tell(self._measurement(window))
        self._told = len(evidence)
        return tuner

    def _evidence_changed(self, tuner: Tuner, evidence: Sequence[Window]) -> bool:
        """Tell whether what was told is not the beginning of the evidence."""
        told = [self._measurement(window) for window in evidence[: self._told]]
        return told != tuner.target[: self._told]

    def _measurement(self, window: Window) -> Measurement:
        return Measurement(
            environment=str(self._study.adaptation.get('environment') or ''),
            configuration=dict(window.configuration or {}), seed=0, metrics=dict(window.metrics),
            valid=not window.outcome, reason=window.outcome, sim_time=window.sim_time,
            purpose='adaptation',
        )

    def _make_tuner(self) -> Tuner:
        # Windows cost nothing, and nothing is simulated while the robot runs.
        study = dataclasses.replace(
            self._study, budget=dataclasses.replace(self._study.budget, cost=None, time=None),
            tuning=dataclasses.replace(self._study.tuning, simulate=False),
        )
        return Tuner(
            study, source=carried(self._study, self._model, seed=self._seed),
            seed=self._seed, budget=_UNLIMITED,
        )


def _most_promising(said: Assessment, safe: NDArray[np.bool_], measured: int) -> int:
    """
    Return the safe candidate with the lowest mean.

    The first ones were `measured`; another is taken if it is surely better, or none of them safe.
    """
    mean = np.where(safe, said.mean, np.inf)
    best, new = int(np.argmin(mean[:measured])), int(np.argmin(mean))
    sure = said.mean[new] + 2.0 * said.std[new] < mean[best] - said.std[best]
    return new if sure or not safe[best] else best


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


def load_choice(folder: str | Path, study: Study) -> tuple[Configuration, str]:
    """
    Return the configuration that was chosen with a saved model, and why.

    Raises InputError if the file is missing, no JSON, or the configuration is outside of the
    study's space.
    """
    path = Path(folder) / CHOICE
    try:
        data: Any = json.loads(path.read_text())
    except OSError as error:
        raise InputError(f'no chosen configuration here: {error.strerror}', file=path) from error
    except ValueError as error:
        raise InputError(f'is no JSON: {error}', file=path) from error
    if not isinstance(data, dict) or not isinstance(data.get('configuration'), dict):
        raise InputError('must hold a configuration', file=path, key='configuration')
    return study.space.validate(data['configuration'], file=path), str(data.get('why', ''))
