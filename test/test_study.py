# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import copy
import math
import re
import sys

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tl_adapt import study_file
from tl_adapt.cli import main
from tl_adapt.errors import InputError
from tl_adapt.study import REDUCTIONS, load_study, study_from_dict

SMALL = '''
version: 1
name: small
parameters:
  v: {type: double, range: [0.1, 1.0], default: 0.5, targets: [{node: driver}]}
  n: {type: int, range: [1, 9], default: 3, targets: [{node: driver, name: count}]}
  mode: {type: string, choices: [slow, fast], default: slow, targets: [{node: /driver}]}
constraints:
  - v <= n
metrics:
  time: {reduction: time_to_goal, direction: minimize, scale: log, failed: 60}
  gap: {reduction: min, topic: scan, field: ranges, array: min, direction: maximize}
  load: {reduction: cpu, nodes: [driver], direction: minimize}
objectives:
  - {metric: time, weight: 2.0, reference: 10.0}
  - {metric: gap}
limits:
  - gap >= 0.1
mission:
  goals: [[1, 2, 0]]
  timeout: 30
environments:
  sim: {kind: stack, role: source, identity: {hardware: none}}
  robot: {kind: stack, role: target, cost: 10}
'''


def write(tmp_path, text):
    path = tmp_path / 'study.yaml'
    path.write_text(text, encoding='utf-8')
    return path


def changed(*keys, value=None, remove=False):
    """Return the small study's content with one place changed."""
    data = yaml.safe_load(SMALL)
    place = data
    for key in keys[:-1]:
        place = place[key]
    if remove:
        del place[keys[-1]]
    elif isinstance(place, list) and keys[-1] == len(place):
        place.append(value)
    else:
        place[keys[-1]] = value
    return data


def error_of(load, *args):
    with pytest.raises(InputError) as caught:
        load(*args)
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    return text


# --- a sound study ------------------------------------------------------------------------------


def test_the_demo():
    study = load_study('demo')
    assert study.name == 'demo' and study.path.name == 'demo.yaml'
    assert study.space.dim >= 16
    assert study.source.name == 'simulation' and study.target.name == 'robot'
    assert study.space.names == tuple(sorted(study.space.names))
    assert study.metrics['energy'].field == '-voltage * current'
    assert study.mission.goals == ((2.3, 2.2, 0.0),)
    assert study.mission.seed_targets == (('simulator', 'seed'), ('localizer', 'seed'))
    assert load_study('demo.yaml').digest == study.digest == load_study(study.path).digest
    design = study.space.sample(64, seed=study.seeds.campaign)
    assert all(study.space.contains(c) for c in design)


def test_a_small_study(tmp_path):
    study = load_study(write(tmp_path, SMALL))
    count = study.space['n'].targets[0]
    assert (count.node, count.name, count.index, count.mode('humble')) == (
        'driver', 'count', None, 'live'
    )  # fmt: skip
    assert study.space['v'].targets[0].name == 'v'
    assert list(study.metrics) == ['time', 'gap', 'load']
    gap = study.metrics['gap']
    assert (gap.time, gap.factor, gap.offset, gap.failed, gap.sign) == (
        'header', 1.0, 0.0, 'exclude', -1.0
    )  # fmt: skip
    assert study.metrics['load'].nodes == ('driver',)
    mission = study.mission
    assert (mission.start, mission.timeout, mission.wall_timeout) == (None, 30.0, 210.0)
    assert (mission.repeats, mission.result_topic, mission.fail_when) == (1, None, ())
    assert study.environment('robot').cost == 10.0
    assert study.environment('sim').identity == {'hardware': 'none'}
    assert study.environment('sim').options == {}
    assert (study.budget.source, study.budget.target, study.seeds.evaluation) == (48, 8, 1000)
    assert study.adaptation['environment'] == 'robot' and study.adaptation['window'] == 'mission'


def test_objective_and_limits():
    study = study_from_dict(yaml.safe_load(SMALL))
    assert study.objective({'time': 20.0, 'gap': 0.5, 'load': 9.0}) == pytest.approx(4.0 - 0.5)
    with pytest.raises(InputError, match='gap: an objective needs this metric'):
        study.objective({'time': 20.0})
    assert study.broken_limits({'gap': 0.1}) == []
    assert study.broken_limits({'gap': 0.05}) == ['gap >= 0.1']
    assert study.broken_limits({'gap': math.nan}) == study.broken_limits({}) == ['gap >= 0.1']


