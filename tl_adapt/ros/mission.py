# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for running one mission on a live graph.

All waiting is done here, in the thread that calls; callbacks only note what came and wake it.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import operator
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from action_msgs.msg import GoalStatus, GoalStatusArray
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Header

from tl_adapt.errors import ApparatusError, InputError, MeasurementError
from tl_adapt.expressions import Expression
from tl_adapt.ros.inbox import PUBLISHER_EVENTS, SUBSCRIPTION_EVENTS, Inbox
from tl_adapt.ros.message_info import with_info
from tl_adapt.ros.recorder import SimClock, matching_qos, message_type, sent_ns, stamp_of
from tl_adapt.ros.simulator_control.base import SimulatorControl
from tl_adapt.ros.simulator_control.find import make_control
from tl_adapt.ros.simulator_control.place import place
from tl_adapt.trace import extract

if TYPE_CHECKING:
    from tl_adapt.study import FailRule, Mission, Pose

SUCCEEDED = 'succeeded'
_ACTIVE = (GoalStatus.STATUS_ACCEPTED, GoalStatus.STATUS_EXECUTING, GoalStatus.STATUS_CANCELING)
_FAILED = {GoalStatus.STATUS_ABORTED: 'aborted', GoalStatus.STATUS_CANCELED: 'canceled'}
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    '>=': operator.ge,
    '<=': operator.le,
    '>': operator.gt,
    '<': operator.lt,
    '==': operator.eq,
    '!=': operator.ne,
}
# The pose where a localizer answers an initial pose: the demo's and Nav2's.
_POSE_TOPICS = ('pose', 'amcl_pose')
_WARM = 5  # clock messages
_TAKE = 0.05  # s between two looks into the inbox while the mission runs ...
_TAKE_SOON = 0.005  # ... and while a step of its start is waited for
_LATCHED = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@dataclasses.dataclass(frozen=True)
class Ending:
    """Say how a mission ended: `outcome` is 'succeeded' or the reason, times are sim time."""

    outcome: str
    start_ns: int
    end_ns: int
    broken: bool = False

    @property
    def succeeded(self) -> bool:
        """Say whether all goals were reached."""
        return self.outcome == SUCCEEDED


