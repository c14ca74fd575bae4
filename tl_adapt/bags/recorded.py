# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for what a recording holds beside the topics of the graph, as messages of standard types.

- `PARAMETERS`: all parameters of one node, as `new_parameters` of a ParameterEvent; one message
  per node when the recording begins, and one more whenever a node comes later or comes back, at
  the times when they were asked for. Later changes are on `/parameter_events`.
- `PROCESSES`: CPU time [s], resident memory [bytes] and threads of the nodes' processes, one
  status per node. The header's stamp is sim time where there is a `/clock`, else system time.
- `RECORDING`: what the recorder knows about the recording, as JSON; the last message counts.

None of these topics exists in the graph: the recorder writes them into the bag.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tl_adapt.errors import InputError, try_import
from tl_adapt.metrics import needed_fields, process_topic

if TYPE_CHECKING:
    from tl_adapt.study import Study

PARAMETERS = '/tl_adapt/parameters'
PROCESSES = '/tl_adapt/processes'
RECORDING = '/tl_adapt/recording'

#: Types of the topics that only a recording has.
TYPES = {
    PARAMETERS: 'rcl_interfaces/msg/ParameterEvent',
    PROCESSES: 'diagnostic_msgs/msg/DiagnosticArray',
    RECORDING: 'std_msgs/msg/String',
}

#: Values of `time` in a recording's description: the clock of the bag's time stamps.
SYSTEM_TIME = 'system'
SIM_TIME = 'sim'

#: What belongs into every bag if it is there: time, transforms, changes of parameters.
OPTIONAL_TOPICS = ('/clock', '/tf', '/tf_static', 'tf', 'tf_static', '/parameter_events')

_FORMAT = 1
# ParameterValue's fields by its type, and the type of a value by its class, in rcl_interfaces.
_FIELDS = (
    '', 'bool_value', 'integer_value', 'double_value', 'string_value', 'byte_array_value',
    'bool_array_value', 'integer_array_value', 'double_array_value', 'string_array_value',
)
_KINDS: dict[type, int] = {bool: 1, int: 2, float: 3, str: 4}
_ARRAYS: dict[type, int] = {bytes: 5, bool: 6, int: 7, float: 8, str: 9}
_DTYPES = {5: 'uint8', 6: 'bool', 7: 'int64', 8: 'float64'}


@dataclasses.dataclass(frozen=True)
class ProcessSample:
    """Hold what a node's processes had used: CPU time in s, resident memory in bytes."""

    cpu_time: float
    rss: int
    threads: int
    pids: tuple[int, ...] = ()


def needed_topics(study: Study) -> list[str]:
    """Return the topics, as the study names them, that metrics, missions, replays need."""
    topics = [*OPTIONAL_TOPICS, *needed_fields(study.metrics.values())]
    if mission := study.mission:
        named = (
            mission.goal_topic, mission.outcome_topic, mission.result_topic,
            mission.initialpose_topic, *(rule.topic for rule in mission.fail_when),
        )
        topics += [topic for topic in named if topic]
    for spec in study.environments.values():
        topics += spec.options.get('inputs', ()) if spec.kind == 'replay' else ()
    return list(dict.fromkeys(topics))


def event_topics(study: Study) -> list[str]:
    """Return those of the needed topics that tell what was ordered, not what was sensed."""
    topics = ['/parameter_events']
    if mission := study.mission:
        topics += [mission.goal_topic, mission.outcome_topic]
        if mission.initialpose_topic:
            topics.append(mission.initialpose_topic)
    return topics


def type_description(topic: str) -> tuple[str, str, str]:
    """Return type, definition and RIHS01 hash of a topic that only a recording has."""
    kind = TYPES[topic]
    text, _ = typestore().generate_msgdef(kind, ros_version=2)
    return kind, text, typestore().hash_rihs01(kind)


@functools.lru_cache(maxsize=1)
def typestore() -> Any:
    """Return the rosbags types of the messages here, which are alike in all distributions."""
    typesys = try_import('rosbags.typesys', 'bags')
    return typesys.get_typestore(typesys.Stores.ROS2_HUMBLE)


def encode_parameters(node: str, values: Mapping[str, Any], stamp_ns: int) -> bytes:
    """
    Return the message with a node's parameters (name -> value; None for one that is not set).

    Raises InputError for a value that no ROS parameter can have.
    """
    empty: list[Any] = []
    return _encode(
        PARAMETERS, stamp=_time(stamp_ns), node=node,
        new_parameters=[
            _make('rcl_interfaces/msg/Parameter', name=name, value=_parameter_value(name, value))
            for name, value in values.items()
        ],
        changed_parameters=empty, deleted_parameters=empty,
    )


def decode_parameters(raw: bytes) -> tuple[str, dict[str, Any], int]:
    """Return node, parameters and time in ns; raises InputError if the message is broken."""
    message = _decode(PARAMETERS, raw)
    values = {p.name: parameter_value(p.value) for p in message.new_parameters}
    return message.node, values, _nanoseconds(message.stamp)


