# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for finding the missions in a bag, by what its topics say of goals.

Times called `log` are the recorder's [ns]; all others are the time that the robot's clock showed,
which is the same where the bag has no `/clock`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tl_adapt.judging import ACTIVE, ENDED, SUCCEEDED, first_event

if TYPE_CHECKING:
    from tl_adapt.study import Mission

#: What was recorded so much later than a mission's end does not belong to it [ns].
GRACE = 1_000_000_000
# A terminal status and the result that belongs to it may come in any order, this far apart [ns].
_RESULT_GRACE = 300_000_000
# A goal that was sent so long before one was taken is another one [ns].
GOAL_AGE = 10_000_000_000
# A latched message comes so soon after the recording has begun [ns].
_LATCHED = 2_000_000_000


@dataclasses.dataclass(frozen=True)
class Drive:
    """
    Describe a mission of a bag.

    Its messages were recorded from `since` on and before `until`; its goal was taken at `begun`,
    its time ran from `ticked` on, its end was seen at `ended` (all of them log times). `start_ns`,
    `end_ns` and `outcome` are as in a trace. `cut` says why it is not whole, '' if it is.
    """

    number: int
    goal: str
    begun: int
    since: int
    until: int
    ticked: int
    ended: int
    start_ns: int
    end_ns: int
    outcome: str
    cut: str = ''


@dataclasses.dataclass
class _Open:
    """Hold what is known of the mission under way."""

    goal: str
    begun: int
    since: int
    start: int | None
    ticked: int
    ended: tuple[int, int, str] | None = None  # log, time, outcome of the present goal
    done: int = 0  # goals before the present one
    seen: int | None = None  # when its end was seen, log
    whole: bool = True
    results: list[tuple[int, str]] = dataclasses.field(default_factory=list)
    failures: list[tuple[int, str]] = dataclasses.field(default_factory=list)


class MissionLog:
    """
    Follow goals from being taken to their end; events come in the order of their log times.

    What has ended is put to `drives`, once nothing more can belong to it.
    """

    def __init__(self, mission: Mission, *, held: bool, results: bool) -> None:
        """
        Find missions of this kind.

        `held` says that time stands still until a goal is taken, `results` that the topic of
        results was recorded.
        """
        self._mission = mission
        self._held = held
        self._has_results = results
        self._open: _Open | None = None
        self._known: set[str] = set()
        self._since = 0
        self._sent: tuple[int, int] | None = None  # log and time of the last goal sent
        self._first: tuple[int, int] | None = None  # log and time of the first message
        self._told = False  # whether there was a status before
        self._time = 0
        self.count = 0
        self.drives: list[Drive] = []

    @property
    def needed_since(self) -> int | None:
        """Return the log time from which messages are needed still, None if from now on."""
        needed = [drive.since for drive in self.drives]
        if self._open is not None:
            needed.append(self._open.since)
        return min(needed, default=None)

    # --- events ---------------------------------------------------------------------------------

    def on_goal(self, log: int, time: int) -> None:
        """Take note of a goal on the topic of goals."""
        self.advance(log, time)
        self._sent = (log, time)

    def on_initial_pose(self, log: int, time: int) -> None:
        """
        Take note that the robot is told where it is.

        After a mission's end that prepares the next one. Where the world was put back meanwhile,
        the answer has a stamp of the mission that is over.
        """
        self.advance(log, time)
        if self._open is not None and self._open.seen is not None:
            self._close(log, '')

    def on_status(
        self, log: int, time: int, statuses: Mapping[str, int], accepted: Mapping[str, int]
    ) -> None:
        """Take note of the states of goals, and of when each was accepted [ns, 0: unknown]."""
        first = self._first
        self.advance(log, time)
        found = self._open
        for goal, status in statuses.items():
            ours = found is not None and goal == found.goal and found.ended is None
            if found is not None and ours and status in ENDED:
                found.ended = (log, time, ENDED[status])
        new = [
            goal for goal, status in statuses.items()
            if status in ACTIVE and goal not in self._known
        ]
        self._known.update(statuses)
        if new:
            # A latched topic tells of goals that were taken before the recording began.
            early = (
                first is not None and not self._told and log <= first[0] + _LATCHED
                and 0 < accepted.get(new[0], 0) < first[1]
            )
            self._begin(new[0], log, time, whole=not early)
        self._told = True
        self._look(log, time)

    def on_result(self, log: int, time: int, stamp: int, what: str) -> None:
        """Take note of how a goal ended by the topic of results."""
        self.advance(log, time)
        found = self._open
        if found is not None and (found.start is None or stamp >= found.start):
            found.results.append((stamp, what))
        self._look(log, time)

    def on_failure(self, log: int, time: int, stamp: int, why: str) -> None:
        """Take note of a rule by which a mission fails."""
        self.advance(log, time)
        found = self._open
        if found is not None and (found.start is None or stamp >= found.start):
            found.failures.append((stamp, why))
        self._look(log, time)

    def on_tick(self, log: int, time: int) -> None:
        """Take note of the first time on the clock since a mission's goal was taken."""
        if self._open is not None and self._open.start is None and log >= self._open.begun:
            self._open.start, self._open.ticked = time, log

    @property
    def begun(self) -> int:
        """Return when the goal of the open mission was taken (log), 0 without one."""
        return 0 if self._open is None else self._open.begun

    @property
    def waits_for_tick(self) -> bool:
        """Tell whether the next message on the clock says when the mission began."""
        return self._open is not None and self._open.start is None

    def on_jump(self, log: int, time: int) -> None:
        """Take note that the clock was put back: what comes now belongs to another time."""
        found = self._open
        if found is not None and (found.start is None or log <= found.ticked):
            # It was put back before the goal was taken, and tells so only now that it runs.
            self._since, self._time = log, time
            return
        self._close(log, 'the clock was put back')
        self._since, self._sent, self._time = log, None, time

    def advance(self, log: int, time: int) -> None:
        """Take note of the time: missions may be over by it."""
        if self._first is None:
            self._first = (log, time)
        self._time = time
        self._look(log, time)
        found = self._open
        if found is not None and found.seen is not None and log >= found.seen + GRACE:
            self._close(log, '')

    def finish(self, log: int) -> None:
        """Say that the bag ends."""
        self._close(log + 1, 'the bag ends before the mission does')

    # --- ends -----------------------------------------------------------------------------------

    def _begin(self, goal: str, log: int, time: int, *, whole: bool) -> None:
        found = self._open
        if found is not None:
            goes_on = (
                found.ended is not None and found.ended[2] == SUCCEEDED
                and found.done + 1 < len(self._mission.goals)
            )
            if goes_on:
                found.goal, found.ended, found.seen = goal, None, None
                found.done += 1
                return
            self._close(log, 'another goal took its place')
        start: int | None = None
        since = log if self._held else max(self._since, log - GOAL_AGE)
        sent, self._sent = self._sent, None
        if not self._held:
            start = time
        if sent is not None and sent[0] >= max(self._since, log - GOAL_AGE):
            since = sent[0]
            start = None if self._held else sent[1]
        self._open = _Open(goal, log, since, start, since, whole=whole)

    def _look(self, log: int, time: int) -> None:
        """Take note of when the end of the open mission was seen first."""
        found = self._open
        if found is not None and found.seen is None and self._ending(found, log, time):
            found.seen = log

    def _ending(self, found: _Open, log: int, time: int) -> tuple[int, str] | None:
        """Return end and outcome of a mission, None if it goes on."""
        if found.start is None:
            return None
        status = None
        if found.ended is not None:
            at, when, what = found.ended
            last = what != SUCCEEDED or found.done + 1 >= len(self._mission.goals)
            late = not self._has_results or log > at + _RESULT_GRACE
            status = (when, what) if last and late else None
        start = found.start
        return first_event(
            self._mission, start,
            failures=[item for item in found.failures if item[0] >= start],
            results=[item for item in found.results if item[0] >= start],
            status=status, now=time,
        )

    def _close(self, log: int, why: str) -> None:
        """End the open mission; `why` it is not whole if its end was not seen."""
        found, self._open = self._open, None
        if found is None:
            return
        # No result comes any more.
        end = self._ending(found, log + _RESULT_GRACE + GRACE, self._time)
        if not found.whole:
            why = 'its goal was taken before the recording began'
        elif end is not None:
            why = ''
        start = found.start or 0
        finish, outcome = end or (start, '')
        self.count += 1
        seen = log if found.seen is None else found.seen
        self.drives.append(Drive(
            self.count, found.goal, found.begun, found.since, log, found.ticked, seen, start,
            finish, outcome, why,
        ))
        self._since = seen


