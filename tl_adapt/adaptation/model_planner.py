# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for planning with models.

After a change of the environment the present model becomes the source, and the windows since then
are the target's measurements: transfer, once more. An environment that was met before comes with
its own model again, if that explains the windows better.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from tl_adapt.adaptation.carrying import carried
from tl_adapt.adaptation.events import Band, Choice, Configuration, Outlook, Rules, Window
from tl_adapt.adaptation.memory import configuration_key
from tl_adapt.adaptation.recurring import bands_of, explains, last_change
from tl_adapt.adaptation.worth import Seen, Settled, Trial
from tl_adapt.environments.base import Measurement
from tl_adapt.errors import InputError, TlAdaptError
from tl_adapt.json_file import read_json
from tl_adapt.models.model_set import ModelSet, of_another_study
from tl_adapt.study import Study
from tl_adapt.tuner import Tuner
from tl_adapt.tuning.climb import Rank
from tl_adapt.tuning.known import best_runs
from tl_adapt.tuning.search import ANCHORS

CHOICE = 'choice.json'
_UNLIMITED = 10**6
_MOST_PAST = 5  # models of environments before the present one


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
        self._past: list[ModelSet] = []
        self._base = model  # what the evidence is learnt upon
        self._tuner: Tuner | None = None
        self._told = 0
        self._bands: dict[str, dict[str, Band]] = {}
        self._outlooks: dict[str, Outlook] = {}

    @property
    def model(self) -> ModelSet:
        """Return the present model."""
        return self._model

    def branch(self) -> ModelPlanner:
        """Return a planner of its own, which begins with the present model of this one."""
        other = ModelPlanner(self._study, self._model, seed=self._seed)
        other._past = list(self._past)
        return other

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
                self._bands[key] = bands_of(self._study, self._model, configuration)
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

    def propose(
        self, evidence: Sequence[Window], avoid: Sequence[Configuration]
    ) -> Choice | None:
        """
        Return the configuration that is most worth trying out, None if none is worth its risk.

        One run of it keeps the limits with probability 1 - `tuning.risk`, or as surely as any.
        """
        with _said('the model can not propose'):
            tuner = self._learnt(evidence)
            model = tuner.model
            known = self._known(evidence)
            told = model.assess(self._study.space.encode(known))
            rules = Rules.of(self._study.adaptation)
            trial = Trial(told, self._study.tuning.risk, rules.minimum_gain)
            found = self._look(tuner, trial.worth, known)
            worth = np.where(found.free([*avoid, *known]), trial.worth(found.said), -np.inf)
            index = int(np.argmax(worth))
            if not worth[index] > 0.0:
                return None
            gain = float(trial.gain(found.said.at(np.array([index])))[0])
        return Choice(
            dict(found.configurations[index]),
            why=f'expected to save {gain / max(abs(trial.best), 1e-12):.1%}, keeps the limits '
                f'with probability {found.said.feasible[index]:.2f}',
        )

    def best(
        self,
        evidence: Sequence[Window],
        anchor: Configuration,
        avoid: Sequence[Configuration],
    ) -> Choice | None:
        """
        Return the best safe configuration by posterior mean and its gain over `anchor`.

        One run of it is valid and keeps all limits with probability 1 - `tuning.risk`, or, where
        no configuration does, as surely as any. To break a limit for sure counts as much as the
        objective of the anchor.
        """
        with _said('the model can not choose'):
            tuner = self._learnt(evidence)
            model = tuner.model
            space = self._study.space
            known = [dict(anchor), *self._known(evidence), space.default()]
            tried = space.encode(known)
            told = model.assess(tried)
            settled = Settled(self._study.tuning.risk, float(told.mean[0]), tried)
            found = self._look(tuner, settled.worth, known)
            said = found.said
            safe = found.free(avoid) & settled.safe(said)
            if not safe.any():
                return None
            index = int(np.argmin(np.where(safe, settled.careful(said), np.inf)))
        present, loss = float(told.mean[0]), settled.loss
        gain = float(loss(told)[0] - loss(said)[index]) / max(abs(present), 1e-12)
        kept = float(said.feasible[index])
        return Choice(
            dict(found.configurations[index]), gain,
            f'objective {said.mean[index]:.4g} +- {said.std[index]:.2g} instead of '
            f'{present:.4g}, keeps the limits with probability {kept:.2f} instead of '
            f'{told.feasible[0]:.2f}',
            kept=kept,
        )

    def _known(self, evidence: Sequence[Window]) -> list[Configuration]:
        """Return what was tried since the change; the default if nothing was."""
        tried = {configuration_key(w.configuration): w.configuration
                 for w in evidence if w.configuration}
        return [dict(one) for one in tried.values()] or [self._study.space.default()]

    def _look(self, tuner: Tuner, rank: Rank, known: Sequence[Configuration]) -> Seen:
        """Look at the whole space, and closely around what ranks highest."""
        source = best_runs(self._study, tuner.source, ANCHORS)
        some = [*known, *(self._study.space.validate(run.configuration) for run in source)]
        return Seen(*tuner.search.look(tuner.model, rank, some, tuner.book.numbers))

    def accept(self, evidence: Sequence[Window]) -> None:
        """
        Make the model that was learnt from the evidence the present one.

        Raises TlAdaptError if that fails; the present one stays then.
        """
        with _said('what was learnt can not be taken over'):
            model = self._learnt(evidence).model
            # Models learn when they are first asked: all must have before they are relied on.
            bands_of(self._study, model, self._study.space.default())
        model.release()
        past = [one for one in self._past if one is not self._base]
        self._past = [*past, self._model][-_MOST_PAST:]
        self._model = self._base = model
        self._tuner, self._told = None, 0
        self._bands, self._outlooks = {}, {}

    def _learnt(self, evidence: Sequence[Window]) -> Tuner:
        """Return the tuner that was told all the evidence."""
        evidence = evidence[last_change(self._study, self._model, evidence):]
        base = explains(self._study, [self._model, *self._past], evidence)
        if base is not self._base:
            self._base, self._tuner, self._told = base, None, 0
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
            study, source=carried(self._study, self._base, seed=self._seed),
            seed=self._seed, budget=_UNLIMITED,
        )


def load_choice(folder: str | Path, study: Study) -> tuple[Configuration, str]:
    """
    Return the configuration that was chosen with a saved model, and why.

    Raises InputError if the file is missing, no JSON, of another study, or the configuration is
    outside of the study's space. One that was written by hand needs no digest.
    """
    path = Path(folder) / CHOICE
    data = read_json(path, 'no chosen configuration here (`tl_adapt transfer` writes it)')
    if not isinstance(data, dict) or not isinstance(data.get('configuration'), dict):
        raise InputError('must hold a configuration', file=path, key='configuration')
    if data.get('digest', study.digest) != study.digest:
        raise of_another_study(study, path, data['digest'])
    return study.space.validate(data['configuration'], file=path), str(data.get('why', ''))
