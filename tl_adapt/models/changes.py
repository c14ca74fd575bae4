# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for what changed between two environments in the influence of options and interactions.

The two decompositions are taken as independent: where one model learnt from the other's data, that
makes the intervals of the differences too wide rather than too narrow.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from tl_adapt.models.effects import Effect, Effects, conclusive, interval
from tl_adapt.statistics import Interval

TURNED, STRONGER, WEAKER, SAME = 'turned', 'stronger', 'weaker', 'no change is sure'


@dataclasses.dataclass(frozen=True)
class Change:
    """
    Hold how an effect differs between two environments.

    `difference` is after minus before in the number's unit, `ratio` that of the factors (None
    where the logarithm is not modelled). `kind` is 'turned' (both signs are sure and opposite),
    'stronger', 'weaker', or that no change is sure; it is judged on the scale that is modelled.
    """

    names: tuple[str, ...]
    before: Effect
    after: Effect
    difference: Interval
    ratio: Interval | None
    kind: str

    @property
    def sure(self) -> bool:
        """Say whether a change can be claimed."""
        return self.kind != SAME

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {
            'names': list(self.names), 'before': self.before.change.to_dict(),
            'after': self.after.change.to_dict(), 'difference': self.difference.to_dict(),
            'ratio': None if self.ratio is None else self.ratio.to_dict(), 'kind': self.kind,
        }


def compare(before: Effects, after: Effects) -> list[Change]:
    """
    Return the change of every effect: turned signs first, then the sure ones, the largest first.

    Both must be over one basis, and `after` decomposed `like` before. Raises ValueError otherwise.
    """
    if after.basis is not before.basis or after.ends != before.ends:
        raise ValueError('both must be decomposed over one basis, with the same levels')
    count = min(len(before.changes), len(after.changes))
    plain = after.changes[:count] - before.changes[:count]
    both = before.logged is not None and after.logged is not None
    moved = after.scaled[:count] - before.scaled[:count] if both else plain
    sure = conclusive(moved)
    effects = [{e.names: e for e in [*one.mains, *one.pairs]} for one in (before, after)]
    found = []
    for i, names in enumerate(before.names):
        first, second = (table[names] for table in effects)
        signs = [np.sign(np.median(one.scaled[:, i])) for one in (before, after)]
        if first.conclusive and second.conclusive and signs[0] != signs[1]:
            kind = TURNED
        elif sure[i] and (first.conclusive or second.conclusive):
            sizes = [abs(float(np.median(one.scaled[:, i]))) for one in (before, after)]
            kind = STRONGER if sizes[1] > sizes[0] else WEAKER
        else:
            kind = SAME
        ratio = interval(np.exp(moved[:, i])) if both else None
        size = abs(float(np.median(moved[:, i])))
        found.append((kind != TURNED, kind == SAME, -size, i, Change(
            names, first, second, interval(plain[:, i]), ratio, kind
        )))
    return [entry[-1] for entry in sorted(found, key=lambda entry: entry[:4])]
