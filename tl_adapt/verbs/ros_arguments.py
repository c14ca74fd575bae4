# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for `--ros-args` of verbs: who can pass them on to a node does, and nobody drops them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from tl_adapt.errors import InputError

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


def refuse(args: argparse.Namespace, why: str, *, rules_only: bool = False) -> None:
    """
    Raise InputError, with `why`, if there are ROS arguments; `rules_only`: names and parameters.

    A name for the node alone is let through: ROS's launch gives one to each program that it runs
    as a node.
    """
    words = list(getattr(args, 'ros_arguments', ()))
    while words:
        option = words.pop(0)
        value = words.pop(0) if words and not words[0].startswith('-') else ''
        if option in ('-r', '--remap') and value.startswith(_NAME):
            continue
        if not rules_only or option in _RULES:
            raise InputError(why, key='--ros-args', value=f'{option} {value}'.strip())
