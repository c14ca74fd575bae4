# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import itertools
import json
import re

import pytest

from tl_adapt.cli import main
from tl_adapt.environments.base import Measurement
from tl_adapt.store import Store
from tl_adapt.study import load_study

STUDY = '''
version: 1
name: recorded
parameters:
  slow: {type: bool, default: false}
  depth: {type: int, range: [1, 4], default: 1, unit: m}
  mode: {type: string, choices: [near, far], default: near}
  unsafe: {type: bool, default: false}
  extra: {type: double, range: [0, 1], default: 0, condition: slow}
constraints: [depth < 4 or not slow]
metrics:
  time: {unit: s, direction: minimize, scale: log, failed: exclude}
  quality: {direction: maximize, failed: exclude}
objectives:
  - {metric: time, reference: 10.0}
environments:
  lab: {kind: command, role: source, command: [none]}
  field: {kind: command, role: target, command: [none]}
  spare: {kind: command, role: test, command: [none]}
'''


def measured(environment, seed, configuration, *, turn=1.0, failed=False, time=None):
    c = configuration
    metrics = {
        'time': 5.0 * (4.0 if c['slow'] else 1.0) * 1.1 ** c['depth'] ** turn
        * (1.3 if c['mode'] == 'far' else 1.0) ** turn * (1.0 + 0.002 * (seed % 7)),
        'quality': c['depth'] - (1.5 if c['slow'] else 0.0) * turn + 0.01 * (seed % 5),
    }
    if time is not None:
        metrics['time'] = time
    return Measurement(
        environment, c, seed, metrics={} if failed else metrics, valid=not failed,
        reason='crash' if failed else '', purpose='campaign',
    )


def configurations():
    for slow, depth, mode, unsafe in itertools.product(
        (False, True), (1, 2, 3), ('near', 'far'), (False, True)
    ):
        for extra in (0.0, 0.7) if slow else (0.0,):
            yield {'slow': slow, 'depth': depth, 'mode': mode, 'unsafe': unsafe, 'extra': extra}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder with the study; it is the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'study.yaml').write_text(STUDY)
    return tmp_path


@pytest.fixture
def keep(folder):
    def run(measurements):
        with Store(folder / 's.sqlite', study=load_study(folder / 'study.yaml')) as store:
            for measurement in measurements:
                store.add(measurement)

    return run


@pytest.fixture
def campaign(keep):
    rows = []
    for seed, configuration in enumerate(configurations()):
        failed = configuration['unsafe'] and configuration['slow']
        rows.append(measured('lab', seed, configuration, failed=failed))
        rows.append(measured('field', seed, configuration, turn=-1.0, failed=failed))
    keep(rows)
    return rows


def go(*words):
    return main(['explain', 'study.yaml', '--store', 's.sqlite', *words])


def result(folder, *words):
    assert go('--json', 'e.json', *words) == 0
    return json.loads((folder / 'e.json').read_text())


def test_influences_are_in_the_metrics_unit(folder, campaign, capsys):
    found = result(folder, '--metric', 'time')
    out = capsys.readouterr().out
    assert 'Influence on time [s] in lab (24 of 36 measurements)' in out
    lab, field = found['environments']
    assert lab['transferred_from'] is None and field['transferred_from'] == 'lab'
    top = lab['effects']['parameters'][0]
    assert top['names'] == ['slow'] and (top['from'], top['to']) == ([False], [True])
    assert top['factor']['estimate'] == pytest.approx(4.0, rel=0.1)
    assert top['conclusive'] and top['change']['low'] > 0
    assert top['share']['estimate'] > 0.8
    curves = {curve['parameter']: curve for curve in lab['effects']['curves']}
    assert curves['depth']['values'] == [1, 2, 3, 4]
    assert curves['mode']['values'] == ['near', 'far']


