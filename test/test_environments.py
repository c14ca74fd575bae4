# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of the environments that need no ROS: table and command."""

import csv
import json
import os
import pathlib
import threading
import time

import psutil
import pytest
import yaml

from tl_adapt.environments.base import Environment, Measurement, make_environment
from tl_adapt.environments.command import CommandEnvironment
from tl_adapt.environments.command import validate_options as validate_command
from tl_adapt.environments.lazy import LazyEnvironments
from tl_adapt.environments.table import TableEnvironment
from tl_adapt.environments.table import validate_options as validate_table
from tl_adapt.errors import InputError
from tl_adapt.study import load_study
from tl_adapt.testing.conformance import EnvironmentConformance, check_measurement

DATA = pathlib.Path(__file__).parent / 'data'
SHARED = pathlib.Path(__file__).resolve().parents[2] / 'shared' / 'data'


class TestTableConforms(EnvironmentConformance):
    def make_study(self):
        return load_study(DATA / 'table_study.yaml')

    def configurations(self, study, environment):
        rows = environment.configurations()
        return [rows[1], rows[0]]

    def failing(self, study):
        return {'max_vel': 1.0, 'samples': 20, 'refine': True, 'planner': 'grid'}


class TestCommandConforms(EnvironmentConformance):
    deadline = 20.0

    def make_study(self):
        return load_study(DATA / 'command_study.yaml')

    def configurations(self, study, environment):
        default = study.space.default()
        return [default, {**default, 'x': 2.5, 'n': 100}]

    def failing(self, study):
        return {**study.space.default(), 'behaviour': 'crash'}

    def endless(self, study):
        return {**study.space.default(), 'behaviour': 'hang'}


class Liar:
    """Break one rule of the protocol."""

    def __init__(self, study, **fields):
        self.name = 'program'
        self.study = study
        self.fields = fields

    def measure(self, configuration, seed):
        m = CommandEnvironment(self.study, 'program').measure(configuration, seed)
        for name, value in self.fields.items():
            setattr(m, name, value)
        return m

    def close(self):
        pass


@pytest.mark.parametrize(
    ('fields', 'rule'),
    [
        ({'metrics': {}}, 'every metric'),
        ({'metrics': {'loss': float('nan'), 'seconds': 1.0}}, 'finite'),
        ({'reason': 'none'}, 'no reason'),
        ({'valid': False}, 'must have a reason'),
        ({'cost': -1.0}, 'cost'),
        ({'seed': 5}, 'seed'),
        ({'environment': 'other'}, 'environment'),
        ({'started': '2026-01-01T00:00:00'}, 'time zone'),
    ],
)
def test_the_suite_finds_a_liar(fields, rule):
    study = load_study(DATA / 'command_study.yaml')
    environment = Liar(study, **fields)
    assert isinstance(environment, Environment)
    default = study.space.default()
    with pytest.raises(AssertionError, match=rule):
        check_measurement(environment.measure(default, 1), study, 'program', default, 1)


# --- table -------------------------------------------------------------------------------------


def write_study(folder, environment, **changes):
    """Write the table study with other options beside a copy of its table."""
    data = yaml.safe_load((DATA / 'table_study.yaml').read_text())
    lab = data['environments']['lab']
    lab.update(environment)
    for key in [key for key, value in lab.items() if value is None]:
        del lab[key]
    data.update(changes)
    (folder / 'study.yaml').write_text(yaml.safe_dump(data, sort_keys=False))
    if not (folder / 'table.csv').exists():
        (folder / 'table.csv').write_text((DATA / 'table.csv').read_text())
    return load_study(folder / 'study.yaml')


