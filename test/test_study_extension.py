# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import re

import pytest
import yaml
from small_study import SMALL, error_of

from tl_adapt.cli import main
from tl_adapt.environments import command, table
from tl_adapt.study import load_study, study_from_dict


@pytest.fixture
def file(tmp_path):
    """Write files below a folder: `file(name, text)`."""

    def put(name, text):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding='utf-8')
        return path

    put('base.yaml', SMALL)
    return put


def test_mappings_are_merged_and_lists_replaced(file):
    path = file('own.yaml', '''
extends: base.yaml
name: own
parameters: {v: {range: [0.2, 0.8]}}
constraints: []
mission: {goals: [[3, 0, 0]], frame: odom}
environments: {sim: {identity: {physics: ode}}}
''')
    study = load_study(path)
    assert (study.name, study.path, study.space.dim) == ('own', path, 3)
    v = study.space['v']
    assert (v.low, v.high, v.default, len(v.targets)) == (0.2, 0.8, 0.5, 1)
    assert study.space.constraints == ()
    assert study.mission.goals == ((3.0, 0.0, 0.0),)
    assert (study.mission.frame, study.mission.timeout) == ('odom', 30.0)
    assert study.source.identity == {'hardware': 'none', 'physics': 'ode'}
    # The base is as it was.
    assert load_study(path.with_name('base.yaml')).source.identity == {'hardware': 'none'}


def test_several_bases_and_bases_of_bases(file):
    file('deep/a.yaml', 'extends: ../base.yaml\nseeds: {campaign: 7, tuning: 7}\n')
    file('deep/b.yaml', 'extends: [../base.yaml]\nseeds: {tuning: 8, evaluation: 8}\n')
    path = file('own.yaml', 'extends: [deep/a.yaml, deep/b.yaml]\nseeds: {evaluation: 9}\n')
    study = load_study(path)
    assert (study.seeds.campaign, study.seeds.tuning, study.seeds.evaluation) == (7, 8, 9)
    assert [base.name for base in study.sources.bases] == ['base.yaml', 'a.yaml', 'b.yaml']


