# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tuning where only some configurations can be measured, as in a table."""

import csv
import time

import numpy as np
import pytest
import yaml

from tl_adapt.baselines import RandomSearch
from tl_adapt.designs import Candidates, fingerprint
from tl_adapt.environments.base import Measurement, make_environment
from tl_adapt.errors import InputError
from tl_adapt.store import Store
from tl_adapt.study import load_study, study_from_dict
from tl_adapt.testing.analytic import AnalyticEnvironment, analytic_study
from tl_adapt.transfer import METHODS, candidates_of, make_tuner, run_transfer
from tl_adapt.tuner import Tuner

STUDY = analytic_study(0, budget=5)
NAMES = [*STUDY.space.names, *STUDY.metrics]


def write_table(path, role, configurations):
    environment = AnalyticEnvironment(STUDY, role)
    with path.open('w', newline='') as file:
        writer = csv.DictWriter(file, NAMES, extrasaction='ignore')
        writer.writeheader()
        for seed, configuration in enumerate(configurations):
            found = environment.measure(configuration, seed)
            writer.writerow({**found.configuration, **found.metrics})


@pytest.fixture
def study(tmp_path):
    """Return a study of two tables that have other rows, neither of them the default's."""
    write_table(tmp_path / 'source.csv', 'source', STUDY.space.sample(40, seed=1))
    write_table(tmp_path / 'target.csv', 'target', STUDY.space.sample(60, seed=2, method='random'))
    content = {
        'version': 1, 'name': 'recorded',
        'parameters': {
            p.name: {
                'type': p.type, 'default': p.default, 'log': p.log,
                **({'choices': list(p.choices)} if p.choices else {'range': [p.low, p.high]}),
            }
            for p in STUDY.space.parameters
        },
        'metrics': {
            'duration': {'direction': 'minimize', 'scale': 'log'},
            'energy': {'direction': 'minimize', 'scale': 'log'},
            'margin': {'direction': 'maximize'},
        },
        'objectives': [{'metric': 'duration', 'reference': 20.0}],
        'limits': ['margin >= 0.0'],
        'environments': {
            'old': {'kind': 'table', 'role': 'source', 'file': 'source.csv'},
            'new': {'kind': 'table', 'role': 'target', 'file': 'target.csv'},
        },
        'budget': {'source': 40, 'target': 5},
    }
    (tmp_path / 'study.yaml').write_text(yaml.safe_dump(content))
    return load_study(tmp_path / 'study.yaml')


@pytest.mark.parametrize('method', METHODS)
def test_a_table_that_is_no_grid_can_be_the_target(method, study, tmp_path):
    old = make_environment(study, 'old')
    source = [old.measure(c, 0) for c in old.configurations()]
    new = make_environment(study, 'new')
    rows = new.configurations()
    assert study.space.default() not in rows
    with Store(tmp_path / 'store.sqlite', study=study) as store:
        result = run_transfer(study, store, new, method=method, budget=5, seed=3, source=source)
        assert 'budget of 5' in result.stopped or 'improvement' in result.stopped
    measured = [m.configuration for m in result.measurements]
    assert len({fingerprint(c) for c in measured}) == len(measured) >= 3
    assert all(c in rows for c in [*measured, result.choice.configuration])
    objectives = sorted(
        study.objective(m.metrics) for m in (new.measure(c, 0) for c in rows)
        if m.valid and not study.broken_limits(m.metrics)
    )
    if method == 'transfer':
        chosen = new.measure(result.choice.configuration, 0)
        assert study.objective(chosen.metrics) <= objectives[len(objectives) // 3]


def test_all_rows_and_then_an_end():
    rows = STUDY.space.sample(4, seed=1)
    environment = AnalyticEnvironment(STUDY, 'target')
    for kind in (RandomSearch, Tuner):
        tuner = kind(STUDY, budget=9, candidates=[*rows, *rows])
        asked = []
        while tuner.should_stop() is None:
            asked += [proposal.configuration for proposal in tuner.ask()]
            tuner.tell(environment.measure(asked[-1], len(asked)))
        assert 'all 4 configurations' in tuner.should_stop() or 'improv' in tuner.should_stop()
        assert len({fingerprint(c) for c in asked}) == len(asked)
        assert all(c in rows for c in asked)


def test_the_default_comes_first_where_it_is_a_row():
    rows = STUDY.space.sample(5, seed=1)
    assert Tuner(STUDY, candidates=rows).ask()[0].configuration in rows
    default = STUDY.space.default()
    assert Tuner(STUDY, candidates=[*rows, default]).ask()[0].configuration == default


def test_only_rows_are_chosen():
    environment = AnalyticEnvironment(STUDY, 'target')
    rows = STUDY.space.sample(6, seed=1)
    for kind in (RandomSearch, Tuner):
        tuner = kind(STUDY, candidates=rows)
        assert tuner.best().configuration in rows
        # Another table once had this one.
        tuner.tell(environment.measure(environment.best(samples=64)[0], 1))
        assert tuner.best().configuration in rows
        tuner.tell(environment.measure(rows[3], 1))
        assert tuner.best().configuration in rows


def test_a_sample_covers_an_uneven_table_and_begins_like_a_shorter_one():
    rng = np.random.default_rng(0)
    places = rng.random((400, STUDY.space.dim))
    places[:380, 0] *= 0.05  # nearly all rows are slow
    table = Candidates(STUDY.space, STUDY.space.decode(places))
    for method in ('sobol', 'random'):
        sample = table.sample(12, seed=5, method=method)
        assert sample == table.sample(40, seed=5, method=method)[:12]
        assert sample != table.sample(12, seed=6, method=method)
        assert len({fingerprint(c) for c in table.sample(999, seed=5, method=method)}) == 400
        if method == 'sobol':
            assert np.mean(STUDY.space.encode(sample)[:, 0] > 0.05) > 0.2


def test_what_is_no_candidate_is_refused():
    with pytest.raises(ValueError, match='empty'):
        Tuner(STUDY, candidates=[])
    with pytest.raises(InputError, match='speed'):
        Tuner(STUDY, candidates=[{**STUDY.space.default(), 'speed': 9.0}])


def test_only_environments_with_a_list_have_candidates(study):
    assert candidates_of(AnalyticEnvironment(STUDY, 'target')) is None
    assert len(candidates_of(make_environment(study, 'new'))) == 60
    assert make_tuner(STUDY, 'transfer', (), 3, 1).search.among is None


def test_a_large_table_is_no_burden():
    study = study_from_dict({
        'version': 1, 'name': 'large',
        'parameters': {
            f'p{i}': {'type': 'double', 'range': [0.0, 1.0], 'default': 0.5} for i in range(10)
        },
        'metrics': {'cost': {'direction': 'minimize'}},
        'objectives': [{'metric': 'cost'}],
        'environments': {'t': {'kind': 'command', 'role': 'target', 'command': ['x']}},
    })
    rows = study.space.sample(20_000, seed=1, method='random')
    tuner = Tuner(study, candidates=rows, budget=8)
    for index in range(6):
        begin = time.process_time()
        configuration = tuner.ask()[0].configuration
        assert time.process_time() - begin < 1.0 or index < 2  # imports
        cost = float(np.sum(study.space.encode([configuration])))
        tuner.tell(Measurement('t', configuration, index, {'cost': cost}))
