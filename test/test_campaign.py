# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of campaigns, with kill -9 and ctrl-C on real processes."""

import io
import pathlib
import threading

import pytest

from tl_adapt.apparatus import GIVE_UP, RETRIES, measure_with_retry
from tl_adapt.campaign import CampaignResult, Run, campaign_runs, run_campaign
from tl_adapt.environments.base import Measurement
from tl_adapt.errors import (
    ApparatusError,
    InputError,
    MeasurementError,
    StoreError,
    TlAdaptError,
)
from tl_adapt.progress import Progress, duration
from tl_adapt.store import Store
from tl_adapt.study import load_study

DATA = pathlib.Path(__file__).parent / 'data'
STUDY = DATA / 'campaign_study.yaml'
DEADLINE = 60.0


@pytest.fixture
def study():
    return load_study(STUDY)


@pytest.fixture
def store(tmp_path, study):
    with Store(tmp_path / 'store.sqlite', study=study) as opened:
        yield opened


class Fake:
    """Measure at once, or as told; count what is asked for."""

    def __init__(self, study, name, worker=0, act=None):
        self.name = name
        self.worker = worker
        self.closed = threading.Event()
        self.act = act

    def measure(self, configuration, seed):
        m = Measurement(
            self.name, dict(configuration), seed, {'loss': float(seed), 'seconds': 1.0}, cost=1.0
        )
        return (self.act and self.act(self, m)) or m

    def close(self):
        self.closed.set()


def maker(act=None, made=None):
    def make(study, name, *, worker):
        fake = Fake(study, name, worker, act)
        if made is not None:
            made.append(fake)
        return fake

    return make


def runs_of(study, count, purpose='campaign'):
    default = study.space.default()
    return [Run({**default, 'n': 1 + i}, i, purpose) for i in range(count)]


# --- planning ----------------------------------------------------------------------------------


def test_runs_begin_with_the_default_and_interleave_repeats(study):
    runs = campaign_runs(study, 'program', 8, seed=1, repeats=3)
    assert len(runs) == 24
    assert runs[0].configuration == study.space.default()
    for start in (0, 8, 16):
        part = [run.configuration for run in runs[start:start + 8]]
        assert part == [run.configuration for run in runs[:8]]
    assert len({str(run.configuration) for run in runs}) == 8
    assert len({(str(run.configuration), run.seed) for run in runs}) == 24
    assert {run.purpose for run in runs} == {'campaign'}
    assert all(0 <= run.seed < 2**31 for run in runs)


def test_runs_are_reproducible_and_grow(study):
    short = campaign_runs(study, 'program', 5, seed=4)
    assert short == campaign_runs(study, 'program', 5, seed=4)
    assert short != campaign_runs(study, 'program', 5, seed=5)
    assert campaign_runs(study, 'program', 12, seed=4)[:5] == short
    assert len(campaign_runs(study, 'program', 1, seed=4)) == 1


def test_runs_of_a_table_are_its_rows():
    study = load_study(DATA / 'table_study.yaml')
    runs = campaign_runs(study, 'lab', 100, seed=1, repeats=2)
    assert len(runs) == 12
    assert runs[0].configuration == study.space.default()
    assert runs[6].seed == runs[0].seed + 1


@pytest.mark.parametrize('arguments', [{'n': 0}, {'n': 3, 'repeats': 0}])
def test_bad_plans_are_refused(study, arguments):
    with pytest.raises(InputError, match='must be at least 1'):
        campaign_runs(study, 'program', seed=1, **arguments)


# --- running -----------------------------------------------------------------------------------


def test_everything_is_measured_once_and_complete(study, store):
    runs = runs_of(study, 5)
    made = []
    result = run_campaign(
        study, 'program', [*runs, runs[0]], store, progress=False, make=maker(made=made)
    )
    assert result == CampaignResult(done=5, skipped=1, invalid=0, interrupted=False)
    assert [m.seed for m in store.get(environment='program', purpose='campaign')] == [*range(5)]
    m = store.get()[0]
    assert m.started
    for name in ('study_digest', 'metric_digest', 'versions', 'host', 'load', 'worker'):
        assert name in m.provenance
    assert all(fake.closed.is_set() for fake in made)
    again = run_campaign(study, 'program', runs, store, progress=False, make=maker(made=made))
    assert again == CampaignResult(done=0, skipped=5, invalid=0, interrupted=False)
    assert len(made) == 1


def test_workers_share_the_work(study, store):
    both = threading.Barrier(2, timeout=DEADLINE)

    def act(fake, m):
        if m.seed < 2:
            both.wait()

    made = []
    result = run_campaign(
        study, 'program', runs_of(study, 9), store, workers=2, progress=False,
        make=maker(act, made),
    )
    assert result.done == 9
    assert sorted(fake.worker for fake in made) == [0, 1]
    assert sorted(m.seed for m in store.get()) == list(range(9))
    assert {m.provenance['worker'] for m in store.get()} == {0, 1}