def test_shipped_studies_can_be_extended(file, capsys):
    path = file('own.yaml', 'extends: demo\nname: own\nbudget: {target: 3}\n')
    study = load_study(path)
    assert (study.budget.target, study.budget.source) == (3, load_study('demo').budget.source)
    assert main(['check', str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r'extends .*config/demo\.yaml', lines[1])


def test_the_demo_in_gazebo():
    demo, study = load_study('demo'), load_study('demo_gazebo')
    assert study.name == 'demo_gazebo' and study.digest != demo.digest
    assert study.source.options['node_parameters']['simulator'] == {
        **demo.source.options['node_parameters']['simulator'], 'engine': 'gazebo',
    }
    assert study.source.identity == {**demo.source.identity, 'physics': 'gazebo ode nominal'}
    assert study.target == demo.target


def test_the_digest_covers_what_is_inherited(file):
    path = file('own.yaml', 'extends: base.yaml\nname: small\n')
    assert load_study(path).digest == load_study(path.with_name('base.yaml')).digest
    file('base.yaml', SMALL.replace('timeout: 30', 'timeout: 31'))
    changed = load_study(path)
    assert changed.digest == load_study(path.with_name('base.yaml')).digest
    file('base.yaml', SMALL)
    assert changed.digest != load_study(path).digest
    content = yaml.safe_load(path.read_text())
    assert study_from_dict(content, path).digest == load_study(path).digest


def test_an_inherited_key_is_dropped_by_naming_it_without_a_value(file):
    path = file('own.yaml', '''
extends: base.yaml
parameters: {mode: ~}
limits:
mission: {frame: map}
''')
    study = load_study(path)
    assert (study.space.dim, study.limits) == (2, ())
    path = file('own.yaml', 'extends: base.yaml\nparameters: {mood: ~}\n')
    assert error_of(load_study, path) == (
        f'{path}: parameters.mood: has no value, and nothing is inherited that it could drop'
    )
    path = file('own.yaml', 'extends: base.yaml\nmission: {goals: [~]}\n')
    assert error_of(load_study, path) == f'{path}: mission.goals[0]: has no value'
    # A base may drop what one before it gives.
    file('part.yaml', 'limits: ~\n')
    path = file('own.yaml', 'extends: [base.yaml, part.yaml]\n')
    assert load_study(path).limits == ()
    path = file('own.yaml', 'extends: [part.yaml, base.yaml]\n')
    assert 'part.yaml: limits: has no value, and nothing is' in error_of(load_study, path)
    # What takes the place of something inherited inherits nothing of it.
    path = file('own.yaml', '''
extends: base.yaml
environments: {robot: ~, other: {kind: stack, role: target}}
''')
    assert list(load_study(path).environments) == ['sim', 'other']


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('extends: nothing.yaml', "{own}: extends: no such file, and no study of that name is "
                                  "shipped, got 'nothing.yaml'"),
        ('extends: [base.yaml, deep]', "{own}: extends: is a folder, not a study file, got "
                                       "'deep'"),
        ('extends: own.yaml', '{own}: extends: leads in a circle: own.yaml -> own.yaml'),
        ('extends: deep/circle.yaml',
         '{deep}/circle.yaml: extends: leads in a circle: own.yaml -> circle.yaml -> own.yaml'),
        ('extends: 3', '{own}: extends: must be the name of a file or a list of such names, '
                       'got 3'),
        ('extends: ~', '{own}: extends: must be the name of a file or a list of such names, '
                       'got None'),
        ('extends: [~]', '{own}: extends[0]: has no value'),
        ('extends: deep/broken.yaml', '{deep}/broken.yaml: a study must be a mapping, got None'),
        ('extends: deep/wide0.yaml', '{own}: extends: must not lead to more than 100 files'),
        ('extends: base.yaml\nparameters: {v: {default: 3.0}}',
         '{own}: parameters.v.default: '),
        ('extends: base.yaml\nparameters: {v: {defualt: 0.3}}',
         '{own}: parameters.v.defualt: unknown key; did you mean default?, got 0.3'),
        ('extends: base.yaml\nparameters: {n: {range: [1, 2]}}',
         '{base} (extended by {own}): parameters.n.default: '),
        ('extends: base.yaml\nparameters: {n: {range: [1, 2], default: 0}}',
         '{own}: parameters.n.default: '),
        ('extends: base.yaml\nmetrics: {time: ~}',
         "{base} (extended by {own}): objectives[0].metric: unknown metric; known are gap, load, "
         "got 'time'"),
        ('extends: base.yaml\nenvironments: {sim: {kind: table}}',
         '{own}: environments.sim.file: is required but missing'),
        ('extends: base.yaml\nname: ~', '{own}: name: is required but missing'),
        ('extends: deep/odd.yaml',
         '{deep}/odd.yaml (extended by {own}): seeds.campaign: must be a whole number, got '
         "'many'"),
    ],
)  # fmt: skip
def test_mistakes_name_the_file_that_they_are_in(file, tmp_path, text, message):
    file('deep/circle.yaml', 'extends: ../own.yaml\n')
    file('deep/broken.yaml', '')
    file('deep/odd.yaml', 'extends: ../base.yaml\nseeds: {campaign: many}\n')
    for number in range(8):
        file(f'deep/wide{number}.yaml', f'extends: [wide{number + 1}.yaml, wide{number + 1}.yaml]')
    file('deep/wide8.yaml', '{}')
    own = file('own.yaml', text + '\n')
    expected = message.format(own=own, deep=tmp_path / 'deep', base=tmp_path / 'base.yaml')
    found = error_of(load_study, own)
    assert found.startswith(expected) if expected.endswith(': ') else found == expected


RECORDED = '''
version: 1
name: recorded
parameters: {level: {type: int, range: [1, 3], default: 1}}
metrics: {latency: {direction: minimize}}
objectives: [{metric: latency}]
environments:
  old: {kind: table, role: source, file: old.csv}
  new: {kind: command, role: target, command: [./measure, '{study}']}
'''


def test_relative_paths_belong_to_the_file_that_gives_them(file, tmp_path):
    file('base/base.yaml', RECORDED)
    file('base/old.csv', 'level,latency\n1,0.5\n')
    file('base/measure', '#!/bin/sh\n').chmod(0o755)
    (tmp_path / 'own' / 'data').mkdir(parents=True)
    path = file('own/own.yaml', 'extends: ../base/base.yaml\n')

    def paths():
        study = load_study(path)
        options = command.validate_options(study.target, study)
        return table.validate_options(study.source, study).path, options

    base, own = tmp_path / 'base', tmp_path / 'own'
    where, options = paths()
    assert where == base / 'old.csv'
    assert (options.directory, options.command) == (base, (str(base / 'measure'), str(base)))
    path.write_text('''
extends: ../base/base.yaml
environments: {old: {columns: {latency: latency}}, new: {directory: data, timeout: 3}}
''')
    where, options = paths()
    assert where == base / 'old.csv'
    assert options.directory == own / 'data'
    assert options.command == (str(base / 'measure'), str(base))
    path.write_text('extends: ../base/base.yaml\nenvironments: {old: {file: new.csv}}\n')
    assert error_of(paths).startswith(f'{path}: environments.old.file: ')
    (base / 'measure').unlink()
    path.write_text('extends: ../base/base.yaml\n')
    message = f'{base}/base.yaml (extended by {path}): environments.new.command: the program'
    message = message.replace(str(base), f'{own}/../base')
    assert error_of(paths).startswith(message)
