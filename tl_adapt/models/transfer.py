# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the transfer of a performance model from source environments to a target.

Many hypotheses of how the target relates to a source (see `relations` and `refined`) are fitted to
the target measurements and combined by their leave-one-out predictive densities (pseudo Bayesian
model averaging with the Bayesian bootstrap, Yao et al. 2018) and a prior that prefers the simpler.
'Target only' is one of them, so that an unrelated source loses its say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from tl_adapt.models import scale
from tl_adapt.models.gaussian_process import GaussianProcess, chunks
from tl_adapt.models.kernel import Array, Features, as_points
from tl_adapt.models.likelihood import LENGTH, factorise
from tl_adapt.models.refined import KINDS, refine
from tl_adapt.models.relations import ALONE, COPY, NAMES, SHIFT, Block, make_grid
from tl_adapt.models.source import Columns, Source
from tl_adapt.models.threads import single_thread
from tl_adapt.models.validity import ValidityModel

if TYPE_CHECKING:
    from tl_adapt.space import Space

_OUTLIERS = 0.03  # share of target measurements that may come from nowhere
_BOOTSTRAPS = 100
_TRUST = 0.5  # power of the evidence: leave-one-out errors of few points depend on each other
_ENOUGH, _MOST = 0.98, 32  # weight and number of the hypotheses that variances come from
_LOG_2PI = float(np.log(2.0 * np.pi))
_SAMPLED = 4096  # points of one joint draw


class Measured(NamedTuple):
    """
    Hold measurements of one environment.

    `X` are points (n, d) of the unit cube or n configurations, `y` (n,) values; nan is a run that
    failed. `space` is the environment's own, None for the model's.
    """

    X: Any
    y: ArrayLike
    space: Space | None = None


Data = tuple[Any, ArrayLike] | Measured


