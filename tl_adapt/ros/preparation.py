# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the services that a study calls before each mission, such as clearing costmaps."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rclpy.client import Client
from rclpy.impl.implementation_singleton import rclpy_implementation as _rclpy
from rclpy.node import Node

from tl_adapt.errors import InputError, MeasurementError
from tl_adapt.ros.waiting import Waiter

if TYPE_CHECKING:
    from tl_adapt.study import ServiceCall


class Preparation:
    """Call services one after the other; the answers have to come, each within its time-out."""

    def __init__(self, node: Node, calls: Sequence[ServiceCall], waiter: Waiter) -> None:
        """Prepare the requests, through `node`, which another thread spins; as `requests`."""
        self._waiter = waiter
        self._calls: list[tuple[ServiceCall, Client, Any]] = []
        for number, (call, (kind, request)) in enumerate(zip(calls, requests(calls))):
            try:
                client = node.create_client(kind, call.service)
            except _rclpy.RCLError:
                key = f'mission.prepare[{number}].type'
                rule = f'is not the type of the service {call.service}'
                raise InputError(rule, key=key, value=call.type) from None
            self._calls.append((call, client, request))

    def run(self) -> None:
        """Call them all; raises ApparatusError for one that is missing, else MeasurementError."""
        for call, client, request in self._calls:
            answer = self._waiter.call(client, request, deadline=call.timeout)
            # Not every type has it: std_srvs/Trigger does, std_srvs/Empty doesn't.
            if getattr(answer, 'success', True) is False:
                text = getattr(answer, 'message', '') or 'no reason given'
                raise MeasurementError(f'service {client.srv_name} failed: {text}')


def requests(calls: Sequence[ServiceCall]) -> list[tuple[Any, Any]]:
    """
    Return type and request of each call.

    Raises InputError for a type that can't be imported, or a field that it lacks.
    """
    result = []
    for number, call in enumerate(calls):
        where = f'mission.prepare[{number}]'
        kind = service_type(call.type, f'{where}.type')
        request = kind.Request()
        fill(request, call.request, f'{where}.request')
        result.append((kind, request))
    return result


def service_type(name: str, key: str) -> Any:
    """Return the class of a type such as `std_srvs/srv/Empty`; raises InputError."""
    package, _, kind = name.split('/')
    try:
        return getattr(importlib.import_module(f'{package}.srv'), kind)
    except (ImportError, AttributeError) as error:
        raise InputError(f'needs {name}, which can not be imported ({error})', key=key) from error


def fill(message: Any, values: Mapping[str, Any], where: str) -> None:
    """Write values into the fields of a message; raises InputError where that can't be."""
    fields = message.get_fields_and_field_types()
    for name, value in values.items():
        key = f'{where}.{name}'
        if name not in fields:
            known = ', '.join(fields) or 'none'
            raise InputError(f'no such field; known are {known}', key=key)
        present = getattr(message, name)
        if isinstance(value, Mapping) and hasattr(present, 'get_fields_and_field_types'):
            fill(present, value, key)
            continue
        if isinstance(present, float) and type(value) is int:
            value = float(value)
        # Not every release checks what is assigned.
        scalar = isinstance(present, (bool, int, float, str))
        if type(value) is not type(present) if scalar else not isinstance(value, list):
            raise InputError(f'must be a {fields[name]}', key=key, value=value)
        try:
            setattr(message, name, value)
        except (AssertionError, TypeError, ValueError) as error:
            raise InputError(f'must be a {fields[name]}', key=key, value=value) from error
