# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the transfer of a performance model from source environments to a target.

Many hypotheses of how the target relates to a source (see `relations` and `refined`) are fitted to
the target measurements and combined by their leave-one-out predictive densities and a prior that
prefers the simpler (see `evidence`).
'Target only' is one of them, so that an unrelated source loses its say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from tl_adapt.acquisition import Mixture
from tl_adapt.models import evidence, scale
from tl_adapt.models.gaussian_process import GaussianProcess
from tl_adapt.models.kernel import Array, Features, as_points, chunks
from tl_adapt.models.likelihood import LENGTH
from tl_adapt.models.measured import Data, Runs, as_cube, read, read_all, units
from tl_adapt.models.paths import draw_functions
from tl_adapt.models.refined import KINDS, UNINFORMED, Kind, refine
from tl_adapt.models.relations import ALONE, INHERITED, Block, Place, Weighted, make_grid
from tl_adapt.models.source import Columns, Learner, Source
from tl_adapt.models.threads import single_thread
from tl_adapt.models.validity import ValidityModel

if TYPE_CHECKING:
    from tl_adapt.space import Space

_OPTIMISM = 1.05  # widens intervals: the weights are chosen by the points that judge them
_SAMPLED = 4096  # points of one joint draw


class TransferModel(scale.OnOriginalScale):
    """
    Predict a target environment from measurements of sources and few (or no) target ones.

    `space` is the target's (None: points of the unit cube are all that is known), `log` True,
    False or 'auto', `categorical` a boolean mask (d,) (None: the space's, or all numeric). After
    `fit`, `weights` says how much each kind of hypothesis counts and `chosen` names the heaviest;
    `voices` are what predicts: of each block of hypotheses the weighted mean, and its members.
    """

    def __init__(
        self, space: Space | None = None, log: bool | str = 'auto', seed: int = 0,
        *, categorical: ArrayLike | None = None, growing: bool = False,
    ) -> None:
        """
        Keep the settings.

        `growing` sources get further runs now and then: their hyperparameters are learnt anew
        only when half as many have come again, from those that were there then.
        """
        self.space = space
        if categorical is None and space is not None:
            categorical = space.categorical
        self.categorical = None if categorical is None else np.asarray(categorical, dtype=bool)
        self.log = log
        self.seed = seed
        self.growing = growing
        self.sources: list[Source] = []
        self.blocks: list[Block] = []
        self.weights: dict[str, float] = {}
        self.X, self.y = np.empty((0, 0)), np.empty(0)
        self.voices: list[tuple[Weighted, tuple[NDArray[np.int_], Array]]] = []
        self._keys: list[tuple[Any, ...]] = []
        self._thetas: list[Array] = []
        self._units: list[tuple[float, float]] = []
        self._learner = Learner(seed, growing)

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
        sources, goal = read_all(source, self.space), read(target, self.space)
        if goal.space is not None:
            raise ValueError("the target's space must be the model's")
        outcomes = (sources, goal)
        sources = [runs for one in sources if len((runs := one.valid()).y)]
        goal = goal.valid()
        if not sources and len(goal.y) == 0:
            raise ValueError('a transfer needs at least one measurement')
        X = goal.X if len(goal.y) else np.empty((0, self._columns(sources)))
        for Xs, _, space in sources:
            if space is None and Xs.shape[1] != X.shape[1]:
                shapes = f'{Xs.shape}, {X.shape}'
                raise ValueError(f'source and target must agree in columns, got {shapes}')
        log = scale.choose_log(self.log, *(ys for _, ys, _ in sources), goal.y)
        # Without a target point most hypotheses had nothing to begin with.
        kept = quick and self.weights and len(self.y) > 0 and log == self.log_scale
        before = (self.X, self.y) if kept else None
        changed = self._fit_sources(sources, log)
        self.log_scale, self._outcomes = log, outcomes
        self.X, self.y = X, scale.forward(goal.y, log)
        if before is None or (changed and not self.growing):
            self._units = units(self.y, log, self.sources)
            self._build(None)
        elif changed:
            kept = len(self._thetas) == self._refined()
            self._units = units(self.y, log, self.sources)
            self._build(self._thetas if kept else None)
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
        Learn from further target points X (m, d), y (m,), one by one, as a quick `fit` does.

        Hyperparameters and scale stay. Raises ValueError before the first fit and as `fit` does.
        """
        if not self.weights:
            raise ValueError('fit must be called first')
        goal = read((X, y), self.space)
        as_points(goal.X, self.X.shape[1])
        valid = goal.valid()
        if self.log_scale and not (valid.y > 0).all():
            raise ValueError('a log scale needs positive values')
        sources, seen = self._outcomes
        seen = Runs(np.vstack([seen.X.reshape(-1, self.X.shape[1]), goal.X]),
                    np.append(seen.y, goal.y), None)
        self._outcomes = (sources, seen)
        values = scale.forward(valid.y, self.log_scale)
        first = len(self.y) == 0 and len(values) > 0
        self.X, self.y = np.vstack([self.X, valid.X]), np.append(self.y, values)
        if first:
            self._units = units(self.y, self.log_scale, self.sources)
            self._build(None)
        else:
            for point, value in zip(valid.X, values):
                self._extend(point, float(value))
        self._weigh()
        return self

    def _columns(self, sources: Sequence[Runs]) -> int:
        """Return d where only sources were measured."""
        return sources[0].X.shape[1] if sources[0].space is None else self._dim()

    def _dim(self) -> int:
        if self.space is None:
            raise ValueError('a source with a space of its own needs the space of the target')
        return self.space.dim

    def _fit_sources(self, sources: Sequence[Runs], log: bool) -> bool:
        """Fit the sources' processes unless these have seen the same; say if any was fitted."""
        keys = [(log, X.tobytes(), y.tobytes(), id(space)) for X, y, space in sources]
        # A model that was loaded has sources, but not what they have seen.
        if keys == self._keys and len(keys) == len(self.sources):
            return False
        known = dict(zip(self._keys, self.sources))
        found = []
        for key, (X, y, space) in zip(keys, sources):
            if key in known:
                found.append(known[key])
                continue
            mask = self.categorical if space is None else space.categorical
            process, blend = self._learner(X, y, mask, log)
            columns = None
            if space is not None:
                self._dim()
                columns = Columns(self.space, space)  # type: ignore[arg-type]
            found.append(Source(process, columns, blend))
        self.sources, self._keys = found, keys
        return True

    def _refined(self) -> int:
        """Return how many hypotheses have hyperparameters of their own."""
        if len(self.y) == 0:
            return 0
        return len(self.sources) * (len(KINDS) - 1) + len(self._unrelated())

    def _unrelated(self) -> Sequence[Kind]:
        """Return the kinds of hypotheses that no source is in."""
        return KINDS[-1:] if self.sources else UNINFORMED

    def _begins_with(self, X: Array, y: Array) -> bool:
        """Say whether the present target data begin with those."""
        n = len(y)
        return len(self.y) >= n and np.array_equal(self.X[:n], X) and np.array_equal(self.y[:n], y)

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
            if n > evidence.MANY:
                block.grid = evidence.thinned(
                    block, A, self.X, self.y, self._units[0][1], self.seed
                )
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
            unknown = Place(A, np.zeros(n), np.zeros(n), None)
            for kind in self._unrelated():
                one, theta = refine(
                    kind, None, lengths, self.features.owner, A, unknown, self.y,
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
        spread = self._units[0][1]
        if self.sources:
            self.shares = evidence.weigh(self.blocks, self.y, spread, self.seed)
        else:
            # By leave-one-out densities the one that fits more would nearly always win.
            self.shares = [np.full(1, 1.0 / len(self.blocks)) for _ in self.blocks]
        self.weights = evidence.by_name(self.blocks, self.shares)
        self.members = evidence.heaviest(self.shares)
        self.low, self.high = evidence.plausible(self.blocks, self.shares, self.y, spread)
        self.voices = [
            (block.weighted(share), members) for block, share, members in self.counted()
        ]

    @single_thread
    def latent(
        self, X: ArrayLike, *, noise: bool = True, keep: bool = False
    ) -> tuple[Array, Array]:
        """
        Return mean and variance (n,) on the model's scale (the logarithm if `log_scale`).

        With `noise` they are those of one measurement, without it of the function behind. With
        `keep` what the sources say of these points is remembered for the next time.
        """
        points = self._points(X)
        mean, var = np.empty(len(points)), np.empty(len(points))
        for part in chunks(len(points)):
            mean[part], var[part], _ = self._mixture(points[part], keep)
        return mean, var + (self.noise_variance if noise else 0.0)

    @single_thread
    def hypotheses(self, X: ArrayLike, *, keep: bool = False) -> tuple[Array, Array, Mixture]:
        """
        Return mean and variance (n,) of the function as `latent`, and what hypotheses say of it.

        These are the heaviest, with almost all of the weight.
        """
        points = self._points(X)
        parts = list(chunks(len(points))) or [slice(0, 0)]
        means, variances, said = zip(*(self._mixture(points[part], keep) for part in parts))
        return np.concatenate(means), np.concatenate(variances), said[0].joined(*said[1:])

    def _points(self, X: Any) -> Array:
        """Return points (n, d) of the target; raises ValueError before the first fit."""
        if not self.weights:
            raise ValueError('fit must be called first')
        return as_points(as_cube(X, self.space), self.X.shape[1])

    def counted(self) -> Iterator[tuple[Block, Array, tuple[NDArray[np.int_], Array]]]:
        """Yield the blocks that have a say, their hypotheses' weights (H,), and their members."""
        kept = [(block, share, members)
                for block, share, members in zip(self.blocks, self.shares, self.members)
                if len(members[0]) or float(share.sum()) >= 1e-6]
        # Values far from zero would feel it if the weights did not sum to 1.
        total = sum(float(share.sum()) for _, share, _ in kept)
        for block, share, members in kept:
            yield block, share / total, members

    @property
    def noise_variance(self) -> float:
        """Return the variance that one measurement adds to the function, on the model's scale."""
        return sum(
            block.spread**2 * float(share @ block.grid.noise)
            for block, share in zip(self.blocks, self.shares)
        )

    def _mixture(self, X: Array, keep: bool) -> tuple[Array, Array, Mixture]:
        """Return mean and variance of the weighted hypotheses at points X (n, d), and these."""
        A = self.features(X)
        seen = {id(source): source.at(X, keep=keep) for source in self.sources}
        mean = np.zeros(len(X))
        means, variances, weights = [], [], []
        inherited: dict[int, Array] = {}  # what blocks have in common that know the same
        for of_all, (rows, part) in self.voices:
            block = of_all.block
            place = block.place(A, seen.get(id(block.source)))
            common = id(block.known.seen)
            parts = block.parts(block.known, place, inherited.get(common))
            if common not in inherited:
                inherited[common] = parts[INHERITED].copy()  # without all the other parts
            mean += of_all(place, parts)
            each, var = block.each(place, rows, parts)
            means.append(each)
            variances.append(var)
            weights.append(part)
        mean = np.clip(mean, self.low, self.high)
        each = np.clip(np.vstack(means), self.low, self.high)
        weight, within = np.concatenate(weights), np.vstack(variances)
        bound = (self.high - self.low) ** 2
        variance = np.clip(weight @ (within + (each - mean) ** 2), 1e-12, bound)
        return mean, variance, Mixture(weight, each, np.minimum(within, bound))

    def log_predictive_density(self, X: ArrayLike, y: ArrayLike) -> Array:
        """Return the log density (n,) of measurements y (n,) on the original scale."""
        mean, var = self.latent(X)
        values = scale.as_values(y, len(mean))
        if not self.log_scale:
            return evidence.log_normal(values, mean, var)
        logged = np.log(np.where(values > 0, values, 1.0))
        density = evidence.log_normal(logged, mean, var) - logged
        return np.where(values > 0, density, -np.inf)

    def interval(self, X: ArrayLike, level: float = 0.9) -> tuple[Array, Array]:
        """
        Return the ends (n,) of intervals that hold one measurement with that probability.

        The variance itself is learnt from few points: the quantile is Student's, with as many
        degrees of freedom as there are target points.
        """
        if not 0.0 < level < 1.0:
            raise ValueError(f'0 < level < 1 must hold, got {level}')
        mean, var = self.latent(X)
        quantile = float(stdtrit(max(len(self.y), 2), 0.5 + 0.5 * level))
        reach = _OPTIMISM * quantile * np.sqrt(var)
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
        owner = np.repeat(np.arange(len(self.blocks)), [len(rows) for rows, _ in self.members])
        hypothesis = np.concatenate([rows for rows, _ in self.members])
        weight = np.concatenate([part for _, part in self.members])
        picked = rng.choice(len(weight), size=n, p=weight / weight.sum())
        for index in np.unique(owner[picked]):
            block, draws = self.blocks[index], np.flatnonzero(owner[picked] == index)
            place = block.place(A, seen.get(id(block.source)))
            found[draws] = draw_functions(block, hypothesis[picked[draws]], place, rng)
        found = np.clip(found, self.low, self.high)
        return np.exp(found) if self.log_scale else found

    def probability_valid(self, X: ArrayLike) -> Array:
        """Return the probability (n,) that a run at points X (n, d) does not fail."""
        points = self._points(X)
        sources, goal = self._outcomes
        same = [runs for runs in sources if runs.space is None and len(runs.y)]
        Xs = np.vstack([self.X[:0], *(runs.X for runs in same)])
        ys = np.concatenate([self.y[:0], *(runs.y for runs in same)])
        model = ValidityModel(self.categorical, seed=self.seed)
        model.fit(Xs, ~np.isnan(ys), target=(goal.X, ~np.isnan(goal.y)))
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
            'theta': np.array(self._thetas).reshape(len(self._thetas), self.X.shape[1] + 2),
            'units': np.array(self._units),
        }
        for i, source in enumerate(self.sources):
            arrays |= {f'source{i}.{key}': a for key, a in source.to_arrays().items()}
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
            model.sources.append(Source.from_arrays(inner, seed))
        model.X = as_points(arrays['X'])
        model.y = scale.as_values(arrays['y'], len(model.X))
        model._units = [(float(a), float(b)) for a, b in arrays['units']]
        model._outcomes = ([], Runs(model.X, np.exp(model.y) if log else model.y, None))
        thetas = list(arrays['theta'])
        if len(model._units) != len(model.sources) + 1 or len(thetas) != model._refined():
            raise ValueError('the number of hypotheses does not fit')
        model._build(thetas)
        model._weigh()
        return model
