# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for `--ros-args` of verbs: a node gets them, and nobody drops them silently."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

_RULES = ('-r', '--remap', '-p', '--param', '--params-file')
_NAME = '__node:='


def split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the arguments without `--ros-args ... [--]`, and what is between these."""
    kept: list[str] = []
    ros: list[str] = []
    inside = False
    for argument in argv:
        if argument == '--ros-args':
            inside = True
        elif inside and argument == '--':
            inside = False
        else:
            (ros if inside else kept).append(argument)
    return kept, ros


def ignore(args: argparse.Namespace, why: str, *, rules_only: bool = False) -> None:
    """
    Warn, with `why`, of ROS arguments that nothing comes of; `rules_only`: names and parameters.

    ROS's launch gives some to each program that it runs as a node (a name, and what is set for
    all nodes of a launch file), so they are no error. Of a name for the node nothing is said.
    """
    words = list(getattr(args, 'ros_arguments', ()))
    ignored = []
    while words:
        option = words.pop(0)
        value = words.pop(0) if words and not words[0].startswith('-') else ''
        named = option in ('-r', '--remap') and value.startswith(_NAME)
        if not named and (option in _RULES or not rules_only):
            ignored.append(f'{option} {value}'.strip())
    if ignored:
        print(f'tl_adapt: warning: --ros-args {" ".join(ignored)} is ignored: {why}',
              file=sys.stderr)
