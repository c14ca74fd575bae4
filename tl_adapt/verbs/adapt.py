# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the verb `adapt`: keep a running robot's parameters adapted."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tl_adapt.adaptation.model_planner import load_choice
from tl_adapt.errors import InputError, import_ros
from tl_adapt.models.model_set import ModelSet
from tl_adapt.study import load_study


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
        '--dry-run', action='store_true', help='only advise: nothing is ever sent'
    )
    parser.add_argument(
        '--deadline', type=float, default=30.0,
        help='time after which a missing node is an error, in s (30)',
    )


def run(args: argparse.Namespace) -> int:
    """Check the input, then run the node until ctrl-C; return its exit code."""
    study = load_study(args.study)
    if args.environment:
        study.environment(args.environment)
    if not args.deadline > 0:
        raise InputError('must be positive', key='--deadline', value=args.deadline)
    load_choice(args.model, study)
    ModelSet.load(args.model, study)
    module = import_ros('tl_adapt.ros.nodes.adapter', 'the adapter')
    return int(module.main(node_arguments(args)))


def node_arguments(args: argparse.Namespace) -> list[str]:
    """Return the node's command line."""
    values = {
        'study': str(args.study), 'model': str(args.model), 'environment': args.environment,
        'store': args.store,
        'dry_run': args.dry_run, 'deadline': args.deadline,
    }
    words = ['--ros-args']
    for name, value in values.items():
        if value != '':
            words += ['-p', f'{name}:={json.dumps(value)}']
    return words
