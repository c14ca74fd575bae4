# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the command line: it finds the verb and turns errors into exit codes."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from tl_adapt import __version__
from tl_adapt.errors import TlAdaptError
from tl_adapt.verbs import ros_arguments

#: Verb: (module with `add_arguments` and `run`, help). A module is imported only when needed.
VERBS = {
    'check': ('tl_adapt.verbs.check', 'check a study file'),
    'campaign': ('tl_adapt.verbs.campaign', 'measure configurations in one environment'),
    'replay': (
        'tl_adapt.verbs.replay', 'measure configurations of software on a recorded drive'
    ),
    'transfer': (
        'tl_adapt.verbs.transfer', 'spend target measurements and choose a configuration'
    ),
    'choose': ('tl_adapt.verbs.choose', 'pick a configuration from the measured Pareto front'),
    'similarity': (
        'tl_adapt.verbs.similarity', 'say how alike two environments are, and how to transfer'
    ),
    'explain': (
        'tl_adapt.verbs.explain', 'say which parameters matter, what changed, and why a run is bad'
    ),
    'adapt': ('tl_adapt.verbs.adapt', "keep a running robot's parameters adapted"),
    'journal': ('tl_adapt.verbs.journal', 'show what an adapter did, why, and what came of it'),
    'record': (
        'tl_adapt.verbs.record', 'record what metrics and replays need, as a standard bag'
    ),
    'evaluate': (
        'tl_adapt.verbs.evaluate', "compute a study's metrics from recorded bags"
    ),
    'estimate': (
        'tl_adapt.verbs.estimate', 'say what a configuration would give that was not driven'
    ),
    'security': ('tl_adapt.verbs.security', 'write the SROS 2 policy that a study needs'),
    'report': ('tl_adapt.verbs.report', 'write the page of a result'),
    'doctor': ('tl_adapt.verbs.doctor', 'say what is found here, and what brings what is not'),
    'demo': ('tl_adapt.verbs.demo', 'run the whole job on the embedded simulator'),
}
INTERRUPTED = 130  # 128 + SIGINT, as shells have it
_CLOSED_PIPE = 141  # 128 + SIGPIPE


def make_parser(verb: str | None = None) -> argparse.ArgumentParser:
    """Make the parser; only the arguments of `verb` are filled in, as that imports its module."""
    parser = argparse.ArgumentParser(
        prog='tl_adapt',
        description="Measure, transfer and adapt the parameters of a robot's software.",
        allow_abbrev=False,
    )
    parser.add_argument('--version', action='version', version=f'tl_adapt {__version__}')
    verbs = parser.add_subparsers(dest='verb', metavar='VERB', required=True)
    for name, (module, text) in VERBS.items():
        sub = verbs.add_parser(name, help=text, description=f'{text[0].upper()}{text[1:]}.')
        if name == verb:
            importlib.import_module(module).add_arguments(sub)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run one verb and return the exit code.

    0: done; 2: the input is wrong, or something could not be measured, said in one line; 130:
    ended by ctrl-C, what was measured is kept. Any other exception is a defect of ours and keeps
    its traceback.
    """
    arguments, ros = ros_arguments.split(sys.argv[1:] if argv is None else argv)
    verb = next((argument for argument in arguments if not argument.startswith('-')), None)
    try:
        args = make_parser(verb).parse_args(arguments)
        args.ros_arguments = ros
        module = importlib.import_module(VERBS[args.verb][0])
        if not getattr(module, 'TAKES_ROS_ARGUMENTS', False):
            ros_arguments.ignore(args, f'{args.verb} runs no node that they could be for')
        code = int(module.run(args))
        sys.stdout.flush()
        return code
    except TlAdaptError as error:
        print(f'tl_adapt: error: {error}', file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print('tl_adapt: interrupted', file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Nobody reads on; the interpreter's own flush at exit must not complain about it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _CLOSED_PIPE