def test_what_turned_comes_first(folder, campaign, capsys):
    found = result(folder, '--metric', 'quality')
    change, = found['changes']
    assert (change['from'], change['to']) == ('lab', 'field')
    assert change['terms'][0]['names'] == ['slow'] and change['terms'][0]['kind'] == 'turned'
    assert re.search(r'What changed in quality from lab to field\n.*\n-+\nslow +turned',
                     capsys.readouterr().out)


def test_failures_are_explained_too(folder, campaign, capsys):
    found = result(folder, '--metric', 'time', '--environment', 'lab')
    failures = found['environments'][0]['failures']
    assert {effect['names'][0] for effect in failures['parameters'][:2]} == {'slow', 'unsafe'}
    assert all(0.2 < e['change']['estimate'] < 0.9 for e in failures['parameters'][:2])
    run = next(run for run in found['runs'] if not run['valid'])
    assert run['explained'] == 'probability of failure' and run['reason'] == 'crash'
    assert {share['names'][0] for share in run['options'][:2]} == {'slow', 'unsafe'}
    assert set(run['remedy']['changes']) <= {'slow', 'unsafe'}
    assert run['remedy']['reached']
    out = capsys.readouterr().out
    assert 'Influence on the probability of failure in lab (12 of 36 runs failed)' in out
    assert 'Fewest changes to a valid run: ' in out


def test_a_bad_run_has_its_cause(folder, campaign, capsys):
    found = result(folder, '--metric', 'time', '--environment', 'lab')
    run = found['runs'][0]
    assert run['valid'] and run['configuration']['slow']
    assert run['options'][0]['names'] == ['slow']
    assert run['options'][0]['likelihood'] > 0.9
    assert run['surprise']['verdict'] == 'explained by the configuration'
    assert list(run['remedy']['changes']) == ['slow']
    assert run['single_changes'][0]['parameter'] == 'slow'
    total = sum(share['amount']['estimate'] for share in run['options'])
    assert total == pytest.approx(run['difference']['estimate'], rel=0.05)
    # The measured configurations have no depth of 4; where it goes up, the constraint holds.
    assert 'slow = false' in capsys.readouterr().out


def test_chance_is_not_put_on_the_options(folder, campaign, keep, capsys):
    odd = measured('lab', 99, next(iter(configurations())), time=200.0)
    keep([odd])
    found = result(folder, '--metric', 'time', '--environment', 'lab', '--run', odd.key[:12])
    run, = found['runs']
    assert run['surprise']['verdict'].startswith('worse than the configuration explains')
    assert run['predicted'] < 20.0
    assert run['options'] == []
    assert 'It is the default itself: there is nothing to compare.' in capsys.readouterr().out
    assert odd.key in {entry['run'] for entry in found['environments'][0]['unexplained']}
    best = result(
        folder, '--metric', 'time', '--environment', 'lab', '--run', odd.key, '--against', 'best'
    )['runs'][0]
    assert best['against'] == 'best' and abs(best['difference']['estimate']) < 20.0


def test_the_page_is_whole_by_itself(folder, campaign, capsys):
    pytest.importorskip('plotly')
    assert go('--metric', 'time', '--page', 'e.html', '--top', '3') == 0
    page = (folder / 'e.html').read_text()
    assert 'written: e.html' in capsys.readouterr().out
    assert page.count('class="plotly-graph-div"') >= 5
    assert 'Why run' in page
    assert not re.search(r'<(script|link|img)[^>]+(src|href)=', page)


def test_the_objective_is_explained_by_default(folder, campaign, capsys):
    assert go('--environment', 'lab') == 0
    assert 'Influence on objective in lab' in capsys.readouterr().out


def error(capsys, *words):
    assert go(*words) == 2
    text = capsys.readouterr().err.strip().splitlines()[-1]
    assert text.startswith('tl_adapt: error: ')
    return text


