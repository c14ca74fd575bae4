# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for reading a study file: finding it, its YAML, its schema."""

from __future__ import annotations

import difflib
import functools
import json
import math
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import yaml

import tl_adapt
from tl_adapt.errors import InputError
from tl_adapt.parameter import number_in_text

MISSING = 'is required but missing'
_LARGEST = 200_000
_TYPES = {
    'object': 'a mapping',
    'array': 'a list',
    'string': 'text',
    'number': 'a number',
    'integer': 'a whole number',
    'boolean': 'true or false',
}
_BOOLEAN_TRAP = 'YAML reads on, off, yes and no as true or false: put them in quotes'


def shipped_file(relative: str) -> Path | None:
    """
    Return a file of the package's `config` folder, None if there is none.

    Looks beside the package (a checkout), then in `share/tl_adapt` of the ament index, of the
    prefix that holds the package, and of Python's prefix.
    """
    package = Path(tl_adapt.__file__).resolve().parent
    roots = [package.parent]
    try:
        from ament_index_python.packages import get_package_share_directory

        roots.append(Path(get_package_share_directory('tl_adapt')))
    except (ImportError, LookupError, ValueError, OSError):
        pass
    prefixes = [*package.parents, Path(sys.prefix)]
    roots += [prefix / 'share' / 'tl_adapt' for prefix in prefixes]
    for root in roots:
        path = root / 'config' / relative
        if path.is_file():
            return path
    return None


def find_study(path: str | Path, *, folder: Path | None = None) -> Path:
    """
    Return the path of a study file, or of the shipped study of that name.

    A relative path is one in `folder`, if that is given.
    """
    bare = str(path)
    if not bare:
        raise InputError('must name a study file or a shipped study', key='STUDY', value=bare)
    try:
        found = Path(folder or '', Path(path).expanduser())
        is_file, is_folder, exists = found.is_file(), found.is_dir(), found.exists()
    except (OSError, ValueError, RuntimeError) as error:
        # A name that is too long, a null byte in it, `~` of an unknown user.
        reason = getattr(error, 'strerror', None) or error
        raise InputError(f'can not be read ({reason})', file=path) from None
    if is_file:
        return found
    if re.fullmatch(r'[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*(\.yaml)?', bare):
        shipped = shipped_file(bare if bare.endswith('.yaml') else f'{bare}.yaml')
        if shipped is not None:
            return shipped
    if is_folder:
        raise InputError('is a folder, not a study file', file=path)
    if exists:
        raise InputError('is no regular file', file=path)
    raise InputError('no such file, and no study of that name is shipped', file=path)


def read_yaml(path: Path, what: str = 'a study') -> dict[str, Any]:
    """
    Return the content of a study file, or of `what`; whether it fits the schema is not checked.

    Raises InputError naming file, key, rule and value for the first mistake.
    """
    data = load_yaml(path)
    if not isinstance(data, dict):
        raise InputError(f'{what} must be a mapping', file=path, value=data)
    return data


def load_yaml(path: Path) -> Any:
    """Return what a YAML file holds; raises InputError, also for a key that is there twice."""
    try:
        text = path.read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f'can not be read ({error})', file=path) from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is not None:
            _refuse_traps(root, path)
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f' (line {mark.line + 1}, column {mark.column + 1})' if mark else ''
        raise InputError(f'not YAML{where}: {error.problem}', file=path) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = ' '.join(str(error).split())
        raise InputError(f'not YAML: {reason}', file=path) from None


def check(data: dict[str, Any], path: Path) -> None:
    """Raise InputError for the first place where the content does not fit the schema."""
    refuse_strange(data, path)
    error = next(iter(sorted(_validator().iter_errors(data), key=rank)), None)
    if error is not None:
        explain(error, path)


def dotted(parts: Iterable[Any]) -> str:
    """Return `a.b[0].c` for the parts of a key."""
    result = ''
    for part in parts:
        result += f'[{part}]' if isinstance(part, int) else f'.{part}' if result else f'{part}'
    return result


@functools.lru_cache(maxsize=1)
def _validator() -> Any:
    text = Path(__file__).with_name('study_schema.json').read_text(encoding='utf-8')
    schema = json.loads(text)
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


def bounds(section: str, name: str) -> tuple[float, float]:
    """Return the lowest and the highest number that the schema allows for a section's key."""
    rule = _validator().schema['properties'][section]['properties'][name]
    return rule['minimum'], rule['maximum']


def _refuse_traps(root: yaml.Node, path: Path) -> None:
    """Raise InputError for a key given twice, and for numbers that only YAML 1.1 reads so."""
    waiting: list[tuple[yaml.Node, tuple[Any, ...]]] = [(root, ())]
    visited: set[int] = set()
    while waiting:
        node, parts = waiting.pop()
        if id(node) in visited:
            continue
        visited.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            _refuse_odd_number(node, path, parts)
        elif isinstance(node, yaml.SequenceNode):
            waiting += [(child, (*parts, i)) for i, child in enumerate(node.value)]
        elif isinstance(node, yaml.MappingNode):
            lines: dict[Any, int] = {}
            for key, child in node.value:
                name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else id(key)
                line = key.start_mark.line + 1
                if name in lines:
                    raise InputError(
                        f'the key is given twice (lines {lines[name]} and {line})',
                        file=path,
                        key=dotted((*parts, key.value)),
                    )
                lines[name] = line
                waiting.append((child, (*parts, key.value)))


