# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for running the command line as `python -m tl_adapt`."""

import sys

from tl_adapt.cli import main

sys.exit(main())
