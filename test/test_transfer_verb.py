# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import itertools
import signal

import pytest
import yaml

from tl_adapt.cli import main
from tl_adapt.environments.base import make_environment
from tl_adapt.errors import ApparatusError, InputError
from tl_adapt.models.model_set import ModelSet
from tl_adapt.store import Store
from tl_adapt.study import load_study
from tl_adapt.transfer import aim_digest
from tl_adapt.tuning.history import History
from tl_adapt.tuning.operator import Unattended
from tl_adapt.verbs import transfer

STUDY = '''
version: 1
name: recorded
parameters:
  speed: {type: double, range: [0.1, 1.0], default: 0.3, unit: m/s}
  samples: {type: int, range: [1, 20], default: 5}
  refine: {type: bool, default: false}
metrics:
  time: {unit: s, direction: minimize, scale: log, failed: 60.0}
objectives:
  - {metric: time, reference: 20.0}
environments:
  old: {kind: table, role: source, file: old.csv, invalid: time > 100}
  new: {kind: table, role: target, file: new.csv, invalid: time > 100}
budget: {source: 12, target: 4}
'''


def table(cost):
    lines = ['speed,samples,refine,time']
    for n, (speed, samples) in enumerate(itertools.product((0.2, 0.35, 0.9), (1, 7, 12, 20))):
        refine = bool(n % 2)
        lines.append(f'{speed},{samples},{refine},{cost(speed, samples + refine)}')
    return '\n'.join(lines) + '\n'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder with a study of two tables; it is the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'study.yaml').write_text(STUDY)
    (tmp_path / 'old.csv').write_text(table(lambda v, n: 4 / v + n))
    (tmp_path / 'new.csv').write_text(table(lambda v, n: 6 / v + 1.1 * n))
    return tmp_path


@pytest.fixture
def campaign(folder, capsys):
    def run():
        assert main(['campaign', 'study.yaml', '--store', 's.sqlite']) == 0
        capsys.readouterr()

    run()
    return run


def go(*words):
    return main(['transfer', 'study.yaml', '--store', 's.sqlite', *words])


def kept(folder):
    with Store(folder / 's.sqlite', study=load_study(folder / 'study.yaml'), write=False) as store:
        return store.count(environment='new')


def test_the_choice_is_shown_and_no_empty_parameter_file_written(folder, campaign, capsys):
    assert go() == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert '  speed = 0.9 m/s' in lines
    assert '  samples = 1' in lines
    assert '  refine = false' in lines
    assert 'no tuned_parameters.yaml: no parameter has a target in ROS 2' in captured.out
    assert not (folder / 'output' / 'tuned_parameters.yaml').exists()
    assert (folder / 'output' / 'model' / 'choice.json').exists()
    assert captured.err == ''


def test_a_study_with_targets_has_its_parameter_file(folder, campaign, capsys):
    data = yaml.safe_load(STUDY)
    data['parameters']['speed']['targets'] = [{'node': 'driver'}]
    (folder / 'study.yaml').write_text(yaml.safe_dump(data))
    assert go() == 0
    assert '/driver' in (folder / 'output' / 'tuned_parameters.yaml').read_text()
    assert '  speed = 0.9 m/s' in capsys.readouterr().out


@pytest.mark.parametrize('words', [('--seed', '-1'), ('--budget', '-1')])
def test_negative_numbers_are_one_clear_error(words, folder, capsys):
    assert go(*words) == 2
    assert capsys.readouterr().err == (
        f'tl_adapt: error: {words[0]}: must be at least 0, got -1\n'
    )


def test_the_end_of_input_is_a_no(folder, campaign, capsys, monkeypatch):
    def end(prompt):
        raise EOFError

    monkeypatch.setattr('sys.stdin.isatty', lambda: True, raising=False)
    monkeypatch.setattr('builtins.input', end)
    assert go('--confirm') == 2
    captured = capsys.readouterr()
    assert '  speed = ' in captured.out
    assert 'the operator ended it' in captured.out
    assert captured.err.startswith('tl_adapt: error: no target measurement was taken')
    assert kept(folder) == 0


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_transfer_says_what_is_kept(number, folder, campaign, capsys, monkeypatch):
    closed = []

    def make(study, name, **options):
        environment = make_environment(study, name, **options)
        inner, calls = environment.measure, itertools.count()

        def measure(configuration, seed):
            if next(calls) == 2:
                signal.raise_signal(number)
            return inner(configuration, seed)

        environment.measure = measure
        environment.close = lambda: closed.append(True)
        return environment

    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(transfer, 'make_environment', make)
        assert go() == 130
    out = capsys.readouterr().out
    assert 'interrupted: 2 target measurements are kept in s.sqlite; the same' in out
    assert closed == [True]
    assert signal.getsignal(signal.SIGTERM) is before
    assert kept(folder) == 2
    assert go() == 0
    assert 'stopped:' in capsys.readouterr().out
    assert 3 <= kept(folder) <= 4


