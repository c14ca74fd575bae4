# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the text that defines a message type, which a bag has to bring along."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tl_adapt.ros.recorder import message_type

_SEPARATOR = '=' * 80 + '\nMSG: '
_PLAIN = {
    'bool', 'byte', 'char', 'int8', 'uint8', 'int16', 'uint16', 'int32', 'uint32', 'int64',
    'uint64', 'float32', 'float64', 'string', 'wstring',
}
_NAMES = {'boolean': 'bool', 'octet': 'byte', 'float': 'float32', 'double': 'float64'}
_TYPE_OF_LINE = re.compile(r'\s*([A-Za-z]\w*(?:/[A-Za-z]\w*)*)')


def definition(name: str) -> str:
    """
    Return the definition of a type such as `nav_msgs/msg/Odometry` and of those in it.

    It is the .msg file where that is installed, else made of the class. Raises MeasurementError
    if the type is not installed.
    """
    texts: dict[str, str] = {}
    wanted = [name]
    while wanted:
        found = wanted.pop(0)
        if found not in texts:
            texts[found] = _installed(found) or _made(message_type(found))
            wanted += _parts(found, texts[found])
    first, *others = texts.items()
    short = [(kind.replace('/msg/', '/'), text) for kind, text in others]
    return '\n'.join([first[1].rstrip(), *(f'{_SEPARATOR}{n}\n{t.rstrip()}' for n, t in short)])


def _installed(name: str) -> str | None:
    """Return the content of the type's .msg file, None if there is none."""
    package, _, kind = name.split('/')
    prefixes = [*os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep), sys.prefix]
    for prefix in filter(None, prefixes):
        path = Path(prefix) / 'share' / package / 'msg' / f'{kind}.msg'
        try:
            return path.read_text(encoding='utf-8')
        except (OSError, UnicodeDecodeError):
            continue
    return None


def _made(kind: Any) -> str:
    """Return a definition with the fields of a message class."""
    fields = kind.get_fields_and_field_types()
    return ''.join(f'{_name(field)} {name}\n' for name, field in fields.items())


def _name(field: str) -> str:
    """Return a field's type as .msg files write it; classes write `sequence<double, 3>`."""
    match = re.fullmatch(r'sequence<(.*?)(?:, *(\d+))?>', field)
    if match:
        return f'{_name(match[1])}[{"<=" + match[2] if match[2] else ""}]'
    match = re.fullmatch(r'(.*)\[(\d+)\]', field)
    if match:
        return f'{_name(match[1])}[{match[2]}]'
    match = re.fullmatch(r'(w?string)<(\d+)>', field)
    if match:
        return f'{match[1]}<={match[2]}'
    return _NAMES.get(field, field)


def _parts(name: str, text: str) -> Iterator[str]:
    """Return the message types that a definition mentions."""
    package = name.split('/')[0]
    for line in text.splitlines():
        match = _TYPE_OF_LINE.match(line.split('#')[0])
        if match is None or match[1] in _PLAIN:
            continue
        parts = match[1].split('/')
        if len(parts) == 1:
            parts = ['std_msgs' if parts[0] == 'Header' else package, *parts]
        yield f'{parts[0]}/msg/{parts[-1]}'
