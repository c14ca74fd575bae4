# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what is noted beside a measurement: versions, revision, host."""

from __future__ import annotations

import math
import os
import pathlib
import platform
import socket
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np

from tl_adapt import __version__

if TYPE_CHECKING:
    from tl_adapt.study import Study

_GIT = 5.0  # s that git gets to name the revision


def host_provenance(study: Study) -> dict[str, Any]:
    """Return what holds for all runs from here: versions, digests, revision, host."""
    return {
        'study': study.name,
        'study_digest': study.digest,
        'metric_digest': study.metric_digest,
        'versions': {
            'tl_adapt': __version__,
            'python': platform.python_version(),
            'numpy': np.__version__,
        },
        'revision': _revision(pathlib.Path(study.path).parent),
        'host': socket.gethostname(),
        'machine': f'{platform.machine()}, {os.cpu_count()} cores',
    }


def _revision(folder: pathlib.Path) -> str:
    """Return the git revision of a folder, with '+' if files changed; '' outside of git."""
    try:
        answer = subprocess.run(
            ['git', 'describe', '--always', '--abbrev=40', '--exclude=*', '--dirty=+'],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_GIT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ''
    return answer.stdout.strip() if answer.returncode == 0 else ''


def json_safe(value: Any) -> Any:
    """Return a copy that JSON can hold: a note in the provenance must not cost a measurement."""
    if isinstance(value, dict):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_safe(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)
