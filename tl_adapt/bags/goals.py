# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the messages that tell of goals."""

from __future__ import annotations

from typing import Any

from tl_adapt.bags import recorded

STATUS_TYPE = 'action_msgs/msg/GoalStatusArray'
RESULT_TYPE = 'std_msgs/msg/Header'


def read_status(raw: bytes) -> tuple[dict[str, int], dict[str, int]]:
    """
    Return the states of goals, and when each was accepted [ns], by the id of the goal.

    Raises ValueError if the message is broken.
    """
    statuses, accepted = {}, {}
    for item in _decoded(raw, STATUS_TYPE).status_list:
        goal = bytes(item.goal_info.goal_id.uuid).hex()
        statuses[goal] = int(item.status)
        accepted[goal] = _nanoseconds(item.goal_info.stamp)
    return statuses, accepted


def read_result(raw: bytes) -> tuple[int, str]:
    """Return when a goal ended [ns], and how; raises ValueError if the message is broken."""
    message = _decoded(raw, RESULT_TYPE)
    return _nanoseconds(message.stamp), str(message.frame_id)


def _nanoseconds(stamp: Any) -> int:
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def _decoded(raw: bytes, kind: str) -> Any:
    """Return a message of a standard type; raises ValueError if it is broken."""
    try:
        return recorded.typestore().deserialize_cdr(raw, kind)
    except Exception as error:  # the deserialiser raises whatever broken bytes lead it to
        raise ValueError(str(error)) from error
