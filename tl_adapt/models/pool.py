# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for many candidates whose predictions follow a transfer model as target points arrive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tl_adapt.models import scale
from tl_adapt.models.collapsed import Kernels, View, collapse
from tl_adapt.models.kernel import LEVEL, Array, as_points, chunks
from tl_adapt.models.source import Source
from tl_adapt.models.threads import single_thread
from tl_adapt.models.transfer import TransferModel

_MIB = 2**20
_ROWS = 256  # seen at once: with a large source, more would take more memory than is kept


class _Kept(NamedTuple):
    """
    Hold what a source says of the candidates, which no target point changes.

    `mean` and `off` (N,) and `V` (r, N) as in `Seen`, the last but less `middle` (r,), which all
    nearly share and single precision would spoil; None where there is no room. The source is held
    so that its id stays its own.
    """

    source: Source
    mean: Array
    off: Array
    V: NDArray[np.float32] | None
    middle: Array


class _Look:
    """
    Hold the features of candidates X (N, d) that take long to find, without what is 0 for all.

    Of categorical columns that is one byte for each level that a candidate has. Numeric columns
    are kept only where they are in a source's own cube.
    """

    def __init__(self, view: View, X: Array) -> None:
        """Look at all candidates."""
        self.view = view
        self.numeric = view.features.numeric
        first, width = len(self.numeric), len(view.scale)
        kept = first if view.columns is not None else 0
        self.places = np.empty((len(X), kept), np.float32)
        self.levels = np.empty((len(X), width - first), bool)
        if kept or width > first:
            for part in chunks(len(X)):
                features = view.see(X[part])
                self.places[part] = features[:, :kept]
                self.levels[part] = features[:, first:] > 0.0
        shown = np.flatnonzero(self.levels.any(axis=0))
        self.levels = self.levels[:, shown]
        self.used = np.concatenate([np.arange(first), first + shown])

    def features(self, X: Array, part: slice) -> Array:
        """Return the features (n, D') of some candidates."""
        own = self.view.columns is None
        places = X[part][:, self.numeric] - 0.5 if own else self.places[part]
        return np.hstack([places, LEVEL * self.levels[part]])

    def narrow(self, kernels: Kernels) -> Kernels:
        """Return kernels for those features."""
        return kernels.only(self.used) if len(self.used) < len(kernels.view.scale) else kernels


class Pool:
    """
    Hold candidates and rank them by what the model predicts at present.

    It notices by itself when `model` has learnt from further target points (`update`) or was
    fitted anew. A new target point costs a few products of matrices; only what a source says is
    computed once and kept, in up to `memory` MiB and single precision (relative errors of the
    predictions about 1e-6). Sources beyond that are computed anew each time, which is slower.
    """

    def __init__(
        self, model: TransferModel, X: ArrayLike, *, memory: float = 128.0,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """
        Look at candidates X (N, d) in the unit cube with a fitted model.

        `progress` is called with the candidates seen so far and their number. Raises ValueError
        for another number of columns than the model's, and before its first fit.
        """
        self.model = model
        self.X = as_points(X)
        self.memory = memory
        self._kept: dict[int, _Kept] = {}
        self._looks: dict[tuple[int, int], _Look] = {}
        self._stand: Any = None
        self._latent = np.empty(0)
        self._refresh(progress)

    def __len__(self) -> int:
        """Return N."""
        return len(self.X)

    def rank(self, n: int = 10) -> NDArray[np.int_]:
        """Return the indices of the n candidates with the smallest median, the best first."""
        latent = self._refresh()
        n = min(n, len(latent))
        if n < 1:
            return np.empty(0, dtype=int)
        best = np.argpartition(latent, n - 1)[:n]
        return best[np.lexsort((best, latent[best]))]

    def mean(self) -> Array:
        """Return the medians (N,) on the original scale, which `model.predict` gives, too."""
        held = np.clip(self._refresh(), self.model.low, self.model.high)
        return scale.median_and_std(held, np.zeros(1), self.model.log_scale)[0]

    @single_thread
    def _refresh(self, progress: Callable[[int, int], None] | None = None) -> Array:
        """Return the present means (N,) on the model's scale, before they are held in bounds."""
        if self._stand is not None and self.model.shares is self._stand:
            return self._latent
        collapsed = collapse(self.model)
        as_points(self.X[:0], self.model.X.shape[1])
        self._keep([said.source for said in collapsed.sources], progress)
        total = np.full(len(self.X), 0.0)
        parts = []
        for said in collapsed.sources:
            kept = self._kept[id(said.source)]
            total += said.factor * kept.mean + said.lean * kept.off
            parts.append(said.spelled_prior())
            if kept.V is None:
                parts.append(said.spelled_pull())
            elif len(said.inherited):
                pull = said.pull
                total -= pull @ kept.middle + pull.astype(np.float32) @ kept.V
        constant, kernels = collapsed.spelled(*parts)
        total += constant
        self._look([one.view for one in kernels])
        narrow: dict[tuple[int, int], list[Kernels]] = {}
        for one in kernels:
            key = one.view.key[:2]
            narrow.setdefault(key, []).append(self._looks[key].narrow(one))
        for part in chunks(len(self.X)):
            for key, same in narrow.items():
                features = self._looks[key].features(self.X, part)
                squares = features * features
                for one in same:
                    total[part] += one.at(features, squares)
        self._latent, self._stand = total, self.model.shares
        return total

    def _look(self, views: list[View]) -> None:
        """Look at the candidates in each view that is new; forget those of an earlier fit."""
        present = {id(self.model.features)}
        present |= {id(source.process.features) for source in self.model.sources}
        self._looks = {key: look for key, look in self._looks.items() if key[0] in present}
        for view in views:
            if view.key[:2] not in self._looks:
                self._looks[view.key[:2]] = _Look(view, self.X)

    def _keep(
        self, sources: list[Source], progress: Callable[[int, int], None] | None
    ) -> None:
        """Ask each source that is new for what no target point changes; forget others' answers."""
        # A source that has no say at present may have one again.
        present = {id(source) for source in self.model.sources}
        self._kept = {key: kept for key, kept in self._kept.items() if key in present}
        room = self.memory * _MIB - sum(k.V.nbytes for k in self._kept.values() if k.V is not None)
        new = [source for source in sources if id(source) not in self._kept]
        total, done = len(new) * len(self.X), 0
        for source in new:
            size = len(source.A) * len(self.X) * np.dtype(np.float32).itemsize
            mean, off = np.empty((2, len(self.X)))
            V = np.empty((len(source.A), len(self.X)), np.float32) if size <= room else None
            middle = np.zeros(len(source.A))
            for part in chunks(len(self.X), _ROWS):
                seen = source.at(self.X[part])
                mean[part], off[part] = seen.mean, seen.off
                if part.start == 0:
                    middle = seen.V.mean(axis=1)
                if V is not None:
                    V[:, part] = seen.V - middle[:, None]
                done += len(seen.mean)
                if progress is not None:
                    progress(done, total)
            room -= 0 if V is None else size
            self._kept[id(source)] = _Kept(source, mean, off, V, middle)
