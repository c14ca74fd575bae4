# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Package for recorded bags, read and written without ROS."""
