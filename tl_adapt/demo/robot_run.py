# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for a robot to see the adapter at work with: the demo's, driving mission after mission.

Unlike a measurement it is in the graph of the shell that starts it, where its adapter is, too.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tl_adapt.demo.adaptation_run import AdapterWatch, changed_environment, injected, watching
from tl_adapt.environments.stack import StackEnvironment
from tl_adapt.errors import InputError, MeasurementError, TlAdaptError
from tl_adapt.ros.processes import Bringup
from tl_adapt.seeds import run_seed
from tl_adapt.study import Study, load_study

_MEET = 60.0  # s that the adapter may take to be there and ready
_JUDGE = 30.0  # s that it may take to judge a mission
_LOOK = 0.2  # s between looks at what no message tells
_LAST_DOMAIN = 232


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
        help='after N missions the robot gets the node_parameters of the first environment of the '
        'study with the role test that has other ones than it (0: never)',
    )
    return found


def found_running(study: Study, name: str, folder: Path) -> Study:
    """
    Write a study into the folder that has this environment without a bringup, and return it.

    That is a robot which somebody else has brought up, in the graph of this shell: only there may
    nodes be that the stack does not have, such as an adapter.
    """
    path = folder / f'{study.name}.yaml'
    path.write_text(json.dumps({
        'extends': [str(Path(study.path).absolute())], 'name': study.name,
        'environments': {name: {'bringup': []}},
    }), encoding='utf-8')
    return load_study(path)


def named(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a bringup's entry whose command names its node, by which its process is found."""
    words, nodes = entry['command'], entry['nodes']
    if len(nodes) != 1 or not any(word.startswith('tl_adapt.') for word in words):
        return entry
    name = nodes[0].rpartition('/')[2]
    return {**entry, 'command': [*words, '--ros-args', '-r', f'__node:={name}']}


def run(args: argparse.Namespace, ended: threading.Event) -> None:
    """Drive until all missions are driven or it is `ended`; raises TlAdaptError."""
    for option in ('missions', 'change_after'):
        if getattr(args, option) < 0:
            key = f'--{option.replace("_", "-")}'
            raise InputError('must be at least 0', key=key, value=getattr(args, option))
    domain = os.environ.get('ROS_DOMAIN_ID') or '0'
    if not (domain.isascii() and domain.isdigit() and int(domain) <= _LAST_DOMAIN):
        raise InputError(f'must be a number up to {_LAST_DOMAIN}', key='ROS_DOMAIN_ID',
                         value=domain)
    study = load_study(args.study)
    spec = study.environment(args.environment or study.target.name)
    if spec.kind != 'stack' or not spec.options.get('bringup'):
        raise InputError('must be a stack with a bringup', file=study.path,
                         key=f'environments.{spec.name}')
    change = injected(study, spec.name) if args.change_after else {}
    with tempfile.TemporaryDirectory(prefix='tl_adapt-robot-') as name:
        folder = Path(name)
        entries = [named(entry) for entry in spec.options['bringup']]
        bringup = Bringup(entries, folder, spec.options.get('namespace', ''))
        environment = StackEnvironment(found_running(study, spec.name, folder), spec.name)
        threading.Thread(target=_close_when, args=(ended, environment), daemon=True).start()
        try:
            _say(f'brings up {study.name}/{spec.name} in ROS domain {domain}')
            bringup.start(spec.options.get('node_parameters', {}))
            environment.start()
            with watching({'ROS_DOMAIN_ID': domain}) as watch:
                drive(args, study, spec.name, change, environment, watch, ended)
        except MeasurementError:
            bringup.check()  # a process that has ended tells more
            raise
        finally:
            environment.close()
            bringup.stop()


def drive(
    args: argparse.Namespace, study: Study, name: str, change: Mapping[str, Mapping[str, Any]],
    environment: StackEnvironment, watch: AdapterWatch, ended: threading.Event,
) -> None:
    """Drive mission after mission, and tell what the adapter says to each."""
    _say('waits for an adapter' if not watch.message else 'an adapter is there')
    _wait(watch, lambda: watch.ready_for(0), _MEET, ended)
    number = 0
    while not ended.is_set() and number != (args.missions or -1):
        if change and number == args.change_after:
            watch.parameters.set_many(change)
            name = changed_environment(study, name).name
            _say(f'-- the robot changes: it is now {name}')
        adapter, windows = watch.present(), watch.windows
        driven = environment.measure(
            None, run_seed(study.seeds.evaluation, 'adaptation', number)
        )
        number += 1
        if ended.is_set():
            break
        # One that came in the meantime counts anew, and judges what it saw begin.
        _wait(watch, functools.partial(judged, watch, adapter, windows), _JUDGE, ended)
        got = 'success' if driven.valid else f'failed: {driven.reason}'
        _say(f'mission {number} ({name}): {got}; adapter: {_said(watch)}')


def judged(watch: AdapterWatch, adapter: tuple[bytes, ...], windows: int) -> bool:
    """Tell whether nothing is to be waited for, given who was there and had met how many."""
    return not adapter or watch.present() != adapter or watch.ready_for(windows + 1)


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


def _wait(
    watch: AdapterWatch, condition: Callable[[], bool], seconds: float, ended: threading.Event
) -> None:
    """Wait for the adapter; a robot without one drives on."""
    deadline = time.monotonic() + seconds
    while not ended.is_set() and time.monotonic() < deadline:
        # One that dies, and ctrl-C, come without a message.
        with contextlib.suppress(TlAdaptError):
            watch.wait('ready', condition, _LOOK)
            return


def _said(watch: AdapterWatch) -> str:
    return watch.message if watch.message and watch.present() else 'not there'


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == '__main__':
    sys.exit(main())
