# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what an operator may change of a running adapter: its dynamic parameters."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import InvalidParameterValueException, ParameterException
from rclpy.node import Node

from tl_adapt.adaptation.events import Rules
from tl_adapt.errors import InputError
from tl_adapt.study_file import bounds

# What the study gives to begin with; nobody may say what a study may not.
OF_STUDY = {
    'explore': 'configurations that may be tried out after a change; 0: none',
    'minimum_gain': 'predicted relative gain below which nothing is changed',
    'dwell': 'windows to wait after a change before the next one may count',
    'false_alarms': 'how often, per window, a change may be seen where there is none',
}
RATES = (0.1, 20.0)


@dataclasses.dataclass(frozen=True)
class Settings:
    """Hold the values of the dynamic parameters; `publish_rate` of the status is in Hz."""

    rules: Rules = Rules()
    dry_run: bool = False
    publish_rate: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a rate that makes no sense."""
        low, high = RATES
        if not low <= self.publish_rate <= high:
            raise InputError(f'must lie in [{low:g}, {high:g}]', key='publish_rate',
                             value=self.publish_rate)

    @property
    def rules_in_force(self) -> Rules:
        """Return the rules that the policy gets: who only advises does not explore."""
        return dataclasses.replace(self.rules, explore=0) if self.dry_run else self.rules

    def values(self) -> dict[str, Any]:
        """Return the values by the parameters' names."""
        return {
            'dry_run': self.dry_run,
            **{name: getattr(self.rules, name) for name in OF_STUDY},
            'publish_rate': self.publish_rate,
        }

    def changed(self, values: Mapping[str, Any]) -> Settings:
        """Return a copy with other values, by name; raises InputError for a wrong one."""
        for name, value in values.items():
            low, high = _range(name) if name in OF_STUDY else (-math.inf, math.inf)
            if not low <= value <= high:  # also NaN
                raise InputError(f'must lie in [{low:g}, {high:g}]', key=name, value=value)
        rules = {name: value for name, value in values.items() if name in OF_STUDY}
        own = {name: values[name] for name in ('dry_run', 'publish_rate') if name in values}
        return dataclasses.replace(self, rules=dataclasses.replace(self.rules, **rules), **own)

    def differences(self, before: Settings) -> str:
        """Return what is different from before, for people."""
        old = before.values()
        return ', '.join(
            f'{name}: {_text(old[name])} -> {_text(value)}'
            for name, value in self.values().items() if value != old[name]
        )


@dataclasses.dataclass(frozen=True)
class SettingsChanged:
    """Say that the operator changed settings; `what` tells which. An event for the engine."""

    settings: Settings
    what: str


def declare_own(node: Node) -> None:
    """Declare the settings that no study knows."""
    low, high = RATES
    node.declare_parameter('dry_run', False, ParameterDescriptor(
        description='only advise: nothing is sent while this is true'
    ))
    node.declare_parameter('publish_rate', 1.0, ParameterDescriptor(
        description='rate of the status while nothing changes [Hz]',
        floating_point_range=[FloatingPointRange(from_value=low, to_value=high)],
    ))


def declare_of_study(node: Node, rules: Rules) -> Settings:
    """
    Declare the settings of a study, once it is known, and return all that are in force.

    Raises InputError for a value of the command line, or of a launch file, that is wrong.
    """
    for name, text in OF_STUDY.items():
        default = getattr(rules, name)
        if node.has_parameter(name):
            continue
        descriptor = ParameterDescriptor(description=f'{text}; the study says {default:g}')
        low, high = _range(name)
        if isinstance(default, int):
            descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high))]
        else:
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=float(low), to_value=float(high))
            ]
        try:
            node.declare_parameter(name, default, descriptor)
        except InvalidParameterValueException as error:
            # Only its text has the value.
            said = re.search(r'value \((\S+)\) for', str(error))
            given = {} if said is None else {'value': type(default)(said[1])}
            rule = f'must lie in [{low:g}, {high:g}]'
            raise InputError(rule, key=name, **given) from None
        except ParameterException as error:
            raise InputError(str(error), key=name) from None
    return Settings(
        dataclasses.replace(rules, **{name: node.get_parameter(name).value for name in OF_STUDY}),
        node.get_parameter('dry_run').value, node.get_parameter('publish_rate').value,
    )


def _range(name: str) -> tuple[float, float]:
    """Return the lowest and the highest value that a study may give."""
    return bounds('adaptation', name)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f'{value:g}'
