# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for `python -m tl_adapt.ros.interface_build`: install the interface packages we use."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path

from tl_adapt.cli import INTERRUPTED
from tl_adapt.errors import TlAdaptError
from tl_adapt.ros.interface_build.build import install_missing
from tl_adapt.ros.interface_build.package import load_packages

_FOLDER = Path(__file__).resolve().parents[3] / 'interfaces'


def main(arguments: Sequence[str] | None = None) -> int:
    """Install what is missing and return the exit code."""
    parser = argparse.ArgumentParser(
        prog='python -m tl_adapt.ros.interface_build', description=__doc__,
    )
    parser.add_argument(
        'folder', nargs='?', type=Path, default=_FOLDER,
        help="holds the interface packages (the checkout's interfaces/)",
    )
    parser.add_argument(
        '--optional', action='store_true', help='only warn where they can not be built'
    )
    options = parser.parse_args(arguments)
    say = functools.partial(print, file=sys.stderr, flush=True)
    try:
        packages = load_packages(options.folder.resolve())
        made = install_missing(packages, say)
    except TlAdaptError as error:
        if not options.optional:
            say(f'tl_adapt: error: {error}')
            return error.exit_code
        say(f'tl_adapt: warning: {error}')
        say('  Simulators with these interfaces can not be used until `make interfaces` succeeds.')
        return 0
    except KeyboardInterrupt:
        say('tl_adapt: interrupted')
        return INTERRUPTED
    if made:
        say(f'Installed: {", ".join(made)}')
    elif not options.optional:
        say(f'Already there: {", ".join(package.name for package in packages)}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