def test_a_study_without_robots():
    data = {
        'version': 1,
        'name': 'codec',
        'parameters': {'threads': {'type': 'int', 'range': [1, 8], 'default': 2}},
        'metrics': {'latency': {'direction': 'minimize', 'unit': 's'}},
        'objectives': [{'metric': 'latency'}],
        'environments': {
            'old': {'kind': 'table', 'role': 'source', 'file': 'old.csv'},
            'new': {'kind': 'command', 'role': 'test', 'command': ['run', 'it']},
        },
    }
    study = study_from_dict(data)
    assert study.mission is None and study.metrics['latency'].reduction == 'given'
    assert study.environment('new').options == {'command': ['run', 'it']}
    assert study.adaptation['environment'] is None
    text = error_of(lambda: study.target)
    assert text == 'study.yaml: environments: no environment has the role target'
    assert 'known are old, new' in error_of(study.environment, 'robot')


def test_apply_modes_per_distribution():
    data = changed(
        'parameters', 'v', 'targets', 0, 'apply', value={'default': 'live', 'humble': 'restart'}
    )
    target = study_from_dict(data).space['v'].targets[0]
    assert [target.mode(d) for d in ('humble', 'jazzy')] == ['restart', 'live']


def test_the_digest_is_of_the_content(tmp_path):
    study = study_from_dict(yaml.safe_load(SMALL))

    def reordered(value):
        if isinstance(value, dict):
            return {key: reordered(value[key]) for key in reversed(list(value))}
        return value

    def digests(data):
        other = study_from_dict(data)
        return other.digest == study.digest, other.metric_digest == study.metric_digest

    text = '# a comment\n' + SMALL.replace('v <= n', 'v <= n # !')
    commented = load_study(write(tmp_path, text))
    assert commented.digest == study.digest
    turned = reordered(yaml.safe_load(SMALL))
    assert digests(turned) == (True, True)
    assert study_from_dict(turned).space.names == study.space.names
    assert digests(changed('metrics', 'gap', 'description', value='a gap')) == (True, True)
    assert digests(changed('description', value='for the test')) == (True, True)
    assert digests(changed('metrics', 'gap', 'time', value='recorder')) == (False, False)
    assert digests(changed('metrics', 'gap', 'time', value='header')) == (False, True)
    assert digests(changed('parameters', 'n', 'default', value=4)) == (False, True)


def test_anchors_and_merge_keys(tmp_path):
    text = SMALL.replace('  sim: {', '  sim: &base {').replace(
        '  robot: {kind: stack, role: target, cost: 10}',
        '  robot: {<<: *base, role: target, cost: 10}',
    )
    robot = load_study(write(tmp_path, text)).target
    assert (robot.cost, robot.identity) == (10.0, {'hardware': 'none'})


# --- mistakes -----------------------------------------------------------------------------------

V, N, M = ('parameters', 'v'), ('parameters', 'n'), ('parameters', 'mode')
GAP, TIME = ('metrics', 'gap'), ('metrics', 'time')
SIM, ROBOT = ('environments', 'sim'), ('environments', 'robot')


