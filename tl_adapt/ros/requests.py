# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for what waits for the adapter's thread: events of callbacks, in their order.

Some can not wait: from the moment on that they are posted nothing may begin, or a plan that is
being made is no longer wanted.
"""

from __future__ import annotations

import dataclasses
import queue
import threading
from collections.abc import Callable, Iterator

from tl_adapt.adaptation.events import Event, Paused
from tl_adapt.ros.report import Report
from tl_adapt.ros.settings import SettingsChanged


@dataclasses.dataclass
class Request:
    """Hold an event, and what is called once it is handled."""

    event: Event | SettingsChanged
    answer: Callable[[Report], None] | None = None


class Requests:
    """Hand requests from any thread to the one that handles them."""

    def __init__(self) -> None:
        """Begin with none."""
        self._queue: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._halts = 0  # asked for and not handled yet
        self._presses = 0  # what can not wait, and is not yet begun to be handled

    @property
    def halted(self) -> bool:
        """Tell whether something is posted, or being handled, after which nothing may begin."""
        with self._lock:
            return self._halts > 0

    @property
    def pressing(self) -> bool:
        """Tell whether something is posted that ends a plan which is being made."""
        with self._lock:
            return self._presses > 0

    def post(self, request: Request) -> None:
        """Hand over a request."""
        with self._lock:
            # Nothing may begin from here on, also before the event's turn comes.
            self._halts += _halts(request.event)
            self._presses += _presses(request.event)
        self._queue.put(request)

    def wake(self, *, always: bool = False) -> None:
        """Make `take` return, if nothing else does."""
        if always or self._queue.empty():
            self._queue.put(None)

    def take(self, timeout: float) -> Request | None:
        """Return the next request, None after `timeout` s or a `wake`; it is being handled now."""
        try:
            request = self._queue.get(timeout=timeout)
        except queue.Empty:
            return None
        if request is not None:
            with self._lock:
                self._presses -= _presses(request.event)
        return request

    def handled(self, event: Event | SettingsChanged) -> None:
        """Note that what `take` returned was handled, well or not."""
        with self._lock:
            self._halts -= _halts(event)

    def left(self) -> Iterator[Request]:
        """Take what nobody will handle any more."""
        while not self._queue.empty():
            request = self._queue.get()
            if request is not None:
                yield request


def _presses(event: Event | SettingsChanged) -> bool:
    """Tell whether an event ends a plan that is being made; a number to steer by does not."""
    return not isinstance(event, SettingsChanged) or event.settings.dry_run


def _halts(event: Event | SettingsChanged) -> bool:
    """Tell whether nothing may begin once this event was posted."""
    return isinstance(event, Paused) or (
        isinstance(event, SettingsChanged) and event.settings.dry_run
    )
