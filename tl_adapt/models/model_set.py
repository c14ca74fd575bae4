# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the models of one study: a transfer model per metric and one of validity."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from tl_adapt.acquisition import Term
from tl_adapt.environments.base import Measurement
from tl_adapt.errors import InputError
from tl_adapt.models import persistence, scale
from tl_adapt.models.kernel import Array, as_points
from tl_adapt.models.late_fits import LateFits
from tl_adapt.models.transfer import TransferModel
from tl_adapt.models.validity import ValidityModel
from tl_adapt.space import Configuration

if TYPE_CHECKING:
    from tl_adapt.study import Limit, Study

_ARRAYS = ('mean', 'std', 'valid', 'feasible', 'noise', 'points')  # of an assessment


@dataclasses.dataclass(frozen=True)
class Prediction:
    """
    Hold what one run of each configuration should give.

    `mean` and `std` map metrics to arrays (n,) in the metric's unit, noise included; `valid` (n,)
    is the probability that the run is valid.
    """

    mean: dict[str, Array]
    std: dict[str, Array]
    valid: Array


@dataclasses.dataclass(frozen=True)
class Slack:
    """
    Hold how far a limit is from its metric: it is kept where the slack is positive.

    `mean` and `variance` (n,) are those of the function behind the noise, `noise` is the variance
    that one run adds; all on the scale of the metric's model.
    """

    mean: Array
    variance: Array
    noise: float

    @property
    def margin(self) -> Array:
        """Return the slack (n,) in standard deviations of what one run is predicted to give."""
        return np.asarray(self.mean / np.sqrt(self.variance + self.noise))

    def joined(self, other: Slack) -> Slack:
        """Return the slack of the configurations of both."""
        return dataclasses.replace(
            self, mean=np.concatenate([self.mean, other.mean]),
            variance=np.concatenate([self.variance, other.variance]),
        )


@dataclasses.dataclass(frozen=True)
class Assessment:
    """
    Hold what decides between configurations, each of shape (n,).

    `mean` and `std` of the objective (the function behind the noise, to be minimised), `valid`
    the probability of a valid run, `feasible` that of one which also keeps all limits; `terms`
    are the objective's addends, `slacks` how far each limit is (None: no measurement tells of its
    metric). `noise` is the standard deviation that one run adds to the objective, `points` (n, d)
    are the places in the unit cube.
    """

    mean: Array
    std: Array
    valid: Array
    feasible: Array
    terms: tuple[Term, ...]
    noise: Array
    points: Array
    slacks: tuple[Slack | None, ...] = ()

    def at(self, rows: NDArray[np.int_]) -> Assessment:
        """Return the assessment of some of the configurations, by their indices (m,)."""
        arrays = {name: getattr(self, name)[rows] for name in _ARRAYS}
        terms = tuple(term.at(rows) for term in self.terms)
        slacks = tuple(
            None if slack is None else
            dataclasses.replace(slack, mean=slack.mean[rows], variance=slack.variance[rows])
            for slack in self.slacks
        )
        return Assessment(terms=terms, slacks=slacks, **arrays)

    def joined(self, other: Assessment) -> Assessment:
        """Return the assessment of the configurations of both."""
        arrays = {
            name: np.concatenate([getattr(self, name), getattr(other, name)])
            for name in _ARRAYS
        }
        terms = tuple(a.joined(b) for a, b in zip(self.terms, other.terms))
        slacks = tuple(
            None if a is None or b is None else a.joined(b)
            for a, b in zip(self.slacks, other.slacks)
        )
        return Assessment(terms=terms, slacks=slacks, **arrays)


