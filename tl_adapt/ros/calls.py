# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for service calls that end in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from rclpy.client import Client

_LOOK = 0.1  # s between two looks whether who should answer is still there


class Call:
    """Hold one request to one service until its answer is there; the node is spun elsewhere."""

    def __init__(self, client: Client, request: Any) -> None:
        """Send the request."""
        self._client = client
        self._request = request
        self._done = threading.Event()
        self._futures: list[Any] = []
        self.send()

    def send(self) -> None:
        """Send the request; the first answer to any of the sendings counts."""
        future = self._client.call_async(self._request)
        self._futures.append(future)
        future.add_done_callback(lambda _: self._done.set())

    def wait(self, seconds: float, alive: Callable[[], None] = lambda: None) -> bool:
        """Wait for an answer, not longer than `seconds`; `alive` may raise to end that."""
        end = time.monotonic() + seconds
        while not self._done.wait(min(max(end - time.monotonic(), 0.0), _LOOK)):
            if time.monotonic() >= end:
                return False
            alive()
        return True

    def answer(self) -> Any:
        """Return the answer; only after `wait` returned True."""
        return next(future.result() for future in self._futures if future.done())

    @property
    def settled(self) -> bool:
        """Tell whether the last sending was answered: a server answers in their order."""
        return bool(self._futures[-1].done())

    def forget(self) -> None:
        """Drop what is still unanswered."""
        for future in self._futures:
            if not future.done():
                self._client.remove_pending_request(future)
