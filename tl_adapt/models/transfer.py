# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the transfer of a performance model from a source environment to a target.

Several hypotheses of how the target relates to the source are fitted to the target measurements
and combined by their leave-one-out predictive densities (pseudo Bayesian model averaging with the
Bayesian bootstrap, Yao et al. 2018) and a prior that prefers the simpler. 'Target only' is one
of them, so that an unrelated source loses its say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tl_adapt.models import scale
from tl_adapt.models.gaussian_process import GaussianProcess, chunks
from tl_adapt.models.hypotheses import HYPOTHESES, Context, Fitted, View
from tl_adapt.models.kernel import Array, Features, as_points
from tl_adapt.models.threads import single_thread

_OUTLIERS = 0.03  # share of target measurements that may come from nowhere
_BOOTSTRAPS = 200
_NEGLIGIBLE = 1e-4  # hypotheses of less weight are not evaluated
_LOG_2PI = float(np.log(2.0 * np.pi))

Data = tuple[ArrayLike, ArrayLike]


class TransferModel(scale.OnOriginalScale):
    """
    Predict the target environment from source measurements and few (or no) target ones.

    Settings as in `GaussianProcess`. After `fit`, `weights` says how much each hypothesis counts
    and `chosen` names the heaviest.
    """

    def __init__(
        self, categorical: ArrayLike | None = None, log: bool | str = 'auto', seed: int = 0
    ) -> None:
        """Keep the settings."""
        self.categorical = None if categorical is None else np.asarray(categorical, dtype=bool)
        self.log = log
        self.seed = seed
        self.source: GaussianProcess | None = None
        self.weights: dict[str, float] = {}

    @single_thread
    def fit(
        self, source: Data | None = None, target: Data | None = None, *, quick: bool = False
    ) -> TransferModel:
        """
        Learn from source (Xs (n, d), ys (n,)) and target (Xt (m, d), yt (m,)); one may be empty.

        The source's model is kept when called again with the same source. With `quick` the
        hyperparameters stay those of the last fit, only the target's data change. Raises
        ValueError if both are empty, for shapes that do not fit, or values that are not finite.
        """
        Xs, ys = _checked(source)
        Xt, yt = _checked(target)
        if len(ys) + len(yt) == 0:
            raise ValueError('a transfer needs at least one measurement')
        if len(ys) and len(yt) and Xs.shape[1] != Xt.shape[1]:
            shapes = f'{Xs.shape}, {Xt.shape}'
            raise ValueError(f'source and target must agree in columns, got {shapes}')
        log = scale.choose_log(self.log, ys, yt)
        if len(ys):
            self._fit_source(Xs, ys, log)
        else:
            self.source = None
        self.log_scale = log
        self.X, self.y = (Xt, scale.forward(yt, log)) if len(yt) else (Xs[:0], ys[:0])
        last = {fit.hypothesis.name: fit for fit in getattr(self, 'fits', [])} if quick else {}
        self._prepare()
        self.fits = []
        for hypothesis in self._hypotheses():
            known = last.get(hypothesis.name)
            theta = None if known is None else known.theta
            share = None if known is None else known.share
            self.fits.append(
                Fitted(
                    hypothesis, self.context, self.view, self.z, theta=theta, share=share,
                    rng=np.random.default_rng(self.seed),
                )
            )
        self._weigh()
        return self

    def _fit_source(self, Xs: Array, ys: Array, log: bool) -> None:
        """Fit the source's process unless the present one has seen the same."""
        old = self.source
        key = (log, Xs.tobytes(), ys.tobytes())
        if old is not None and getattr(self, '_source_key', None) == key:
            return
        self.source = GaussianProcess(self.categorical, log=log, seed=self.seed).fit(Xs, ys)
        self._source_key = key

    def _hypotheses(self) -> tuple[Any, ...]:
        """Return the hypotheses that make sense with the present data."""
        return HYPOTHESES if self.source is not None else HYPOTHESES[-1:]

    def _prepare(self) -> None:
        """Set the standardised target and what the hypotheses share, from the data alone."""
        source = self.source
        y = scale.tame(self.y)
        dim = self.X.shape[1]
        if source is not None:
            self.location, self.spread = source.location, source.spread
            lengths, self.features = source.lengths, source.features
            level = float(np.clip(source.noise, 2e-3, 0.5))
            # An offset of some e-folds (log) or of the source's own level (linear) is no surprise.
            natural = 2.0 if self.log_scale else abs(self.location) + 2.0 * self.spread
            context = (max(3.0, natural / self.spread), 0.5 if self.log_scale else 1.0)
        else:
            self.location = float(np.median(y))
            usual = 0.3 if self.log_scale else 0.3 * abs(self.location)
            few = float(y.std()) if len(y) > 1 else 0.0
            # Two or three values say little of the spread: the usual one counts like one of them.
            self.spread = float(np.sqrt((len(y) * few**2 + usual**2) / (len(y) + 1))) or 1.0
            mask = self.categorical
            self.features = Features(
                np.zeros(dim, dtype=bool) if mask is None else mask, self.X
            )
            lengths, level, context = np.zeros(dim), 0.02, (2.0, 1.0)
        self.z = (y - self.location) / self.spread
        self.context = Context(
            owner=self.features.owner, lengths=lengths, offset=context[0], slope=context[1],
            noise=(float(np.log(level)), 1.2),
        )
        A = self.features(self.X)
        n = len(self.z)
        if source is not None:
            mean, self.V = source.project(A)
            cov = source.covariance(A, A) - self.V.T @ self.V
        else:
            mean, cov, self.V = np.zeros(n), np.zeros((n, n)), np.empty((0, n))
        self.view = View(A, mean, cov)

    def _weigh(self) -> None:
        """Set the weights from leave-one-out densities and the range of plausible predictions."""
        n = len(self.z)
        evidence = np.zeros((len(self.fits), n))
        broad = _log_normal(self.z, np.zeros(n), np.full(n, (3.0 + np.abs(self.z).max()) ** 2)
                            ) if n else np.empty(0)
        for row, fit in zip(evidence, self.fits):
            mean, var = fit.loo()
            row[:] = np.logaddexp(
                np.log1p(-_OUTLIERS) + _log_normal(self.z, mean, var), np.log(_OUTLIERS) + broad
            )
        penalty = np.array([fit.hypothesis.penalty for fit in self.fits])
        rng = np.random.default_rng(self.seed)
        shares = rng.dirichlet(np.ones(n), _BOOTSTRAPS) * n if n else np.zeros((1, 0))
        score = shares @ evidence.T - penalty  # (bootstraps, hypotheses)
        score -= score.max(axis=1, keepdims=True)
        weight = np.exp(score)
        self.weight = (weight / weight.sum(axis=1, keepdims=True)).mean(axis=0)
        self.weights = {
            fit.hypothesis.name: float(w) for fit, w in zip(self.fits, self.weight)
        }
        self._bound()

    def _bound(self) -> None:
        """Set the range outside of which no prediction is plausible."""
        seen = [self.z]
        if self.source is not None:
            shift = next(f for f in self.fits if f.hypothesis.name == 'linear shift')
            b = shift.slope()[0]
            level = float(np.mean(self.z - b * self.view.mean)) if len(self.z) else 0.0
            seen.append(level + b * np.array([self.source.z.min(), self.source.z.max()]))
        values = np.concatenate(seen)
        reach = 0.5 * float(np.ptp(values)) + 0.5
        self.low, self.high = float(values.min() - reach), float(values.max() + reach)

    @property
    def chosen(self) -> str:
        """Name the hypothesis with the largest weight."""
        return max(self.weights, key=lambda name: self.weights[name])

    @single_thread
    def latent(self, X: ArrayLike, *, noise: bool = True) -> tuple[Array, Array]:
        """
        Return mean and variance (n,) on the model's scale (the logarithm if `log_scale`).

        With `noise` they are those of one measurement, without it of the function behind.
        """
        if not self.weights:
            raise ValueError('fit must be called first')
        points = as_points(X, self.X.shape[1])
        mean, var = np.empty(len(points)), np.empty(len(points))
        for part in chunks(len(points)):
            mean[part], var[part] = self._mixture(self.features(points[part]))
        var = np.minimum(var, (self.high - self.low) ** 2)
        mean, var = self.location + self.spread * mean, self.spread**2 * var
        return mean, var + (self.noise_variance if noise else 0.0)

    @property
    def noise_variance(self) -> float:
        """Return the variance that one measurement adds to the function, on the model's scale."""
        return self.spread**2 * float(
            sum(w * fit.noise for w, fit in zip(self.weight, self.fits))
        )

    def _mixture(self, A: Array) -> tuple[Array, Array]:
        """Return mean and variance of the weighted hypotheses at features A (n, D)."""
        source = self.source
        if source is not None:
            f, V = source.project(A)
            var = np.maximum(source.signal + 1.0 - np.einsum('ij,ij->j', V, V), 0.0)
            cross = source.covariance(self.view.features, A) - self.V.T @ V
        else:
            f, var, cross = np.zeros(len(A)), np.zeros(len(A)), np.zeros((len(self.z), len(A)))
        view = View(A, f, cross)
        first, second = np.zeros(len(A)), np.zeros(len(A))
        for weight, fit in zip(self.weight, self.fits):
            if weight < _NEGLIGIBLE:
                continue
            mean, spread = fit.predict(view, var, cross)
            mean = np.clip(mean, self.low, self.high)
            first += weight * mean
            second += weight * (mean**2 + spread)
        total = float(self.weight[self.weight >= _NEGLIGIBLE].sum())
        first /= total
        return first, np.maximum(second / total - first**2, 1e-10)

    def log_predictive_density(self, X: ArrayLike, y: ArrayLike) -> Array:
        """Return the log density (n,) of measurements y (n,) on the original scale."""
        mean, var = self.latent(X)
        values = scale.as_values(y, len(mean))
        if not self.log_scale:
            return _log_normal(values, mean, var)
        logged = np.log(np.where(values > 0, values, 1.0))
        density = _log_normal(logged, mean, var) - logged
        return np.where(values > 0, density, -np.inf)

    def to_arrays(self) -> dict[str, Array]:
        """Return all that is needed to have the same model again."""
        mask = self.features.categorical
        arrays = {
            'X': self.X, 'y': self.y, 'log_scale': np.array(float(self.log_scale)),
            'categorical': mask.astype(np.float64), 'seed': np.array(float(self.seed)),
            'theta': np.array([fit.theta for fit in self.fits]),
            'share': np.array([fit.share for fit in self.fits]),
        }
        if self.source is not None:
            arrays |= {f'source.{key}': a for key, a in self.source.to_arrays().items()}
        return arrays

    @classmethod
    @single_thread
    def from_arrays(cls, arrays: Mapping[str, Array]) -> TransferModel:
        """Make the model that `to_arrays` described; raises KeyError or ValueError if broken."""
        log, seed = bool(arrays['log_scale']), int(arrays['seed'])
        model = cls(categorical=arrays['categorical'].astype(bool), log=log, seed=seed)
        model.log_scale = log
        inner = {k.removeprefix('source.'): a for k, a in arrays.items() if k[:7] == 'source.'}
        if inner:
            model.source = GaussianProcess.from_arrays(inner, seed=seed)
        model.X = as_points(arrays['X'])
        model.y = scale.as_values(arrays['y'], len(model.X))
        model._prepare()
        hypotheses = model._hypotheses()
        if not len(hypotheses) == len(arrays['theta']) == len(arrays['share']):
            raise ValueError('the number of hypotheses does not fit')
        model.fits = [
            Fitted(hypothesis, model.context, model.view, model.z, theta=theta, share=float(share))
            for hypothesis, theta, share in zip(hypotheses, arrays['theta'], arrays['share'])
        ]
        model._weigh()
        return model


def _checked(data: Data | None) -> tuple[Array, Array]:
    """Return points (n, d) and values (n,) as float arrays; None becomes no rows."""
    if data is None:
        return np.empty((0, 0)), np.empty(0)
    points = np.asarray(data[0], dtype=np.float64)
    if points.size == 0:
        return points.reshape(0, points.shape[1] if points.ndim == 2 else 0), np.empty(0)
    points = as_points(points)
    return points, scale.as_values(data[1], len(points))


def _log_normal(y: Array, mean: Array, var: Array) -> Array:
    """Return the log density of y under normal distributions (all the same shape)."""
    return np.asarray(-0.5 * ((y - mean) ** 2 / var + np.log(var) + _LOG_2PI))
