# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the values of ROS parameters, and for turning configurations into them."""

from __future__ import annotations

import array
import dataclasses
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from rcl_interfaces.msg import ParameterType, ParameterValue

from tl_adapt.snapshot import Snapshot as Snapshot
from tl_adapt.study_rules import resolved

if TYPE_CHECKING:
    from tl_adapt.space import Space

# bool, int, float, str, or a list of one of them (bytes for a byte array); None if not set.
RosValue = Any
_FIELDS = {
    ParameterType.PARAMETER_BOOL: 'bool_value',
    ParameterType.PARAMETER_INTEGER: 'integer_value',
    ParameterType.PARAMETER_DOUBLE: 'double_value',
    ParameterType.PARAMETER_STRING: 'string_value',
    ParameterType.PARAMETER_BYTE_ARRAY: 'byte_array_value',
    ParameterType.PARAMETER_BOOL_ARRAY: 'bool_array_value',
    ParameterType.PARAMETER_INTEGER_ARRAY: 'integer_array_value',
    ParameterType.PARAMETER_DOUBLE_ARRAY: 'double_array_value',
    ParameterType.PARAMETER_STRING_ARRAY: 'string_array_value',
}
_SCALARS = {
    bool: ParameterType.PARAMETER_BOOL,
    int: ParameterType.PARAMETER_INTEGER,
    float: ParameterType.PARAMETER_DOUBLE,
    str: ParameterType.PARAMETER_STRING,
}
_ARRAYS = {
    bool: ParameterType.PARAMETER_BOOL_ARRAY,
    int: ParameterType.PARAMETER_INTEGER_ARRAY,
    float: ParameterType.PARAMETER_DOUBLE_ARRAY,
    str: ParameterType.PARAMETER_STRING_ARRAY,
}


@dataclasses.dataclass(frozen=True)
class Assignment:
    """Hold one value for one ROS parameter, or for the element `index` of an array."""

    node: str
    name: str
    value: RosValue
    index: int | None = None
    mode: str = 'live'
    parameter: str = ''


def assignments(
    space: Space, configuration: Mapping[str, Any], *, distribution: str | None = None
) -> list[Assignment]:
    """
    Turn a configuration into values for ROS parameters.

    The transforms of the study's targets are applied; `distribution` (such as 'humble') picks
    the apply modes.
    """
    return [
        Assignment(
            node=target.node,
            name=target.name,
            value=target.to_ros(configuration[parameter.name]),
            index=target.index,
            mode=target.mode(distribution),
            parameter=parameter.name,
        )
        for parameter in space.parameters
        for target in parameter.targets
    ]


def fixed_assignments(
    given: Mapping[str, Mapping[str, RosValue]], nodes: Collection[str], namespace: str = ''
) -> list[Assignment]:
    """Return what a study sets and does not tune (node -> name -> value), on these nodes."""
    return [
        Assignment(node, name, value)
        for node, values in given.items()
        for name, value in values.items()
        if resolved(node, namespace) in nodes
    ]


def from_message(message: ParameterValue) -> RosValue:
    """Return the value that the message holds, arrays as lists; None if it is not set."""
    field = _FIELDS.get(message.type)
    if field is None:
        return None
    value = getattr(message, field)
    if isinstance(value, array.array):
        return value.tolist()
    return list(value) if message.type > ParameterType.PARAMETER_STRING else value


def to_message(value: RosValue) -> ParameterValue:
    """Return the message that holds `value`; raises TypeError if ROS has no such type."""
    if isinstance(value, (list, tuple)):
        if value and isinstance(value[0], bytes):
            kind: int | None = ParameterType.PARAMETER_BYTE_ARRAY
        else:
            kind = _ARRAYS.get(type(value[0]) if value else str)
        value = list(value)
    else:
        kind = _SCALARS.get(type(value))
    if kind is None:
        raise TypeError(f'no ROS parameter has a value such as {value!r}')
    message = ParameterValue(type=kind)
    setattr(message, _FIELDS[kind], value)
    return message


def equal(one: RosValue, other: RosValue) -> bool:
    """Tell whether two values are the same; NaN is no change of NaN, in an array neither."""
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other) or bool(one != one and other != other)


def coerce(value: RosValue, present: RosValue) -> RosValue:
    """
    Return `value` in the type of the parameter's present value.

    An int becomes a double and a whole number an int; raises TypeError where more would change.
    """
    if present is None:
        return value
    if isinstance(present, list):
        if not isinstance(value, (list, tuple)):
            raise TypeError(f'is an array, not {value!r}')
        return [coerce(item, present[0]) if present else item for item in value]
    if type(value) is type(present):
        return value
    if isinstance(present, float) and type(value) is int:
        return float(value)
    if type(present) is int and isinstance(value, float) and value.is_integer():
        return int(value)
    raise TypeError(f'is of type {type(present).__name__}, not {value!r}')


def replaced(present: RosValue, index: int, value: RosValue) -> RosValue:
    """Return the array with one element replaced; raises TypeError if that can't be."""
    if not isinstance(present, list):
        raise TypeError(f'is no array, so it has no element {index}')
    if not 0 <= index < len(present):
        raise TypeError(f'has {len(present)} elements, so there is none at {index}')
    return [*present[:index], coerce(value, present[index]), *present[index + 1 :]]
