# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the verb `journal`: show what an adapter did, why, and with what effect."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from tl_adapt.database import is_sqlite
from tl_adapt.errors import InputError, TlAdaptError
from tl_adapt.journal_table import Entry, JournalReader, NoJournalError, open_journal
from tl_adapt.report.journal_lines import journal_object, journal_rows, journal_table
from tl_adapt.store import MissingStoreError
from tl_adapt.study import load_study

_LAST = 30
_MOST = 10**15  # of what is counted; three times as many are a number for any database
_POLL = 0.5  # s between looks for what is new
_SUFFIXES = ('.sqlite', '.sqlite3', '.db')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument(
        'study', metavar='STUDY|STORE',
        help='study file, name of a shipped one, or a store: SQLite file or URL',
    )
    parser.add_argument('--store', default='', help='SQLite file or URL (output/<study>.sqlite)')
    parser.add_argument('--environment', default='', metavar='NAME', help='only what was there')
    parser.add_argument(
        '--last', type=int, default=None, metavar='N',
        help=f'the newest entries ({_LAST}; 0: all, as with --since and --change)',
    )
    parser.add_argument(
        '--since', default='', metavar='TIME',
        help='only what is newer: ISO 8601 such as 2026-03-01T09:30, in UTC unless it says more',
    )
    parser.add_argument(
        '--change', type=int, default=None, metavar='N',
        help='only what belongs to this change, in each run of the adapter: all count from 1',
    )
    parser.add_argument('--json', action='store_true', help='one JSON object per line, with all')
    parser.add_argument(
        '--follow', action='store_true', help='go on with what is written, until ctrl-C'
    )


def run(args: argparse.Namespace) -> int:
    """Print what is asked for and return 0; raise TlAdaptError if there is no journal."""
    for name in ('last', 'change'):
        value = getattr(args, name)
        if value is not None and not 0 <= value <= _MOST:
            rule = 'must be at least 0' if value < 0 else f'must be at most {_MOST}'
            raise InputError(rule, key=f'--{name}', value=value)
    for name in ('study', 'store', 'environment'):
        if any('\ud800' <= char <= '\udfff' for char in getattr(args, name)):
            key = 'STUDY|STORE' if name == 'study' else f'--{name}'
            raise InputError('must be UTF-8', key=key, value=getattr(args, name))
    wanted: dict[str, Any] = {'change': args.change, 'since': _time(args.since)}
    if args.environment:
        wanted['environment'] = args.environment
    store = args.study
    if _is_store(args.study):
        if args.store:
            raise InputError('has no meaning with a store', key='--store', value=args.store)
    else:
        study = load_study(args.study)
        if args.environment:
            study.environment(args.environment)
        store = args.store or str(Path('output') / f'{study.name}.sqlite')
        wanted['study'] = study.name
    last = args.last
    if last is None:
        last = 0 if args.since or args.change is not None else _LAST
    try:
        with open_journal(store) as reader:
            _show(reader, args, wanted, last)
    except (MissingStoreError, NoJournalError) as error:
        raise TlAdaptError(
            f'{error}: an adapter writes it beside its model, or where its --store says'
        ) from None
    return 0


def _is_store(text: str) -> bool:
    """Tell a store from a study: a URL, a SQLite file, or what is named like one."""
    if '://' in text or text.endswith(_SUFFIXES):
        return True
    return is_sqlite(Path(text))


def _time(text: str) -> datetime.datetime | None:
    if not text:
        return None
    try:
        found = datetime.datetime.fromisoformat(text.replace('Z', '+00:00'))
        found = found if found.tzinfo else found.replace(tzinfo=datetime.timezone.utc)
        return found.astimezone(datetime.timezone.utc)
    except (ValueError, OverflowError):
        raise InputError('must be a time in ISO 8601', key='--since', value=text) from None


def _show(reader: JournalReader, args: argparse.Namespace, wanted: dict[str, Any],
          last: int) -> None:
    known = 0  # the newest row that was met
    starts: dict[str, datetime.datetime] = {}  # of the runs that were met

    def damaged(row: int, reason: str) -> None:
        nonlocal known
        known = max(known, row)
        print(f'tl_adapt: warning: {reason}', file=sys.stderr)

    def rows_of(entries: list[Entry]) -> list[list[str]]:
        if args.change is None:
            return journal_rows(entries)
        # What was between the entries is not among them.
        for entry in entries:
            if entry.run not in starts:
                starts[entry.run] = reader.start_of(entry)
        whole = [
            entry if entry.configuration is None or entry.before is not None
            else dataclasses.replace(entry, before=reader.had_before(entry)) for entry in entries
        ]
        return journal_rows(whole, starts=starts if len(starts) > 1 else {})

    # A change is a begin, an end, and at least one record or a line of its own.
    entries = reader.entries(**wanted, last=last if args.json else 3 * last, damaged=damaged)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    if args.json:
        _print_json(entries)
    else:
        rows = rows_of(entries)
        if not rows and not known:
            print(f'{reader.name}: no entries of that kind' if any(wanted.values()) else
                  f'{reader.name}: no entries yet')
        elif last and len(rows) - 1 > last:
            rows = [rows[0], *rows[-last:]]
        if rows:
            print(journal_table(rows, width=width))
    while args.follow:
        sys.stdout.flush()
        time.sleep(_POLL)
        known = max(known, entries[-1].id if entries else 0)
        new = reader.entries(**wanted, after=known, damaged=damaged)
        if not new:
            continue
        entries = new
        if args.json:
            _print_json(new)
        elif rows := rows_of(new):
            print(journal_table(rows, width=width).split('\n', 2)[2])


def _print_json(entries: list[Entry]) -> None:
    for entry in entries:
        print(json.dumps(journal_object(entry), allow_nan=False))
