# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of the seeds of runs: no purpose sees those of another."""

import itertools
import pathlib

import pytest

from tl_adapt.campaign import campaign_runs
from tl_adapt.seeds import PURPOSES, run_seed
from tl_adapt.study import load_study

DATA = pathlib.Path(__file__).parent / 'data'


def test_no_two_runs_share_a_seed():
    # Also where all purposes are given one number, or numbers that follow each other.
    cases = list(itertools.product((0, 1, 2, 1000, 2000), PURPOSES, range(300)))
    seeds = [run_seed(*case) for case in cases]
    assert len(set(seeds)) == len(cases)
    assert all(1 <= seed <= 2**30 for seed in seeds)


def test_seeds_stay_what_they_are():
    # A store is resumed by its seeds: other ones would measure everything anew.
    assert [run_seed(1, purpose, 0) for purpose in PURPOSES] == [
        458876032, 297258348, 399202603, 1002688957,
    ]


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match='purpose must be one of campaign, tuning'):
        run_seed(1, 'luck', 0)
    with pytest.raises(ValueError, match='index must be >= 0, got -1'):
        run_seed(1, 'tuning', -1)


def test_repeats_of_a_campaign_have_seeds_of_their_own():
    study = load_study(DATA / 'campaign_study.yaml')
    runs = campaign_runs(study, 'program', 50, seed=7, repeats=4)
    assert len({run.seed for run in runs}) == 200
    assert [run.seed for run in runs[:50]] == [run_seed(7, 'campaign', i) for i in range(50)]
    tuning = {run_seed(7, 'tuning', index) for index in range(500)}
    evaluation = {run_seed(7, 'evaluation', index) for index in range(500)}
    assert not {run.seed for run in runs} & (tuning | evaluation)
