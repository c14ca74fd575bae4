# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the namespace of a robot, as far as the study of it tells."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from tl_adapt.errors import TlAdaptError
from tl_adapt.study import Study, load_study

_RULE = '__ns:='


def namespace_in(study: Study, environment: str = '') -> str:
    """
    Return the namespace of an environment (the one that is adapted), empty for the root.

    Raises InputError if the study has no such environment.
    """
    name = environment or str(study.adaptation.get('environment') or '')
    return str(study.environment(name).options.get('namespace', '')) if name else ''


def with_namespace(words: Sequence[str]) -> list[str]:
    """
    Return a node's command line with the namespace of the environment that it names.

    One that the command line has already stays; where study or environment are wrong, that is
    for the node to say.
    """
    words = list(words)
    if any(word.startswith(_RULE) or f':{_RULE}' in word for word in words):
        return words
    given = {'study': '', 'environment': ''}
    for option, word in zip(words, words[1:]):
        name, _, text = word.partition(':=')
        name = name.rpartition(':')[2]  # a rule may be for one node: `adapter:study:=demo`
        if option in ('-p', '--param') and name in given:
            try:
                given[name] = str(yaml.safe_load(text) or '')
            except yaml.YAMLError:
                return words
    if not given['study']:
        return words
    try:
        namespace = namespace_in(load_study(given['study']), given['environment'])
    except TlAdaptError:
        return words
    return [*words, '--ros-args', '-r', f'{_RULE}{namespace}'] if namespace else words
