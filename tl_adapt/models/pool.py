# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for many candidates whose predictions follow a transfer model as target points arrive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tl_adapt.models import scale
from tl_adapt.models.collapsed import View, collapse
from tl_adapt.models.gaussian_process import chunks
from tl_adapt.models.kernel import Array, as_points
from tl_adapt.models.source import Source
from tl_adapt.models.threads import single_thread
from tl_adapt.models.transfer import TransferModel

_MIB = 2**20
_ROWS = 256  # seen at once: with a large source, more would take more memory than is kept


class _Kept(NamedTuple):
    """
    Hold what a source says of the candidates, which no target point changes.

    `mean` (N,), `V` (r, N) as in `Seen` but less `middle` (r,), which all nearly share and single
    precision would spoil, and the `features` (N, D) where the source has a cube of its own; None
    where there is no room or no need. The source is held so that its id stays its own.
    """

    source: Source
    mean: Array
    V: NDArray[np.float32] | None
    middle: Array
    features: NDArray[np.float32] | None


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
            total += said.factor * kept.mean
            parts.append(said.spelled_prior())
            if kept.V is None:
                parts.append(said.spelled_pull())
            elif len(said.inherited):
                pull = said.pull
                total -= pull @ kept.middle + pull.astype(np.float32) @ kept.V
        constant, kernels = collapsed.spelled(*parts)
        total += constant
        features = {id(kept.source.columns): kept.features for kept in self._kept.values()}
        for part in chunks(len(self.X)):
            seen: dict[tuple[int, int], Array] = {}
            for one in kernels:
                key = one.view.key[:2]
                if key not in seen:
                    seen[key] = self._see(one.view, part, features)
                total[part] += one.at(seen[key])
        self._latent, self._stand = total, self.model.shares
        return total

    def _see(self, view: View, part: slice, kept: dict[int, Any]) -> Array:
        """Return the features of some candidates; those in another cube are kept."""
        if view.columns is None:
            return view.see(self.X[part])
        return np.asarray(kept[id(view.columns)][part], dtype=np.float64)

    def _keep(
        self, sources: list[Source], progress: Callable[[int, int], None] | None
    ) -> None:
        """Ask each source that is new for what no target point changes; forget the others."""
        present = {id(source) for source in sources}
        self._kept = {key: kept for key, kept in self._kept.items() if key in present}
        room = self.memory * _MIB - sum(k.V.nbytes for k in self._kept.values() if k.V is not None)
        new = [source for source in sources if id(source) not in self._kept]
        total, done = len(new) * len(self.X), 0
        for source in new:
            size = len(source.A) * len(self.X) * np.dtype(np.float32).itemsize
            mean = np.empty(len(self.X))
            V = np.empty((len(source.A), len(self.X)), np.float32) if size <= room else None
            middle, features = np.zeros(len(source.A)), None
            if source.columns is not None:
                width = source.process.A.shape[1]
                features = np.empty((len(self.X), width), np.float32)
            for part in chunks(len(self.X), _ROWS):
                seen = source.at(self.X[part])
                mean[part] = seen.mean
                if part.start == 0:
                    middle = seen.V.mean(axis=1)
                if V is not None:
                    V[:, part] = seen.V - middle[:, None]
                if features is not None:
                    features[part] = seen.features
                done += len(seen.mean)
                if progress is not None:
                    progress(done, total)
            room -= 0 if V is None else size
            self._kept[id(source)] = _Kept(source, mean, V, middle, features)
