# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for models that are fitted when they are first asked for, as many never are."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping

from tl_adapt.models.measured import Data
from tl_adapt.models.transfer import TransferModel


@dataclasses.dataclass
class _Late:
    """Hold a model and the fits that it has yet to do: source, target, quick."""

    model: TransferModel
    waiting: list[tuple[Data, Data, bool]]


class LateFits(Mapping[str, TransferModel]):
    """
    Map metrics to their models; each learns what it was given when it is first asked for.

    A tuner asks after every measurement, but only for the metrics of objectives and limits.
    """

    def __init__(self, models: Mapping[str, TransferModel] | None = None) -> None:
        """Begin with models that are fitted already."""
        self._late = {name: _Late(model, []) for name, model in (models or {}).items()}

    def __getitem__(self, name: str) -> TransferModel:
        late = self._late[name]
        while late.waiting:
            source, target, quick = late.waiting[0]
            late.model.fit(source, target, quick=quick)
            del late.waiting[0]  # only now: a fit that fails must fail again
        return late.model

    def __iter__(self) -> Iterator[str]:
        return iter(self._late)

    def __len__(self) -> int:
        return len(self._late)

    def __contains__(self, name: object) -> bool:
        return name in self._late

    def learn(
        self, name: str, model: TransferModel, source: Data, target: Data, *, quick: bool
    ) -> None:
        """
        Let the model of a metric, `model` if it has none yet, learn as `TransferModel.fit` does.

        A fit that is not quick forgets all that was learnt before, so those need not be done.
        """
        late = self._late.setdefault(name, _Late(model, []))
        if not quick:
            late.waiting.clear()
        late.waiting.append((source, target, quick))

    def only(self, names: set[str]) -> None:
        """Forget the models of other metrics."""
        self._late = {name: late for name, late in self._late.items() if name in names}

    def branch(self) -> LateFits:
        """Return models that can learn on without changing these."""
        other = LateFits()
        for name, late in self._late.items():
            other._late[name] = _Late(copy.copy(late.model), list(late.waiting))
        return other
