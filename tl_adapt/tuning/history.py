# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the history of a tuning run, which also tells a resumed one what was refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tl_adapt.errors import InputError
from tl_adapt.json_file import read_json
from tl_adapt.parameter_file import write_text
from tl_adapt.space import Configuration
from tl_adapt.tuning.operator import Question, Report

if TYPE_CHECKING:
    from tl_adapt.study import Study


class History:
    """
    Keep what was proposed, what it gave, and what the operator refused, in a JSON file.

    The file is written anew after each run. One of another study, or with another aim, is begun
    anew: what was refused holds on in the store. Raises InputError for a file that is no such
    JSON.
    """

    def __init__(self, path: Path, study: Study, method: str, aim: str) -> None:
        """Read the file if it is there."""
        self.path = path
        head = {'study': study.name, 'digest': study.digest, 'method': method, 'aim': aim}
        self._data: dict[str, Any] = {**head, 'runs': [], 'refused': []}
        if path.is_file():
            found = _read(path)
            if {key: found.get(key) for key in head} == head:
                self._data |= {key: list(found[key]) for key in ('runs', 'refused')}
        self.refused: list[Configuration] = [
            study.space.validate(one, file=path) for one in self._data['refused']
        ]

    def refuse(self, configuration: Configuration) -> None:
        """Take note of a configuration that must not be run."""
        self.refused.append(dict(configuration))
        self._data['refused'].append(dict(configuration))
        self._write()

    def forget(self) -> None:
        """Drop what was refused, and write that if it was in the file."""
        if self._data['refused']:
            self._data['refused'] = []
            self._write()
        self.refused.clear()

    def add(self, question: Question, report: Report) -> None:
        """Take note of a run; one that an interrupted process did not keep is replaced."""
        run, best = report.measurement, report.incumbent
        kept = [entry for entry in self._data['runs'] if entry['number'] < report.number]
        self._data['runs'] = [*kept, {
            'number': report.number, 'configuration': run.configuration, 'valid': run.valid,
            'reason': run.reason, 'metrics': run.metrics, 'cost': run.cost,
            'why': question.proposal.why, 'worth': question.proposal.worth,
            'incumbent': {
                'configuration': best.configuration, 'mean': _number(best.mean), 'std': best.std,
            },
        }]
        self._write()

    def _write(self) -> None:
        write_text(self.path, json.dumps(self._data, indent=2) + '\n')


def _number(value: float) -> float | None:
    """Return what JSON can hold: None for nan."""
    return value if value == value else None


def forget_refused(path: Path, study: Study) -> None:
    """
    Drop what was refused from another history of the study, of whatever method or aim.

    What is no history of it stays as it is: nobody goes by that.
    """
    try:
        data = _read(path)
    except InputError:
        return
    if data.get('study') == study.name and data['refused']:
        write_text(path, json.dumps({**data, 'refused': []}, indent=2) + '\n')


def _read(path: Path) -> dict[str, Any]:
    try:
        data = read_json(path, 'can not be read')
    except InputError as error:
        raise InputError(f'is no history of a tuning run: {error.rule}', file=path) from error
    if not isinstance(data, dict) or not all(
        isinstance(data.get(key), list) for key in ('runs', 'refused')
    ) or not all(
        isinstance(run, dict) and type(run.get('number')) is int for run in data['runs']
    ):
        raise InputError('is no history of a tuning run', file=path)
    return data
