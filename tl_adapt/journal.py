# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the journal of an adapter in the study's store.

A thread of its own has the database, so that no call takes longer than its deadline whatever the
database does: it may be locked, full, gone, or a server that does not answer.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import datetime
import os
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from tl_adapt.adaptation.records import ADAPTER, Intent, Record
from tl_adapt.errors import StoreError
from tl_adapt.journal_database import JournalDatabase, UnreachableError, UnwritableError
from tl_adapt.journal_table import (
    END,
    RECORD,
    DamagedEntryError,
    begin_row,
    end_row,
    finite,
    full_row,
    now,
    reason_of,
    record_row,
)
from tl_adapt.store import storable

_CHUNK = 500  # rows written at once: a few ms, so that others can write in between
_TRY = 0.25  # s that records wait for other writers, at each try
_RETRY = 0.5  # s between tries
_FORGET = 3600.0  # s between looks for what is too old
_MARGIN = 0.2  # s before a deadline by which the database gives up, so that it can say why

Row = dict[str, Any]


@dataclasses.dataclass
class _Request:
    """Hold what the thread is asked to do, and what came of it."""

    act: Callable[[float], Any]
    deadline: float
    late: Callable[[], None] | None
    given_up: bool = False
    done: bool = False
    result: Any = None
    error: Exception | None = None


