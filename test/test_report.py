# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import json
import re

import pytest

from tl_adapt.cli import main
from tl_adapt.models.influence import influences
from tl_adapt.report.plots import pareto_front
from tl_adapt.report.tables import difference_rows, format_table, mean_rows
from tl_adapt.testing.analytic import analytic_study


def row(mean, difference=None):
    return {
        'configuration': {}, 'runs': 4, 'limits_broken': 1, 'failures': {},
        'success': {'estimate': 0.75, 'low': 0.3, 'high': 0.95},
        'metrics': {'objective': {'mean': mean, 'std': 0.1, 'n': 4}},
        'difference': {} if difference is None else {'objective': difference},
    }


@pytest.fixture
def result():
    difference = {'pairs': 4, 'low': -0.1, 'high': 0.4, 'estimate': 0.2, 'verdict': 'inconclusive'}
    return {
        'study': 'a <study>',
        'summary': 'small & short',
        'units': {},
        'comparison': {
            'baseline': 'ours', 'rows': {'default': row(1.2, difference), 'ours': row(1.0)},
        },
        'curves': {'transfer': [1.2, 1.0], 'random': [None, 1.4]},
        'pareto': {'axes': ['time', 'energy'], 'groups': {'transfer': [[1.0, 2.0], [2.0, 1.0]]}},
        'influence': {
            'simulation': {'v': {'span': 0.5, 'change': -0.5}},
            'robot': {'v': {'span': 0.2, 'change': 0.1}},
        },
        'gap': {'objective': {'rank_correlation': None, 'pairs': 2}},
    }


def test_the_page_has_the_tables_and_four_plots(result, tmp_path, capsys):
    pytest.importorskip('plotly')
    path = tmp_path / 'result.json'
    path.write_text(json.dumps(result))
    assert main(['report', str(path)]) == 0
    page = (tmp_path / 'report.html').read_text()
    assert str(tmp_path / 'report.html') in capsys.readouterr().out
    assert page.count('class="plotly-graph-div"') == 4
    assert 'a &lt;study&gt;' in page
    assert '~-0.1 .. +0.4' in page
    # It is whole by itself: nothing is loaded from elsewhere.
    assert not re.search(r'<(script|link|img)[^>]+(src|href)=', page)


@pytest.mark.parametrize('text', ['', '[]', '{}', '{"study": 1}'])
def test_what_is_no_result_is_refused(text, tmp_path, capsys):
    path = tmp_path / 'result.json'
    path.write_text(text)
    assert main(['report', str(path)]) == 2
    assert str(path) in capsys.readouterr().err
    assert not (tmp_path / 'report.html').exists()


def test_a_missing_result_is_refused(tmp_path, capsys):
    assert main(['report', str(tmp_path / 'none.json')]) == 2
    assert 'none.json' in capsys.readouterr().err


def test_tables_mark_what_is_inconclusive(result):
    text = format_table(mean_rows(result['comparison'], {}))
    assert '75% (30%..95%)' in text
    head, line, *body = text.splitlines()
    assert set(line) == {'-'}
    assert {len(one) for one in body} == {len(head)}
    assert difference_rows(result['comparison'], {'objective': 'x'}) == [
        ['', 'default'], ['objective [x]', '~-0.1 .. +0.4'],
    ]


def test_the_front_holds_no_dominated_point():
    points = [(1.0, 3.0), (2.0, 2.0), (2.5, 2.0), (3.0, 1.0), (1.0, 4.0)]
    assert pareto_front(points) == [(1.0, 3.0), (2.0, 2.0), (3.0, 1.0)]


def test_influences_find_what_matters_and_its_sign():
    space = analytic_study(2).space
    names = list(space.names)
    weights = dict.fromkeys(names, 0.0)
    weights['speed'], weights['gain'] = -3.0, 1.0

    def predict(configurations):
        return space.encode(configurations) @ [weights[name] for name in names]

    found = influences(space, predict, samples=8, levels=5)
    assert [one.parameter for one in found[:2]] == ['speed', 'gain']
    assert found[0].change == pytest.approx(-3.0, abs=0.05)
    assert found[2].span == pytest.approx(0.0, abs=0.01)