def test_table_gives_the_rows():
    table = TableEnvironment(load_study(DATA / 'table_study.yaml'), 'lab')
    rows = table.configurations()
    assert len(rows) == 6
    assert rows[0] == {'max_vel': 0.5, 'samples': 5, 'refine': False, 'planner': 'grid'}
    m = table.measure(rows[1], 1)
    assert m.valid
    assert m.metrics == {'time': 21.25, 'energy': 180.5}
    assert m.cost == 0.5
    assert m.provenance['line'] == 4
    reasons = [table.measure(row, 1).reason for row in rows[2:]]
    assert reasons == [
        'metric energy is empty',
        'the rule time <= 0 holds',
        'marked as invalid',
        'metric energy is nan',
    ]
    assert table.measure(rows[2], 1).metrics == {'time': 9.75}


def test_table_chooses_repeats_by_seed():
    table = TableEnvironment(load_study(DATA / 'table_study.yaml'), 'lab')
    row = table.configurations()[0]
    times = [table.measure(row, seed).metrics['time'] for seed in range(4)]
    assert times == [14.5, 15.5, 14.5, 15.5]


def test_table_refuses_what_it_does_not_have():
    table = TableEnvironment(load_study(DATA / 'table_study.yaml'), 'lab')
    other = {'max_vel': 0.55, 'samples': 5, 'refine': False, 'planner': 'grid'}
    with pytest.raises(InputError, match='the table has no such configuration'):
        table.measure(other, 1)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'file': 'none.csv'}, r'environments.lab.file: can not be read \(No such file'),
        ({'file': '.'}, 'environments.lab.file: can not be read'),
        ({'columns': {'speed': 'opt_max_vel'}}, "not a parameter or metric.*'speed'"),
        ({'columns': {'time': 'time_s'}}, 'columns.max_vel: table.csv has no column'),
        ({'valid': 'fine'}, "environments.lab.valid: .*one column of this name, got 'fine'"),
        ({'invalid': 'duration <= 0'}, "environments.lab.invalid: unknown name 'duration'"),
        ({'invalid': 'time <='}, 'environments.lab.invalid: not an expression'),
    ],
)
def test_table_options_are_checked(tmp_path, options, message):
    study = write_study(tmp_path, options)
    with pytest.raises(InputError, match=message) as caught:
        validate_table(study.environment('lab'), study)
    assert str(caught.value).startswith(str(tmp_path / 'study.yaml'))
    with pytest.raises(InputError, match=message):
        make_environment(study, 'lab')


@pytest.mark.parametrize(
    ('row', 'message'),
    [
        ('0.5,5,0,grid,14.5,210,true', 'line 2: must have 8 cells as the header has, got 7'),
        ('0.5,5.5,0,grid,1,2,true,', "line 2: samples: must be int, got '5.5'"),
        ('fast,5,0,grid,1,2,true,', "line 2: max_vel: must be double, got 'fast'"),
        ('nan,5,0,grid,1,2,true,', 'line 2: max_vel: '),
        ('0.5,5,maybe,grid,1,2,true,', "line 2: refine: must be bool, got 'maybe'"),
        ('0.5,5,0,grid,slow,2,true,', "line 2: time: must be a number, got 'slow'"),
        ('0.5,5,0,grid,1,2,perhaps,', "line 2: valid: must be true or false, got 'perhaps'"),
        ('0.5,5,0,teb,1,2,true,', 'line 2: planner: '),
        ('7.5,5,0,grid,1,2,true,', 'line 2: max_vel: '),
    ],
)
def test_a_bad_row_is_named(tmp_path, row, message):
    header = (DATA / 'table.csv').read_text().splitlines()[0]
    (tmp_path / 'table.csv').write_text(f'{header}\n{row}\n')
    study = write_study(tmp_path, {})
    with pytest.raises(InputError, match=message):
        TableEnvironment(study, 'lab')


def test_rows_outside_of_the_space_can_be_left_out(tmp_path):
    text = (DATA / 'table.csv').read_text()
    (tmp_path / 'table.csv').write_text(text + '7.5,5,0,grid,1,2,true,\n')
    table = TableEnvironment(write_study(tmp_path, {'outside': 'skip'}), 'lab')
    assert table.skipped == 1
    assert len(table.configurations()) == 6