class StoreJournal:
    """
    Keep an adapter's records in a store: a SQLite file or any URL of SQLAlchemy.

    What can't be written yet is kept, up to `capacity` records; then the oldest are dropped, and
    that is recorded. `sim_time` gives the time of the simulation [s] for each record, if there is
    one. What is older than `keep_days` is deleted by and by, if that is given, but for the newest
    and the last change. `tell` gets what an operator has to know at once. All may be called from
    any thread.
    """

    def __init__(
        self,
        store: str | os.PathLike[str],
        *,
        study: str,
        environment: str,
        sim_time: Callable[[], float | None] = lambda: None,
        keep_days: float | None = None,
        deadline: float = 2.0,
        capacity: int = 10_000,
        tell: Callable[[str], object] = lambda text: None,
    ) -> None:
        """
        Look at the store, and make it if it is missing; `deadline` [s] bounds each wait.

        Raises StoreError if it is no store of ours. If it can't be reached now, `trouble` says so.
        """
        self._database = JournalDatabase(store)
        self.name = self._database.name
        self._study, self._environment = storable(study), storable(environment)
        self._sim_time = sim_time
        self._tell = tell
        self._deadline = deadline
        self._capacity = capacity
        self._run = uuid.uuid4().hex
        # Below: what the thread and the callers share, under this condition's lock.
        self._changed = threading.Condition()
        self._pending: collections.deque[Row] = collections.deque()
        self._writing: list[Row] = []
        self._requests: collections.deque[_Request] = collections.deque()
        self._dropped = 0
        self._failure = ''
        self._retry_at = 0.0
        self._busy_since: float | None = None
        self._close_at: float | None = None
        self._open: list[tuple[Intent, str]] = []
        self._ended: set[str] = set()
        # Below: the thread's own.
        self._chunk = _CHUNK
        self._keep_days = keep_days
        self._forget_at = time.monotonic()
        self._thread = threading.Thread(target=self._work, name='journal', daemon=True)
        self._thread.start()
        try:
            self._ask(lambda deadline: self._database.connect(deadline - _MARGIN))
        except UnreachableError:
            pass  # it is tried again, and `trouble` tells
        except StoreError:
            self.close()
            raise

    # --- the protocol --------------------------------------------------------------------------

    def begin(self, intent: Intent) -> None:
        """
        Note durably what is about to be done, before anything is sent.

        Raises StoreError, after the deadline at the latest, if that can't be done.
        """
        token = uuid.uuid4().hex
        try:
            row = self._row(begin_row(intent, token))
        except (TypeError, ValueError, RecursionError) as error:
            raise StoreError(f'{self.name}: a change that can not be noted: {error}') from error

        def act(deadline: float) -> None:
            if not self._failure:
                self._flush()  # what led to the change comes before it
            self._database.write([row], deadline - _MARGIN)

        def late() -> None:
            # The caller was told that it failed, so nothing was sent.
            self._pending.appendleft(
                self._row(end_row(intent.change, token, ok=False, reason='noted too late'))
            )

        self._ask(act, late)
        with self._changed:
            self._open.append((intent, token))

    def end(self, intent: Intent, *, ok: bool, reason: str = '') -> None:
        """Note how the change ended, as `add` does."""
        with self._changed:
            token = self._take(intent)
            self._ended.add(token)
        row = self._row(end_row(intent.change, token, ok=ok, reason=reason))
        with self._changed:
            self._keep(row)

    def add(self, record: Record) -> None:
        """Note a record; never raises and never waits long: it is kept until it can be written."""
        try:
            row = self._row(record_row(record))
        except Exception as error:  # a record must never stop the adapter
            row = self._row(record_row(Record(ADAPTER, 'lost record', f'{error!r}')))
        with self._changed:
            self._keep(row)

    def unfinished(self) -> Intent | None:
        """
        Return the change that an adapter before this one began and did not end, or None.

        One that can't be read is told of, noted as ended, and otherwise as if there was none: it
        will not become readable by waiting. Raises StoreError if the store can't be read within
        the deadline.
        """
        try:
            found = self._ask(lambda deadline: self._database.unfinished(
                deadline - _MARGIN, study=self._study, environment=self._environment, run=self._run
            ))
        except DamagedEntryError as error:
            self._give_up(error)
            return None
        with self._changed:
            if found is None or found[1] in self._ended:
                return None
            self._open.append(found)
        return found[0]

    def _give_up(self, error: DamagedEntryError) -> None:
        """Tell of a change that was cut short and can't be read, and let it be ended."""
        why = f'a change that was cut short can not be read: {error.reason}'
        left = 'nothing was put back: what it had set is still there'
        self._tell(f'{self.name}: {why}; {left}')
        if error.intent is not None:
            row = end_row(error.change, error.intent, ok=False, reason=f'cut short; {left}')
            with self._changed:
                self._ended.add(error.intent)
                self._keep(self._row(row))
        self.add(Record(ADAPTER, 'recovery', why, error.change, effect=left))

    @property
    def trouble(self) -> str:
        """Return why records could not be written yet, empty if all were."""
        with self._changed:
            waiting = len(self._pending) + len(self._writing)
            failure = self._failure
            if self._busy_since is not None:
                seconds = time.monotonic() - self._busy_since
                if seconds > self._deadline:
                    failure = f'{self.name}: no answer for {seconds:.1f} s'
            if not failure:
                return ''
            parts = [failure]
            if waiting:
                parts.append(f'{waiting} records wait to be written')
            if self._dropped:
                parts.append(f'{self._dropped} are lost')
            return '; '.join(parts)

    def close(self) -> None:
        """Write what can be written within the deadline, and let go of the store."""
        with self._changed:
            if self._close_at is None:
                self._close_at = time.monotonic() + self._deadline
                self._retry_at = 0.0
            self._changed.notify_all()
        self._thread.join(self._deadline + _MARGIN)

    # --- callers -------------------------------------------------------------------------------

    def _row(self, row: Row) -> Row:
        try:
            sim_time = finite(self._sim_time())
        except Exception:  # a clock that fails must not keep a record from being written
            sim_time = None
        return full_row(
            row, time=now(), sim_time=sim_time, study=self._study,
            environment=self._environment, run=self._run,
        )

    def _take(self, intent: Intent) -> str:
        """Return the token under which a change was begun; a new one if it never was."""
        for same in (lambda known: known is intent, lambda known: known.change == intent.change):
            for place in reversed(range(len(self._open))):
                if same(self._open[place][0]):
                    return self._open.pop(place)[1]
        return uuid.uuid4().hex

    def _keep(self, row: Row) -> None:
        """Queue a row; if there is no room, drop the oldest record, but no end of a change."""
        if len(self._pending) + len(self._writing) >= self._capacity:
            kinds = (place for place, old in enumerate(self._pending) if old['kind'] != END)
            place = next(kinds, None)
            if place is not None:
                del self._pending[place]
                self._dropped += 1
        self._pending.append(row)
        if self._close_at is not None and not self._thread.is_alive():
            self._failure = f'{self.name}: the journal is closed'
        self._changed.notify_all()

    def _ask(self, act: Callable[[float], Any], late: Callable[[], None] | None = None) -> Any:
        """Let the thread do something; raises StoreError if it fails or takes too long."""
        deadline = time.monotonic() + self._deadline
        request = _Request(act, deadline, late)
        with self._changed:
            if self._close_at is not None:
                raise StoreError(f'{self.name}: the journal is closed')
            self._requests.append(request)
            self._changed.notify_all()
            self._changed.wait_for(lambda: request.done, self._deadline)
            if not request.done:
                request.given_up = True
                why = f': {self._failure}' if self._failure else ''
                raise UnreachableError(f'{self.name}: no answer within {self._deadline:g} s{why}')
        if request.error is not None:
            raise request.error
        return request.result

    # --- the thread ----------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(self._due, self._pause())
                    request = self._requests.popleft() if self._requests else None
                    if request is None and self._over():
                        return
                    due = self._due()
                if request is not None:
                    self._answer(request)
                elif due:
                    self._flush()
        finally:
            self._database.dispose()

    def _over(self) -> bool:
        if self._close_at is None:
            return False
        return time.monotonic() >= self._close_at or not (self._pending or self._dropped)

    def _waits(self) -> bool:
        # After a failure also without records, to know when the store can be used again.
        return bool(self._pending or self._dropped or self._failure)

    def _due(self) -> bool:
        """Return whether there is something to do now."""
        if self._requests or self._over():
            return True
        return self._waits() and time.monotonic() >= self._retry_at

    def _pause(self) -> float | None:
        """Return the time [s] until the next try, None if nothing is to be tried."""
        return max(0.0, self._retry_at - time.monotonic()) if self._waits() else None

    def _answer(self, request: _Request) -> None:
        with self._changed:
            if request.given_up:
                return
            self._busy_since = time.monotonic()
        failure = ''
        try:
            request.result = request.act(request.deadline)
        except UnwritableError as error:
            request.error = StoreError(f'{self.name}: can not be noted: {error}')
        except DamagedEntryError as error:
            request.error = error  # the store itself is sound
        except Exception as error:  # the thread must outlive whatever a driver raises
            request.error = _store_error(error, self.name)
            failure = str(request.error)
        with self._changed:
            self._busy_since = None
            request.done = True
            self._failure = failure or self._failure
            self._retry_at = time.monotonic() + (_RETRY if failure else 0.0)
            if request.given_up and request.error is None and request.late is not None:
                request.late()
            self._changed.notify_all()

    def _flush(self) -> None:
        """Write the oldest of what waits; if that fails it waits on."""
        with self._changed:
            batch = [self._pending.popleft() for _ in range(min(self._chunk, len(self._pending)))]
            self._writing = batch
            dropped = self._dropped
            lost = [self._lost(dropped, self._failure)] if dropped else []
            answering = self._busy_since is not None
            self._busy_since = self._busy_since or time.monotonic()
        failure = unwritable = ''
        try:
            self._database.write([*lost, *batch], time.monotonic() + _TRY)
        except UnwritableError as error:
            unwritable = f'{self.name}: {error}'
        except Exception as error:  # the thread must outlive whatever a driver raises
            failure = str(_store_error(error, self.name))
        with self._changed:
            self._writing = []
            self._busy_since = self._busy_since if answering else None
            if unwritable and len(batch) == 1:
                self._dropped += 1
                self._failure = unwritable
            elif failure or unwritable:
                self._pending.extendleft(reversed(batch))
                self._chunk = 1 if unwritable else self._chunk  # only what can't be is lost
                self._failure = failure or self._failure
                self._retry_at = time.monotonic() + (_RETRY if failure or not batch else 0.0)
            else:
                self._dropped -= dropped
                self._chunk = self._chunk if self._pending else _CHUNK
                self._failure = ''
            self._changed.notify_all()
            tidy = not (failure or unwritable or answering or self._pending)
        if tidy and self._keep_days is not None and time.monotonic() >= self._forget_at:
            self._forget(datetime.timedelta(days=self._keep_days))

    def _forget(self, age: datetime.timedelta) -> None:
        """Delete what is old, now and then; if that fails it is for the next time."""
        self._forget_at = time.monotonic() + _FORGET
        with contextlib.suppress(Exception):
            self._database.forget(
                time.monotonic() + _TRY, study=self._study, environment=self._environment,
                before=now(ago=age),
            )

    def _lost(self, count: int, failure: str) -> Row:
        reason = failure or 'the store could not be written in time'
        return self._row({
            'kind': RECORD, 'who': ADAPTER, 'what': 'records lost', 'why': storable(reason),
            'effect': f'{count} records were dropped',
        })


def _store_error(error: Exception, name: str) -> StoreError:
    return error if isinstance(error, StoreError) else StoreError(f'{name}: {reason_of(error)}')
