# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the verb `record`: a bag with all that a study's metrics and replays need."""

from __future__ import annotations

import argparse
import datetime
import math
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tl_adapt.bags.recorded import TYPES
from tl_adapt.cli import INTERRUPTED
from tl_adapt.errors import InputError, TlAdaptError, import_ros, try_import
from tl_adapt.progress import duration
from tl_adapt.study import EnvironmentSpec, Study, load_study
from tl_adapt.verbs import ros_arguments

if TYPE_CHECKING:
    from tl_adapt.ros.recording import Result

TAKES_ROS_ARGUMENTS = True  # rclpy takes them from the process' own command line

_MISSIONS = 1_000_000
_SHOWN = 8
_NAMESPACE = re.compile(r'/?([A-Za-z_]\w*(/[A-Za-z_]\w*)*)?', re.ASCII)
_TOPIC = re.compile(r'/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*', re.ASCII)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument('study', help='study file, or the name of a shipped one')
    parser.add_argument(
        '--environment', default='', metavar='NAME',
        help="environment whose running graph is recorded (the study's target)",
    )
    parser.add_argument(
        '--output', type=Path, metavar='DIR',
        help='the bag, a new folder (output/bags/STUDY-ENVIRONMENT-TIME)',
    )
    parser.add_argument(
        '--topics', nargs='+', default=[], metavar='TOPIC', help='topics to record, too'
    )
    parser.add_argument('--all', action='store_true', help='record all topics of the graph')
    parser.add_argument(
        '--no-inputs', action='store_true',
        help='leave out what the tuned nodes subscribe to; the bag can not be replayed then',
    )
    parser.add_argument(
        '--use-sim-time', action='store_true',
        help="time of the bag is that of /clock, not the system's, as in ros2 bag record",
    )
    parser.add_argument(
        '--duration', type=float, metavar='S', help='end after so many s of wall time'
    )
    parser.add_argument('--missions', type=int, metavar='N', help='end after N missions')
    parser.add_argument(
        '--compression', choices=('none', 'lz4', 'zstd'), default='zstd',
        help="of the file's chunks (zstd)",
    )
    parser.add_argument(
        '--namespace', default='', help="namespace of the robot (the environment's)"
    )


def run(args: argparse.Namespace) -> int:
    """Record until ctrl-C or the planned end; return 0, or 130 if ctrl-C came before that."""
    ros_arguments.ignore(
        args, 'the recorder has no parameters, and its names are those of the robot',
        rules_only=True,
    )
    study = load_study(args.study)
    spec = study.environment(args.environment) if args.environment else study.target
    _check(args, study, spec)
    for name in ('rosbags', 'mcap'):
        try_import(name, 'bags')
    module = import_ros('tl_adapt.ros.recording', 'recording')
    now = datetime.datetime.now()
    default = Path('output/bags') / f'{study.name}-{spec.name}-{now:%Y%m%dT%H%M%S}'
    options = module.Options(
        output=default if args.output is None else args.output,
        topics=tuple(args.topics), everything=args.all, inputs=not args.no_inputs,
        sim_time=args.use_sim_time, duration=args.duration, missions=args.missions,
        compression=args.compression,
        namespace=args.namespace or spec.options.get('namespace', ''),
    )
    print(
        f'recording {study.name}/{spec.name} into {options.output}; ctrl-C ends it',
        file=sys.stderr, flush=True,
    )
    result = module.record(study, spec, options, _say)
    _show(result, module.outcomes_text(result.outcomes))
    if result.error:
        raise TlAdaptError(result.error)
    if not sum(n for topic, n in result.counts.items() if topic not in TYPES):
        domain = spec.options.get('domain_id', os.environ.get('ROS_DOMAIN_ID') or 0)
        raise TlAdaptError(
            f'nothing was recorded: no message came on any of the topics in ROS domain {domain}'
        )
    return INTERRUPTED if result.interrupted else 0


def _check(args: argparse.Namespace, study: Study, spec: EnvironmentSpec) -> None:
    """Raise InputError for what can't be recorded."""
    if spec.kind != 'stack':
        raise InputError(
            'only a stack has topics to record', file=study.path,
            key=f'environments.{spec.name}.kind', value=spec.kind,
        )
    if args.duration is not None and not 0 < args.duration < math.inf:
        raise InputError('must be positive and finite', key='--duration', value=args.duration)
    if args.missions is not None:
        if not 1 <= args.missions <= _MISSIONS:
            raise InputError(
                f'must be between 1 and {_MISSIONS}', key='--missions', value=args.missions
            )
        if study.mission is None:
            raise InputError('the study has none', file=study.path, key='mission')
    if not _NAMESPACE.fullmatch(args.namespace):
        rule = 'must be names of letters, digits and _ with / between'
        raise InputError(rule, key='--namespace', value=args.namespace)
    for topic in args.topics:
        if not _TOPIC.fullmatch(topic):
            rule = 'must be names of letters, digits and _ with / between'
            raise InputError(rule, key='--topics', value=topic)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _show(result: Result, outcomes: str) -> None:
    """Print what the bag holds, and what it lacks."""
    topics = sum(1 for count in result.counts.values() if count)
    print(
        f'bag: {result.path} ({result.messages} messages of {topics} topics, '
        f'{result.size / 1e6:.1f} MB, {duration(result.seconds)})'
    )
    print(f'missions: {outcomes}')
    if result.lost is None:
        print('lost: not known, as this ROS does not number messages')
    elif result.lost:
        lost = ', '.join(f'{count} of {topic}' for topic, count in result.lost.items())
        print(f'lost: {lost}')
    else:
        print('lost: no message')
    for what, names in (
        ('no publisher of', result.missing), ('no parameters of', result.missing_nodes),
        ('no process found here of', result.missing_processes),
    ):
        if names:
            more = f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''
            print(f'{what}: {", ".join(names[:_SHOWN])}{more}')
