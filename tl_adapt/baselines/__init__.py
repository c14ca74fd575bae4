# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Searches without a model, to compare the tuner with (those that BO4CO was compared with).

Jamshidi & Casale 2016.
"""

from tl_adapt.baselines.annealing import SimulatedAnnealing
from tl_adapt.baselines.base import Baseline
from tl_adapt.baselines.genetic import GeneticAlgorithm
from tl_adapt.baselines.hill_climbing import HillClimbing
from tl_adapt.baselines.latin_hypercube import LatinHypercube
from tl_adapt.baselines.random_search import RandomSearch

#: The baselines by the name under which they are asked for.
BASELINES: dict[str, type[Baseline]] = {
    'random': RandomSearch,
    'latin-hypercube': LatinHypercube,
    'hill-climbing': HillClimbing,
    'simulated-annealing': SimulatedAnnealing,
    'genetic': GeneticAlgorithm,
}

__all__ = ['BASELINES', 'Baseline']