def _refuse_odd_number(node: yaml.ScalarNode, path: Path, parts: tuple[Any, ...]) -> None:
    if not node.tag.endswith((':int', ':float')):
        return
    digits = node.value.lstrip('+-')
    if ':' in digits:
        rule = 'YAML reads this as a number to the base of 60: write a plain number, or quotes'
    elif re.fullmatch(r'0[0-9_]+', digits):
        rule = 'YAML reads this as an octal number: write it without the leading 0, or in quotes'
    else:
        return
    raise InputError(rule, file=path, key=dotted(parts), value=node.value)


def refuse_strange(data: Any, path: Path, *, dropping: bool = False) -> None:
    """
    Raise InputError for what YAML knows and JSON does not, or for endless content.

    With `dropping`, a key may be without a value.
    """
    count = 0
    stack: list[Iterator[tuple[tuple[Any, ...], Any]]] = [iter([((), data)])]
    open_ids: list[int] = [0]
    while stack:
        try:
            parts, value = next(stack[-1])
        except StopIteration:
            stack.pop()
            open_ids.pop()
            continue
        count += 1
        if count > _LARGEST or id(value) in open_ids:
            raise InputError('an alias makes the content endless', file=path, key=dotted(parts))
        if isinstance(value, dict):
            for key in value:
                if not isinstance(key, str):
                    rule = 'a key must be text'
                    if isinstance(key, bool):
                        rule += f' ({_BOOLEAN_TRAP})'
                    raise InputError(rule, file=path, key=dotted(parts), value=key)
            stack.append(iter([((*parts, key), child) for key, child in value.items()]))
            open_ids.append(id(value))
        elif isinstance(value, list):
            stack.append(iter([((*parts, i), child) for i, child in enumerate(value)]))
            open_ids.append(id(value))
        elif isinstance(value, float) and not math.isfinite(value):
            raise InputError('must be finite', file=path, key=dotted(parts), value=value)
        elif value is None and not (dropping and isinstance(parts[-1], str)):
            raise InputError('has no value', file=path, key=dotted(parts))
        elif not isinstance(value, (bool, int, float, str, type(None))):
            rule = f'is a {type(value).__name__} for YAML: put text in quotes'
            raise InputError(rule, file=path, key=dotted(parts), value=str(value))


def rank(error: Any) -> tuple[Any, ...]:
    """Return by what to sort the errors of jsonschema: the most telling comes first."""
    # A misspelt key often leaves a required one missing too: name the misspelt one.
    order = {'additionalProperties': 0, 'propertyNames': 0, 'required': 2}
    return (order.get(error.validator, 1), [str(p) for p in error.absolute_path], error.message)


def explain(error: Any, path: Path) -> None:
    """Raise the InputError, in the words of this package, for an error of jsonschema."""
    parts = list(error.absolute_path)
    value, limit, rule_name = error.instance, error.validator_value, error.validator
    if rule_name == 'additionalProperties':
        known = sorted(error.schema.get('properties', {}))
        unknown = next(key for key in value if key not in known)
        close = difflib.get_close_matches(unknown, known, n=1)
        hint = f'did you mean {close[0]}?' if close else f'known are {", ".join(known)}'
        raise InputError(
            f'unknown key; {hint}', file=path, key=dotted([*parts, unknown]), value=value[unknown]
        )
    if rule_name == 'required':
        missing = next(key for key in limit if key not in value)
        raise InputError(MISSING, file=path, key=dotted([*parts, missing]))
    if rule_name == 'type':
        wanted = [limit] if isinstance(limit, str) else list(limit)
        rule = 'must be ' + ' or '.join(_TYPES.get(name, name) for name in wanted)
        if isinstance(value, str) and {'number', 'integer'} & set(wanted):
            if number_in_text(value):
                rule += f' (YAML reads {value} as text: write it like 1.0e-3, without quotes)'
        elif isinstance(value, bool) and 'string' in wanted:
            rule += f' ({_BOOLEAN_TRAP})'
    elif rule_name in ('enum', 'const'):
        allowed = limit if rule_name == 'enum' else [limit]
        rule = ('must be one of ' if len(allowed) > 1 else 'must be ') + ', '.join(
            str(a) for a in allowed
        )
        if isinstance(value, bool):
            rule += f' ({_BOOLEAN_TRAP})'
    elif rule_name in ('minItems', 'maxItems', 'minProperties'):
        bound = {'maxItems': 'at most'}.get(rule_name, 'at least')
        rule = f'must have {bound} {limit} element{"s" if limit != 1 else ""}'
    elif rule_name in ('minimum', 'exclusiveMinimum', 'maximum'):
        sign = {'minimum': '>=', 'exclusiveMinimum': '>', 'maximum': '<='}[rule_name]
        rule = f'must be {sign} {limit}'
    elif rule_name == 'maxLength':
        rule = f'must have at most {limit} characters'
    elif rule_name in ('pattern', 'propertyNames', 'minLength', 'uniqueItems'):
        rule = {
            'minLength': 'must not be empty',
            'uniqueItems': 'must not have one element twice',
        }.get(rule_name, f'must be a plain name ({limit})')
    else:
        rule = error.message
    raise InputError(rule, file=path, key=dotted(parts), value=value)
