# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for explaining a study's measurements: influences, what changed, and bad runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from tl_adapt.environments.base import Measurement
from tl_adapt.errors import InputError, TlAdaptError
from tl_adapt.explanation.bad_run import BadRun, explain_run, worst_runs
from tl_adapt.explanation.environment import Explained, explain_environment
from tl_adapt.explanation.number import Number, choose_log, collect
from tl_adapt.models.basis import Basis, axes_of_space
from tl_adapt.models.changes import Change, compare

if TYPE_CHECKING:
    from tl_adapt.study import Study

WORST = 'worst'
_SHORTEST = 4  # characters that name a run


@dataclasses.dataclass(frozen=True)
class Explanation:
    """
    Hold what the measurements of a study tell of a number.

    `changes` maps the names of two environments to what changed from the one to the other.
    """

    study: Study
    number: Number
    environments: list[Explained]
    changes: dict[tuple[str, str], list[Change]]
    runs: list[BadRun]


def explain(
    study: Study,
    number: Number,
    measurements: Mapping[str, Sequence[Measurement]],
    *,
    environments: Sequence[str] = (),
    run: str = WORST,
    against: str = 'default',
    seed: int = 0,
    on_step: Callable[[str], None] = lambda label: None,
) -> Explanation:
    """
    Explain the measurements of each environment.

    Models of other environments than the source are transferred from it where it was measured.
    `environments` are those to be explained (all, if empty). `run` is the beginning of a
    measurement's key, or 'worst'. `on_step` is told what has just been done.

    Raises InputError for an unknown run, TlAdaptError if nothing at all can be explained.
    """
    data = collect(study, number, {k: list(v) for k, v in measurements.items() if v})
    shown = [name for name in study.environments if name in (environments or data)]
    if run != WORST:
        _find_run(run, {name: data[name].measurements for name in shown})
    axes = axes_of_space(study.space)
    basis = Basis(axes)
    on_step('space')
    log = choose_log(number, list(data.values()))
    source = next((data[n] for n in data if study.environment(n).role == 'source'), None)
    found: list[Explained] = []
    for place, name in enumerate(shown):
        transferred = None if study.environment(name).role == 'source' else source
        like = next((one.effects for one in found if one.effects is not None), None)
        found.append(explain_environment(
            study, data[name], basis, log=log, source=transferred, like=like,
            # Other draws in each environment: their differences must not share their luck.
            seed=seed + place,
        ))
        on_step(name)
    if all(one.effects is None and one.failures is None for one in found):
        notes = '; '.join(f'{one.name}: {one.note}' for one in found)
        raise TlAdaptError(f'{number.name} can not be explained: {notes}')
    sound = [one for one in found if one.effects is not None]
    changes = {
        (sound[0].name, other.name): compare(sound[0].effects, other.effects)
        for other in sound[1:] if sound[0].effects is not None and other.effects is not None
    }
    runs = []
    for one in found:
        for row in _rows(one, number, run):
            bad = explain_run(study, number, one, row, axes, against=against, seed=seed)
            if bad is not None:
                runs.append(bad)
        on_step(f'runs of {one.name}')
    if run != WORST and not runs:
        notes = '; '.join(one.note for one in found if one.note) or f'it has no {number.name}'
        raise TlAdaptError(f'run {run} can not be explained: {notes}')
    return Explanation(study, number, found, changes, runs)


def _rows(explained: Explained, number: Number, run: str) -> list[int]:
    if run == WORST:
        return worst_runs(explained, number)
    rows = explained.data.measurements
    return [i for i, m in enumerate(rows) if m.key.startswith(run)]


def _find_run(run: str, measurements: Mapping[str, Sequence[Measurement]]) -> None:
    """Raise InputError unless exactly one measurement's key begins so."""
    if len(run) < _SHORTEST:
        raise InputError(f'needs at least {_SHORTEST} characters of the key, or {WORST}',
                         key='--run', value=run)
    keys = [m.key for rows in measurements.values() for m in rows if m.key.startswith(run)]
    where = ', '.join(measurements)
    if not keys:
        raise InputError(f'no measurement of {where} has a key that begins so', key='--run',
                         value=run)
    if len(keys) > 1:
        raise InputError(f'{len(keys)} measurements of {where} have keys that begin so',
                         key='--run', value=run)
