# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import copy
import json

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tl_adapt.cli import main
from tl_adapt.comparison import compare
from tl_adapt.errors import InputError, TlAdaptError
from tl_adapt.report.page import write_report
from tl_adapt.report.result_file import load_result
from tl_adapt.testing.analytic import AnalyticEnvironment, analytic_study


def row(mean, difference=None):
    return {
        'configuration': {'speed': 0.5}, 'runs': 4, 'limits_broken': 1, 'failures': {},
        'success': {'estimate': 0.75, 'low': 0.3, 'high': 0.95},
        'metrics': {'objective': {'mean': mean, 'std': 0.1, 'n': 4}},
        'difference': {} if difference is None else {'objective': difference},
    }


def comparison():
    difference = {'pairs': 4, 'low': -0.1, 'high': 0.4, 'estimate': 0.2, 'verdict': 'inconclusive'}
    return {'baseline': 'ours', 'rows': {'default': row(1.2, difference), 'ours': row(1.0)}}


RESULT = {
    'study': 'a <study>', 'summary': 'short', 'units': {'objective': 'm'},
    'comparison': comparison(),
    'saved': {'text': 'two measurements'},
    'curves': {'transfer': [1.2, 1.0], 'random': [None, 1.4]},
    'pareto': {'axes': ['time', 'energy'], 'groups': {'transfer': [[1.0, 2.0], [2.0, 1.0]]}},
    'influence': {
        'simulation': {'v': {'span': 0.5, 'change': -0.5}},
        'robot': {'v': {'span': 0.2, 'change': 0.1}},
    },
    'gap': {'objective': {'rank_correlation': None, 'pairs': 2}},
    'adaptation': {
        'missions': [{
            'mission': 1, 'environment': 'robot', 'state': 'watching', 'valid': False,
            'reason': 'collision', 'objective': None, 'note': 'none',
        }],
        'comparison': comparison(),
    },
}


def places(value, path=()):
    """Return the path of every key and element below a value."""
    found = []
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            found += [(*path, key), *places(value[key], (*path, key))]
    return found


def changed(path, value, *, remove=False):
    data = copy.deepcopy(RESULT)
    place = data
    for key in path[:-1]:
        place = place[key]
    if remove:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return data


def deep(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    | st.sampled_from([0, 10**400, 1e308, -0.0, '', '\ud800', '<b>']),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)


@pytest.fixture
def without_plotly_itself(monkeypatch):
    """Draw the plots but leave the library's megabytes out of the page."""
    graph = pytest.importorskip('plotly.graph_objects')
    monkeypatch.setattr(graph.Figure, 'to_html', lambda self, **options: self.to_json())


def outcome(text, folder):
    """Return the page for a result file's text, or the error, which must be one line."""
    path = folder / 'result.json'
    path.write_bytes(text.encode('utf-8', 'surrogatepass'))
    try:
        return write_report(load_result(path), folder / 'report.html').read_text()
    except TlAdaptError as error:
        assert str(error).startswith(str(path))
        assert len(str(error).splitlines()) == 1
        assert len(str(error)) < 2000
        return error


def test_a_whole_result_has_its_page(tmp_path, without_plotly_itself):
    assert 'Adaptation at runtime' in outcome(json.dumps(RESULT), tmp_path)


def test_what_a_comparison_gives_is_accepted(tmp_path, without_plotly_itself):
    study = analytic_study(0)
    environment = AnalyticEnvironment(study, 'target')
    one, other = study.space.sample(2, seed=1)
    runs = {
        'ours': [environment.measure(one, seed) for seed in range(3)],
        'default': [environment.measure(other, seed) for seed in range(3)],
        'nothing measured': [], 'other seeds': [environment.measure(other, 9)],
    }
    result = {'study': study.name, 'comparison': compare(study, runs, 'ours').to_dict()}
    result |= {'adaptation': {}, 'gap': {}, 'pareto': None}
    assert 'nothing measured' in outcome(json.dumps(result), tmp_path)


@pytest.mark.parametrize('value', [5, None, 'text', [], {}, True])
def test_any_one_key_may_be_wrong(value, tmp_path, without_plotly_itself):
    paths = places(RESULT)
    for path in paths[::2]:
        outcome(json.dumps(changed(path, value)), tmp_path)


@settings(
    max_examples=60, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.sampled_from(places(RESULT)), VALUES, st.booleans())
@example(('comparison', 'rows', 'ours'), deep(15), False)
@example(('study',), '\ud800', False)
@example(('saved',), {'text': '\udfff'}, False)
@example(('comparison', 'rows', 'default', 'metrics', 'objective', 'mean'), 10**400, False)
@example(('influence', 'robot', 'v'), None, True)
@example(('study',), {'\r\ud800': 10**200, 'x' * 10**5: 1e200}, False)
def test_a_damaged_result_has_a_page_or_one_error(
    tmp_path, without_plotly_itself, path, value, remove
):
    outcome(json.dumps(changed(path, value, remove=remove)), tmp_path)


@pytest.mark.parametrize(('path', 'value', 'told'), [
    (('comparison',), 5, 'comparison: must be a mapping, got 5'),
    (('study',), True, 'study: must be text, got True'),
    (('comparison', 'baseline'), 'x', "comparison.baseline: must be one of the rows, got 'x'"),
    (('comparison', 'rows'), {}, 'comparison.rows: must have at least 1 element, got {}'),
    (
        ('comparison', 'rows', 'ours', 'metrics', 'objective', 'n'), 0,
        'comparison.rows.ours.metrics.objective.n: must be >= 1, got 0',
    ),
    (('influence', 'robot'), {}, 'influence.robot: must have the parameters of simulation'),
    (('curves', 'random', 1), float('nan'), 'curves.random[1]: must be a number within'),
    (('adaptation',), {'missions': 3}, 'adaptation.missions: must be a list, got 3'),
    (('adaptation',), {'x': 3}, 'adaptation.missions: is required but missing'),
    (
        ('comparison', 'rows', 'default', 'difference', 'objective'), {'pairs': 3},
        'comparison.rows.default.difference.objective.low: is required but missing',
    ),
])
def test_an_error_names_key_rule_and_value(path, value, told, tmp_path):
    error = outcome(json.dumps(changed(path, value)), tmp_path)
    assert isinstance(error, InputError)
    assert f': {told}' in str(error)


@pytest.mark.parametrize('levels', [30, 900, 100_000])
def test_deep_nesting_is_refused(levels, tmp_path, capsys):
    path = tmp_path / 'result.json'
    path.write_text('{"comparison": ' + '[' * levels + ']' * levels + '}')
    assert main(['report', str(path)]) == 2
    assert 'too deeply' in capsys.readouterr().err


def test_a_page_that_can_not_be_written_is_one_error(tmp_path, capsys, without_plotly_itself):
    path = tmp_path / 'result.json'
    path.write_text(json.dumps(RESULT))
    for target in (tmp_path, path / 'below.html'):
        assert main(['report', str(path), '--page', str(target)]) == 2
        assert f'{target}: can not be written' in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ['result.json']