def test_a_table_without_rows_is_refused(tmp_path):
    (tmp_path / 'table.csv').write_text((DATA / 'table.csv').read_text().splitlines()[0] + '\n')
    with pytest.raises(InputError, match='no row'):
        TableEnvironment(write_study(tmp_path, {}), 'lab')


@pytest.mark.parametrize(
    ('name', 'metric'), [('spear_ec1', 'source'), ('husky_tb3_energy__source', 'source')]
)
def test_published_tables_are_usable(tmp_path, name, metric):
    path = SHARED / f'{name}.csv'
    if not path.is_file():
        pytest.skip(f'the published tables are not at {SHARED}')
    with path.open(newline='') as file:
        rows = list(csv.DictReader(file))
    parameters, columns = {}, {'performance': metric}
    for column in [column for column in rows[0] if column.startswith('opt_')]:
        values = [float(row[column]) for row in rows]
        whole = all('.' not in row[column] for row in rows)
        kind = int if whole else float
        option = column[len('opt_'):]
        columns[option] = column
        parameters[option] = {
            'type': 'int' if whole else 'double',
            'range': [kind(min(values)), kind(max(values))],
            'default': kind(values[0]),
        }
    data = {
        'version': 1,
        'name': 'published',
        'parameters': parameters,
        'metrics': {'performance': {'direction': 'minimize', 'scale': 'log'}},
        'objectives': [{'metric': 'performance'}],
        'environments': {
            'old': {'kind': 'table', 'role': 'source', 'file': str(path), 'columns': columns}
        },
    }
    (tmp_path / 'study.yaml').write_text(yaml.safe_dump(data))
    table = TableEnvironment(load_study(tmp_path / 'study.yaml'), 'old')
    assert len(table.configurations()) == len(rows)
    last = table.configurations()[-1]
    assert table.measure(last, 0).metrics['performance'] == float(rows[-1][metric])


# --- command -----------------------------------------------------------------------------------


def measure(behaviour, environment='program', **values):
    study = load_study(DATA / 'command_study.yaml')
    program = CommandEnvironment(study, environment)
    try:
        return program.measure({**study.space.default(), 'behaviour': behaviour, **values}, 3)
    finally:
        program.close()


def test_command_gives_metrics():
    m = measure('good', x=2.0)
    assert m.valid
    assert m.metrics == {'loss': 4.003, 'seconds': 5.0}
    assert (m.cost, m.sim_time) == (2.0, 1.5)
    assert 0.0 < m.wall_time < 30.0
    assert m.provenance['stderr'].strip() == 'a remark on standard error'


@pytest.mark.parametrize(
    ('behaviour', 'reason'),
    [
        ('crash', 'the program crashed: exit status 1: RuntimeError: no such luck'),
        ('abort', 'the program crashed: killed by SIGABRT'),
        ('silent', 'bad answer: the program printed nothing'),
        ('text', "bad answer: not a JSON mapping: 'all is well'"),
        ('list', 'bad answer: not a JSON mapping'),
        ('missing', 'metric seconds is missing'),
        ('word', "metric seconds is no number: 'many'"),
        ('nan', 'metric loss is nan'),
        ('infinite', 'metric loss is inf'),
        ('refuse', 'solver gave up'),
    ],
)
def test_command_failures_are_invalid(behaviour, reason):
    m = measure(behaviour)
    assert not m.valid
    assert m.reason.startswith(reason)
    assert m.cost == (0.25 if behaviour == 'refuse' else 2.0)
    if behaviour in ('missing', 'word'):
        assert set(m.metrics) == {'loss'}
    if behaviour == 'crash':
        assert 'RuntimeError: no such luck' in m.provenance['stderr']


def test_command_timeout_kills_the_group():
    before = {p.pid for p in psutil.Process().children(recursive=True)}
    begin = time.monotonic()
    m = measure('hang', environment='hasty')
    assert not m.valid
    assert m.reason == 'timeout: no answer within 1 s'
    assert time.monotonic() - begin < 10.0
    assert {p.pid for p in psutil.Process().children(recursive=True)} <= before


