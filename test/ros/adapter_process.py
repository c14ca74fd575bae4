# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
An adapter with a journal in a file, for tests that kill it.

Its arguments are the journal's path, where it stops (`begin`, `end` or nothing: with the note
written or, at the end, not yet written, it waits to be killed), and those of the node. While there
is a file PATH.locked nothing can be noted.
"""

import dataclasses
import functools
import json
import os
import sys
from pathlib import Path

from fake_robot import hold

from tl_adapt.adaptation.records import Intent
from tl_adapt.errors import StoreError
from tl_adapt.ros.nodes.adapter import Adapter, main


class FileJournal:
    """One line of JSON for each call."""

    trouble = ''

    def __init__(self, path, stop_at):
        self.path = Path(path)
        self.stop_at = stop_at

    def lines(self):
        if not self.path.exists():
            return []
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def write(self, **line):
        with self.path.open('a') as file:
            file.write(json.dumps(line) + '\n')
            file.flush()
            os.fsync(file.fileno())

    def begin(self, intent):
        if self.path.with_suffix('.locked').exists():
            raise StoreError('it is locked')
        self.write(begin=dataclasses.asdict(intent))
        if self.stop_at == 'begin':
            hold(self.path.with_suffix('.never'))

    def end(self, intent, *, ok, reason=''):
        if self.stop_at == 'end':
            hold(self.path.with_suffix('.never'))
        self.write(end=intent.change, ok=ok, reason=reason)

    def add(self, record):
        self.write(record=dataclasses.asdict(record))

    def unfinished(self):
        begun = None
        for line in self.lines():
            begun = line.get('begin', None if 'end' in line else begun)
        return None if begun is None else Intent(**begun)

    def close(self):
        pass


class JournalledAdapter(Adapter):
    def __init__(self, path, stop_at):
        super().__init__()
        self.journal = functools.partial(FileJournal, path, stop_at)

    def make_journal(self, study):
        return self.journal()


if __name__ == '__main__':
    path, stop_at, *rest = sys.argv[1:]
    sys.exit(main(rest, make=functools.partial(JournalledAdapter, path, stop_at)))