@pytest.mark.parametrize(
    'keys, value, message',
    [
        # unknown keys and wrong types
        (('parametres',), {}, 'parametres: unknown key; did you mean parameters?, got {}'),
        ((*V, 'rnage'), [0, 1], 'v.rnage: unknown key; did you mean range?, got [0, 1]'),
        ((*V, 'targets', 0, 'nod'), 'a', 'parameters.v.targets[0].nod: unknown key'),
        ((*SIM, 'file'), 'a.csv', 'environments.sim.file: unknown key'),
        (('version',), 2, 'version: must be 1, got 2'),
        (('name',), 'a name', 'name: must be a plain name'),
        (('parameters',), [], 'parameters: must be a mapping, got []'),
        (('parameters',), {}, 'parameters: must have at least 1 element, got {}'),
        ((*V, 'type'), 'float', 'parameters.v.type: must be one of bool, int, double, string'),
        ((*V, 'range'), 5, 'parameters.v.range: must be a list, got 5'),
        ((*V, 'range'), [5], 'parameters.v.range: must have at least 2 elements, got [5]'),
        ((*V, 'log'), 'yes', "parameters.v.log: must be true or false, got 'yes'"),
        ((*V, 'targets', 0, 'node'), 'a b', 'parameters.v.targets[0].node: must be a plain name'),
        ((*V, 'targets', 0, 'apply'), 'now', 'targets[0].apply: must be one of live, idle'),
        (
            (*V, 'targets', 0, 'apply'), {'default': 'live', 'humbel': 'idle'},
            'parameters.v.targets[0].apply.humbel: unknown key; did you mean humble?',
        ),
        (
            (*V, 'targets', 0, 'apply'), {'humble': 'idle'},
            'parameters.v.targets[0].apply.default: is required but missing',
        ),
        ((*V, 'targets', 0, 'scale'), 0, 'parameters.v.targets[0].scale: must be a number other'),
        # rules of parameters
        ((*V, 'range'), [0.5, 0.1], 'parameters.v.range: low <= high must hold, got [0.5, 0.1]'),
        ((*V, 'default'), 2, 'parameters.v.default: must be in [0.1, 1.0], got 2'),
        ((*V, 'default'), math.nan, 'parameters.v.default: must be finite, got nan'),
        ((*V, 'range'), [0.1, math.inf], 'parameters.v.range[1]: must be finite, got inf'),
        ((*V, 'default'), '1e-3', 'must be a number (YAML reads 1e-3 as text: write it like 1'),
        ((*V, 'range'), ['1e-3', 1], 'parameters.v.range[0]: must be a number (YAML reads 1e-3'),
        ((*M, 'choices'), [False, True], 'mode.choices[0]: must be text (YAML reads on'),
        ((*M, 'default'), False, 'parameters.mode.default: must be text (YAML reads on, off'),
        ((*M, 'range'), [0, 1], 'parameters.mode.range: a string has no range'),
        ((*N, 'default'), 2.5, 'parameters.n.default: must be a whole number, got 2.5'),
        ((*N, 'choices'), [1, 2], 'parameters.n: give either a range or choices'),
        ((*N, 'condition'), 'zz > 1', "parameters.n.condition: unknown name 'zz'"),
        ((*N, 'condition'), 'v >', 'parameters.n.condition: not an expression'),
        (('parameters', 'lambda'), {'type': 'bool', 'default': True}, 'parameters.lambda: a name'),
        (('parameters', 'a-b'), {'type': 'bool', 'default': True}, 'parameters.a-b: a name has'),
        (
            (*N, 'targets', 0, 'name'), 'v',
            'parameters.v.targets[0]: the same ROS parameter is a target of parameters.n',
        ),
        # constraints
        (('constraints', 0), 'v <= speed', "constraints[0]: unknown name 'speed'; known are mode"),
        (('constraints', 0), 'v <= ', 'constraints[0]: not an expression'),
        (('constraints', 0), 'v + n', 'constraints[0]: a constraint must give true or false'),
        (('constraints', 0), 'v < mode', 'constraints[0]: can not be evaluated'),
        (('constraints', 0), 'v > n + 5', 'constraints: unsatisfiable'),
        (('constraints', 0), 'v > 0.8', 'constraints[0]: v > 0.8 must hold for the default'),
        (('constraints', 0), True, 'constraints[0]: must be text'),
        (('constraints',), 'v <= n', "constraints: must be a list, got 'v <= n'"),
        (('constraints', 0), "__import__('os').system('x')", 'constraints[0]: Call is not'),
        # metrics
        ((*GAP, 'reduction'), 'median', 'metrics.gap.reduction: must be one of given, mean'),
        ((*GAP, 'direction'), 'up', 'metrics.gap.direction: must be one of minimize, maximize'),
        ((*GAP, 'time'), 'wall', 'metrics.gap.time: must be one of header, recorder'),
        ((*GAP, 'percentile'), 101, 'metrics.gap.percentile: must be <= 100, got 101'),
        ((*GAP, 'percentile'), 5, 'metrics.gap.percentile: means nothing for the reduction min'),
        ((*GAP, 'reduction'), 'percentile', 'gap.percentile: the reduction percentile needs'),
        ((*GAP, 'reduction'), 'pose_error', 'gap.reference: the reduction pose_error needs'),
        ((*GAP, 'reduction'), 'cpu', 'metrics.gap.nodes: the reduction cpu needs it'),
        ((*GAP, 'field'), 'ranges[', 'metrics.gap.field: not an expression'),
        ((*GAP, 'field'), '3', 'metrics.gap.field: must name a field of the message'),
        ((*GAP, 'topic'), 'my scan', 'metrics.gap.topic: must be a plain name'),
        ((*GAP, 'factor'), 0, 'metrics.gap.factor: must be a number other than 0'),
        ((*GAP, 'failed'), 'skip', "metrics.gap.failed: must be exclude, got 'skip'"),
        ((*TIME, 'failed'), 0, 'metrics.time.failed: must be > 0 on a log scale, got 0'),
        ((*TIME, 'topic'), 'scan', 'metrics.time.topic: means nothing for the reduction time'),
        ((*TIME, 'failed'), False, 'metrics.time.failed: must be a number, got False'),
        # objectives and limits
        (('objectives',), [], 'objectives: must have at least 1 element'),
        (('objectives', 0, 'metric'), 'speed', 'objectives[0].metric: unknown metric; known are'),
        (('objectives', 0, 'weight'), -1, 'objectives[0].weight: must be > 0, got -1'),
        (('objectives', 0, 'weight'), 0, 'objectives[0].weight: must be > 0, got 0'),
        (('objectives', 0, 'weight'), 'much', 'objectives[0].weight: must be a number'),
        (('objectives', 0, 'weight'), math.nan, 'objectives[0].weight: must be finite, got nan'),
        (('objectives', 0, 'reference'), 0, 'objectives[0].reference: must be > 0, got 0'),
        (('objectives', 1, 'metric'), 'time', 'objectives[1].metric: has an objective already'),
        (('limits', 0), 'speed >= 1', 'limits[0]: unknown metric; known are time, gap, load'),
        (('limits', 0), 'gap > 1', 'limits[0]: a limit reads METRIC >= NUMBER or METRIC <='),
        (('limits', 0), 'gap >= nan', 'limits[0]: a limit reads METRIC >= NUMBER'),
        (('limits', 0), 'gap >= x', 'limits[0]: a limit reads METRIC >= NUMBER'),
        # mission
        (('mission', 'timeout'), 0, 'mission.timeout: must be > 0, got 0'),
        (('mission', 'goals'), [], 'mission.goals: must have at least 1 element'),
        (('mission', 'goals'), [[1, 2]], 'mission.goals[0]: must have at least 3 elements'),
        (('mission', 'goals'), [[1, 2, 'x']], 'mission.goals[0][2]: must be a number'),
        (('mission', 'repeats'), 1.5, 'mission.repeats: must be a whole number, got 1.5'),
        (
            ('mission', 'fail_when'),
            [{'topic': 'a', 'field': 'data', 'op': '>=', 'value': True, 'reason': 'x'}],
            'mission.fail_when[0].value: >= needs a number, got True',
        ),
        (
            ('mission', 'fail_when'), [{'topic': 'a', 'field': 'data', 'op': '>=', 'value': 1}],
            'mission.fail_when[0].reason: is required but missing',
        ),
        # environments
        ((*ROBOT, 'role'), 'source', 'environments.robot.role: sim is the source already'),
        ((*SIM, 'role'), 'target', 'environments.robot.role: sim is the target already'),
        ((*SIM, 'kind'), 'gazebo', 'environments.sim.kind: must be one of table, command, stack'),
        ((*SIM, 'kind'), 'table', 'environments.sim.file: is required but missing'),
        ((*SIM, 'kind'), 'command', 'environments.sim.command: is required but missing'),
        ((*SIM, 'cost'), -1, 'environments.sim.cost: must be >= 0, got -1'),
        ((*SIM, 'identity'), {'hardware': 3}, 'environments.sim.identity.hardware: must be text'),
        (('environments', 's m'), {'kind': 'stack', 'role': 'test'}, 'environments.s m: a name'),
        (
            (*SIM, 'node_parameters'), {'/driver': {'count': 3}},
            'environments.sim.node_parameters./driver.count: is tuned as parameters.n, got 3',
        ),
        (
            (*SIM, 'node_parameters'), {'a': {'b': [1, 2.0]}},
            'environments.sim.node_parameters.a.b: must be a ROS parameter',
        ),
        ((*SIM, 'simulator'), {'node': 's', 'pause': 'p'}, 'environments.sim.simulator: pause'),
        (
            (*SIM, 'bringup'),
            [{'name': n, 'command': ['x'], 'nodes': ['a']} for n in 'pq'],
            'environments.sim.bringup[1].nodes: must not come twice',
        ),
        # the rest
        (('budget',), {'target': -1}, 'budget.target: must be >= 0, got -1'),
        (('budget',), {'source': 0}, 'budget.source: must be >= 1, got 0'),
        (('seeds',), {'campaign': -1}, 'seeds.campaign: must be >= 0, got -1'),
        (('adaptation',), {'environment': 'mars'}, 'adaptation.environment: unknown environment'),
        (('adaptation',), {'window': 'day'}, "adaptation.window: must be mission, got 'day'"),
        (('adaptation',), {'window': -1}, 'adaptation.window: must be > 0, got -1'),
        (('budget',), None, 'budget: has no value'),
    ],
)  # fmt: skip
def test_each_mistake_is_one_error(keys, value, message):
    text = error_of(study_from_dict, changed(*keys, value=value))
    assert text.startswith('study.yaml: ')
    assert message in text


