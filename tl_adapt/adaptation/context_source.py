# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the contexts that a study names: how a message's value becomes a label that lasts.

A context's id joins the labels of all sources, such as `payload=1,region=hall`.
"""

from __future__ import annotations

import bisect
import dataclasses
import math
import numbers
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tl_adapt.errors import InputError
from tl_adapt.expressions import Expression

ELSEWHERE = 'elsewhere'
UNKNOWN = '?'
_NAME = re.compile(r'[A-Za-z][A-Za-z0-9_]*')
_UNFIT = re.compile(r'[^\w.+-]+')
_LONGEST = 40
_DEFAULT_HOLD = 1.0

Point = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class ContextSource:
    """
    Tell one part of the context from a topic.

    With `edges` a number becomes the index of its bin, left only by `hysteresis` beyond an edge;
    with `polygons` (name -> corners in m) a position becomes the name of the first one that it
    is in, or 'elsewhere'; otherwise a text, a bool or an integer is the label itself. A label
    has to last `hold` s of sim time, and is unknown once the last message is `age` s old.
    """

    name: str
    topic: str
    field: Expression | None = None
    edges: tuple[float, ...] = ()
    hysteresis: float = 0.0
    polygons: Mapping[str, tuple[Point, ...]] = dataclasses.field(default_factory=dict)
    hold: float = _DEFAULT_HOLD
    age: float = math.inf

    def label(self, value: Any, present: str | None = None) -> str | None:
        """
        Return the label of a value, None if it has none (not a number, of another type).

        `value` is the field's, or (x, y) for polygons; `present` is the label so far.
        """
        if self.polygons:
            if not isinstance(value, tuple):
                return None
            x, y = (float(part) for part in value)
            if not (math.isfinite(x) and math.isfinite(y)):
                return None
            inside = (name for name, corners in self.polygons.items() if contains(corners, x, y))
            return next(inside, ELSEWHERE)
        if self.edges:
            return self._bin(value, present)
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, float):
            value = int(value) if value.is_integer() else None
        if isinstance(value, (str, int)):
            return _UNFIT.sub('_', str(value))[:_LONGEST] or '_'
        return None

    @property
    def lack(self) -> str:
        """Return what is to be said of the topic where its messages give no label."""
        if self.field is None:
            return 'gives no position'
        kind = 'number' if self.edges else 'text, flag or integer'
        return f'gives no {kind} for {self.field}'

    def _bin(self, value: Any, present: str | None) -> str | None:
        try:
            number = float(value) if isinstance(value, numbers.Real) else math.nan
        except OverflowError:  # what an integer's power can be
            number = math.inf
        if not math.isfinite(number):
            return None
        found = bisect.bisect_right(self.edges, number)
        if present is not None and present.isdigit():
            old = int(present)
            if found > old:
                found = max(old, bisect.bisect_right(self.edges, number - self.hysteresis))
            elif found < old:
                found = min(old, bisect.bisect_right(self.edges, number + self.hysteresis))
        return str(found)


class Lasting:
    """Hold a label that changes only once another one has lasted."""

    def __init__(self, hold: int) -> None:
        """Let labels last for `hold` ns of sim time."""
        self.label: str | None = None
        self._hold = hold
        self._next: str | None = None
        self._since = 0

    @property
    def steady(self) -> bool:
        """Tell whether a label is known and no other one is about to take its place."""
        return self.label is not None and self._next is None

    def forget(self) -> None:
        """Hold no label any more."""
        self.label = self._next = None

    def update(self, label: str | None, now: int) -> bool:
        """Take the label that holds now [ns], None if unknown; return whether ours changed."""
        if label is None or label == self.label:
            self._next = None
            return False
        if label != self._next or now < self._since:
            self._next, self._since = label, now
        if now - self._since < self._hold:
            return False
        self.label, self._next = label, None
        return True


def contains(corners: Sequence[Point], x: float, y: float) -> bool:
    """Tell whether a point is in a polygon (even-odd rule)."""
    inside = False
    for (ax, ay), (bx, by) in zip(corners, [*corners[1:], corners[0]]):
        if (ay > y) != (by > y) and x < ax + (y - ay) / (by - ay) * (bx - ax):
            inside = not inside
    return inside


def context_id(labels: Mapping[str, str | None]) -> str:
    """Return the id of a context, in the order of the sources."""
    return ','.join(f'{name}={UNKNOWN if v is None else v}' for name, v in labels.items())


def context_sources(adaptation: Mapping[str, Any]) -> tuple[ContextSource, ...]:
    """Return the sources of a study's `adaptation.contexts`; raises InputError."""
    sources: list[ContextSource] = []
    for number, entry in enumerate(adaptation.get('contexts', ())):
        try:
            source = _source(entry)
        except InputError as error:
            raise error.at(key=f'adaptation.contexts[{number}]') from None
        if any(source.name == other.name for other in sources):
            key = f'adaptation.contexts[{number}].name'
            raise InputError('must not come twice', key=key, value=source.name)
        sources.append(source)
    return tuple(sources)


def _source(entry: Mapping[str, Any]) -> ContextSource:
    if not _NAME.fullmatch(entry['name']):
        raise InputError('a name has letters, digits and _', key='name', value=entry['name'])
    if ('field' in entry) == ('polygons' in entry):
        raise InputError('needs either a field or polygons', value=entry['name'])
    field = None
    if 'field' in entry:
        try:
            field = Expression(entry['field'])
        except InputError as error:
            raise error.at(key='field') from None
        if not field.names:
            raise InputError('must name a field of the message', key='field',
                             value=entry['field'])
    edges = tuple(float(edge) for edge in entry.get('edges', ()))
    if 'polygons' in entry and edges:
        raise InputError('means nothing with polygons', key='edges', value=list(edges))
    if any(high <= low for low, high in zip(edges, edges[1:])):
        raise InputError('must rise', key='edges', value=list(edges))
    hysteresis = float(entry.get('hysteresis', 0.0))
    if hysteresis and not edges:
        raise InputError('means nothing without edges', key='hysteresis', value=hysteresis)
    gaps = [high - low for low, high in zip(edges, edges[1:])]
    if gaps and 2.0 * hysteresis >= min(gaps):
        raise InputError('must be less than half of what is between two edges',
                         key='hysteresis', value=hysteresis)
    polygons = {}
    for name, corners in entry.get('polygons', {}).items():
        if not _NAME.fullmatch(name) or name == ELSEWHERE:
            rule = f'a name has letters, digits and _, and is not {ELSEWHERE}'
            raise InputError(rule, key=f'polygons.{name}')
        polygons[name] = tuple((float(x), float(y)) for x, y in corners)
    return ContextSource(
        entry['name'], entry['topic'], field, edges, hysteresis, polygons,
        float(entry.get('hold', _DEFAULT_HOLD)), float(entry.get('age', math.inf)),
    )