def parameter_value(message: Any) -> Any:
    """Return what a ParameterValue of rosbags holds, arrays as lists; None if it is not set."""
    if not 0 < message.type < len(_FIELDS):
        return None
    value = getattr(message, _FIELDS[message.type])
    if message.type == 5:
        return [bytes([int(byte) & 0xFF]) for byte in value]
    if message.type > 5:
        return value.tolist() if hasattr(value, 'tolist') else list(value)
    return _PLAIN[message.type](value)


_PLAIN: dict[int, type] = {kind: plain for plain, kind in _KINDS.items()}


def encode_processes(samples: Mapping[str, ProcessSample], stamp_ns: int, host: str) -> bytes:
    """Return the message with the samples of one moment, by node."""
    def text(value: Any) -> str:
        return ' '.join(map(str, value)) if isinstance(value, tuple) else repr(value)

    return _encode(
        PROCESSES,
        header=_make('std_msgs/msg/Header', stamp=_time(stamp_ns), frame_id=''),
        status=[
            _make(
                'diagnostic_msgs/msg/DiagnosticStatus', level=0, name=node, message='sampled',
                hardware_id=host,
                values=[
                    _make('diagnostic_msgs/msg/KeyValue', key=key, value=text(value))
                    for key, value in vars(sample).items()
                ],
            )
            for node, sample in samples.items()
        ],
    )


def decode_processes(raw: bytes) -> tuple[int, dict[str, ProcessSample]]:
    """
    Return the time in ns and the samples by the names that a trace gives to their topics.

    Raises InputError if the message is broken.
    """
    message = _decode(PROCESSES, raw)
    samples = {}
    for status in message.status:
        values = {pair.key: pair.value for pair in status.values}
        try:
            samples[process_topic(status.name)] = ProcessSample(
                float(values['cpu_time']), int(values['rss']), int(values['threads']),
                tuple(map(int, values.get('pids', '').split())),
            )
        except (KeyError, ValueError) as error:
            rule = f'must hold cpu_time, rss and threads of {status.name} ({error})'
            raise InputError(rule, key=PROCESSES) from error
    return _nanoseconds(message.header.stamp), samples


def encode_recording(description: Mapping[str, Any]) -> bytes:
    """
    Return the message that describes a recording; `description` holds only what JSON can.

    The recorder fills in `study`, `digest`, `metric_digest`, `environment` and `namespace`;
    `time` (one of SYSTEM_TIME and SIM_TIME); `host`; `since` (topic -> time of the bag [ns] from
    which on all of its messages are there); `complete`, which is true at the end only, and then
    `lost` (topic -> number of messages), `missing` (topics) and `outcomes` (of missions).
    """
    text = json.dumps({'format': _FORMAT, **description}, ensure_ascii=False)
    return _encode(RECORDING, data=text)


def decode_recording(raw: bytes) -> dict[str, Any]:
    """Return a recording's description; raises InputError if it is broken or of the future."""
    try:
        description = json.loads(_decode(RECORDING, raw).data)
        known = description['format']
    except (ValueError, KeyError, TypeError) as error:
        rule = f'must hold JSON with a format ({error})'
        raise InputError(rule, key=RECORDING) from error
    if known != _FORMAT:
        raise InputError(f'must be of format {_FORMAT}', key=RECORDING, value=known)
    return dict(description)


def _parameter_value(name: str, value: Any) -> Any:
    """Return the ParameterValue of rosbags that holds a value."""
    kind = 0
    if isinstance(value, (list, tuple)):
        kind = _ARRAYS.get(type(value[0]) if value else str, 0)
    elif value is not None:
        kind = _KINDS.get(type(value), 0)
    if not kind and value is not None:
        raise InputError('no ROS parameter has such a value', key=name, value=value)
    fields: dict[str, Any] = {
        'bool_value': False, 'integer_value': 0, 'double_value': 0.0, 'string_value': '',
        'string_array_value': [],
    }
    for number, dtype in _DTYPES.items():
        fields[_FIELDS[number]] = np.empty(0, dtype)
    if kind in _DTYPES:
        plain = [part[0] for part in value] if kind == 5 else list(value)
        fields[_FIELDS[kind]] = np.array(plain, _DTYPES[kind])
    elif kind:
        fields[_FIELDS[kind]] = list(value) if kind == 9 else value
    return _make('rcl_interfaces/msg/ParameterValue', type=kind, **fields)


def _make(kind: str, **fields: Any) -> Any:
    return typestore().types[kind](**fields)


def _encode(topic: str, **fields: Any) -> bytes:
    return bytes(typestore().serialize_cdr(_make(TYPES[topic], **fields), TYPES[topic]))


def _decode(topic: str, raw: bytes) -> Any:
    """Return the message of rosbags; raises InputError if it can't be read."""
    try:
        return typestore().deserialize_cdr(raw, TYPES[topic])
    except Exception as error:  # the deserialiser raises whatever broken bytes lead it to
        rule = f'must hold messages of type {TYPES[topic]} ({type(error).__name__}: {error})'
        raise InputError(rule, key=topic) from error


def _time(nanoseconds: int) -> Any:
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return _make('builtin_interfaces/msg/Time', sec=seconds, nanosec=rest)


def _nanoseconds(stamp: Any) -> int:
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