@pytest.mark.parametrize(
    'keys, message',
    [
        (('version',), 'version: is required but missing'),
        (('objectives',), 'objectives: is required but missing'),
        ((*V, 'default'), 'parameters.v.default: is required but missing'),
        ((*V, 'range'), 'parameters.v: give either a range or choices'),
        ((*V, 'targets'), 'parameters.v.targets: is required but missing (environments.sim is a'),
        ((*M, 'choices'), 'parameters.mode.choices: a string needs choices'),
        ((*GAP, 'topic'), 'metrics.gap.topic: the reduction min needs it'),
        ((*GAP, 'field'), 'metrics.gap.field: the reduction min needs it'),
        ((*TIME, 'reduction'), 'metrics.time.reduction: is required but missing (environments'),
        ((*TIME, 'direction'), 'metrics.time.direction: is required but missing'),
        (('metrics', 'load', 'nodes'), 'metrics.load.nodes: the reduction cpu needs it'),
        (('mission',), 'mission: is required but missing (environments.sim is a stack)'),
        ((*SIM, 'role'), 'environments.sim.role: is required but missing'),
    ],
)
def test_what_is_missing_is_one_error(keys, message):
    text = error_of(study_from_dict, changed(*keys, remove=True))
    assert text.startswith('study.yaml: ') and message in text


