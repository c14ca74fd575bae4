# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the report: one HTML page that needs no network."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tl_adapt.errors import TlAdaptError
from tl_adapt.parameter_file import write_text
from tl_adapt.report import plots
from tl_adapt.report.tables import adaptation_rows, difference_rows, mean_rows

_STYLE = '''
body{font:15px/1.5 system-ui,sans-serif;max-width:1080px;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0;font-size:14px}
td,th{padding:.3em .7em;border-bottom:1px solid #ddd;text-align:right}
td:first-child,th:first-child{text-align:left}
p.note{color:#555}
'''


def write_report(result: Mapping[str, Any], path: Path) -> Path:
    """
    Write the page for a result and return its path.

    Without plotly the page has the tables only and says so.
    """
    parts = [
        f'<h1>{html.escape(result["study"])}: measured, transferred, adapted</h1>',
        f'<p class="note">{html.escape(result.get("summary", ""))}</p>',
        '<h2>Configurations on the target, with seeds that tuning never saw</h2>',
        *_comparison(result['comparison'], result.get('units', {})),
    ]
    if 'saved' in result:
        parts.append(f'<p>{html.escape(result["saved"]["text"])}</p>')
    parts += figures_html(lambda: _plots(result))
    if result.get('gap'):
        rows = _gap_rows(result['gap'])
        parts += ['<h2>Source and target: rank correlation</h2>', table_html(rows)]
    if result.get('adaptation'):
        rows = adaptation_rows(result['adaptation'])
        parts += ['<h2>Adaptation at runtime</h2>', table_html(rows)]
        if 'comparison' in result['adaptation']:
            parts.append('<p>In the changed environment:</p>')
            parts += _comparison(result['adaptation']['comparison'], result.get('units', {}))
    return write_page(result['study'], parts, path)


def write_page(title: str, parts: Sequence[str], path: Path) -> Path:
    """Write a page of a title and parts that are HTML, whole or not at all; return its path."""
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<title>tl_adapt: {html.escape(title)}</title><style>{_STYLE}</style></head>'
        f'<body>{"".join(parts)}</body></html>\n'
    )
    write_text(path, page)
    return path


def _plots(result: Mapping[str, Any]) -> list[Any]:
    figures = [plots.comparison_plot(result['comparison'], result.get('units', {}))]
    if result.get('pareto'):
        pareto = result['pareto']
        groups = {k: [(x, y) for x, y in v] for k, v in pareto['groups'].items() if v}
        figures.append(plots.pareto_plot(groups, (pareto['axes'][0], pareto['axes'][1])))
    if result.get('curves'):
        curves = {
            k: [float('nan') if x is None else x for x in v]
            for k, v in result['curves'].items()
        }
        figures.append(plots.learning_plot(curves))
    if result.get('influence'):
        figures.append(plots.influence_plot(result['influence']))
    return figures


def figures_html(draw: Callable[[], Sequence[Any]]) -> list[str]:
    """Return the figures that `draw` makes as HTML, or why there are none."""
    try:
        figures = draw()
    except TlAdaptError as error:
        return [f'<p class="note">No plots: {html.escape(str(error))}</p>']
    return [
        figure.to_html(full_html=False, include_plotlyjs='inline' if index == 0 else False)
        for index, figure in enumerate(figures)
    ]


def _comparison(comparison: Mapping[str, Any], units: Mapping[str, str]) -> list[str]:
    baseline = html.escape(comparison['baseline'])
    return [
        table_html(mean_rows(comparison, units)),
        f'<p>Differences to {baseline}, paired by seed, bootstrap 95 % intervals; '
        '~ marks an inconclusive one:</p>',
        table_html(difference_rows(comparison, units)),
    ]


def _gap_rows(gap: Mapping[str, Mapping[str, float]]) -> list[list[str]]:
    rows = [['metric', 'rank correlation', 'pairs']]
    for name, entry in gap.items():
        value = entry['rank_correlation']
        rows.append([name, '-' if value is None else f'{value:.2f}', str(entry['pairs'])])
    return rows


def table_html(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of text, the head first, as a table."""
    head = ''.join(f'<th>{html.escape(cell)}</th>' for cell in rows[0])
    body = ''.join(
        '<tr>' + ''.join(f'<td>{html.escape(cell)}</td>' for cell in row) + '</tr>'
        for row in rows[1:]
    )
    return f'<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
