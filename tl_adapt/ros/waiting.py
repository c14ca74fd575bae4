# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for waiting, with a deadline, for what callbacks note."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from rclpy.client import Client

from tl_adapt.errors import ApparatusError, MeasurementError
from tl_adapt.ros.calls import Call
from tl_adapt.ros.inbox import Inbox

TAKE_SOON = 0.005  # s between two looks into the inbox


class Waiter:
    """
    Wait in the thread that calls, while another one spins.

    Callbacks change things under the condition `changed`, and notify it.
    """

    def __init__(self, inbox: Inbox, alive: Callable[[], None], deadline: float) -> None:
        """
        Take from the `inbox` while waiting.

        `alive` raises MeasurementError if a process died; `deadline` [s, wall] bounds each wait.
        """
        self._inbox = inbox
        self._alive = alive
        self.deadline = deadline
        self.changed = threading.Condition()

    def wake(self) -> None:
        """Make who waits look again."""
        with self.changed:
            self.changed.notify_all()

    def until(
        self,
        done: Callable[[], bool],
        problem: str,
        *,
        poll: float = TAKE_SOON,
        deadline: float | None = None,
        error: type[MeasurementError] = MeasurementError,
    ) -> None:
        """Wait for `done`; raises `error` with `problem` when the deadline is over."""
        seconds = self.deadline if deadline is None else deadline
        end = time.monotonic() + seconds
        while True:
            self._inbox.take()
            with self.changed:
                if done():
                    return
                self.changed.wait(poll)
            if time.monotonic() > end:
                raise error(f'{problem} within {seconds:g} s')
            self._alive()

    def pass_time(self, seconds: float) -> None:
        """Let time pass, or until something changes; raises MeasurementError if a process died."""
        self._alive()
        self._inbox.take()
        with self.changed:
            self.changed.wait(seconds)

    def call(
        self,
        client: Client,
        request: Any,
        *,
        deadline: float | None = None,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Any:
        """
        Call a service once it is there, and return its answer.

        Raises ApparatusError if it does not come, MeasurementError if it does not answer.
        """
        seconds = self.deadline if deadline is None else deadline
        end = time.monotonic() + seconds
        self.until(
            client.service_is_ready, f'no service {client.srv_name}', poll=0.01,
            deadline=seconds, error=ApparatusError,
        )
        call = Call(client, request)
        try:
            while not call.wait(0.02):
                self._inbox.take()
                self._alive()
                meanwhile()
                if time.monotonic() > end:
                    raise MeasurementError(
                        f'service {client.srv_name} gave no answer within {seconds:g} s'
                    )
            return call.answer()
        finally:
            call.forget()