@pytest.mark.parametrize(
    'old, new, message',
    [
        ('  n: {', '  v: {', r'parameters\.v: the key is given twice \(lines 5 and 6\)'),
        ('weight: 2.0', 'metric: gap', r'objectives\[0\]\.metric: the key is given twice'),
        ('weight: 2.0', 'weight: 1e1', r'objectives\[0\]\.weight: must be a number \(YAML reads'),
        ('weight: 2.0', 'weight: .nan', r'objectives\[0\]\.weight: must be finite, got nan'),
        ('choices: [slow, fast]', 'choices: [on, off]', r'mode\.choices\[0\]: must be text \('),
        ('  v: {', '  on: {', r'parameters: a key must be text \(YAML reads on.*got True'),
        ('  v: {', '  1: {', r'parameters: a key must be text, got 1'),
        ('hardware: none', 'hardware: no', r'identity\.hardware: must be text \(YAML reads on'),
        ('hardware: none', 'hardware: 2024-01-01', r'identity\.hardware: is a date for YAML'),
        ('hardware: none', 'hardware: ~', r'identity\.hardware: has no value'),
        ('hardware: none', 'hardware: 1.2', r'identity\.hardware: must be text, got 1\.2'),
        ('version: 1', 'version: [1', r'not YAML \(line \d+, column \d+\): '),
        ('version: 1', '\tversion: 1', r'not YAML \(line 2, column 1\): '),
        ('version: 1', 'version: !!python/object:os.system 1', r'not YAML \(line 2.*constructor'),
        ('version: 1', 'version: *nothing', r'not YAML .*undefined alias'),
        ('version: 1', 'version: 1\n---\na: 1', r'not YAML .*'),
        ('hardware: none', 'hardware: &a [*a]', r'identity\.hardware\[0\]: an alias makes'),
    ],
)
def test_mistakes_of_yaml(tmp_path, old, new, message):
    assert old in SMALL
    path = write(tmp_path, SMALL.replace(old, new))
    text = error_of(load_study, path)
    assert text.startswith(f'{path}: ')
    assert re.search(message, text), text


@pytest.mark.parametrize(
    'content, message',
    [
        (b'', 'a study must be a mapping, got None'),
        (b'- 1\n- 2\n', 'a study must be a mapping, got [1, 2]'),
        (b'just text', "a study must be a mapping, got 'just text'"),
        (b'\xff\xfe\x00\x01\x02', 'can not be read'),
        (b'a: \x00', 'not YAML'),
    ],
)
def test_files_that_are_no_study(tmp_path, content, message):
    path = tmp_path / 'study.yaml'
    path.write_bytes(content)
    assert message in error_of(load_study, path)