def test_wrong_words_are_one_clear_error(folder, campaign, capsys):
    assert "--metric: unknown metric; known are objective, time, quality, got 'speed'" in error(
        capsys, '--metric', 'speed')
    assert 'unknown environment; known are lab, field, spare' in error(
        capsys, '--environment', 'moon')
    assert 'has no measurements of spare' in error(capsys, '--environment', 'spare')
    assert "--run: no measurement of lab, field has a key that begins so, got 'zzzz'" in error(
        capsys, '--run', 'zzzz')
    assert '--run: needs at least 4 characters' in error(capsys, '--run', '')
    assert '--top: must be at least 1, got 0' in error(capsys, '--top', '0')
    assert '--seed: must be at least 0, got -1' in error(capsys, '--seed', '-1')
    assert 'can not be written' in error(capsys, '--json', '/proc/none/e.json')


def test_without_a_store_the_campaign_is_named(folder, capsys):
    text = error(capsys)
    assert 's.sqlite: there is no store here: run `tl_adapt campaign study.yaml` first' in text
    assert not (folder / 's.sqlite').exists()


def test_an_empty_store_says_so(folder, keep, capsys):
    keep([])
    assert 's.sqlite has no measurements of recorded' in error(capsys)


@pytest.mark.parametrize(('rows', 'text'), [
    (1, 'only 1 of 1 measurements are valid and have it; at least 4 are needed'),
    (3, 'only 3 of 3 measurements'),
])
def test_too_few_measurements_say_so(rows, text, folder, keep, capsys):
    keep([measured('lab', i, c) for i, c in zip(range(rows), configurations())])
    assert text in error(capsys, '--metric', 'time')


def test_a_constant_metric_says_so(folder, keep, capsys):
    keep([measured('lab', i, c, time=3.0) for i, c in enumerate(configurations())])
    assert 'it is 3 in all 36 measurements: nothing influences it' in error(
        capsys, '--metric', 'time')


def test_failures_alone_say_so(folder, keep, capsys):
    keep([measured('lab', i, c, failed=True) for i, c in enumerate(configurations())])
    assert 'lab: all 36 runs failed: there is nothing to compare' in error(capsys)


def test_a_target_that_only_failed_is_still_explained_by_its_failures(
    folder, campaign, keep, capsys
):
    with Store(folder / 'other.sqlite', study=load_study(folder / 'study.yaml')) as store:
        for i, c in enumerate(configurations()):
            store.add(measured('lab', i, c))
        store.add(measured('field', 0, next(iter(configurations())), failed=True))
    assert main(['explain', 'study.yaml', '--store', 'other.sqlite']) == 0
    assert 'all 1 runs failed: there is nothing to compare' in capsys.readouterr().out


def test_one_target_measurement_is_enough_with_a_source(folder, keep, capsys):
    rows = [measured('lab', i, c) for i, c in enumerate(configurations())]
    keep([*rows, measured('field', 0, next(iter(configurations())))])
    found = result(folder, '--metric', 'time')
    assert found['environments'][1]['effects']['parameters'][0]['names'] == ['slow']
    assert len(found['runs']) == 2


def test_zeros_on_a_log_scale_are_no_error(folder, keep, capsys):
    keep([
        measured('lab', i, c, time=0.0 if i % 9 == 0 else None)
        for i, c in enumerate(configurations())
    ])
    assert go('--metric', 'time') == 0


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (('--json', 's.sqlite'), '--json: must not be the input s.sqlite'),
        (('--page', './study.yaml'), '--page: must not be the input study.yaml'),
        (('--json', 'e', '--page', 'e'), '--page: must not be the file of --json, too'),
        (('--json', ''), "--json: must be a file, no folder or device, got '.'"),
        (('--page', 'study.yaml/e.html'), 'study.yaml is no folder that can be written to'),
    ],
)
def test_output_that_can_not_be_is_refused_before_the_work(folder, keep, words, message, capsys):
    keep([measured('lab', 1, next(configurations()))])
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert go(*words) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ''
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_what_stronger_means_is_said_on_a_log_scale(campaign, capsys):
    assert go('--metric', 'time') == 0
    assert 'Stronger or weaker is judged by the factors.' in capsys.readouterr().out
