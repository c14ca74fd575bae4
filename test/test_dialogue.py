# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of what passes between a tuning run, its operator and its history."""

import dataclasses
import json
import math
import types

import pytest

from tl_adapt.environments.base import Measurement
from tl_adapt.errors import InputError, TlAdaptError
from tl_adapt.testing.analytic import analytic_study
from tl_adapt.tuning.dialogue import Dialogue
from tl_adapt.tuning.history import History
from tl_adapt.tuning.operator import Answer, AtTerminal, Question, Unattended, left
from tl_adapt.tuning.proposal import Choice, Proposal

STUDY = analytic_study()
DEFAULT = STUDY.space.default()


def proposal(worth=None):
    return Proposal(DEFAULT, 'target', worth, 30.0, 'the predicted best')


def tuner(mean=0.5):
    return types.SimpleNamespace(
        time=90.0, spent=30.0,
        best=lambda: Choice(DEFAULT, mean, 0.1, 'the best'),
    )


def history(tmp_path, aim='a'):
    return History(tmp_path / 'transfer.json', STUDY, 'transfer', aim)


def test_it_says_what_is_left_of_each_budget():
    assert str(left(STUDY, tuner(), 1)) == '1 run'
    budget = dataclasses.replace(STUDY.budget, cost=120.0, time=3600.0)
    study = dataclasses.replace(STUDY, budget=budget)
    remaining = left(study, tuner(), 3)
    assert str(remaining) == '3 runs, 90 cost units, 58 min 30 s'
    assert str(Question(2, 4, proposal(0.125), remaining)).startswith(
        'next 2/4: expected gain 0.12 (the predicted best); left: 3 runs, 90')
    assert str(Question(1, 4, proposal(), remaining)).startswith('next 1/4: the predicted best; ')


def test_the_history_keeps_runs_and_refusals_for_the_next_time(tmp_path, capsys):
    dialogue = Dialogue(STUDY, 4, Unattended(STUDY), history(tmp_path))
    metrics = dict.fromkeys(STUDY.metrics, 1.0)
    for index in (0, 1, 1):
        assert dialogue.confirm(index, proposal(0.2), tuner()) is Answer.RUN
        run = Measurement('target', DEFAULT, index, metrics, valid=index < 1, reason='collision')
        dialogue.tell(index, run, tuner(math.nan))
    out = capsys.readouterr().out
    assert '1/4: objective ' in out
    assert '2/4: failed: collision; the best' in out
    dialogue.history.refuse(DEFAULT)
    data = json.loads((tmp_path / 'transfer.json').read_text())
    assert [entry['number'] for entry in data['runs']] == [1, 2]
    assert data['runs'][0]['worth'] == 0.2
    assert data['runs'][0]['incumbent']['mean'] is None
    assert history(tmp_path).refused == [DEFAULT]
    assert history(tmp_path, 'another').refused == []


@pytest.mark.parametrize('text', [
    '[', '{}', '{"runs": [3], "refused": []}', '[1]', '{"runs": [{"number": "x"}], "refused": []}',
    pytest.param('[' * 200_000, id='deep'),
])
def test_a_file_that_is_no_history_is_one_clear_error(text, tmp_path):
    (tmp_path / 'transfer.json').write_text(text)
    with pytest.raises(InputError, match=r'transfer\.json: is no history of a tuning run'):
        history(tmp_path)


@pytest.mark.parametrize(
    ('typed', 'answer'),
    [('y', Answer.RUN), ('Yes', Answer.RUN), ('s', Answer.SKIP), ('', Answer.ABORT),
     ('n', Answer.ABORT)],
)
def test_a_terminal_is_asked(typed, answer, monkeypatch, capsys):
    question = Question(1, 4, proposal(), left(STUDY, tuner(), 4))
    with pytest.raises(TlAdaptError, match='--confirm service'):
        monkeypatch.setattr('sys.stdin.isatty', lambda: False, raising=False)
        AtTerminal(STUDY).ask(question)
    monkeypatch.setattr('sys.stdin.isatty', lambda: True, raising=False)
    monkeypatch.setattr('builtins.input', lambda prompt: typed)
    assert AtTerminal(STUDY).ask(question) is answer
    assert '  speed = ' in capsys.readouterr().out
