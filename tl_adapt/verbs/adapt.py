# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the verb `adapt`: keep a running robot's parameters adapted."""

from __future__ import annotations

import argparse
import json
import math
import os
from pathlib import Path
from typing import Any

from tl_adapt.adaptation.model_planner import load_choice
from tl_adapt.database import file_size, is_sqlite, parse
from tl_adapt.errors import InputError, StoreError, import_ros
from tl_adapt.journal_place import NO_STORE
from tl_adapt.models.model_set import ModelSet
from tl_adapt.own_namespace import namespace_in
from tl_adapt.study import load_study
from tl_adapt.study_file import bounds
from tl_adapt.verbs.namespaces import namespace_of

TAKES_ROS_ARGUMENTS = True  # the node gets them, after those that the options make

#: Options that are parameters of the node, too, and that the study has unless they are given.
_RULES = ('explore', 'minimum_gain', 'dwell', 'false_alarms')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument('study', help='study file, or the name of a shipped one')
    parser.add_argument(
        '--model', type=Path, default=Path('output/model'),
        help='folder with the model and choice.json, as `transfer` writes it (output/model)',
    )
    parser.add_argument(
        '--store', default='',
        help="the journal's SQLite file or URL (<study>.sqlite beside the model's folder), "
        'or none',
    )
    parser.add_argument(
        '--environment', default='', help="environment that is adapted (the study's choice)"
    )
    parser.add_argument(
        '--namespace', default='',
        help="namespace of the adapter and the robot (the environment's own); /: the root",
    )
    parser.add_argument(
        '--dry-run', action='store_true', help='only advise: nothing is sent'
    )
    parser.add_argument(
        '--explore', type=int, metavar='N',
        help="configurations that may be tried out after a change; 0: none (the study's)",
    )
    parser.add_argument(
        '--minimum-gain', type=float, metavar='SHARE',
        help="predicted relative gain below which nothing is changed (the study's)",
    )
    parser.add_argument(
        '--dwell', type=int, metavar='N',
        help="windows to wait after a change before the next one may count (the study's)",
    )
    parser.add_argument(
        '--false-alarms', type=float, metavar='RATE',
        help="how often, per window, a change may be seen where there is none (the study's)",
    )
    parser.add_argument(
        '--no-diagnostics', action='store_true',
        help='do not publish the status on /diagnostics, too',
    )
    parser.add_argument(
        '--deadline', type=float, default=30.0,
        help='s for which the robot may be missing (30); then the status becomes an error, and '
        'the adapter waits on',
    )


def run(args: argparse.Namespace) -> int:
    """Check the input, then run the node until ctrl-C; return its exit code."""
    study = load_study(args.study)
    environment = args.environment or study.adaptation.get('environment')
    if not environment:
        raise InputError('must be given, as the study names none', key='--environment')
    study.environment(environment)
    if not 0 < args.deadline < math.inf:
        raise InputError('must be positive and finite', key='--deadline', value=args.deadline)
    namespace_of(args.namespace)
    for name, value in _rules(args).items():
        low, high = bounds('adaptation', name)
        if not low <= value <= high:  # also NaN
            key = f'--{name.replace("_", "-")}'
            raise InputError(f'must lie in [{low:g}, {high:g}]', key=key, value=value)
    _check_store(args.store)
    load_choice(args.model, study)
    ModelSet.load(args.model, study)
    module = import_ros('tl_adapt.ros.nodes.adapter', 'the adapter')
    return int(module.main(node_arguments(args, namespace_in(study, environment))))


def _check_store(store: str) -> None:
    """Raise InputError for what is no store at all; one that is out of reach now may come back."""
    if store in ('', NO_STORE):
        return
    try:
        path, name, _ = parse(store)
        readable = path is not None and file_size(path) and os.access(path, os.R_OK)
        if path is not None and readable and not is_sqlite(path):
            raise StoreError(f'{name}: file is not a database')
    except StoreError as error:
        raise InputError(str(error), key='--store') from None


def node_arguments(args: argparse.Namespace, namespace: str = '') -> list[str]:
    """Return the node's command line; `namespace` is for where none is given."""
    values = {
        'study': str(args.study), 'model': str(args.model), 'environment': args.environment,
        'store': args.store, 'dry_run': args.dry_run, 'deadline': args.deadline,
        'diagnostics': not args.no_diagnostics, **_rules(args),
    }
    words = ['--ros-args']
    for name, value in values.items():
        if value != '':
            words += ['-p', f'{name}:={_yaml(name, value)}']
    # Of rules for names the first counts, of parameters the last.
    if args.namespace:
        words += ['-r', f'__ns:={namespace_of(args.namespace) or "/"}']
    words += getattr(args, 'ros_arguments', [])
    return words if args.namespace else [*words, '-r', f'__ns:={namespace or "/"}']


def _yaml(name: str, value: Any) -> str:
    """Return a value as YAML on one line of ASCII, as JSON has no such text for all characters."""
    if not isinstance(value, str):
        return json.dumps(value)
    if any('\ud800' <= char <= '\udfff' for char in value):
        raise InputError('must be UTF-8', key=f'--{name}', value=value)
    plain = (char.isascii() and char.isprintable() and char not in '"\\' for char in value)
    text = (char if kept else f'\\U{ord(char):08x}' for char, kept in zip(value, plain))
    return f'"{"".join(text)}"'


def _rules(args: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(args, name) for name in _RULES if getattr(args, name) is not None}
