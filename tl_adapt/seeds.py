# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the seeds of runs.

Whatever chose a configuration must not have seen the seeds that judge it. So each purpose has a
stream of seeds of its own, also where a study gives two purposes the same number.
"""

from __future__ import annotations

import numpy as np

#: The numbers are part of the seeds: never change one, only add more.
PURPOSES = {'campaign': 0, 'tuning': 1, 'evaluation': 2, 'adaptation': 3}


def run_seed(base: int, purpose: str, index: int) -> int:
    """
    Return the seed of run `index` of a purpose: 1 to 2**30, the same on every machine.

    Two seeds are equal only if all three arguments are, or by a chance of 1 in 2**30. What adds
    a small number to one, as repeats do, stays within 31 bits.

    Raises ValueError for an unknown purpose or a negative index.
    """
    if purpose not in PURPOSES:
        raise ValueError(f'purpose must be one of {", ".join(PURPOSES)}, got {purpose!r}')
    if index < 0:
        raise ValueError(f'index must be >= 0, got {index}')
    sequence = np.random.SeedSequence([abs(base), PURPOSES[purpose], index])
    return int(sequence.generate_state(1)[0] >> 2) + 1
