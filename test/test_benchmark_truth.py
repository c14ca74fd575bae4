# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import sys
from pathlib import Path

import numpy as np
import pytest

from tl_adapt.designs import fingerprint
from tl_adapt.testing.analytic import AnalyticEnvironment, analytic_study

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'benchmarks'))

import tuning_truth_costs as costs  # noqa: E402

STUDY = analytic_study()
TARGET = AnalyticEnvironment(STUDY, 'target', relation='shifted', variant=1)


def test_a_formula_keeps_its_limit_as_often_as_it_says():
    margins = TARGET.truth(pool := STUDY.space.sample(400, seed=3))['margin']
    for wanted in (-0.2, -0.02, 0.0, 0.02):
        one = pool[int(np.argmin(np.abs(margins - wanted)))]
        runs = [TARGET.measure(one, seed) for seed in range(300)]
        kept = np.mean([run.valid and not STUDY.broken_limits(run.metrics) for run in runs])
        assert kept == pytest.approx(float(TARGET.kept([one])[0]), abs=0.08)


def test_the_objective_is_infinite_beyond_the_limit_unless_it_does_not_count():
    pool = STUDY.space.sample(100, seed=3)
    limited, free = TARGET.objective(pool), TARGET.objective(pool, limited=False)
    fine = TARGET.truth(pool)['margin'] >= 0.0
    assert 0 < fine.sum() < len(pool)
    assert np.isinf(limited[~fine]).all()
    assert np.isfinite(free).all() and (free[fine] == limited[fine]).all()


@pytest.fixture(scope='module')
def problem():
    return costs.Problem('unrelated', 0, costs.study_of(simulate=False, cost=None))


def test_a_problem_knows_the_best_of_what_it_lists(problem):
    assert problem.regret.min() == 0.0
    assert len(problem.regret) == len({fingerprint(c) for c in problem.configurations})
    best = problem.configurations[int(np.argmin(problem.regret))]
    assert problem.regret_of(best) == 0.0
    assert problem.target.kept([best])[0] > 0.5
    assert problem.regret_of(problem.study.space.default()) > 0.0


def test_all_ways_to_spend_meet_the_same_noise(problem):
    one, other = problem.configurations[:2]
    again = costs.Problem('unrelated', 0, problem.study)
    for name in (problem.source.name, problem.target.name):
        first = problem.measure(name, one, 0)
        assert again.measure(name, one, 0).metrics == first.metrics
        assert problem.measure(name, one, 1).metrics != first.metrics
        assert first.environment == name
    noise = [problem.measure(problem.target.name, c, 0).metrics['energy']
             / problem.target.truth([c])['energy'][0] for c in (one, other)]
    assert noise[0] != pytest.approx(noise[1])