def test_a_robot_that_does_not_answer_leaves_all_kept(folder, campaign, capsys, monkeypatch):
    def make(study, name, **options):
        environment = make_environment(study, name, **options)
        inner, calls = environment.measure, itertools.count()

        def measure(configuration, seed):
            if next(calls) >= 2:
                raise ApparatusError('node /driver is gone')
            return inner(configuration, seed)

        environment.measure = measure
        return environment

    with monkeypatch.context() as patch:
        patch.setattr(transfer, 'make_environment', make)
        assert go('--cost', '90') == 2
    assert capsys.readouterr().err == (
        'tl_adapt: error: node /driver is gone (2 target measurements are kept in s.sqlite; '
        'the same command goes on)\n'
    )
    assert kept(folder) == 2
    assert go() == 0


@pytest.mark.parametrize('place', ['file', 'file/below', 'taken', '/proc/none'])
def test_an_output_that_can_not_be_written_is_seen_before_the_first_run(
    place, folder, campaign, capsys
):
    (folder / 'file').write_text('')
    (folder / 'taken').mkdir()
    (folder / 'taken' / 'model').write_text('')
    assert go('--output', place) == 2
    error = capsys.readouterr().err
    assert 'nothing can be written to this folder' in error
    assert place in error
    assert kept(folder) == 0


def test_a_mistyped_store_is_not_made(folder, campaign, capsys):
    before = sorted(folder.iterdir())
    assert main(['transfer', 'study.yaml', '--store', 'typo.sqlite']) == 2
    error = capsys.readouterr().err
    assert 'typo.sqlite: there is no store here' in error
    assert 'run `tl_adapt campaign study.yaml --store typo.sqlite` first' in error
    assert main(['transfer', 'study.yaml', '--store', 'sqlite://']) == 2
    assert 'there is no store here' in capsys.readouterr().err
    assert main(['transfer', 'study.yaml']) == 2
    assert 'run `tl_adapt campaign study.yaml` first' in capsys.readouterr().err
    assert sorted(folder.iterdir()) == before
    # Without a source to learn from, there may be no campaign at all.
    assert main(['transfer', 'study.yaml', '--store', 'n.sqlite', '--method', 'random']) == 0


@pytest.mark.parametrize('verb', ['transfer', 'campaign'])
def test_a_device_is_no_store_and_gets_no_lock(verb, folder, capsys):
    assert main([verb, 'study.yaml', '--store', '/dev/null']) == 2
    assert '/dev/null: no regular file, so not a store' in capsys.readouterr().err


def test_a_source_of_failures_alone_is_told(folder, capsys):
    (folder / 'old.csv').write_text(table(lambda v, n: 999))
    assert main(['campaign', 'study.yaml', '--store', 's.sqlite']) == 0
    capsys.readouterr()
    assert go() == 0
    error = capsys.readouterr().err
    assert error.startswith('tl_adapt: warning: none of 12 measurements of old is valid')
    assert error.count('\n') == 1
    assert go('--method', 'target-only', '--output', 'other') == 0
    assert capsys.readouterr().err == ''


def test_values_without_a_logarithm_are_told(folder, capsys):
    (folder / 'old.csv').write_text(table(lambda v, n: 4 / v + n - 6))
    assert main(['campaign', 'study.yaml', '--store', 's.sqlite']) == 0
    capsys.readouterr()
    assert go() == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('tl_adapt: warning: metric time has scale: log, but 1 of 12 ')
    assert 'of old are 0 or below' in line
    study = load_study(folder / 'study.yaml')
    assert ModelSet.load(folder / 'output' / 'model', study).models['time'].log_scale


