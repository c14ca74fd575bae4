# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Parts of the tuner: where to look, what a measurement is worth, when to stop."""