class WholeLog(MissionLog):
    """Take a whole bag as one mission, which ends early only by a rule."""

    def __init__(self) -> None:
        """Begin with the first message."""
        self.drives = []
        self.count = 0
        self._failures: list[tuple[int, int, str]] = []
        self._begun: tuple[int, int] | None = None
        self._last = (0, 0)
        self._cut = ''

    @property
    def waits_for_tick(self) -> bool:
        """Return False: time ran from the beginning."""
        return False

    @property
    def needed_since(self) -> int | None:
        """Return 0: all of it is needed."""
        return 0

    def advance(self, log: int, time: int) -> None:
        """Take note of the time."""
        if self._begun is None:
            self._begun = (log, time)
        self._last = (log, max(time, self._last[1]))

    def on_goal(self, log: int, time: int) -> None:
        """Ignore goals."""

    def on_initial_pose(self, log: int, time: int) -> None:
        """Ignore where the robot is told to be."""

    def on_status(
        self, log: int, time: int, statuses: Mapping[str, int], accepted: Mapping[str, int]
    ) -> None:
        """Ignore the states of goals."""

    def on_result(self, log: int, time: int, stamp: int, what: str) -> None:
        """Ignore results."""

    def on_failure(self, log: int, time: int, stamp: int, why: str) -> None:
        """Take note of a rule by which a mission fails."""
        self._failures.append((stamp, log, why))

    def on_jump(self, log: int, time: int) -> None:
        """Take note that the clock was put back."""
        self._cut = 'the clock was put back'

    def finish(self, log: int) -> None:
        """Say that the bag ends."""
        if self._begun is None:
            return
        begun, start = self._begun
        failures = [item for item in self._failures if item[0] >= start]
        end, _, outcome = min(failures, default=(self._last[1], log, SUCCEEDED))
        self.count = 1
        self.drives.append(Drive(
            1, '', begun, begun, log + 1, begun, log, start, end, outcome, self._cut
        ))
