# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for telling a bag from the name of a study among a verb's words."""

from __future__ import annotations

from pathlib import Path

_SUFFIXES = ('.mcap', '.db3', '.zstd', '.zst')


def is_bag(path: Path) -> bool:
    """Tell whether a word looks like a bag: a folder, or a file with such a suffix."""
    return path.is_dir() or path.suffix in _SUFFIXES