def test_failures_are_kept_and_the_campaign_goes_on(study, store):
    def act(fake, m):
        if m.seed == 1:
            raise MeasurementError('node /navigator died')
        if m.seed == 2:
            m.metrics['loss'] = float('nan')
        if m.seed == 3:
            m.valid, m.reason = False, 'timeout'
        m.provenance.update({'odd': float('inf'), 'path': pathlib.Path('/a')})

    result = run_campaign(
        study, 'program', runs_of(study, 5), store, progress=False, make=maker(act)
    )
    assert result == CampaignResult(done=5, skipped=0, invalid=3, interrupted=False)
    found = store.get()
    assert [m.reason for m in found] == [
        '', 'node /navigator died', 'metric loss is not finite', 'timeout', ''
    ]
    assert found[2].metrics == {'seconds': 1.0}
    assert found[4].provenance['odd'] is None
    assert found[4].provenance['path'] == '/a'


def failing(*seeds, times=RETRIES + 1, reason='the worker died (SIGKILL)'):
    """Fail to measure `seeds`, so many times each."""
    left = dict.fromkeys(seeds, times)

    def act(fake, m):
        if left.get(m.seed, 0) > 0:
            left[m.seed] -= 1
            raise ApparatusError(reason)

    return act


def test_what_the_apparatus_spoils_is_tried_again(study, store):
    result = run_campaign(
        study, 'program', runs_of(study, 3), store, progress=False,
        make=maker(failing(1, times=1)),
    )
    assert result == CampaignResult(done=3, skipped=0, invalid=0, interrupted=False)
    found = store.get()
    assert all(m.valid for m in found)
    before = [m.provenance.get('failed_before') for m in found]
    assert before == [None, ['the worker died (SIGKILL)'], None]


def test_what_can_not_be_measured_is_not_stored_but_told(study, store):
    runs = runs_of(study, 6)
    result = run_campaign(
        study, 'program', runs, store, progress=False, make=maker(failing(0, 1, 3, 4)),
    )
    assert result == CampaignResult(
        done=2, skipped=0, invalid=0, interrupted=False, unmeasured=4,
        reasons=('the worker died (SIGKILL)',),
    )
    assert [m.seed for m in store.get()] == [2, 5]
    again = run_campaign(study, 'program', runs, store, progress=False, make=maker())
    assert again == CampaignResult(done=4, skipped=2, invalid=0, interrupted=False)


def test_a_broken_apparatus_ends_the_campaign(study, store):
    made = []
    with pytest.raises(TlAdaptError) as caught:
        run_campaign(
            study, 'program', runs_of(study, 9), store, progress=False,
            make=maker(failing(*range(2, 9), reason='no service /reset'), made),
        )
    assert str(caught.value) == (
        'program/program: 3 runs in a row could not be measured, each tried several times: '
        'no service /reset (what was measured before is kept; the same command goes on)'
    )
    assert caught.value.exit_code == 2
    assert [m.seed for m in store.get()] == [0, 1]
    assert all(fake.closed.is_set() for fake in made)


def test_a_campaign_that_measured_nothing_is_an_error(study, store):
    with pytest.raises(TlAdaptError, match='none of 2 runs could be measured'):
        run_campaign(
            study, 'program', runs_of(study, 2), store, progress=False,
            make=maker(failing(0, 1)),
        )
    assert store.count() == 0


class Unfit(MeasurementError):
    mismatch = True


def unfit(*seeds, reason=lambda seed: 'node /driver has no parameter wings'):
    def act(fake, m):
        if m.seed in seeds:
            raise Unfit(reason(m.seed))

    return act


def test_a_study_that_does_not_fit_ends_the_campaign(study, store):
    with pytest.raises(TlAdaptError) as caught:
        run_campaign(
            study, 'program', runs_of(study, 9), store, progress=False,
            make=maker(unfit(*range(9))),
        )
    assert str(caught.value) == (
        f'program/program: the study does not fit the stack, the first {GIVE_UP} measurements '
        'all failed: node /driver has no parameter wings (they are not kept)'
    )
    assert store.count() == 0


@pytest.mark.parametrize(
    'act',
    [
        unfit(0, 1, 3, 4, 5),
        unfit(*range(9), reason=lambda seed: f'no message on topic {seed}'),
        failing(),
    ],
)
def test_misfits_of_some_runs_are_data(study, store, act):
    result = run_campaign(
        study, 'program', runs_of(study, 9), store, progress=False, make=maker(act)
    )
    assert result.done == 9
    assert [m.seed for m in store.get()] == list(range(9))
    # Not at the very beginning.
    runs = [Run(run.configuration, run.seed + 20) for run in runs_of(study, 4)]
    later = run_campaign(
        study, 'program', runs, store, progress=False, make=maker(unfit(*range(20, 24)))
    ) if store.count(valid=True) else None
    assert later is None or later.done == 4


