# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the types of a bag's messages, as the bag itself or else a distribution has them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from rosbags.typesys import (
    Stores,
    TypesysError,
    get_types_from_idl,
    get_types_from_msg,
    get_typestore,
)

from tl_adapt.bags.storage import TopicInfo

# Parsers fail in many ways on what is no definition.
_BAD = (TypesysError, ValueError, KeyError, IndexError, AttributeError, TypeError, RecursionError)

#: Fields of a type as rosbags describes them: name and description.
Fields = list[tuple[str, Any]]


class BagTypes:
    """Know the types of a bag: its own definitions go before those of its distribution."""

    def __init__(self, topics: Mapping[str, TopicInfo], distro: str = '') -> None:
        """Take the definitions that are given with the topics, when they are needed."""
        self._infos = {info.type: info for info in topics.values() if info.type}
        self._distro = distro
        self._own: dict[str, Any] = {}
        self._parsed: set[str] = set()
        self._problems: dict[str, str] = {}
        self._store: Any = None

    def fields(self, name: str) -> Fields:
        """Return the fields of a type; raises LookupError that says what is wrong with it."""
        if name in self._infos and name not in self._parsed:
            self._parse(self._infos[name])
        if name in self._own:
            return list(self._own[name][1])
        problem = self._problems.get(name)
        if problem:
            raise LookupError(problem)
        known = self._default().fielddefs
        if name not in known:
            raise LookupError(f'type {name} is defined neither in the bag nor in ROS 2 itself')
        return list(known[name][1])

    @functools.cached_property
    def store(self) -> Any:
        """
        Return a rosbags Typestore with all types, to build and take apart messages.

        Definitions that can't be used are left out.
        """
        for info in self._infos.values():
            if info.type not in self._parsed:
                self._parse(info)
        store = get_typestore(self._named())
        for name in self._own:
            store.fielddefs.pop(name, None)
            store.types.pop(name, None)
        try:
            store.register(self._own)
        except (SyntaxError, *_BAD):
            for name, definition in self._own.items():
                try:
                    store.register({name: definition})
                except (SyntaxError, *_BAD):
                    continue
        return store

    def _parse(self, info: TopicInfo) -> None:
        """Read a topic's definition, with all types that it brings."""
        self._parsed.add(info.type)
        if not info.definition:
            return
        try:
            found: Any = (
                get_types_from_idl(info.definition) if info.language == 'ros2idl'
                else get_types_from_msg(info.definition, info.type)
            )
        except _BAD as error:
            text = str(error).strip().splitlines()
            self._problems[info.type] = (
                f'the definition of type {info.type} can not be read ({text[0] if text else ""})'
            )
            return
        for name, definition in found.items():
            self._own.setdefault(name, definition)

    def _named(self) -> Stores:
        return Stores.__members__.get(f'ROS2_{self._distro.upper()}', Stores.LATEST)

    def _default(self) -> Any:
        if self._store is None:
            self._store = get_typestore(self._named())
        return self._store
