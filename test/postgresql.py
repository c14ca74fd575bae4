# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL server of the tests' own; where there is none, or no driver, they are skipped."""

import contextlib
import importlib.util
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

import psutil
import pytest
import sqlalchemy as sa

_NOBODY = 65534  # initdb refuses to run as root


class Server:
    """Run a server whose only way in is a socket in a folder of its own."""

    def __init__(self, programs, folder, driver):
        self._programs = programs
        self.data = folder / 'data'
        self.folder = folder
        self.url = f'postgresql+{driver}://postgres@/postgres?host={folder}'

    def fresh(self):
        """Return the URL of the database, emptied."""
        engine = sa.create_engine(self.url)
        with engine.begin() as connection:
            connection.exec_driver_sql('DROP SCHEMA public CASCADE')
            connection.exec_driver_sql('CREATE SCHEMA public')
        engine.dispose()
        return self.url

    def run(self, program, *arguments):
        who = {'user': _NOBODY, 'group': _NOBODY, 'extra_groups': []} if os.geteuid() == 0 else {}
        answer = subprocess.run(
            [self._programs / program, *arguments], cwd=self.folder, timeout=120, check=False,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **who,
        )
        assert answer.returncode == 0, answer.stderr

    def start(self):
        options = f"-k {self.folder} -c listen_addresses='' -c fsync=off"
        log = self.folder / 'log'
        self.run('pg_ctl', '-D', self.data, '-w', '-t', '60', '-o', options, '-l', log, 'start')

    def stop(self):
        self.run('pg_ctl', '-D', self.data, '-w', '-m', 'immediate', 'stop')

    @contextlib.contextmanager
    def hanging(self):
        """Stop all of its processes, as a network does that loses everything."""
        main = psutil.Process(int((self.data / 'postmaster.pid').read_text().split()[0]))
        processes = [main, *main.children(recursive=True)]
        try:
            for process in processes:
                process.send_signal(signal.SIGSTOP)
            yield
        finally:
            for process in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def running_server():
    driver = next(filter(importlib.util.find_spec, ('psycopg', 'psycopg2')), None)
    if driver is None:
        pytest.skip('no driver for PostgreSQL is installed: psycopg or psycopg2')
    found = shutil.which('initdb')
    candidates = sorted(pathlib.Path('/usr/lib/postgresql').glob('*/bin/initdb'))
    if found is None and not candidates:
        pytest.skip('there is no PostgreSQL server here')
    programs = pathlib.Path(found or candidates[-1]).resolve().parent
    with tempfile.TemporaryDirectory(prefix='tl_pg_') as name:
        folder = pathlib.Path(name)
        if os.geteuid() == 0:
            os.chown(folder, _NOBODY, _NOBODY)
        server = Server(programs, folder, driver)
        server.run('initdb', '-D', server.data, '-A', 'trust', '-U', 'postgres', '--no-sync')
        server.start()
        try:
            yield server
        finally:
            server.stop()
