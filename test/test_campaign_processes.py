# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of campaigns that are killed or interrupted, with real processes."""

import collections
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from tl_adapt.campaign import campaign_runs
from tl_adapt.errors import StoreError
from tl_adapt.store import Store
from tl_adapt.study import load_study

DATA = pathlib.Path(__file__).parent / 'data'
STUDY = DATA / 'campaign_study.yaml'
DEADLINE = 60.0


def wait_for(condition, what, process=None):
    """Wait until the condition holds; fail after a deadline, or when the process has ended."""
    pause = threading.Event()
    end = time.monotonic() + DEADLINE
    while not condition():
        if process is not None and process.poll() is not None:
            pytest.fail(f'ended before {what}: {process.communicate()}')
        if time.monotonic() > end:
            pytest.fail(f'not within {DEADLINE} s: {what}')
        pause.wait(0.01)


class Campaign:
    """Run `tl_adapt campaign` on the slow program in a process of its own."""

    count = 6

    def __init__(self, folder):
        self.folder = folder
        self.log = folder / 'runs.log'
        self.path = folder / 'output' / 'program.sqlite'

    def start(self, hold=None, workers=1):
        environment = {**os.environ, 'TL_ADAPT_TEST_LOG': str(self.log)}
        environment['PYTHONPATH'] = str(DATA.parents[1])
        if hold is not None:
            environment['TL_ADAPT_TEST_HOLD'] = str(hold)
        command = [
            sys.executable, '-m', 'tl_adapt', 'campaign', str(STUDY),
            '--workers', str(workers),
        ]
        return subprocess.Popen(
            command, cwd=self.folder, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )

    def run(self, **options):
        process = self.start(**options)
        output, errors = process.communicate(timeout=DEADLINE)
        return process.returncode, output, errors

    def started(self):
        """Return the (seed, process id) of each run that the program began."""
        if not self.log.exists():
            return []
        return [tuple(map(int, line.split())) for line in self.log.read_text().splitlines()]

    def stored(self):
        study = load_study(STUDY)
        with Store(self.path, study=study, write=False) as store:
            return store.get(environment='program', purpose='campaign')

    def planned(self):
        study = load_study(STUDY)
        runs = campaign_runs(study, 'program', self.count, seed=study.seeds.campaign)
        return [(run.seed, run.configuration) for run in runs]

    def resume_and_check(self, begun):
        """Resume; each run has to be stored exactly once, and only what was lost is repeated."""
        code, output, errors = self.run()
        assert code == 0, errors
        assert 'were there already' in output
        stored = [(m.seed, m.configuration) for m in self.stored()]
        assert sorted(map(str, stored)) == sorted(map(str, self.planned()))
        times = collections.Counter(seed for seed, _ in self.started())
        again = {seed for seed, count in times.items() if count > 1}
        assert again == set(begun)
        assert set(times.values()) <= {1, 2}


@pytest.fixture
def campaign(tmp_path):
    return Campaign(tmp_path)


def gone(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def kept(campaign, count):
    try:
        return len(campaign.stored()) >= count
    except StoreError:
        return False


def test_kill_9_loses_only_the_run_under_way(campaign):
    process = campaign.start(hold=4)
    wait_for(lambda: len(campaign.started()) == 4, 'the fourth run', process)
    wait_for(lambda: kept(campaign, 3), 'three measurements in the store', process)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=DEADLINE)
    assert len(campaign.stored()) == 3
    seed, pid = campaign.started()[-1]
    wait_for(lambda: gone(pid), 'the end of the program under test')
    campaign.resume_and_check({seed})


def test_ctrl_c_keeps_what_is_measured(campaign):
    process = campaign.start(hold=3, workers=2)
    wait_for(lambda: len(campaign.started()) == 4, 'two runs that hang', process)
    wait_for(lambda: kept(campaign, 2), 'two measurements in the store', process)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == 130, errors
    assert 'Traceback' not in errors
    assert 'interrupted: what was measured is kept; the same command goes on' in output
    assert [m.valid for m in campaign.stored()] == [True, True]
    hanging = campaign.started()[2:]
    assert all(gone(pid) for _, pid in hanging)
    campaign.resume_and_check({seed for seed, _ in hanging})


def test_a_second_campaign_on_the_store_is_refused(campaign):
    process = campaign.start(hold=2)
    try:
        wait_for(lambda: kept(campaign, 1), 'a measurement in the store', process)
        code, _, errors = campaign.run()
        assert code == 2
        assert errors == (
            'tl_adapt: error: output/program.sqlite: another process writes to this store '
            f'(pid {process.pid})\n'
        )
    finally:
        # SIGTERM, as ROS's launch sends it, ends a campaign as ctrl-C does.
        process.terminate()
        output, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 130
    assert 'interrupted' in output
