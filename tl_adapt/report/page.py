# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the report: one HTML page that needs no network."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tl_adapt.report import plots
from tl_adapt.report.html_page import html_figures, html_table, write_page
from tl_adapt.report.tables import adaptation_rows, difference_rows, mean_rows


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
    parts += html_figures(lambda: _plots(result))
    if result.get('gap'):
        gap = html_table(_gap_rows(result['gap']))
        parts += ['<h2>Source and target: rank correlation</h2>', gap]
    if result.get('adaptation'):
        missions = html_table(adaptation_rows(result['adaptation']))
        parts += ['<h2>Adaptation at runtime</h2>', missions]
        if 'comparison' in result['adaptation']:
            parts.append('<p>In the changed environment:</p>')
            parts += _comparison(result['adaptation']['comparison'], result.get('units', {}))
    return write_page(path, result['study'], parts)


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


def _comparison(comparison: Mapping[str, Any], units: Mapping[str, str]) -> list[str]:
    baseline = html.escape(comparison['baseline'])
    return [
        html_table(mean_rows(comparison, units)),
        f'<p>Differences to {baseline}, paired by seed, bootstrap 95 % intervals; '
        '~ marks an inconclusive one:</p>',
        html_table(difference_rows(comparison, units)),
    ]


def _gap_rows(gap: Mapping[str, Mapping[str, float]]) -> list[list[str]]:
    rows = [['metric', 'rank correlation', 'pairs']]
    for name, entry in gap.items():
        value = entry['rank_correlation']
        rows.append([name, '-' if value is None else f'{value:.2f}', str(entry['pairs'])])
    return rows
