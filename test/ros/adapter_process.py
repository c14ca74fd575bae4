# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
An adapter that waits to be killed, for tests.

Its arguments are where it waits (`begin`: with a change noted and nothing sent; `end`: with all
sent and that not noted), a file that it makes there, and those of the node.
"""

import functools
import sys
from pathlib import Path

from fake_robot import hold

from tl_adapt.ros.nodes.adapter import Adapter, main


class WaitingJournal:
    """Do what a journal does, but not all of it."""

    def __init__(self, journal, place, held):
        self._journal, self._place, self._held = journal, place, held

    def __getattr__(self, name):
        return getattr(self._journal, name)

    def begin(self, intent):
        self._journal.begin(intent)
        self._wait('begin')

    def end(self, intent, *, ok, reason=''):
        self._wait('end')
        self._journal.end(intent, ok=ok, reason=reason)

    def _wait(self, place):
        if place == self._place:
            hold(self._held.with_suffix('.never'))


class WaitingAdapter(Adapter):
    def __init__(self, place, held):
        super().__init__()
        self._where = place, held

    def make_journal(self, *arguments):
        return WaitingJournal(super().make_journal(*arguments), *self._where)


if __name__ == '__main__':
    place, held, *rest = sys.argv[1:]
    sys.exit(main(rest, make=functools.partial(WaitingAdapter, place, Path(held))))
