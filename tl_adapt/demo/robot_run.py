# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for a robot to see the adapter at work with: the demo's, driving mission after mission.

Unlike a measurement it is in the graph of the shell that starts it, where its adapter is, too.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import signal
import sys
import threading
from collections.abc import Sequence

from tl_adapt.demo.adaptation_run import AdapterWatch, changed_environment, injected, watching
from tl_adapt.environments.stack import StackEnvironment
from tl_adapt.errors import InputError, TlAdaptError
from tl_adapt.seeds import run_seed
from tl_adapt.study import Study, load_study

_MEET = 60.0  # s that the adapter may take to be there and ready
_JUDGE = 30.0  # s that it may take to judge a mission


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    found = argparse.ArgumentParser(prog='demo_robot', description=(
        'Bring a robot up in this graph and let it drive missions, for an adapter to watch.'
    ))
    found.add_argument('study', nargs='?', default='demo',
                       help='study file, or the name of a shipped one (demo)')
    found.add_argument('--environment', default='',
                       help="environment with a bringup (the study's target)")
    found.add_argument('--missions', type=int, default=0, help='how many (0: until ctrl-C)')
    found.add_argument(
        '--change-after', type=int, default=0, metavar='N',
        help="after N missions the robot gets what the study's environment with the role test "
        'has (0: never)',
    )
    return found


def in_this_graph(study: Study, name: str) -> Study:
    """Return the study with an environment that is brought up in the graph of this shell."""
    spec = study.environment(name)
    if spec.kind != 'stack' or not spec.options.get('bringup'):
        raise InputError('must be a stack with a bringup', file=study.path,
                         key=f'environments.{name}', value=spec.kind)
    domain = os.environ.get('ROS_DOMAIN_ID') or '0'
    if not domain.isdigit():
        raise InputError('must be a number', key='ROS_DOMAIN_ID', value=domain)
    options = {**spec.options, 'domain_id': int(domain)}
    environments = {**study.environments, name: dataclasses.replace(spec, options=options)}
    return dataclasses.replace(study, environments=environments)


def run(args: argparse.Namespace, ended: threading.Event) -> None:
    """Drive until all missions are driven or it is `ended`; raises TlAdaptError."""
    for name in ('missions', 'change_after'):
        if getattr(args, name) < 0:
            key = f'--{name.replace("_", "-")}'
            raise InputError('must be at least 0', key=key, value=getattr(args, name))
    study = load_study(args.study)
    name = args.environment or study.target.name
    change = injected(study) if args.change_after else {}
    environment = StackEnvironment(in_this_graph(study, name), name)
    threading.Thread(target=_close_when, args=(ended, environment), daemon=True).start()
    with contextlib.closing(environment):
        _say(f'bringing up {study.name}/{name}')
        with watching(environment.environment()) as watch:
            _wait(watch, 0, _MEET)
            number = 0
            while not ended.is_set() and number != (args.missions or -1):
                if number == args.change_after and change:
                    watch.parameters.set_many(change)
                    name = changed_environment(study).name
                    _say(f'-- the robot changes: it is now {name}')
                seed = run_seed(study.seeds.evaluation, 'adaptation', number)
                driven = environment.measure(None, seed)
                number += 1
                if ended.is_set():
                    break
                _wait(watch, number, _JUDGE)
                got = 'success' if driven.valid else f'failed: {driven.reason}'
                _say(f'mission {number} ({name}): {got}; adapter: {watch.message or "not there"}')


def main(args: Sequence[str] | None = None) -> int:
    """Run until ctrl-C; return 0, or 2 for what is wrong."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        run(parser().parse_args(args), ended)
    except TlAdaptError as error:
        if not ended.is_set():
            print(f'tl_adapt: error: {error}', file=sys.stderr)
            return error.exit_code
    return 0


def _close_when(ended: threading.Event, environment: StackEnvironment) -> None:
    ended.wait()
    environment.close()


def _wait(watch: AdapterWatch, missions: int, seconds: float) -> None:
    """Wait for the adapter; a robot without one drives on."""
    if missions and not watch.message:
        return
    with contextlib.suppress(TlAdaptError):
        watch.wait('ready', lambda: watch.ready_for(missions), seconds)


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == '__main__':
    sys.exit(main())
