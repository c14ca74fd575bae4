# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for telling software whose output would have changed its own input.

A recorded drive shows what the sensors saw while the robot did what it did. A localizer or a
detector may be run on that again. A controller may not: with other parameters it would have driven
elsewhere, and the sensors would have seen other things.
"""

from __future__ import annotations

from collections.abc import Iterable

#: Types of messages that tell a robot to move.
COMMAND_TYPES = frozenset({
    'geometry_msgs/msg/Twist',
    'geometry_msgs/msg/TwistStamped',
    'geometry_msgs/msg/Wrench',
    'geometry_msgs/msg/WrenchStamped',
    'ackermann_msgs/msg/AckermannDrive',
    'ackermann_msgs/msg/AckermannDriveStamped',
    'actuator_msgs/msg/Actuators',
    'control_msgs/msg/JointJog',
    'trajectory_msgs/msg/JointTrajectory',
    'trajectory_msgs/msg/MultiDOFJointTrajectory',
})
_SERVER = '/_action/status'


def commands(topic: str, kinds: Iterable[str]) -> str:
    """Return why what is published on a topic moves the robot, '' if it does not seem to."""
    found = sorted(COMMAND_TYPES.intersection(kinds))
    if found:
        return f'{found[0]} on topic {topic} tells the robot to move'
    if topic.endswith(_SERVER):
        return f'it offers the action {topic[: -len(_SERVER)]}, which others ask for with goals'
    name = topic.rpartition('/')[2]
    if name.startswith('cmd_') or name.endswith(('_cmd', '_command', '_commands')):
        return f'topic {topic} is named like a command to the robot'
    return ''


def refusal(node: str, why: str) -> str:
    """Return the rule that software in a closed loop breaks."""
    return (
        f'{node} is in a closed loop ({why}): with other parameters the robot would have moved '
        'otherwise and its sensors would have seen other things than the bag holds, so only '
        'software such as a localizer or a detector can be replayed'
    )