def test_a_bomb_of_aliases_is_refused(tmp_path):
    lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x]']
    lines += [f'a{i}: &a{i} [{", ".join([f"*a{i - 1}"] * 9)}]' for i in range(1, 10)]
    path = write(tmp_path, '\n'.join(lines))
    assert 'an alias makes the content endless' in error_of(load_study, path)


def test_missing_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('nothing.yaml', 'nothing', str(tmp_path / 'demo'), '../demo'):
        assert error_of(load_study, name) == (
            f'{name}: no such file, and no study of that name is shipped'
        )
    assert 'is a folder, not a study file' in error_of(load_study, tmp_path)
    (tmp_path / 'demo').mkdir()
    assert load_study('demo').name == 'demo'  # a folder of that name is no study


def test_shipped_files_are_found_in_an_installation(tmp_path, monkeypatch):
    package = tmp_path / 'lib' / 'python3' / 'site-packages' / 'tl_adapt'
    config = tmp_path / 'share' / 'tl_adapt' / 'config'
    package.mkdir(parents=True)
    config.mkdir(parents=True)
    (config / 'small.yaml').write_text(SMALL, encoding='utf-8')
    monkeypatch.setattr(study_file.tl_adapt, '__file__', str(package / '__init__.py'))
    assert load_study('small').path == config / 'small.yaml'
    elsewhere = tmp_path / 'elsewhere' / 'tl_adapt'
    monkeypatch.setattr(study_file.tl_adapt, '__file__', str(elsewhere / '__init__.py'))
    monkeypatch.setattr(sys, 'prefix', str(tmp_path))
    assert study_file.shipped_file('small.yaml') == config / 'small.yaml'
    assert study_file.shipped_file('other.yaml') is None


def test_a_schema_and_the_rules_name_the_same_reductions():
    schema = study_file._validator().schema
    names = schema['definitions']['metric']['properties']['reduction']['enum']
    assert set(names) == set(REDUCTIONS)


# Values that people, editors and programs leave in a file where something else belongs.
STRANGE = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.floats(), st.text(max_size=4),
    st.lists(st.integers(), max_size=3), st.dictionaries(st.text(max_size=3), st.integers()),
)  # fmt: skip


def places(value, path=()):
    yield path
    if isinstance(value, dict):
        for key, child in value.items():
            yield from places(child, (*path, key))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from places(child, (*path, index))


PLACES = [path for path in places(yaml.safe_load(SMALL)) if path]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(PLACES), STRANGE)
def test_anything_anywhere_is_a_study_or_one_input_error(keys, value):
    data = changed(*keys, value=value)
    before = copy.deepcopy(data)
    try:
        study_from_dict(data)
    except InputError as error:
        assert str(error).startswith('study.yaml: ')
    assert repr(data) == repr(before)


# --- the verb -----------------------------------------------------------------------------------


def test_check_prints_a_summary(capsys):
    assert main(['check', 'demo']) == 0
    out = capsys.readouterr().out
    for part in ('parameters: 20 (endless)', 'max_vel_x <= acc_lim_x * 1.5', 'mission_time',
                 'objectives: 4', 'clearance >= 0.05', 'simulation', 'budget: '):  # fmt: skip
        assert part in out
    assert all(len(line) < 140 for line in out.splitlines()[1:])


def test_check_of_other_kinds(tmp_path, capsys):
    text = '''
version: 1
name: other
parameters:
  b: {type: bool, default: true}
  s: {type: string, choices: [x, y], default: y}
metrics:
  latency: {direction: minimize}
objectives: [{metric: latency}]
environments:
  old: {kind: table, role: source, file: old.csv}
'''
    path = write(tmp_path, text)
    assert main(['check', str(path)]) == 2
    assert 'environments.old.file' in capsys.readouterr().err
    (tmp_path / 'old.csv').write_text('b,s,latency\ntrue,x,1.5\n', encoding='utf-8')
    assert main(['check', str(path)]) == 0
    assert 'parameters: 2 (4 configurations)' in capsys.readouterr().out


def test_check_says_what_is_wrong(tmp_path, capsys):
    path = write(tmp_path, SMALL.replace('range: [0.1, 1.0]', 'range: [1.0, 0.1]'))
    assert main(['check', str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ''
    assert captured.err == (
        f'tl_adapt: error: {path}: parameters.v.range: low <= high must hold, got [1.0, 0.1]\n'
    )
