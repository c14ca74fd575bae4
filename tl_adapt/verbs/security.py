# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the verb `security`: write the access control policy that a study needs."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from tl_adapt.errors import InputError
from tl_adapt.security import policy, profiles
from tl_adapt.study import load_study
from tl_adapt.verbs.namespaces import namespace_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument('study', help='study file, or the name of a shipped one')
    parser.add_argument(
        '--environment', default='', help='whose graph it is (the one that is adapted)'
    )
    parser.add_argument(
        '--namespace', help="namespace of the robot (the environment's own)"
    )
    parser.add_argument(
        '--enclaves', default='/tl_adapt', help='path below which each process has its enclave'
    )
    parser.add_argument('--output', type=Path, help='file to write (standard output)')


def run(args: argparse.Namespace) -> int:
    """Write the policy and return 0; raises InputError for what is wrong."""
    study = load_study(args.study)
    name = args.environment or study.adaptation.get('environment')
    if not name:
        raise InputError('must be given, as the study names none', key='--environment')
    if not re.fullmatch(r'/|(/[A-Za-z_]\w*)+/?', args.enclaves, re.ASCII):
        rule = 'must be names of letters, digits and _, each after a /'
        raise InputError(rule, key='--enclaves', value=args.enclaves)
    namespace = None if args.namespace is None else namespace_of(args.namespace)
    text = policy(profiles(
        study, study.environment(name), namespace=namespace, enclaves=args.enclaves
    ))
    if args.output is None:
        sys.stdout.write(text)
        return 0
    try:
        args.output.write_text(text, encoding='utf-8')
    except OSError as error:
        raise InputError(f'can not be written: {error.strerror}', file=args.output) from error
    print(f'{args.output}: policy of study {study.name} for {name}')
    return 0
