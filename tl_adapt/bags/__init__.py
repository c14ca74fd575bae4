# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
