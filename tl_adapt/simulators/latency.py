# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for when commands take effect, so that slow software pays for its slowness."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tl_adapt.simulators.base import Command, finite


class LatencyModel:
    """
    Model a chain of nodes that each handle one scan after the other.

    A scan enters the first node, whose output enters the second, and so on. A node that is still
    busy begins when it is free. Each keeps only its newest input: one that would have to wait
    for a whole scan period is replaced by the next, and its command never comes to be; so the
    delay of a command is bounded. Times are in ns.
    """

    def __init__(self, sources: Sequence[str] = ()) -> None:
        """Begin with idle nodes; sources: their names in the order of the chain."""
        self._free: dict[str, int] = dict.fromkeys(sources, 0)

    def reset(self) -> None:
        """Let all nodes be idle."""
        self._free = dict.fromkeys(self._free, 0)

    def effective(
        self,
        stamp_ns: int,
        compute_ns: Mapping[str, int],
        *,
        period_ns: int,
        cpu_factor: float = 1.0,
        command_latency_ns: int = 0,
    ) -> int | None:
        """
        Return when the command for the scan of `stamp_ns` takes effect; None if it is replaced.

        compute_ns: compute time by source on the reference computer; a missing one counts as 0.
        Call once for each scan, in order of the stamps.
        """
        time = stamp_ns
        for source, free in self._free.items():
            start = max(time, free)
            if start >= time + period_ns:
                return None
            time = start + round(cpu_factor * compute_ns.get(source, 0))
            self._free[source] = time
        return time + command_latency_ns


@dataclass
class Answer:
    """Collect what the software says about one scan; `refused` counts bad commands."""

    stamp_ns: int
    received_ns: int = 0
    command: Command | None = None
    answered: bool = False
    refused: int = 0
    compute_ns: dict[str, int] = field(default_factory=dict)

    def give_command(self, linear: float, angular: float, received_ns: int = 0) -> bool:
        """
        Take the command; return False if it is refused, because it is not finite.

        A refused command answers the scan too: nothing better will come.
        """
        self.answered, self.received_ns = True, received_ns
        if not finite((linear, angular)):
            self.refused += 1
            return False
        self.command = Command(linear, angular)
        return True

    def give_compute_time(self, source: str, seconds: float) -> bool:
        """Take a compute time [s]; return False if it is refused: negative or not finite."""
        if not math.isfinite(seconds) or seconds < 0:
            return False
        self.compute_ns[source] = round(seconds * 1e9)
        return True

    def complete(self, sources: Sequence[str]) -> bool:
        """Return whether there is a command, and a compute time of each source."""
        return self.answered and all(source in self.compute_ns for source in sources)


class CommandQueue:
    """
    Hold commands until they take effect, and stop the robot when none has come for long.

    The watchdog is what every robot base has: software that has died must not drive on.
    """

    def __init__(self, timeout_ns: int = 500_000_000) -> None:
        """Begin empty; timeout_ns: how long [ns] a command holds without a newer one."""
        self._timeout_ns = timeout_ns
        self._waiting: list[tuple[int, Command]] = []
        self._stop_ns: int | None = None

    def clear(self) -> None:
        """Forget everything."""
        self._waiting = []
        self._stop_ns = None

    def put(self, time_ns: int, command: Command) -> None:
        """Add a command that takes effect at `time_ns`, not before those added earlier."""
        if self._waiting:
            time_ns = max(time_ns, self._waiting[-1][0])
        self._waiting.append((time_ns, command))

    def take(self, until_ns: int) -> list[tuple[int, Command]]:
        """Return, and remove, what takes effect before `until_ns`, stops by the watchdog too."""
        due = [item for item in self._waiting if item[0] < until_ns]
        self._waiting = self._waiting[len(due):]
        result: list[tuple[int, Command]] = []
        for time_ns, command in due:
            result += self._watchdog(time_ns)
            result.append((time_ns, command))
            self._stop_ns = time_ns + self._timeout_ns
        return result + self._watchdog(until_ns)

    def _watchdog(self, now_ns: int) -> list[tuple[int, Command]]:
        if self._stop_ns is None or self._stop_ns >= now_ns:
            return []
        stop, self._stop_ns = (self._stop_ns, Command(0.0, 0.0)), None
        return [stop]