class TransferModel(scale.OnOriginalScale):
    """
    Predict a target environment from measurements of sources and few (or no) target ones.

    `space` is the target's (None: points of the unit cube are all that is known), `log` True,
    False or 'auto', `categorical` a boolean mask (d,) (None: the space's, or all numeric). After
    `fit`, `weights` says how much each kind of hypothesis counts and `chosen` names the heaviest.
    """

    def __init__(
        self, space: Space | None = None, log: bool | str = 'auto', seed: int = 0,
        *, categorical: ArrayLike | None = None,
    ) -> None:
        """Keep the settings."""
        self.space = space
        if categorical is None and space is not None:
            categorical = space.categorical
        self.categorical = None if categorical is None else np.asarray(categorical, dtype=bool)
        self.log = log
        self.seed = seed
        self.sources: list[Source] = []
        self.blocks: list[Block] = []
        self.weights: dict[str, float] = {}
        self.X, self.y = np.empty((0, 0)), np.empty(0)
        self._keys: list[tuple[Any, ...]] = []
        self._thetas: list[Array] = []
        self._units: list[tuple[float, float]] = []

    @property
    def source(self) -> GaussianProcess | None:
        """Return the first source's process, None without a source."""
        return self.sources[0].process if self.sources else None

    @property
    def chosen(self) -> str:
        """Name the kind of hypothesis with the largest weight."""
        return max(self.weights, key=lambda name: self.weights[name])

    @single_thread
    def fit(
        self, source: Data | Sequence[Data] | None = None, target: Data | None = None, *,
        quick: bool = False,
    ) -> TransferModel:
        """
        Learn from a source (Xs (n, d), ys (n,)) or a list of them, and target (Xt (m, d), yt).

        Any may be empty, but not all. Values that are nan are failed runs: they teach
        `probability_valid` alone. A source's model is kept when called again with the same source.
        With `quick` the hyperparameters stay those of the last fit, only the target's data change.
        Raises ValueError if there is no valid measurement, for shapes that do not fit, or infinite
        values.
        """
        sources = [self._read(one) for one in _listed(source)]
        target_points, values, _ = self._read(target)
        self._outcomes = (sources, (target_points, values))
        sources = [(X[keep], y[keep], space) for X, y, space in sources
                   if (keep := ~np.isnan(y)).any()]
        keep = ~np.isnan(values)
        X, y = target_points[keep], values[keep]
        if not sources and len(y) == 0:
            raise ValueError('a transfer needs at least one measurement')
        for Xs, _, space in sources:
            if len(y) and space is None and Xs.shape[1] != X.shape[1]:
                shapes = f'{Xs.shape}, {X.shape}'
                raise ValueError(f'source and target must agree in columns, got {shapes}')
        log = scale.choose_log(self.log, *(ys for _, ys, _ in sources), y)
        kept = self.weights and quick and log == self.log_scale
        before = (self.X, self.y) if kept else None
        changed = self._fit_sources(sources, log)
        self.log_scale = log
        if len(y) == 0:
            dim = sources[0][0].shape[1] if sources[0][2] is None else self._dim()
            X, y = np.empty((0, dim)), np.empty(0)
        self.X, self.y = X, scale.forward(y, log)
        if before is None or changed:
            self._set_units()
            self._build(None)
        elif self._begins_with(*before):
            for point, value in zip(self.X[len(before[1]):], self.y[len(before[1]):]):
                self._extend(point, float(value))
        else:
            self._build(self._thetas)
        self._weigh()
        return self

    @single_thread
    def update(self, X: ArrayLike, y: ArrayLike) -> TransferModel:
        """
        Learn from further target points X (m, d), y (m,) by rank-one changes.

        Hyperparameters stay.
        Raises ValueError before the first fit and as `fit` does.
        """
        if not self.weights:
            raise ValueError('fit must be called first')
        points, values, _ = self._read((X, y))
        values = scale.forward(values, self.log_scale)
        if not np.isfinite(values).all():
            raise ValueError('y must be finite, and positive on a log scale')
        for point, value in zip(points, values):
            self._extend(point, float(value))
            self.X, self.y = np.vstack([self.X, point]), np.append(self.y, value)
        self._weigh()
        return self

    def _dim(self) -> int:
        if self.space is None:
            raise ValueError('a source with a space of its own needs the space of the target')
        return self.space.dim

    def _read(self, data: Data | None) -> tuple[Array, Array, Space | None]:
        """Return points (n, d), values (n,) with nan for failed runs, and the space if another."""
        if data is None:
            return np.empty((0, 0)), np.empty(0), None
        own = data[2] if len(data) > 2 else None  # type: ignore[misc]
        space = own if own is not None else self.space
        X = data[0]
        if len(X) and isinstance(X[0], Mapping):
            if space is None:
                raise ValueError('configurations need a space; points of the unit cube do not')
            X = space.encode(X)
        points = np.asarray(X, dtype=np.float64)
        if points.size == 0:
            return points.reshape(0, points.shape[1] if points.ndim == 2 else 0), np.empty(0), own
        points = as_points(points, None if space is None else space.dim)
        values = np.array(data[1], dtype=np.float64)
        failed = np.isnan(values)
        scale.as_values(np.where(failed, 1.0, values), len(points))
        return points, values, None if own is self.space else own

    def _fit_sources(self, sources: list[tuple[Array, Array, Any]], log: bool) -> bool:
        """Fit the sources' processes unless these have seen the same; say if any was fitted."""
        keys = [(log, X.tobytes(), y.tobytes(), id(space)) for X, y, space in sources]
        if keys == self._keys:
            return False
        known = dict(zip(self._keys, self.sources))
        found = []
        for key, (X, y, space) in zip(keys, sources):
            if key in known:
                found.append(known[key])
                continue
            mask = self.categorical if space is None else space.categorical
            process = GaussianProcess(mask, log=log, seed=self.seed).fit(X, y)
            columns = None
            if space is not None:
                self._dim()
                columns = Columns(self.space, space)  # type: ignore[arg-type]
            found.append(Source(process, columns))
        self.sources, self._keys = found, keys
        return True

    def _begins_with(self, X: Array, y: Array) -> bool:
        """Say whether the present target data begin with those."""
        n = len(y)
        return len(self.y) >= n and np.array_equal(self.X[:n], X) and np.array_equal(self.y[:n], y)

    def _set_units(self) -> None:
        """
        Set what is measured in what: location, spread, and prior variances from the target's data.

        The first pair is the target's own location and spread, then for each source the variances
        of the offset and of the target's values in the source's units.
        """
        y, n = self.y, len(self.y)
        middle = float(np.median(y)) if n else 0.0
        usual = 0.3 if self.log_scale else 0.3 * abs(middle)
        few = float(y.std()) if n > 1 else 0.0
        # Two or three values say little of the spread: the usual one counts like one of them.
        spread = float(np.sqrt((n * few**2 + usual**2) / (n + 1))) or 1.0
        self._units = [(middle, spread)]
        for source in self.sources:
            z = (y - source.location) / source.spread
            mean = float(z.mean()) if n else 0.0
            # A target that varies as the source does counts like two measurements.
            variance = (float(((z - mean) ** 2).sum()) + 2.0) / (n + 1.0)
            self._units.append((9.0 + 100.0 * mean**2, variance))

    def _build(self, thetas: Sequence[Array] | None) -> None:
        """Fit all hypotheses to the present data; `thetas` are those of the refined ones."""
        dim = self.X.shape[1]
        mask = np.zeros(dim, dtype=bool) if self.categorical is None else self.categorical
        if mask.shape != (dim,):
            raise ValueError(f'categorical must have shape ({dim},), got {mask.shape}')
        first = self.sources[0] if self.sources else None
        same = first is not None and first.columns is None
        self.features = first.process.features if first and same else Features(mask, self.X)
        A = self.features(self.X)
        self.blocks, found = [], []
        given = None if thetas is None else list(thetas)
        share = -float(np.log(max(len(self.sources), 1)))
        n = len(self.y)
        for source, (offset, variance) in zip(self.sources, self._units[1:]):
            lengths, owner = source.lengths(dim), self.features.owner
            noise = max(source.process.noise, 1e-4) * variance
            grid = make_grid(offset, variance, noise, known=n > 0)
            grid.log_prior[:] += share
            block = Block(grid, source, lengths, owner, source.location, source.spread)
            self.blocks.append(block.fit(block.place(A, source.at(self.X)), self.y))
            for kind in KINDS if n else ():
                if kind.name == ALONE:
                    continue
                one, theta = refine(
                    kind, source, lengths, owner, A, block.known, self.y,
                    location=source.location, spread=source.spread, offset=offset,
                    variance=variance, seed=self.seed, theta=given.pop(0) if given else None,
                )
                one.grid.log_prior[:] += share
                self.blocks.append(one)
                found.append(theta)
        if n:
            location, spread = self._units[0]
            lengths = np.full(dim, LENGTH[0] + 0.5 * np.log(max(dim, 1)))
            alone = Block(make_grid(4.0, 1.0, 0.02), None, lengths, self.features.owner, 0.0, 1.0)
            one, theta = refine(
                KINDS[-1], None, lengths, self.features.owner, A, alone.place(A, None), self.y,
                location=location, spread=spread, offset=4.0, variance=1.0, seed=self.seed,
                theta=given.pop(0) if given else None,
            )
            self.blocks.append(one)
            found.append(theta)
        self._thetas = found

    def _extend(self, point: Array, value: float) -> None:
        """Let all hypotheses learn from one more target point (d,)."""
        features = self.features(point[None, :])
        seen = {id(source): source.at(point[None, :]) for source in self.sources}
        self.blocks = [
            block.extended(block.place(features, seen.get(id(block.source))), value)
            for block in self.blocks
        ]

    def _weigh(self) -> None:
        """Set the weights from leave-one-out densities and the range of plausible predictions."""
        n = len(self.y)
        y = self.y
        middle = float(np.median(y)) if n else 0.0
        far = np.abs(y - middle)
        reach = (3.0 * self._units[0][1] + (float(far.max()) if n else 0.0)) ** 2
        broad = _log_normal(y, np.full(n, middle), np.full(n, reach))
        evidence = []
        for block in self.blocks:
            mean, var = block.loo()
            evidence.append(np.logaddexp(
                np.log1p(-_OUTLIERS) + _log_normal(y, mean, var), np.log(_OUTLIERS) + broad
            ))
        log_prior = np.concatenate([block.grid.log_prior for block in self.blocks])
        rng = np.random.default_rng(self.seed)
        shares = rng.dirichlet(np.ones(n), _BOOTSTRAPS) * n if n else np.zeros((1, 0))
        score = _TRUST * shares @ np.vstack(evidence).T + log_prior  # (bootstraps, hypotheses)
        score -= score.max(axis=1, keepdims=True)
        weight = np.exp(score)
        weight = (weight / weight.sum(axis=1, keepdims=True)).mean(axis=0)
        ends = np.cumsum([len(block.grid) for block in self.blocks])
        self.shares = np.split(weight, ends[:-1])
        total = dict.fromkeys(NAMES, 0.0)
        for block, share in zip(self.blocks, self.shares):
            for name, part in zip(block.grid.names, share):
                total[name] += float(part)
        possible = {name for block in self.blocks for name in block.grid.names}
        self.weights = {name: part for name, part in total.items() if name in possible}
        self._choose_members(weight)
        self._bound()

    def _choose_members(self, weight: Array) -> None:
        """Set which hypotheses variances come from: rows and weights for each block."""
        order = np.argsort(-weight, kind='stable')
        count = int(np.searchsorted(np.cumsum(weight[order]), _ENOUGH)) + 1
        kept = np.sort(order[: min(count, _MOST)])
        total = float(weight[kept].sum())
        self.members: list[tuple[NDArray[np.int_], Array]] = []
        start = 0
        for block in self.blocks:
            end = start + len(block.grid)
            rows = kept[(kept >= start) & (kept < end)]
            self.members.append((rows - start, weight[rows] / total))
            start = end

    def _bound(self) -> None:
        """Set the range outside of which no prediction is plausible."""
        seen = [self.y]
        spread = self._units[0][1]
        for block, share in zip(self.blocks, self.shares):
            source = block.source
            shift = np.array([name in (COPY, SHIFT) for name in block.grid.names])
            if source is None or not shift.any():
                continue
            part = share[shift] + 1e-300
            b = float(part @ block.slopes()[shift] / part.sum())
            z = block.z
            level = float(np.mean(z - b * block.known.mean)) if len(z) else 0.0
            ends = np.array([source.process.z.min(), source.process.z.max()])
            seen.append(source.location + source.spread * (level + b * ends))
            spread = max(spread, source.spread) if len(self.y) < 2 else spread
        values = np.concatenate(seen)
        reach = 0.5 * float(np.ptp(values)) + 0.5 * spread
        self.low, self.high = float(values.min() - reach), float(values.max() + reach)

    @single_thread
    def latent(self, X: ArrayLike, *, noise: bool = True) -> tuple[Array, Array]:
        """
        Return mean and variance (n,) on the model's scale (the logarithm if `log_scale`).

        With `noise` they are those of one measurement, without it of the function behind.
        """
        points = self._points(X)
        mean, var = np.empty(len(points)), np.empty(len(points))
        for part in chunks(len(points)):
            mean[part], var[part] = self._mixture(points[part])
        var = np.minimum(var, (self.high - self.low) ** 2)
        return mean, var + (self.noise_variance if noise else 0.0)

    def _points(self, X: Any) -> Array:
        """Return points (n, d) of the target; raises ValueError before the first fit."""
        if not self.weights:
            raise ValueError('fit must be called first')
        if len(X) and isinstance(X[0], Mapping):
            X = self._read((X, np.ones(len(X))))[0]
        return as_points(X, self.X.shape[1])

    def counted(self) -> Iterator[tuple[Block, Array, tuple[NDArray[np.int_], Array]]]:
        """Yield the blocks that have a say, their hypotheses' weights (H,), and their members."""
        for block, share, members in zip(self.blocks, self.shares, self.members):
            if len(members[0]) or float(share.sum()) >= 1e-6:
                yield block, share, members

    @property
    def noise_variance(self) -> float:
        """Return the variance that one measurement adds to the function, on the model's scale."""
        return sum(
            block.spread**2 * float(share @ block.grid.noise)
            for block, share in zip(self.blocks, self.shares)
        )

    def _mixture(self, X: Array) -> tuple[Array, Array]:
        """Return mean and variance of the weighted hypotheses at points X (n, d)."""
        A = self.features(X)
        seen = {id(source): source.at(X) for source in self.sources}
        mean = np.zeros(len(X))
        means, variances, weights = [], [], []
        for block, share, (rows, part) in self.counted():
            place = block.place(A, seen.get(id(block.source)))
            parts = block.parts(block.known, place)
            mean += block.mean(place, share, parts)
            each, var = block.each(place, rows.tolist(), parts)
            means.append(each)
            variances.append(var)
            weights.append(part)
        mean = np.clip(mean, self.low, self.high)
        each = np.clip(np.vstack(means), self.low, self.high)
        spread = np.vstack(variances) + (each - mean) ** 2
        return mean, np.maximum(np.concatenate(weights) @ spread, 1e-12)

    def log_predictive_density(self, X: ArrayLike, y: ArrayLike) -> Array:
        """Return the log density (n,) of measurements y (n,) on the original scale."""
        mean, var = self.latent(X)
        values = scale.as_values(y, len(mean))
        if not self.log_scale:
            return _log_normal(values, mean, var)
        logged = np.log(np.where(values > 0, values, 1.0))
        density = _log_normal(logged, mean, var) - logged
        return np.where(values > 0, density, -np.inf)

    def interval(self, X: ArrayLike, level: float = 0.9) -> tuple[Array, Array]:
        """Return the ends (n,) of intervals that hold one measurement with that probability."""
        if not 0.0 < level < 1.0:
            raise ValueError(f'0 < level < 1 must hold, got {level}')
        mean, var = self.latent(X)
        reach = float(ndtri(0.5 + 0.5 * level)) * np.sqrt(var)
        ends = (mean - reach, mean + reach)
        return (np.exp(ends[0]), np.exp(ends[1])) if self.log_scale else ends

    @single_thread
    def sample(self, X: ArrayLike, n: int, seed: int = 0) -> Array:
        """
        Return draws (n, m) of the function at points X (m, d), without noise, original scale.

        Each draw belongs to one hypothesis, drawn by its weight. Raises ValueError for more than
        4096 points.
        """
        points = self._points(X)
        m = len(points)
        if m > _SAMPLED:
            raise ValueError(f'at most {_SAMPLED} points can be drawn together, got {m}')
        rng = np.random.default_rng(seed)
        found = np.empty((n, m))
        A = self.features(points)
        seen = {id(source): source.at(points) for source in self.sources}
        pairs = [(i, row) for i, (rows, _) in enumerate(self.members) for row in rows.tolist()]
        weight = np.concatenate([part for _, part in self.members])
        picked = rng.choice(len(pairs), size=n, p=weight / weight.sum())
        for number in np.unique(picked):
            index, row = pairs[number]
            block = self.blocks[index]
            place = block.place(A, seen.get(id(block.source)))
            mean, _ = block.each(place, [row], block.parts(block.known, place))
            cov = block.covariance(row, place, place)
            draws = np.flatnonzero(picked == number)
            normal = rng.standard_normal((m, len(draws)))
            found[draws] = (mean[0][:, None] + factorise(cov) @ normal).T
        found = np.clip(found, self.low, self.high)
        return np.exp(found) if self.log_scale else found

    def probability_valid(self, X: ArrayLike) -> Array:
        """Return the probability (n,) that a run at points X (n, d) does not fail."""
        points = self._points(X)
        sources, (Xt, yt) = self._outcomes
        same = [(Xs, ys) for Xs, ys, space in sources if space is None and len(ys)]
        Xs = np.vstack([Xs for Xs, _ in same]) if same else self.X[:0]
        ys = np.concatenate([ys for _, ys in same]) if same else self.y[:0]
        model = ValidityModel(self.categorical, seed=self.seed)
        model.fit(Xs, ~np.isnan(ys), target=(Xt, ~np.isnan(yt)))
        return model.probability(points)

    def to_arrays(self) -> dict[str, Array]:
        """
        Return all that is needed to have the same model again, but for the failed runs.

        Raises ValueError where a source has a space of its own.
        """
        if any(source.columns is not None for source in self.sources):
            raise ValueError('a model whose source has a space of its own can not be kept')
        mask = self.features.categorical
        arrays = {
            'X': self.X, 'y': self.y, 'log_scale': np.array(float(self.log_scale)),
            'categorical': mask.astype(np.float64), 'seed': np.array(float(self.seed)),
            'sources': np.array(float(len(self.sources))),
            'theta': np.array(self._thetas).reshape(len(self._thetas), -1),
            'units': np.array(self._units),
        }
        for i, source in enumerate(self.sources):
            inner = source.process.to_arrays()
            arrays |= {f'source{i}.{key}': a for key, a in inner.items()}
        return arrays

    @classmethod
    @single_thread
    def from_arrays(cls, arrays: Mapping[str, Array]) -> TransferModel:
        """Make the model that `to_arrays` described; raises KeyError or ValueError if broken."""
        log, seed = bool(arrays['log_scale']), int(arrays['seed'])
        model = cls(log=log, seed=seed, categorical=arrays['categorical'].astype(bool))
        model.log_scale = log
        for i in range(int(arrays['sources'])):
            prefix = f'source{i}.'
            inner = {k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)}
            model.sources.append(Source(GaussianProcess.from_arrays(inner, seed=seed)))
        model.X = as_points(arrays['X'])
        model.y = scale.as_values(arrays['y'], len(model.X))
        model._units = [(float(a), float(b)) for a, b in arrays['units']]
        model._outcomes = ([], (model.X, np.exp(model.y) if log else model.y))
        thetas = list(arrays['theta'])
        expected = len(model.sources) * (len(KINDS) - 1) + 1 if len(model.y) else 0
        if len(model._units) != len(model.sources) + 1 or len(thetas) != expected:
            raise ValueError('the number of hypotheses does not fit')
        model._build(thetas)
        model._weigh()
        return model


def _listed(source: Data | Sequence[Data] | None) -> list[Data]:
    """Return the sources as a list; a tuple is one source, a list several."""
    if source is None:
        return []
    return list(source) if isinstance(source, list) else [source]  # type: ignore[list-item]


def _log_normal(y: Array, mean: Array, var: Array) -> Array:
    """Return the log density of y under normal distributions (shapes that broadcast)."""
    return np.asarray(-0.5 * ((y - mean) ** 2 / var + np.log(var) + _LOG_2PI))