class MissionRunner:
    """Run the study's mission, again and again, on nodes that are up."""

    def __init__(
        self,
        node: Node,
        mission: Mission,
        simulator: Mapping[str, str] | None,
        clock: SimClock,
        alive: Callable[[], None],
        inbox: Inbox,
        *,
        deadline: float = 10.0,
    ) -> None:
        """
        Use `node`, which another thread spins.

        `simulator` says how the simulator is controlled, as in the study; None or no services
        mean that it is not, as on a robot. `alive` raises MeasurementError if a process died.
        What comes with every scan goes through the `inbox`, as the clock does.
        `deadline` [s, wall] bounds each single step.
        """
        self._node = node
        self._mission = mission
        self._clock = clock
        self._alive = alive
        self._inbox = inbox
        self._deadline = deadline
        self._changed = threading.Condition()
        self._statuses: dict[bytes, int] = {}
        self._status_sent = 0
        self._results: list[tuple[int, int, str]] = []
        self._failures: list[tuple[int, str]] = []
        self._poses: list[tuple[int, int]] = []
        self._since = 0
        self._sequence = 0
        self._watched: dict[str, Any] = {}
        self._simulator = simulator or {}
        self._control: SimulatorControl | None = None
        self._features: frozenset[str] = frozenset()
        self._goals = node.create_publisher(
            PoseStamped, mission.goal_topic, 10, event_callbacks=PUBLISHER_EVENTS
        )
        node.create_subscription(
            GoalStatusArray,
            mission.outcome_topic,
            with_info(self._on_status),
            _LATCHED,
            event_callbacks=SUBSCRIPTION_EVENTS,
        )
        if mission.result_topic:
            node.create_subscription(
                Header,
                mission.result_topic,
                with_info(self._on_result),
                10,
                event_callbacks=SUBSCRIPTION_EVENTS,
            )
        self._initial: Any = None
        if mission.initialpose_topic:
            self._initial = node.create_publisher(
                PoseWithCovarianceStamped,
                mission.initialpose_topic,
                10,
                event_callbacks=PUBLISHER_EVENTS,
            )
            for topic in _POSE_TOPICS:
                inbox.subscribe(PoseWithCovarianceStamped, topic, self._on_pose, 10)
        clock.changed = self._wake

    def wait_until_ready(self) -> None:
        """Wait until the simulator's services and those who take goal and pose are there."""
        if self._control is None:
            self._control = make_control(
                self._node, self._simulator, deadline=self._deadline, alive=self._alive
            )
            self._features = self._control.features()
        self._control.wait_until_ready()
        if entity := self._simulator.get('entity'):
            self._control.state(entity)  # better to fail now than in the first mission
        self._wait(
            lambda: self._goals.get_subscription_count() > 0,
            f'nothing listens on topic {self._mission.goal_topic}',
            poll=0.01,
        )
        if self._initial is not None:
            self._wait(
                lambda: self._initial.get_subscription_count() > 0,
                f'nothing listens on topic {self._mission.initialpose_topic}',
                poll=0.01,
            )
        for rule in self._mission.fail_when:
            self._watch(rule)

    def warm_up(self) -> None:
        """
        Let a simulation that has just come up run for a few steps.

        That all nodes are there doesn't mean that they have found each other: what is lost until
        then must not be lost in a mission.
        """
        if 'pause' not in self._features:
            return
        self._clock.restart()
        self._resume()
        self._wait_for_clock(lambda: self._clock.ticks >= _WARM)
        self.pause()

    def pause(self) -> None:
        """Pause the simulation, if there is one."""
        if self._control is not None and 'pause' in self._features:
            self._control.pause()

    def _resume(self) -> None:
        if self._control is not None and 'pause' in self._features:
            self._control.resume()

    def reset(self) -> None:
        """Reset the paused simulation, if there is one; put its robot where the mission starts."""
        control = self._control
        if control is None or ('reset' not in self._features and control.interface == 'services'):
            return
        control.reset()
        entity = self._simulator.get('entity')
        if entity and self._mission.start is not None:
            place(control, entity, self._mission.start)
        self._clock.restart()

    def initialise_pose(self) -> None:
        """Tell the localizer where the mission starts, and wait for the pose that it answers."""
        if self._initial is None or self._mission.start is None:
            return
        self._inbox.take()
        stamp = self._clock.now() if self._clock.running else 0
        message = PoseWithCovarianceStamped()
        message.header.frame_id = self._mission.frame
        _put_time(message.header.stamp, stamp)
        _put_pose(message.pose.pose, self._mission.start)
        for index, variance in ((0, 0.01), (7, 0.01), (35, 0.01)):
            message.pose.covariance[index] = variance
        begun = time.time_ns()
        with self._changed:
            self._poses.clear()
        self._initial.publish(message)
        self._wait(
            # While time stands still only the answer has that stamp; else any later pose will do.
            lambda: any(
                sent >= begun and (at == stamp or 'pause' not in self._features)
                for sent, at in self._poses
            ),
            f'no pose came after the initial pose on topic {self._mission.initialpose_topic}',
        )

    def run(self, started: Callable[[], None] = lambda: None) -> Ending:
        """
        Drive to all goals; `started` is called right before the simulation goes on.

        On a paused simulation the first goal is accepted before time goes on, so that the same
        seed gives the same mission. Raises MeasurementError if a step gets no answer; how the
        mission itself went is in the result.
        """
        mission = self._mission
        wall_end = time.monotonic() + mission.wall_timeout
        if mission.settle > 0:
            self._settle(mission.settle)
        self._since = time.time_ns()
        with self._changed:
            self._results.clear()
            self._failures.clear()
        simulated = 'pause' in self._features
        self._inbox.take()
        before = self._clock.now()
        goal = self._send_goal(mission.goals[0])
        if simulated:
            # What the clock said before is over: the next message is the mission's first.
            self._clock.restart()
        started()
        self._resume()
        self._wait_for_clock(lambda: self._clock.running or not simulated)
        start = self._clock.first() if simulated else before
        start = before if start is None else start
        ending = self._until_end(start, goal, 1, wall_end)
        for number, pose in enumerate(mission.goals[1:], start=2):
            if not ending.succeeded:
                break
            ending = self._until_end(start, self._send_goal(pose), number, wall_end)
        return ending

    def settle_ending(self, ending: Ending) -> Ending:
        """
        Look again at how the mission ended, once the simulation stands still.

        Which message came first depends on the machine; which event was first in sim time does
        not.
        """
        if ending.broken:
            return ending
        limit = ending.start_ns + round(self._mission.timeout * 1e9)
        events = [(ending.end_ns, 1, ending.outcome)]
        with self._changed:
            events += [(at, 0, why) for at, why in self._failures if at >= ending.start_ns]
            results = [(at, what) for _, at, what in self._results if at >= ending.start_ns]
        if len(results) >= len(self._mission.goals):
            at, what = results[len(self._mission.goals) - 1]
            events.append((at, 1, SUCCEEDED if what == SUCCEEDED else f'mission {what}'))
        events.append((limit, 2, 'timeout'))
        end, _, outcome = min(events)
        return dataclasses.replace(ending, end_ns=end, outcome=outcome)

    def _settle(self, seconds: float) -> None:
        """Let the stack run without a goal."""
        self._inbox.take()
        begin = self._clock.now()
        self._resume()
        self._wait(
            lambda: (self._clock.now() - begin) * 1e-9 >= seconds,
            f'the simulation did not run for the {seconds:g} s to settle',
            deadline=self._deadline + 5 * seconds,
        )
        self.pause()

    def _send_goal(self, pose: Pose) -> bytes:
        """Send a goal, wait until it is taken, and return its id."""
        known = set(self._statuses)
        message = PoseStamped()
        message.header.frame_id = self._mission.frame
        if self._clock.running:
            _put_time(message.header.stamp, self._clock.now())
        _put_pose(message.pose, pose)
        self._goals.publish(message)
        self._wait(
            lambda: bool(set(self._statuses) - known),
            f'the goal on {self._mission.goal_topic} was not taken: '
            f'no new status on topic {self._mission.outcome_topic}',
        )
        new = set(self._statuses) - known
        active = [goal for goal in new if self._statuses[goal] in _ACTIVE]
        return (active or list(new))[0]

    def _until_end(self, start: int, goal: bytes, number: int, wall_end: float) -> Ending:
        """Wait until one goal is reached, the mission has failed, or time is up."""
        limit = start + round(self._mission.timeout * 1e9)
        while True:
            self._inbox.take()
            # Read what happened before what did not: the clock runs on.
            ending = self._look(start, limit, goal, number)
            if ending is not None:
                return ending
            if time.monotonic() > wall_end:
                reason = f'wall time-out: not done within {self._mission.wall_timeout:g} s'
                return Ending(reason, start, max(self._clock.now(), start), broken=True)
            try:
                self._alive()
            except ApparatusError:
                raise
            except MeasurementError as error:
                return Ending(error.reason, start, max(self._clock.now(), start), broken=True)
            with self._changed:
                self._changed.wait(_TAKE)

    def _look(self, start: int, limit: int, goal: bytes, number: int) -> Ending | None:
        """Return how the mission ended, None if it goes on."""
        with self._changed:
            failures = [failure for failure in self._failures if failure[0] >= start]
            results = [(at, what) for _, at, what in self._results if at >= start]
            status = self._statuses.get(goal, GoalStatus.STATUS_UNKNOWN)
            sent = self._status_sent
        if failures:
            at, reason = min(failures)
            return Ending(reason, start, at)
        if len(results) >= number:
            at, what = results[number - 1]
            return Ending(SUCCEEDED if what == SUCCEEDED else f'mission {what}', start, at)
        if self._clock.now() > limit:
            return Ending('timeout', start, limit)
        if self._mission.result_topic:
            return None
        if status == GoalStatus.STATUS_SUCCEEDED:
            return Ending(SUCCEEDED, start, max(self._clock.at(sent), start))
        if status in _FAILED:
            return Ending(f'mission {_FAILED[status]}', start, max(self._clock.at(sent), start))
        return None

    def _watch(self, rule: FailRule) -> None:
        """Subscribe to what may end the mission early, once its type is known."""
        if rule.topic in self._watched:
            return
        find = functools.partial(self._node.get_publishers_info_by_topic, rule.topic)
        self._wait(lambda: bool(find()), f'no publisher on topic {rule.topic}', poll=0.01)
        rules = [other for other in self._mission.fail_when if other.topic == rule.topic]
        self._watched[rule.topic] = self._inbox.subscribe(
            message_type(find()[0].topic_type),
            rule.topic,
            lambda message, info: self._on_watched(rules, message, info),
            matching_qos(self._node, rule.topic),
        )

    def _on_watched(self, rules: Iterable[FailRule], message: Any, info: Any) -> None:
        sent = sent_ns(info)
        if sent < self._since:
            return
        for rule in rules:
            try:
                reason = rule.reason if applies(rule, message) else ''
            except (InputError, AttributeError, TypeError) as error:
                reason = f'fail_when on topic {rule.topic} can not be judged ({error})'
            if reason:
                stamp = stamp_of(message)
                at = self._clock.at(sent) if stamp is None else stamp
                with self._changed:
                    self._failures.append((at, reason))
        self._wake()

    def _on_status(self, message: GoalStatusArray, info: Any) -> None:
        with self._changed:
            self._status_sent = sent_ns(info)
            for status in message.status_list:
                self._statuses[bytes(status.goal_info.goal_id.uuid)] = status.status
        self._wake()

    def _on_result(self, message: Header, info: Any) -> None:
        sent = sent_ns(info)
        if sent >= self._since:
            with self._changed:
                self._results.append((sent, stamp_of(message) or 0, message.frame_id))
            self._wake()

    def _on_pose(self, message: PoseWithCovarianceStamped, info: Any) -> None:
        with self._changed:
            self._poses.append((sent_ns(info), stamp_of(message) or 0))
            del self._poses[:-50]
        self._wake()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _wait_for_clock(self, done: Callable[[], bool]) -> None:
        """Wait for the simulator's time to run; raises ApparatusError if it does not."""
        self._wait(done, 'no message on topic /clock', error=ApparatusError)

    def _wait(
        self,
        done: Callable[[], bool],
        problem: str,
        *,
        poll: float = _TAKE_SOON,
        deadline: float | None = None,
        error: type[MeasurementError] = MeasurementError,
    ) -> None:
        """Wait for `done`; raises `error` with `problem` when the deadline is over."""
        seconds = self._deadline if deadline is None else deadline
        end = time.monotonic() + seconds
        while True:
            self._inbox.take()
            with self._changed:
                if done():
                    return
                self._changed.wait(poll)
            if time.monotonic() > end:
                raise error(f'{problem} within {seconds:g} s')
            self._alive()


def applies(rule: FailRule, message: Any) -> bool:
    """Say whether the message ends the mission."""
    expression = Expression(rule.field)
    value = expression.evaluate({name: extract(message, name) for name in expression.names})
    return bool(_COMPARE[rule.op](value, rule.value))


def _put_time(stamp: Any, nanoseconds: int) -> None:
    """Write a time into a builtin_interfaces/Time."""
    stamp.sec, stamp.nanosec = divmod(nanoseconds, 1_000_000_000)


def _put_pose(message: Any, pose: Pose) -> None:
    """Write x, y, yaw into a geometry_msgs/Pose."""
    x, y, yaw = pose
    message.position.x, message.position.y = float(x), float(y)
    message.orientation.z, message.orientation.w = math.sin(yaw / 2), math.cos(yaw / 2)
