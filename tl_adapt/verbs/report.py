# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the verb `report`: write the page for a result file."""

from __future__ import annotations

import argparse
from pathlib import Path

from tl_adapt.report.page import write_report
from tl_adapt.report.result_file import load_result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument('result', type=Path, help="a job's result.json")
    parser.add_argument(
        '--page', type=Path, default=None, help='the page to write (report.html beside the result)'
    )


def run(args: argparse.Namespace) -> int:
    """Write the page and return the exit code."""
    result = load_result(args.result)
    print(write_report(result, args.page or args.result.with_name('report.html')))
    return 0
