# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the simulator's ROS node, whichever engine it has."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import Any

from geometry_msgs.msg import Twist, TwistStamped
from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.executors import SingleThreadedExecutor, TimeoutException
from rclpy.node import Node
from sensor_msgs.msg import TimeReference

from tl_adapt.errors import TlAdaptError
from tl_adapt.ros.inbox import Inbox
from tl_adapt.ros.node_main import run_node
from tl_adapt.simulators import options as parameters
from tl_adapt.simulators.base import Sample
from tl_adapt.simulators.engine import Engine
from tl_adapt.simulators.engines import make_engine
from tl_adapt.simulators.latency import Answer, CommandQueue, LatencyModel
from tl_adapt.simulators.messages import QOS, SensorPublisher
from tl_adapt.simulators.services.offer import Services
from tl_adapt.simulators.stepping import joined, wait_for_answer

_CHECK = 1.0  # s between two looks whether what simulates is still there
_WAKE = 0.05  # s; how late a deadline may be noticed
_PATIENCE = 0.1  # s; an answer that takes longer keeps no other request waiting
_KEPT_ANSWERS = 50  # scans whose answers are still taken in mode real_time


class SimulatorNode(Node):
    """
    Simulate a robot behind ROS topics.

    Publishes the sensors once per scan period; in mode lock_step it then waits for the answer:
    a command whose stamp is that of the scan, and a compute time of each node in
    `compute_time_sources`. Starts paused unless the parameter `paused` is false.
    """

    def __init__(self, **node_options: Any) -> None:
        """Declare parameters, build the simulation; raises TlAdaptError for bad parameters."""
        super().__init__('simulator', **node_options)
        self.options = parameters.declare(self)
        read_only = ParameterDescriptor(read_only=True, description='whether to start paused')
        self.paused = bool(self.declare_parameter('paused', True, read_only).value)
        self.missed = 0
        self._simulator: Engine = make_engine(self.options)
        self.get_logger().info(f'simulates with {self._simulator.about}')
        self._publisher = SensorPublisher(
            self, self.options.beams, self._simulator.range_min, self._simulator.range_max
        )
        self._latency = LatencyModel(self.options.compute_time_sources)
        self._queue = CommandQueue()
        self._answers: dict[int, Answer] = {}
        self._unpublished: Sample | None = None
        self._pending: Answer | None = None
        self._parts: list[tuple[int, Sample]] = []
        self._asked = self._served = self._deadline = self._wall_start = 0.0
        self._checked = time.monotonic()
        self._quitting = False
        self.published_ns = 0
        self._gather_until: float | None = time.monotonic() + self.options.answer_timeout
        self.reset()
        # A compute time alone is no answer: it may wait until the command has come.
        self._compute_times = Inbox(self)
        self._compute_times.subscribe(TimeReference, 'compute_time', self._on_compute_time, QOS)
        self._commands = Inbox(self, open=True)
        # A topic has one type: software of Humble sends plain Twists, later ones stamped ones.
        text = 'whether cmd_vel is a TwistStamped; a Twist on cmd_vel_unstamped serves then, too'
        stamped = self.declare_parameter(
            'stamped_cmd_vel', True, ParameterDescriptor(read_only=True, description=text)
        ).value
        if stamped:
            self._commands.subscribe(TwistStamped, 'cmd_vel', self._on_stamped, QOS)
        name = 'cmd_vel_unstamped' if stamped else 'cmd_vel'
        self._commands.subscribe(Twist, name, self._on_twist, QOS)
        self._offered = Services(self)
        self.add_on_set_parameters_callback(self._on_parameters)

    def destroy_node(self) -> None:
        """End what the simulation runs in, too."""
        self._simulator.close()
        super().destroy_node()

    def run(self, executor: SingleThreadedExecutor) -> None:
        """
        Simulate, and serve requests between the steps, until the context is shut down.

        Raises SimulatorError if the simulation can not go on: whoever needs it starts it anew.
        """
        while executor.context.ok() and not self._quitting:
            if self.paused:
                self._offered.open = True
                executor.spin_once(timeout_sec=1.0)
                self._simulator.check()
            elif self._pending is not None:
                self._await_answer(executor)
                self._check_now_and_then()
            elif not self._has_company():
                executor.spin_once(timeout_sec=_WAKE)
                self._check_now_and_then()
            else:
                self._next_sample(executor)

    def _check_now_and_then(self) -> None:
        """Notice the end of what simulates while software is waited for, too."""
        if time.monotonic() > self._checked + _CHECK:
            self._simulator.check()
            self._checked = time.monotonic()

    def _has_company(self) -> bool:
        """
        Return whether the software listens and can answer, or has been waited for long enough.

        A scan sent before the software has been discovered would be lost, and its answer missed.
        """
        if self._gather_until is None:
            return True
        late = time.monotonic() > self._gather_until
        if late or self.options.mode != 'lock_step' or self._can_be_answered():
            self._gather_until = None
        return self._gather_until is None

    def _can_be_answered(self) -> bool:
        sources = set(self.options.compute_time_sources)
        hear = {info.node_name for info in self.get_subscriptions_info_by_topic('scan')}
        time_it = {info.node_name for info in self.get_publishers_info_by_topic('compute_time')}
        command = [self.count_publishers(name) for name in ('cmd_vel', 'cmd_vel_unstamped')]
        # Others, such as a recorder, listen too: at least one of the sources must.
        return bool(hear & sources if sources else hear) and sources <= time_it and any(command)

    def _next_sample(self, executor: SingleThreadedExecutor) -> None:
        if self._unpublished is None:
            if self.options.mode == 'real_time' and not self._wait_wall(executor):
                return
            self._advance(self._rest_ns())
            # Requests that came meanwhile, such as a pause, go before the publishing.
            self._offered.open = time.monotonic() > self._served + _PATIENCE / 2
            _serve(executor)
            if self._offered.open:
                self._served = time.monotonic()
            if self.paused or self._unpublished is None:  # a reset threw it away
                return
        self._publish()

    def _publish(self) -> None:
        """Publish the sample of the period that is complete, and begin to wait for its answer."""
        if self._unpublished is None:
            return
        sample, self._unpublished = self._unpublished, None
        answer = Answer(sample.time_ns)
        if self.options.mode == 'lock_step':
            self._answers = {sample.time_ns: answer}
            self._pending = answer
            self._asked = time.monotonic()
            self._deadline = self._asked + self.options.answer_timeout
        else:
            self._answers[sample.time_ns] = answer
            while len(self._answers) > _KEPT_ANSWERS:
                self._answers.pop(next(iter(self._answers)))
        self.published_ns = sample.time_ns
        # In lock-step the software's answer is what comes next, and all that is waited for.
        self._offered.open = self.options.mode != 'lock_step'
        self._offered.publish()
        self._publisher.publish(sample, self.options.period_ns / 1e9)

    def _rest_ns(self) -> int:
        """Return the simulated time [ns] until the present period is complete."""
        period = self.options.period_ns
        rest = self.published_ns + period - self._simulator.time_ns
        return rest if rest > 0 else period

    def _advance(self, duration_ns: int) -> None:
        """Simulate, not beyond the end of the period."""
        complete = duration_ns == self._rest_ns()
        commands = self._queue.take(self._simulator.time_ns + duration_ns)
        sample = self._simulator.advance(duration_ns, commands)
        self._parts.append((duration_ns, sample))
        if complete:
            self._unpublished, self._parts = joined(self._parts), []

    def step(self, steps: int) -> None:
        """
        Simulate so many steps of the physics while paused, and publish each complete period.

        In lock-step each scan on the way waits for its answer if somebody is there to give it.
        Raises SimulatorError if the simulation can not go on.
        """
        left = steps * self._simulator.step_ns
        if left:
            self._publish()
        self._deadline = time.monotonic() + self.options.answer_timeout
        while left > 0 and self.context.ok():
            if self._pending is not None and not self._can_be_answered():
                self._pending = None
            wait_for_answer(
                lambda: self.context.ok() and self._look_at_answer(),
                self._commands,
                self._compute_times,
            )
            if self.options.mode == 'real_time':
                self._schedule_answers()
            duration = min(left, self._rest_ns())
            self._advance(duration)
            self._publish()
            left -= duration

    def _await_answer(self, executor: SingleThreadedExecutor) -> None:
        executor.spin_once(timeout_sec=_WAKE)
        self._compute_times.take()
        if not self.paused and self._look_at_answer():
            self._compute_times.open = self._pending is not None and self._pending.answered
            self._offered.open = time.monotonic() > self._asked + _PATIENCE

    def _look_at_answer(self) -> bool:
        """Take the answer that is there, or none at the deadline; return whether to wait on."""
        answer = self._pending
        if answer is None:
            return False
        if answer.complete(self.options.compute_time_sources):
            self._schedule(answer)
        elif time.monotonic() > self._deadline:
            self.missed += 1
            lacking = [s for s in self.options.compute_time_sources if s not in answer.compute_ns]
            lacking = lacking if answer.answered else ['cmd_vel', *lacking]
            self.get_logger().warning(
                f'no answer of {", ".join(lacking)} to the scan at {answer.stamp_ns / 1e9:.3f} s '
                f'within {self.options.answer_timeout:g} s ({self.missed} missed so far)',
                throttle_duration_sec=5.0,
            )
            self._schedule(answer)
        else:
            return True
        self._pending = None
        self._compute_times.open = False
        return False

    def _schedule(self, answer: Answer) -> None:
        """Put the command of an answer into the queue, to take effect when it would be there."""
        o = self.options
        latency_ns = round(o.command_latency * 1e9)
        time_ns = self._latency.effective(
            answer.stamp_ns,
            answer.compute_ns,
            period_ns=o.period_ns,
            cpu_factor=o.cpu_factor,
            command_latency_ns=latency_ns,
        )
        if answer.command is not None and time_ns is not None:
            arrived_ns = answer.received_ns + latency_ns if o.mode == 'real_time' else 0
            self._queue.put(max(time_ns, arrived_ns), answer.command)

    def _wait_wall(self, executor: SingleThreadedExecutor) -> bool:
        """Serve requests until the next period has passed on the wall clock; True if it has."""
        wait = self._wall_start + self.options.period_ns / 1e9 / self.options.real_time_factor
        wait -= time.monotonic()
        if wait > 0:
            executor.spin_once(timeout_sec=min(wait, _CHECK))
            self._check_now_and_then()
            return False
        # A period that could not be kept is not caught up with: that would be faster than real.
        late = wait < -self.options.period_ns / 1e9 / self.options.real_time_factor
        self._wall_start = time.monotonic() + (0.0 if late else wait)
        self._compute_times.take()
        self._schedule_answers()
        return True

    def _schedule_answers(self) -> None:
        """Let all commands that have come count, in mode real_time."""
        for answer in self._answers.values():
            if answer.answered:
                self._schedule(answer)
                answer.answered, answer.command = False, None

    def _now_ns(self) -> int:
        """Return the simulated time that the wall clock stands for, in mode real_time."""
        passed = (time.monotonic() - self._wall_start) * self.options.real_time_factor
        period = self.options.period_ns
        return self._simulator.time_ns + min(max(round(passed * 1e9), 0), period)

    def _on_stamped(self, message: TwistStamped, _: object) -> None:
        stamp = message.header.stamp
        answer = self._answers.get(stamp.sec * 1_000_000_000 + stamp.nanosec)
        if answer is None and self.options.mode == 'real_time' and self._answers:
            answer = next(reversed(self._answers.values()))  # a stamp of another clock
        self._take_command(answer, message.twist)

    def _on_twist(self, message: Twist, _: object) -> None:
        """Take a command without a stamp as the answer to the newest scan."""
        self._take_command(next(reversed(self._answers.values()), None), message)

    def _take_command(self, answer: Answer | None, twist: Twist) -> None:
        if answer is None:
            return
        received_ns = self._now_ns() if self.options.mode == 'real_time' else 0
        if not answer.give_command(twist.linear.x, twist.angular.z, received_ns):
            self.get_logger().error(
                'command refused: it must be finite, '
                f'got linear.x={twist.linear.x}, angular.z={twist.angular.z}',
                throttle_duration_sec=1.0,
            )

    def _on_compute_time(self, message: TimeReference, _: object) -> None:
        stamp = message.header.stamp
        answer = self._answers.get(stamp.sec * 1_000_000_000 + stamp.nanosec)
        if answer is not None and message.source in self.options.compute_time_sources:
            seconds = message.time_ref.sec + message.time_ref.nanosec / 1e9
            if not answer.give_compute_time(message.source, seconds):
                self.get_logger().error(f'compute time of {message.source} refused: {seconds} s')

    @property
    def simulator(self) -> Engine:
        """Return the physics, another one after a change of the world."""
        return self._simulator

    def pause(self) -> None:
        """Let time stand still."""
        self.paused = True

    def resume(self) -> None:
        """Let time go on."""
        if self.paused:
            self.paused = False
            self._wall_start = time.monotonic()
            self._deadline = self._gather_until = self._wall_start + self.options.answer_timeout

    def quit(self) -> None:
        """End the node, once what it does now is done."""
        self._quitting = True

    def reset(self, *, keep_battery: bool = False, time_ns: int = 0) -> None:
        """Put everything back, at once; nothing is published before the next step."""
        o = self.options
        self._simulator.reset(
            seed=o.seed, start=o.start_pose, keep_battery=keep_battery, time_ns=time_ns
        )
        self._latency = LatencyModel(o.compute_time_sources)
        self._queue.clear()
        self.published_ns = time_ns
        self._answers = {}
        self._pending = self._unpublished = None
        self._parts = []
        self.missed = 0
        self._wall_start = time.monotonic()

    def _on_parameters(self, changes: list[Any]) -> SetParametersResult:
        """Check all values, then let them count at once; a new model means a reset."""
        values = {change.name: change.value for change in changes}
        if 'compute_time_sources' in values:
            values['compute_time_sources'] = parameters.sources(values['compute_time_sources'])
        try:
            new = self.options.changed(values)
            changed = {n for n in parameters.STRUCTURAL & set(values)
                       if getattr(new, n) != getattr(self.options, n)}  # fmt: skip
            if changed and not self.paused:
                rule = f'{", ".join(sorted(changed))} can only be changed while paused'
                return SetParametersResult(successful=False, reason=rule)
            if changed:
                built = make_engine(new)
            else:
                self._simulator.check_start(new.start_pose)
        except TlAdaptError as error:
            return SetParametersResult(successful=False, reason=str(error))
        old, self.options = self.options, new
        if changed:
            self._simulator.close()
            self._simulator = built
            self.get_logger().info(f'simulates with {built.about}')
            self._publisher.set_scan(new.beams, built.range_min, built.range_max)
            self.reset()
        elif new.physics != old.physics:
            self._simulator.set_physics(new.physics)
        self._simulator.exact_reset = new.exact_reset
        if new.compute_time_sources != old.compute_time_sources:
            self._latency = LatencyModel(new.compute_time_sources)
        if new.mode != old.mode:
            self._pending, self._answers = None, {}
            self._wall_start = time.monotonic()
        return SetParametersResult(successful=True)


def _serve(executor: SingleThreadedExecutor) -> None:
    """Run every callback that is ready; wait for none."""
    with contextlib.suppress(TimeoutException):
        while True:
            handler, _, _ = executor.wait_for_ready_callbacks(timeout_sec=0)
            handler()
            handler.result()


def main(args: list[str] | None = None) -> int:
    """Run the node until it is told to end; return the exit code."""
    return run_node(SimulatorNode, args, spin=SimulatorNode.run)


if __name__ == '__main__':
    sys.exit(main())
