# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the verb `doctor`: say what is there, what is missing, and what brings it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict

from tl_adapt.diagnosis import Finding, diagnose
from tl_adapt.errors import TlAdaptError
from tl_adapt.report.tables import format_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument('--json', action='store_true', help='print it for programs to read')


def run(args: argparse.Namespace) -> int:
    """Print what is found and return 0; raise TlAdaptError if the demo can't run."""
    findings = diagnose()
    stopping = [finding for finding in findings if finding.stops]
    if args.json:
        ready = not stopping
        print(json.dumps({'ready': ready, 'findings': [asdict(f) for f in findings]}, indent=1))
    else:
        print(table(findings))
    if stopping:
        raise TlAdaptError(
            'the demo can not run here: '
            + '; '.join(f'{f.name}: {f.detail or f.state}' for f in stopping)
        )
    return 0


def table(findings: Sequence[Finding]) -> str:
    """Return the findings as text; what is missing comes with the command that brings it."""
    rows = [['', 'state', 'what is found, or what brings it']]
    for finding in findings:
        detail = finding.detail
        if finding.state != 'found' or not detail:
            detail = ' -> '.join(filter(None, [detail, finding.command]))
        rows.append([finding.name, finding.state, detail])
    return format_table(rows, text=(0, 1, 2))
