# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for studies that extend others: whose key is whose.

The content of the files under `extends` comes first, one after the other, and what the study says
itself last. Mappings are merged, everything else is replaced as a whole; a key without a value
drops what is inherited under that name.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tl_adapt.errors import InputError
from tl_adapt.study_file import check, find_study, read_yaml, refuse_strange

_MOST_FILES = 100


@dataclasses.dataclass(frozen=True)
class Sources:
    """
    Say which file each key of a study comes from.

    `bases` are the files that `path` extends, directly or not, in the order of reading.
    """

    path: Path
    bases: tuple[Path, ...] = ()
    origins: Mapping[str, Path] = dataclasses.field(default_factory=dict)

    def file_of(self, key: str | None) -> Path:
        """Return the file that a key comes from, or that of the nearest key around it."""
        key = key or ''
        while key:
            if key in self.origins:
                return self.origins[key]
            key = key[: max(key.rfind('.'), key.rfind('['), 0)]
        return self.path

    def named(self, key: str | None) -> object:
        """Return what an error about a key calls its file."""
        file = self.file_of(key)
        return file if file == self.path else f'{file} (extended by {self.path})'


def merge_study(data: Mapping[str, Any], path: Path) -> tuple[dict[str, Any], Sources]:
    """
    Return the content of a study with all that it extends, checked against the schema.

    Raises InputError naming the file that a mistake is in, its key, rule and value.
    """
    merger = _Merger(path)
    merger.add(data, path, ())
    content = merger.content
    sources = Sources(path, tuple(merger.bases), merger.origins)
    try:
        check(content, path)
    except InputError as error:
        raise error.at(file=sources.named(error.key)) from None
    return content, sources


class _Merger:
    """Collect content, and note where it came from."""

    def __init__(self, path: Path) -> None:
        self.content: dict[str, Any] = {}
        self.origins: dict[str, Path] = {}
        self.bases: list[Path] = []
        self._path = path
        self._read = 0

    def add(self, data: Mapping[str, Any], path: Path, above: tuple[Path, ...]) -> None:
        """Add a file's content on top; `above` are the files that led to it."""
        refuse_strange(data, path, dropping=bool(above) or 'extends' in data)
        chain = (*above, path)
        for name in self._names(data, path):
            try:
                base = find_study(name, folder=path.parent)
            except InputError as error:
                raise InputError(error.rule, file=path, key='extends', value=name) from None
            if base.resolve() in (file.resolve() for file in chain):
                way = ' -> '.join(file.name for file in (*chain, base))
                raise InputError(f'leads in a circle: {way}', file=path, key='extends')
            self._read += 1
            if self._read > _MOST_FILES:
                rule = f'must not lead to more than {_MOST_FILES} files'
                raise InputError(rule, file=self._path, key='extends')
            self.add(read_yaml(base), base, chain)
            if base not in self.bases:
                self.bases.append(base)
        own = {key: value for key, value in data.items() if key != 'extends'}
        self._merge(self.content, own, path, '')

    def _names(self, data: Mapping[str, Any], path: Path) -> list[str]:
        names = data.get('extends', [])
        if isinstance(names, str):
            names = [names]
        if not isinstance(names, list) or not all(isinstance(n, str) and n for n in names):
            rule = 'must be the name of a file or a list of such names'
            raise InputError(rule, file=path, key='extends', value=data['extends'])
        return names

    def _merge(self, into: dict[str, Any], new: Mapping[str, Any], path: Path, at: str) -> None:
        for name, value in new.items():
            key = f'{at}.{name}' if at else name
            if value is None:
                if name not in into:
                    rule = 'has no value, and nothing is inherited that it could drop'
                    raise InputError(rule, file=path, key=key)
                del into[name]
                self._forget(key)
                continue
            if not (isinstance(value, dict) and isinstance(into.get(name), dict)):
                self._forget(key)
                into[name] = {} if isinstance(value, dict) else copy.deepcopy(value)
            self.origins[key] = path
            if isinstance(value, dict):
                self._merge(into[name], value, path, key)

    def _forget(self, key: str) -> None:
        """Forget where what is replaced came from."""
        for known in [k for k in self.origins if k == key or k.startswith(f'{key}.')]:
            del self.origins[known]
