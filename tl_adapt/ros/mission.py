# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for running one mission on a live graph.

All waiting is done here, in the thread that calls; callbacks only note what came and wake it.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.node import Node
from std_msgs.msg import Header

from tl_adapt.errors import ApparatusError, MeasurementError, SimulatorFailedError
from tl_adapt.judging import SUCCEEDED, TIMEOUT
from tl_adapt.ros.entity_watch import ailment
from tl_adapt.ros.fail_rules import WatchedRules
from tl_adapt.ros.goals import Goals, RejectedError, put_pose, put_time
from tl_adapt.ros.inbox import PUBLISHER_EVENTS, SUBSCRIPTION_EVENTS, Inbox
from tl_adapt.ros.message_info import with_info
from tl_adapt.ros.progress_watch import STALL_TIMEOUT
from tl_adapt.ros.recorder import SimClock, sent_ns, stamp_of
from tl_adapt.ros.simulator_control.base import SimulatorControl
from tl_adapt.ros.simulator_control.find import make_control
from tl_adapt.ros.simulator_control.place import place
from tl_adapt.ros.waiting import Waiter

if TYPE_CHECKING:
    from tl_adapt.study import Mission

# The pose where a localizer answers an initial pose: the demo's and Nav2's.
_POSE_TOPICS = ('pose', 'amcl_pose')
_WARM = 5  # clock messages
_TAKE = 0.05  # s between two looks into the inbox while the mission runs
_NEAR = 0.5  # m that a localizer's answer may be away from the pose that it was told
_AGAIN = 2.0  # s after which a localizer that was not ready is told its pose once more


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
        mean that it is not, as on a robot. Its `pause_for` says how long time stands still:
        until the goal was taken (`start`), while the world is reset (`reset`), or `never`.
        `alive` raises MeasurementError if a process died.
        What comes with every scan goes through the `inbox`, as the clock does.
        `deadline` [s, wall] bounds each single step.
        """
        self._node = node
        self._mission = mission
        self._clock = clock
        self._alive = alive
        self._inbox = inbox
        self._deadline = deadline
        self.waiter = Waiter(inbox, alive, deadline)
        self._changed, self._wake = self.waiter.changed, self.waiter.wake
        self._wait = self.waiter.until
        self._results: list[tuple[int, int, str]] = []
        self._poses: list[tuple[int, int, float]] = []
        self._since = 0
        self._sequence = 0
        self._simulator = simulator or {}
        self._control: SimulatorControl | None = None
        self._pauses = self._held = False  # whether time can, and until the goal does, stand still
        self.goals = Goals(node, mission, clock, self.waiter)
        self._rules = WatchedRules(node, mission.fail_when, clock, inbox, self.waiter)
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
        control = self.connect()
        if entity := self._simulator.get('entity'):
            control.state(entity)  # better to fail now than in the first mission
        self.goals.wait_until_ready()
        if self._initial is not None:
            self._wait(
                lambda: self._initial.get_subscription_count() > 0,
                f'nothing listens on topic {self._mission.initialpose_topic}',
                poll=0.01,
            )
        self._rules.connect()

    def warm_up(self) -> None:
        """
        Let a simulation that has just come up run for a few steps.

        That all nodes are there doesn't mean that they have found each other: what is lost until
        then must not be lost in a mission.
        """
        if not self._pauses:
            return
        self.resume()
        self._wait_for_clock(lambda: self._clock.ticks >= _WARM)
        self.pause()

    def connect(self) -> SimulatorControl:
        """Find out how the simulator is controlled, wait until it can be, and return that."""
        control = self._control
        if control is None:
            control = self._control = make_control(
                self._node, self._simulator, deadline=self._deadline, alive=self._alive
            )
            pause_for = self._simulator.get('pause_for', 'start')
            self._pauses = 'pause' in control.features() and pause_for != 'never'
            self._held = self._pauses and pause_for == 'start'
        control.wait_until_ready()
        return control

    def pause(self) -> None:
        """Pause the simulation, if there is one."""
        if self._control is not None and self._pauses:
            self._control.pause()

    def _let_run(self) -> None:
        if self._control is not None and self._pauses:
            self._control.resume()

    def resume(self) -> None:
        """Let the simulation's time run, if there is one that can be paused."""
        self.connect()
        if self._pauses:
            self._clock.restart()
            self._let_run()
            self._wait_for_clock(lambda: self._clock.running)

    def prepare(self) -> None:
        """Let time run again after the reset, unless it stands still until the goal is taken."""
        if not self._held:
            self.resume()
            if self._node.count_publishers('/clock'):
                self._wait_for_clock(lambda: self._clock.running)

    def reset(self) -> None:
        """Reset the paused simulation, if there is one; put its robot where the mission starts."""
        control = self._control
        if control is None or (
            control.interface == 'services' and 'reset' not in control.features()
        ):
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
        begun = time.time_ns()
        with self._changed:
            self._poses.clear()
        stamp = self.announce_pose()
        again = time.monotonic() + _AGAIN

        def answered() -> bool:
            nonlocal again
            if not self._held and time.monotonic() > again:
                # While time runs, it may have come before the transforms that it needs.
                again = time.monotonic() + _AGAIN
                self.announce_pose()
            # While time stands still only the answer has that stamp; else it is there or nearby.
            return any(
                sent >= begun and (at == stamp if self._held else away <= _NEAR)
                for sent, at, away in self._poses
            )

        topic = self._mission.initialpose_topic
        self._wait(answered, f'no pose came after the initial pose on topic {topic}')

    def announce_pose(self) -> int:
        """Publish where the mission starts, if that is to be told; return the stamp."""
        stamp = self._clock.now() if self._clock.running else 0
        if self._initial is None or self._mission.start is None:
            return stamp
        message = PoseWithCovarianceStamped()
        message.header.frame_id = self._mission.frame
        put_time(message.header.stamp, stamp)
        put_pose(message.pose.pose, self._mission.start)
        for index, variance in ((0, 0.01), (7, 0.01), (35, 0.01)):
            message.pose.covariance[index] = variance
        self._initial.publish(message)
        return stamp

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
        self._rules.begin(self._since)
        self.goals.forget()
        self._inbox.take()
        before = self._clock.now()
        goal = self.goals.send(mission.goals[0])
        if self._held:
            # What the clock said before is over: the next message is the mission's first.
            self._clock.restart()
        started()
        if self._held:
            self._let_run()
        self._wait_for_clock(lambda: self._clock.running or not self._held)
        start = self._clock.first() if self._held else before
        start = before if start is None else start
        try:
            ending = self._until_end(start, goal, 1, wall_end)
            for number, pose in enumerate(mission.goals[1:], start=2):
                if not ending.succeeded:
                    break
                try:
                    goal = self.goals.send(pose)
                except RejectedError as error:
                    return Ending(error.reason, start, max(self._clock.now(), start))
                ending = self._until_end(start, goal, number, wall_end)
        except MeasurementError:
            self.goals.abandon(goal)
            raise
        if not ending.succeeded and not self.goals.give_up(goal):
            # It may drive on for all we know.
            ending = dataclasses.replace(ending, broken=True)
        return ending

    def check_simulator(self) -> None:
        """
        Raise SimulatorFailedError unless time runs and the robot is well, as far as can be seen.

        Where the simulation can be paused it is paused afterwards. On a robot this does nothing.
        """
        if not self._simulator or self._control is None:
            return
        seconds = float(self._simulator.get('stall_timeout', STALL_TIMEOUT))
        self._clock.restart()
        self._let_run()
        if self._pauses or self._node.count_publishers('/clock'):
            self._wait(
                lambda: self._clock.ticks > 1,
                'the simulation stands still: no two messages on topic /clock',
                deadline=seconds, error=SimulatorFailedError,
            )
        entity = self._simulator.get('entity')
        if entity and (problem := ailment(entity, self._control.state(entity))):
            raise SimulatorFailedError(problem)
        self.pause()

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
            events += [(at, 0, why) for at, why in self._rules.failures(ending.start_ns)]
            results = [(at, what) for _, at, what in self._results if at >= ending.start_ns]
        if len(results) >= len(self._mission.goals):
            at, what = results[len(self._mission.goals) - 1]
            events.append((at, 1, SUCCEEDED if what == SUCCEEDED else f'mission {what}'))
        events.append((limit, 2, TIMEOUT))
        end, _, outcome = min(events)
        return dataclasses.replace(ending, end_ns=end, outcome=outcome)

    def _settle(self, seconds: float) -> None:
        """Let the stack run without a goal."""
        self._inbox.take()
        begin = self._clock.now()
        self._let_run()
        self._wait(
            lambda: (self._clock.now() - begin) * 1e-9 >= seconds,
            f'the simulation did not run for the {seconds:g} s to settle',
            deadline=self._deadline + 5 * seconds,
        )
        if self._held:
            self.pause()

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
                raise  # that is no way for a mission to end
            except MeasurementError as error:
                return Ending(error.reason, start, max(self._clock.now(), start), broken=True)
            with self._changed:
                self._changed.wait(_TAKE)

    def _look(self, start: int, limit: int, goal: bytes, number: int) -> Ending | None:
        """Return how the mission ended, None if it goes on."""
        with self._changed:
            failures = self._rules.failures(start)
            results = [(at, what) for _, at, what in self._results if at >= start]
            end = self.goals.end_of(goal)
        if failures:
            at, reason = min(failures)
            return Ending(reason, start, at)
        if len(results) >= number:
            at, what = results[number - 1]
            return Ending(SUCCEEDED if what == SUCCEEDED else f'mission {what}', start, at)
        if self._clock.now() > limit:
            return Ending(TIMEOUT, start, limit)
        if self._mission.result_topic or end is None:
            return None
        return Ending(end.outcome, start, max(self._clock.at(end.sent), start))

    def _on_result(self, message: Header, info: Any) -> None:
        sent = sent_ns(info)
        if sent >= self._since:
            with self._changed:
                self._results.append((sent, stamp_of(message) or 0, message.frame_id))
            self._wake()

    def _on_pose(self, message: PoseWithCovarianceStamped, info: Any) -> None:
        x, y, _ = self._mission.start or (0.0, 0.0, 0.0)
        place = message.pose.pose.position
        away = math.hypot(place.x - x, place.y - y)
        with self._changed:
            self._poses.append((sent_ns(info), stamp_of(message) or 0, away))
            del self._poses[:-50]
        self._wake()

    def _wait_for_clock(self, done: Callable[[], bool]) -> None:
        """Wait for the simulator's time to run; raises ApparatusError if it does not."""
        self._wait(done, 'no message on topic /clock', error=ApparatusError)