class ModelSet:
    """
    Learn all metrics of a study from measurements in its source and target environment.

    Metrics of invalid measurements are not regressed (what a study says that a failed mission
    counts as is a convention, no physics); such rows teach the validity model alone. A metric that
    no valid measurement has is left out.
    """

    def __init__(self, study: Study, seed: int = 0, *, growing: bool = False) -> None:
        """Keep the study; `growing` says that the source gets further runs now and then."""
        self.study = study
        self.seed = seed
        self.growing = growing
        self.models = LateFits()
        self.validity = ValidityModel(study.space.categorical, seed=seed)
        self._encoded: tuple[list[Configuration], Array] = [], np.empty((0, study.space.dim))

    def fit(
        self, source: Sequence[Measurement], target: Sequence[Measurement], *, quick: bool = False
    ) -> ModelSet:
        """
        Learn from the measurements; either list may be empty.

        A metric's model learns when it is first asked for. With `quick` the hyperparameters of
        the last fit are kept. Models of the source are kept as long as its data stay the same.
        """
        space = self.study.space
        Xs = self._places_of(source)
        Xt = space.encode([m.configuration for m in target]).reshape(-1, space.dim)
        known = set()
        for name, metric in self.study.metrics.items():
            ys, yt = metric_values(source, name), metric_values(target, name)
            if metric.scale == 'log':
                ys, yt = raise_to_positive(ys, yt)
            rows, cols = np.isfinite(ys), np.isfinite(yt)
            if not rows.any() and not cols.any():
                continue
            self.models.learn(
                name, TransferModel(space, metric.scale == 'log', self.seed, growing=self.growing),
                (Xs[rows], ys[rows]), (Xt[cols], yt[cols]), quick=quick,
            )
            known.add(name)
        self.models.only(known)
        self.validity.fit(
            Xs, [m.valid for m in source], target=(Xt, [m.valid for m in target])
        )
        return self

    def _places_of(self, source: Sequence[Measurement]) -> Array:
        """Return the places (n, d) of the source's runs: mostly the last time's and some more."""
        before, places = self._encoded
        configurations = [run.configuration for run in source]
        n = len(before)
        if configurations[:n] != before:
            n, places = 0, places[:0]
        new = self.study.space.encode(configurations[n:])
        places = np.vstack([places, new.reshape(-1, places.shape[1])])
        self._encoded = [*before[:n], *map(dict, configurations[n:])], places
        return places

    def release(self) -> None:
        """Give back the memory that only makes further predictions quicker."""
        for model in self.models.values():
            for source in model.sources:
                source.release()

    def branch(self) -> ModelSet:
        """Return models that can be fitted on without changing these."""
        other = copy.copy(self)
        other.models = self.models.branch()
        other.validity = copy.copy(self.validity)
        return other

    @property
    def ready(self) -> bool:
        """Say whether every metric of the objectives has a model."""
        return bool(self.models) and all(
            objective.metric in self.models for objective in self.study.objectives
        )

    @property
    def weights(self) -> dict[str, dict[str, float]]:
        """Return for each metric how much each hypothesis of the transfer counts."""
        return {name: dict(model.weights) for name, model in self.models.items()}

    @property
    def needed(self) -> list[str]:
        """Return the metrics that decide between configurations, as far as they have a model."""
        named = {objective.metric for objective in self.study.objectives}
        named |= {limit.metric for limit in self.study.limits}
        return sorted(named & set(self.models))

    def predict(
        self, configurations: Sequence[Mapping[str, Any]], metrics: Iterable[str] | None = None
    ) -> Prediction:
        """Return what one run of each of n configurations should give, in all or some metrics."""
        X = self.study.space.encode(configurations)
        mean, std = {}, {}
        for name in self.models if metrics is None else metrics:
            mean[name], std[name] = self.models[name].moments(X)
        return Prediction(mean, std, self.validity.probability(X))

    def assess(self, X: Array, *, keep: bool = False) -> Assessment:
        """
        Return what decides between configurations, given as points X (n, d) of the unit cube.

        The objective's mean and variance are those of a weighted sum of independent metrics.
        With `keep` what the source says of them is remembered for the next time. Raises
        InputError if a metric of the objective has no model.
        """
        if not self.ready:
            raise InputError(
                'no valid measurement to learn from', key='objectives',
                value=[o.metric for o in self.study.objectives if o.metric not in self.models],
            )
        X = as_points(X, self.study.space.dim)
        # A sum is not asked for what each hypothesis says of one addend.
        alone = {self.study.objectives[0].metric} if len(self.study.objectives) == 1 else set()
        latent, said = {}, {}
        for name in self.needed:
            if name in alone:
                middle, variance, said[name] = self.models[name].hypotheses(X, keep=keep)
                latent[name] = middle, variance
            else:
                latent[name] = self.models[name].latent(X, noise=False, keep=keep)
        mean, var, noise = np.zeros((3, len(X)))
        terms = []
        for objective in self.study.objectives:
            name = objective.metric
            factor = objective.weight / objective.reference
            log = self.models[name].log_scale
            middle, std = scale.mean_and_std(*latent[name], log)
            terms.append(
                Term(self.study.metrics[name].sign * factor, log, *latent[name], said.get(name))
            )
            mean += self.study.metrics[name].sign * factor * middle
            var += (factor * std) ** 2
            noise += self.models[name].noise_variance * (factor * (middle if log else 1.0)) ** 2
        valid = self.validity.probability(X)
        slacks = tuple(
            slack_of(limit, self.models[limit.metric], *latent[limit.metric])
            if limit.metric in latent else None
            for limit in self.study.limits
        )
        feasible = valid.copy()
        for slack in slacks:
            feasible *= 1.0 if slack is None else ndtr(slack.margin)
        return Assessment(
            mean, np.sqrt(var), valid, feasible, tuple(terms), np.sqrt(noise), X, slacks
        )

    def objective(self, configurations: Sequence[Mapping[str, Any]]) -> tuple[Array, Array]:
        """Return mean and standard deviation (n,) of the objective, without noise."""
        found = self.assess(self.study.space.encode(configurations))
        return found.mean, found.std

    def feasibility(self, configurations: Sequence[Mapping[str, Any]]) -> Array:
        """Return the probability (n,) that one run is valid and keeps all limits."""
        return self.assess(self.study.space.encode(configurations)).feasible

    def save(self, folder: str | Path) -> None:
        """Write the models into a folder as arrays and JSON."""
        names = list(self.models)
        arrays = {f'validity/{key}': a for key, a in self.validity.to_arrays().items()}
        for i, name in enumerate(names):
            arrays |= {f'metric{i}/{key}': a for key, a in self.models[name].to_arrays().items()}
        meta = {
            'study': self.study.name, 'digest': self.study.digest, 'metrics': names,
            'weights': self.weights, 'seed': self.seed,
        }
        persistence.save(folder, meta, arrays)

    @classmethod
    def load(cls, folder: str | Path, study: Study) -> ModelSet:
        """
        Return the models that `save` wrote.

        Raises InputError if they are of another study or version, corrupt, or lack a metric of
        the objectives or limits.
        """
        meta, arrays = persistence.load(folder)
        file = Path(folder) / persistence.META
        if meta.get('digest') != study.digest:
            raise of_another_study(study, file, meta.get('digest'))
        try:
            found = cls(study, seed=int(meta['seed']))
            kept = {key.partition('/')[0] for key in arrays} - {'validity'}
            named = {f'metric{i}' for i in range(len(meta['metrics']))}
            if named != kept or len(set(meta['metrics'])) < len(named):
                raise ValueError(f'{len(kept)} metrics are kept, and {meta["metrics"]} named')
            models = {}
            for i, name in enumerate(meta['metrics']):
                if name not in study.metrics:
                    raise ValueError(f'unknown metric {name!r}')
                models[name] = TransferModel.from_arrays(_inside(arrays, f'metric{i}/'))
                if models[name].X.shape[1] != study.space.dim:
                    raise ValueError(f'{name}: wrong number of parameters')
            found.models = LateFits(models)
            found.validity = ValidityModel.from_arrays(_inside(arrays, 'validity/'))
        except (KeyError, ValueError, TypeError, IndexError, ArithmeticError) as error:
            raise InputError(f'the model is corrupt: {error}', file=file) from error
        wanted = {one.metric for one in study.objectives} | {one.metric for one in study.limits}
        if missing := sorted(wanted - set(models)):
            raise InputError(
                f'has no model of {", ".join(missing)}, which the objectives or limits need: no '
                'valid measurement told of it', file=file, key='metrics',
            )
        return found