def test_a_seed_that_is_no_number_names_the_option(capsys):
    with pytest.raises(SystemExit) as ended:
        go('--seed', 'x')
    assert ended.value.code == 2
    assert "argument --seed: must be a whole number, got 'x'" in capsys.readouterr().err


@pytest.mark.parametrize('method', ['transfer', 'random'])
def test_a_choice_after_failures_alone_is_warned_of(method, folder, campaign, capsys):
    (folder / 'new.csv').write_text(table(lambda v, n: 999))
    assert go('--method', method) == 0
    error = capsys.readouterr().err
    assert error.startswith('tl_adapt: warning: none of 4 measurements of new was valid (the last')
    assert 'nothing tells for what is chosen' in error


def test_giving_up_ends_a_simulation_under_way(folder, campaign, capsys, monkeypatch):
    data = yaml.safe_load(STUDY)
    data['tuning'] = {'simulate': True}
    data['environments']['new']['cost'] = 30
    (folder / 'study.yaml').write_text(yaml.safe_dump(data))
    closed, asked = [], []

    def make(study, name, **options):
        environment = make_environment(study, name, **options)
        inner = environment.measure

        def measure(configuration, seed):
            if name == 'old':
                asked[0]()  # the operator aborts while this runs
                assert 'old' in closed
            return inner(configuration, seed)

        environment.measure = measure
        environment.close = lambda: closed.append(name)
        return environment

    def operator(study, args, give_up):
        asked.append(give_up)
        return Unattended(study)

    monkeypatch.setattr(transfer, 'make_environment', make)
    monkeypatch.setattr(transfer, '_operator', operator)
    assert main(['transfer', 'study.yaml', '--store', 'empty.sqlite']) == 2
    captured = capsys.readouterr()
    assert 'stopped: the operator ended it' in captured.out
    assert 'no target measurement was taken' in captured.err


@pytest.fixture
def refused(folder, campaign, monkeypatch):
    """Return what would be run without, and how much the store and the transfer know of it."""
    study = load_study(folder / 'study.yaml')
    given = []

    def run(*_, refused, **__):
        given.append(list(refused))
        raise KeyboardInterrupt

    monkeypatch.setattr(transfer, 'run_transfer', run)

    def count():
        with Store(folder / 's.sqlite', study=study, write=False) as store:
            return len(store.refused('new'))

    for method, seed in (('transfer', study.seeds.tuning), ('target-only', 5)):
        history = History(folder / 'output' / f'{method}.json', study, method,
                          aim_digest(study, seed))
        history.refuse(study.space.default())
    with Store(folder / 's.sqlite', study=study) as store:
        store.refuse('new', study.space.default())
    return count, given


def test_what_was_refused_is_taken_back_wherever_it_is_kept(refused, folder, capsys):
    count, given = refused
    go()
    assert (count(), len(given.pop())) == (1, 1)
    go('--forget-refused')
    assert (count(), len(given.pop())) == (0, 0)
    assert '1 refusals were taken back' in capsys.readouterr().out
    go()
    assert not given.pop()
    go('--method', 'target-only', '--seed', '5')
    assert not given.pop(), 'the history of another method and seed keeps none'


@pytest.mark.parametrize('text', ['{', '[' * 200_000], ids=['cut', 'deep'])
def test_nothing_is_taken_back_where_the_transfer_can_not_begin(refused, folder, capsys, text):
    count, given = refused
    (folder / 'output' / 'transfer.json').write_text(text)
    assert go('--forget-refused') == 2
    error = capsys.readouterr().err
    assert 'transfer.json: is no history of a tuning run: ' in error and error.count('\n') == 1
    assert (count(), given) == (1, [])


def test_an_edit_of_adaptation_makes_the_model_anew_and_measures_nothing(folder, campaign, capsys):
    assert go() == 0
    count = kept(folder)
    path = folder / 'study.yaml'
    path.write_text(STUDY + 'adaptation: {explore: 2}\n')
    with pytest.raises(InputError, match='before it was changed: run `tl_adapt transfer` again'):
        ModelSet.load(folder / 'output' / 'model', load_study(path))
    assert go() == 0
    ModelSet.load(folder / 'output' / 'model', load_study(path))
    assert kept(folder) == count > 0