def test_two_misfits_alone_are_kept(study, store):
    result = run_campaign(
        study, 'program', runs_of(study, 2), store, progress=False, make=maker(unfit(0, 1))
    )
    assert (result.done, result.invalid) == (2, 2)


def test_measuring_again_gives_up_in_the_end(study):
    asked = []

    def act(fake, m):
        asked.append(m.seed)
        raise ApparatusError(f'broken {len(asked)}')

    fake = Fake(study, 'program', act=act)
    with pytest.raises(TlAdaptError, match='^broken 3$'):
        measure_with_retry(fake, study.space.default(), 7)
    assert asked == [7, 7, 7]


def test_bad_runs_are_refused_before_anything_is_measured(study, store):
    runs = [*runs_of(study, 2), Run({'x': 99.0, 'n': 1}, 1)]
    made = []
    with pytest.raises(InputError, match='x'):
        run_campaign(study, 'program', runs, store, progress=False, make=maker(made=made))
    with pytest.raises(InputError, match='unknown environment'):
        run_campaign(study, 'elsewhere', runs[:1], store, progress=False)
    with pytest.raises(InputError, match='workers'):
        run_campaign(study, 'program', runs[:1], store, workers=0, progress=False)
    assert made == []
    assert store.count() == 0


def test_an_error_of_the_environment_comes_out_and_the_rest_is_kept(study, store):
    def act(fake, m):
        if m.seed == 3:
            raise ZeroDivisionError('a defect')

    made = []
    with pytest.raises(ZeroDivisionError, match='a defect'):
        run_campaign(
            study, 'program', runs_of(study, 6), store, progress=False, make=maker(act, made)
        )
    assert [m.seed for m in store.get()] == [0, 1, 2]
    assert all(fake.closed.is_set() for fake in made)


def test_an_error_of_the_store_ends_the_campaign(study, tmp_path):
    with Store(tmp_path / 'store.sqlite', study=study):
        pass
    made = []
    refused = pytest.raises(StoreError, match='reading only')
    with Store(tmp_path / 'store.sqlite', study=study, write=False) as store, refused:
        run_campaign(
            study, 'program', runs_of(study, 3), store, progress=False, make=maker(made=made)
        )
    assert all(fake.closed.is_set() for fake in made)


def test_stop_gives_up_what_runs_and_keeps_the_rest(study, store):
    stop = threading.Event()

    def act(fake, m):
        if m.seed == 2:
            stop.set()
            assert fake.closed.wait(DEADLINE)
            m.valid, m.reason = False, 'the environment was closed'

    result = run_campaign(
        study, 'program', runs_of(study, 9), store, progress=False, stop=stop, make=maker(act)
    )
    assert result == CampaignResult(done=2, skipped=0, invalid=0, interrupted=True)
    assert [m.seed for m in store.get()] == [0, 1]


def test_progress_is_told_of_each_run(study, store):
    class Told:
        def __init__(self):
            self.notes = []
            self.finished = False

        def advance(self, note=''):
            self.notes.append(note)

        def finish(self):
            self.finished = True

    def act(fake, m):
        if m.seed == 1:
            raise MeasurementError('collision')

    told = Told()
    run_campaign(study, 'program', runs_of(study, 3), store, progress=told, make=maker(act))
    assert told.notes == ['', '1 invalid (last: collision)', '1 invalid']
    assert told.finished


# --- progress ----------------------------------------------------------------------------------


def test_plain_progress_is_sparse():
    now = [0.0]
    stream = io.StringIO()
    with Progress('job', 100, start=40, stream=stream, clock=lambda: now[0]) as progress:
        for _ in range(60):
            now[0] += 0.5
            progress.advance()
    lines = stream.getvalue().splitlines()
    assert lines[0] == 'job: 41/100, 2.00/s, 30 s left'
    assert lines[-1] == 'job: 100/100, 2.00/s, took 30 s'
    assert 10 <= len(lines) <= 17


def test_slow_rates_are_per_minute():
    now = [0.0]
    progress = Progress('job', 5, stream=io.StringIO(), clock=lambda: now[0])
    now[0] = 90.0
    progress.advance('1 invalid')
    assert progress.text('1 invalid') == 'job: 1/5, 0.7/min, 6 min 00 s left, 1 invalid'


def test_a_reader_that_is_gone_does_not_stop_the_job():
    stream = io.StringIO()
    progress = Progress('job', 2, stream=stream)
    stream.close()
    progress.advance()
    progress.finish()


def test_a_terminal_gets_a_live_line():
    pytest.importorskip('rich')

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    with Progress('job', 2, stream=stream) as progress:
        progress.advance('[bold] is no markup')
        progress.advance()
        progress.finish()
    text = stream.getvalue()
    assert 'job: 2/2' in text
    assert chr(27) in text


@pytest.mark.parametrize(
    ('seconds', 'text'),
    [(0.2, '0 s'), (59.4, '59 s'), (125, '2 min 05 s'), (4320, '1 h 12 min'), (-1, '0 s')],
)
def test_durations(seconds, text):
    assert duration(seconds) == text