def of_another_study(study: Study, file: Path, digest: object) -> InputError:
    """Return what to raise for a file that was made with a study of another digest."""
    return InputError(
        f'belongs to another study, or to {study.name!r} before it was changed: run `tl_adapt '
        'transfer` again (what the store has of the target is not measured anew), or take the '
        'change back', file=file, key='digest', value=digest,
    )


def metric_values(measurements: Sequence[Measurement], metric: str) -> Array:
    """Return the metric (n,) of each measurement; nan where it is invalid or lacks it."""
    return np.array(
        [m.metrics.get(metric, math.nan) if m.valid else math.nan for m in measurements],
        dtype=np.float64,
    )


def raise_to_positive(*samples: Array) -> list[Array]:
    """
    Return the samples with values <= 0 raised to half of the smallest positive one.

    A metric on a log scale may still be measured as 0 (a CPU time below the clock's resolution).
    """
    everything = np.concatenate(samples)
    good = everything[np.isfinite(everything) & (everything > 0)]
    floor = 0.5 * float(good.min()) if len(good) else 1.0
    return [np.where(sample <= 0, floor, sample) for sample in samples]


def slack_of(limit: Limit, model: TransferModel, mean: Array, var: Array) -> Slack:
    """Return how far the limit is, on the model's scale."""
    value = float(limit.value)
    if model.log_scale:
        value = math.log(value) if value > 0 else -math.inf
    sign = 1.0 if limit.op == '<=' else -1.0
    return Slack(sign * (value - mean), var, model.noise_variance)


def _inside(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    """Return the arrays whose names begin with `prefix`, without it."""
    return {key.removeprefix(prefix): a for key, a in arrays.items() if key.startswith(prefix)}
