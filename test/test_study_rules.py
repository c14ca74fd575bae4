# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import copy
import math

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from small_study import SMALL, changed, error_of

from tl_adapt import study_file
from tl_adapt.errors import InputError
from tl_adapt.study import REDUCTIONS, study_from_dict

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
        (('name',), 'n' * 101, 'name: must have at most 100 characters'),
        (('budget',), {'source': 10**20}, 'budget.source: must be <= 100000'),
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
        (('mission', 'goal_interface'), 'both', 'must be one of auto, action, topic'),
        (
            ('mission', 'prepare'), [{'service': 'clear', 'type': 'std_srvs/Empty'}],
            'mission.prepare[0].type: must be a plain name (^[A-Za-z]',
        ),
        (
            ('mission', 'prepare'), [{'service': 'clear'}],
            'mission.prepare[0].type: is required but missing',
        ),
        # environments
        ((*SIM, 'namespace'), 'robot1', 'environments.sim.namespace: must be a plain name (^('),
        ((*SIM, 'lifecycle_nodes'), [], 'lifecycle_nodes: must have at least 1 element'),
        (
            (*SIM, 'lifecycle_manager'), 'manager',
            'environments.sim.lifecycle_nodes: is required but missing (there is a lifecycle_',
        ),
        (
            (*SIM, 'simulator'), {'node': 's', 'pause_for': 'ever'},
            'simulator.pause_for: must be one of start, reset, never',
        ),
        ((*ROBOT, 'role'), 'source', 'environments.robot.role: sim is the source already'),
        ((*SIM, 'role'), 'target', 'environments.robot.role: sim is the target already'),
        ((*SIM, 'kind'), 'gazebo',
         'environments.sim.kind: must be one of table, command, stack, replay'),
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
            (*SIM, 'simulator'), {'node': 's', 'interface': 'unity'},
            'environments.sim.simulator.interface: must be one of auto, gazebo, sim',
        ),
        (
            (*SIM, 'simulator'), {'node': 's', 'interface': 'auto', 'reset': 'r'},
            'environments.sim.simulator.interface: finds its services itself, so reset must not',
        ),
        (
            (*SIM, 'simulator'), {'node': 's', 'entity': 'robot'},
            'environments.sim.simulator.entity: needs interface: auto, gazebo or simulation_',
        ),
        (
            (*SIM, 'bringup'),
            [{'name': n, 'command': ['x'], 'nodes': ['a']} for n in 'pq'],
            'environments.sim.bringup[1].nodes: must not come twice',
        ),
        # the rest
        (('budget',), {'target': -1}, 'budget.target: must be >= 0, got -1'),
        (('budget',), {'source': 0}, 'budget.source: must be >= 1, got 0'),
        (('seeds',), {'campaign': -1}, 'seeds.campaign: must be >= 0, got -1'),
        (('seeds',), {'evaluation': 0.5}, 'seeds.evaluation: must be a whole number'),
        (('adaptation',), {'environment': 'mars'}, 'adaptation.environment: unknown environment'),
        (('adaptation',), {'false_alarms': 0}, 'adaptation.false_alarms: must be >= 1e-12, got 0'),
        (('adaptation',), {'false_alarms': 1}, 'adaptation.false_alarms: must be <= 0.1, got 1'),
        (('adaptation',), {'restart': {'arm': ['a', '{parameters}']}},
         'adaptation.restart.arm: no parameter has this node as a target; known are driver'),
        (('adaptation',), {'restart': {'driver': ['systemctl', 'restart', 'driver']}},
         'adaptation.restart.driver: must have {parameters} for the file'),
        (('adaptation',), {'restart': {'driver': []}}, 'restart.driver: must have at least 1'),
        (('adaptation',), {'restart_timeout': 0}, 'adaptation.restart_timeout: must be > 0'),
        (('adaptation',), {'window': 'day'}, "adaptation.window: must be mission, got 'day'"),
        (('adaptation',), {'window': -1}, 'adaptation.window: must be > 0, got -1'),
        (('adaptation',), {'window': 5, 'stride': 6},
         'adaptation.stride: must not be longer than the window, got 6'),
        (('adaptation',), {'stride': 0}, 'adaptation.stride: must be > 0, got 0'),
        (('adaptation',), {'contexts': [{'name': 'load', 'topic': 'load'}]},
         'adaptation.contexts[0]: needs either a field or polygons'),
        (('adaptation',), {'contexts': [{'name': 'room', 'topic': 'pose', 'polygons': {
            'hall': [[0, 0], [1, 0], [0, 1]], 'line': [[0, 0], [0.1, 0.3], [0.2, 0.6], [0, 0]]}}]},
         'adaptation.contexts[0].polygons.line: must have an area: its corners are on one line, '
         'got [[0.0, 0.0], [0.1, 0.3], [0.2, 0.6], [0.0, 0.0]]'),
        (('adaptation',), {'contexts': [{'name': 'room', 'topic': 'pose', 'polygons': {
            'bow': [[0, 0], [2, 2], [2, 0], [0, 2]]}}]},
         'adaptation.contexts[0].polygons.bow: its sides must not cross, got [[0.0, 0.0]'),
        (('adaptation',), {'contexts': [{'name': 'load', 'topic': 'load', 'field': 'data',
                                         'hold': -1}]},
         'adaptation.contexts[0].hold: must be >= 0, got -1'),
        (('adaptation',), {'explore_when': {'topic': 'a', 'field': 'b', 'op': '<', 'value': 'c'}},
         "adaptation.explore_when.value: < needs a number, got 'c'"),
        (('adaptation',), {'explore_when': {'topic': 'a', 'field': '1 +', 'op': '<', 'value': 1}},
         'adaptation.explore_when.field: not an expression'),
        (('mission', 'timeout'), 1e300, 'mission.timeout: must be <= 1000000, got 1e+300'),
        (('adaptation',), {'window': 1e300}, 'adaptation.window: must be <= 1000000, got 1e+300'),
        (('adaptation',), {'stride': 1e17}, 'adaptation.stride: must be <= 1000000, got 1e+17'),
        (('adaptation',), {'contexts': [{'name': 'load', 'topic': 'load', 'field': 'data',
                                         'hold': 1e300}]},
         'adaptation.contexts[0].hold: must be <= 1000000, got 1e+300'),
        (('adaptation',), {'dwell': 9 * 10**21}, 'adaptation.dwell: must be <= 100000, got 9000'),
        (('adaptation',), {'explore': 10**20}, 'adaptation.explore: must be <= 100000, got 1000'),
        (('adaptation',), {'minimum_gain': 1e308}, 'adaptation.minimum_gain: must be <= 1000'),
        (('adaptation',), {'false_alarms': 1e-320}, 'adaptation.false_alarms: must be >= 1e-12'),
        (('adaptation',), {'journal_days': 0}, 'adaptation.journal_days: must be > 0, got 0'),
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


def test_a_stack_in_a_namespace():
    data = changed('environments', 'sim', 'namespace', value='/robot1')
    data['environments']['sim']['node_parameters'] = {'/driver': {'v': 1.0}}
    assert study_from_dict(data).source.options['namespace'] == '/robot1'
    data['environments']['sim']['node_parameters'] = {'/robot1/driver': {'v': 1.0}}
    text = error_of(study_from_dict, data)
    assert 'node_parameters./robot1/driver.v: is tuned as parameters.v' in text


def test_the_outcome_topic_is_that_of_the_action():
    data = changed('mission', 'action', value='drive')
    mission = study_from_dict(data).mission
    assert mission.outcome_topic == 'drive/_action/status'
    assert mission.goal_interface == 'auto' and mission.prepare == ()
    data['mission']['outcome_topic'] = 'status'
    data['mission']['prepare'] = [{'service': 'clear', 'type': 'std_srvs/srv/Empty'}]
    mission = study_from_dict(data).mission
    assert mission.outcome_topic == 'status'
    assert (mission.prepare[0].service, mission.prepare[0].timeout) == ('clear', 5.0)