def test_command_children_of_the_program_are_ended():
    def waiting():
        return [
            p.info['pid']
            for p in psutil.process_iter(['pid', 'cmdline', 'status'])
            if 'import signal; signal.pause()' in (p.info['cmdline'] or [])
            and p.info['status'] != psutil.STATUS_ZOMBIE
        ]

    before = set(waiting())
    m = measure('spawn')
    assert m.valid
    end = time.monotonic() + 10.0
    while set(waiting()) - before and time.monotonic() < end:
        threading.Event().wait(0.01)
    assert set(waiting()) <= before


def test_command_output_before_the_answer_is_no_matter():
    m = measure('chatty')
    assert m.valid
    assert len(m.provenance['stderr']) <= 2000


def command_study(folder, **options):
    data = yaml.safe_load((DATA / 'command_study.yaml').read_text())
    data['environments']['program'].update(options)
    (folder / 'study.yaml').write_text(yaml.safe_dump(data, sort_keys=False))
    (folder / 'program.py').write_text((DATA / 'program.py').read_text())
    return load_study(folder / 'study.yaml')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'command': ['no-such-program-here']}, 'the program no-such-program-here must exist'),
        ({'command': ['./program.py']}, 'must exist and be executable'),
        ({'directory': 'nowhere'}, 'program.directory: must be a folder'),
    ],
)
def test_command_options_are_checked(tmp_path, options, message):
    study = command_study(tmp_path, **options)
    with pytest.raises(InputError, match=message) as caught:
        validate_command(study.environment('program'), study)
    assert str(caught.value).startswith(f'{tmp_path / "study.yaml"}: environments.program.')
    with pytest.raises(InputError, match=message):
        make_environment(study, 'program')


def test_command_runs_where_and_as_it_is_told(tmp_path):
    (tmp_path / 'here').mkdir()
    script = tmp_path / 'script.sh'
    script.write_text(
        '#!/bin/sh\npwd >&2\ncat >&2\n'
        'echo "{\\"metrics\\": {\\"loss\\": $LOSS, \\"seconds\\": 1}}"\n'
    )
    script.chmod(0o755)
    study = command_study(
        tmp_path, command=['./script.sh'], directory='here', environment={'LOSS': '0.125'}
    )
    m = CommandEnvironment(study, 'program').measure(study.space.default(), 9)
    assert m.valid, m.reason
    assert m.metrics['loss'] == 0.125
    where, request = m.provenance['stderr'].strip().splitlines()
    assert os.path.samefile(where, tmp_path / 'here')
    assert json.loads(request) == {'configuration': study.space.default(), 'seed': 9}


def test_a_closed_command_measures_nothing():
    study = load_study(DATA / 'command_study.yaml')
    program = CommandEnvironment(study, 'program')
    program.close()
    m = program.measure(study.space.default(), 1)
    assert isinstance(m, Measurement)
    assert not m.valid
    assert m.reason == 'the environment is closed'


class Named:
    """Be an environment that says when it is closed."""

    def __init__(self, name):
        self.name, self.closed = name, 0

    def measure(self, configuration, seed):
        raise NotImplementedError

    def close(self):
        self.closed += 1


def test_what_was_made_late_is_closed_from_elsewhere_and_the_rest_left_alone():
    first, given = Named('robot'), Named('field')
    made = LazyEnvironments(first, Named)
    sim = made['sim']
    assert made['robot'] is first
    assert made['sim'] is sim
    made.close()
    made.close()
    assert sim.closed == 1
    assert made['bench'].closed == 1, 'it was made after all was closed'
    with LazyEnvironments(first, {'field': given}) as others:
        assert others['field'] is given
    assert first.closed == given.closed == 0
    with LazyEnvironments(first, made) as within:
        assert within['sim'] is sim
    assert sim.closed == 1
