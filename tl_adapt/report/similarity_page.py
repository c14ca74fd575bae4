# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the similarity of two environments as one HTML page that needs no network."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import numpy as np

from tl_adapt.errors import try_import
from tl_adapt.models.kernel import Array
from tl_adapt.models.similarity.comparison import Similarity
from tl_adapt.models.similarity.learning import Point
from tl_adapt.models.similarity.response import is_constant, on_own_range
from tl_adapt.models.similarity.verdict import Verdict
from tl_adapt.report.html_page import html_figures, html_table, write_page
from tl_adapt.report.similarity_tables import (
    curve_rows,
    interaction_rows,
    metric_rows,
    option_rows,
)

_SOURCE, _TARGET = '#E69F00', '#0072B2'  # as in the other plots (Okabe, Ito 2008)
_POINTS = 2000  # points of a scatter plot: more only make the page heavy
_BARS = 20  # interactions that are drawn


def write_similarity_page(
    path: Path, found: Similarity, curve: tuple[Point, ...], verdict: Verdict
) -> Path:
    """
    Write the page and return its path; raises InputError if it can't be written.

    Without plotly the page has the tables only and says so.
    """
    pair = found.pair
    title = f'{pair.source.name} and {pair.target.name}: {pair.metric}'
    parts = [f'<h1>{html.escape(title)}</h1>', _list(verdict.text)]
    parts += ['<h2>Similarity metrics</h2>', html_table(metric_rows(found))]
    if found.notes:
        parts.append(_list(found.notes))
    parts += html_figures(lambda: _figures(found, curve))
    parts += [
        '<h2>Options</h2>',
        '<p class="note">Change from the low to the high end (standard error); * influential.</p>',
        html_table(option_rows(found)),
    ]
    if len(interaction_rows(found)) > 1:
        parts += ['<h2>Pairwise interactions</h2>', html_table(interaction_rows(found))]
    if curve:
        parts += ['<h2>Error by target measurements</h2>', html_table(curve_rows(curve))]
    return write_page(path, title, parts)


def _list(lines: tuple[str, ...]) -> str:
    return '<ul>' + ''.join(f'<li>{html.escape(line)}</li>' for line in lines) + '</ul>'


def _figures(found: Similarity, curve: tuple[Point, ...]) -> list[Any]:
    graph = try_import('plotly.graph_objects', 'report')
    figures = []
    if len(found.pair.joint.target):
        figures.append(_scatter(graph, found))
    if not any(is_constant(side.measured[1]) for side in (found.pair.source, found.pair.target)):
        figures.append(_distributions(graph, found))
    if any(one.test != 'none' for one in found.source_effects + found.target_effects):
        figures.append(_influences(graph, found))
    if found.interactions is not None and found.interactions.found:
        figures.append(_interactions(graph, found))
    if curve:
        figures.append(_curve(graph, curve))
    return figures


def _axis(found: Similarity, name: str) -> str:
    pair = found.pair
    return f'{pair.metric} in {name}' + (f' [{pair.unit}]' if pair.unit else '')


def _scatter(graph: Any, found: Similarity) -> Any:
    """Draw the target over the source, with the least-squares line."""
    joint, pair = found.pair.joint, found.pair
    x, y = joint.source, joint.target
    figure = graph.Figure()
    kept = np.arange(len(x))
    if len(x) > _POINTS:
        kept = np.sort(np.random.default_rng(0).choice(len(x), _POINTS, replace=False))
    figure.add_scattergl(
        name='configurations', mode='markers', x=x[kept].tolist(), y=y[kept].tolist(),
        marker={'color': _TARGET, 'size': 5, 'opacity': 0.6},
    )
    if len(x) >= 3 and not is_constant(x):
        slope, level = np.polyfit(x, y, 1)
        ends = np.array([x.min(), x.max()])
        figure.add_scatter(
            name=f'{level:.3g} + {slope:.3g} x', mode='lines', x=ends.tolist(),
            y=(level + slope * ends).tolist(), line_color=_SOURCE,
        )
    predicted = f', {joint.predicted} of {len(x)} predicted' if joint.predicted else ''
    figure.update_layout(
        title='The target over the source (line: least squares)',
        xaxis_title=_axis(found, pair.source.name) + predicted,
        yaxis_title=_axis(found, pair.target.name), height=520,
    )
    return figure


def _distributions(graph: Any, found: Similarity) -> Any:
    """Draw both distributions, each over its own range, which is what M2 compares."""
    figure = graph.Figure()
    edges = np.linspace(0.0, 1.0, 41)
    for side, colour in ((found.pair.source, _SOURCE), (found.pair.target, _TARGET)):
        y = side.measured[1]
        share = np.histogram(on_own_range(y), edges)[0] / len(y)
        figure.add_bar(
            name=f'{side.name} ({y.min():.3g} .. {y.max():.3g})', marker_color=colour,
            x=(0.5 * (edges[1:] + edges[:-1])).tolist(), y=share.tolist(), opacity=0.6,
        )
    figure.update_layout(
        title='The two distributions, each on its own range', barmode='overlay',
        xaxis_title='share of the range', yaxis_title='share of the configurations', bargap=0.0,
    )
    return figure


def _influences(graph: Any, found: Similarity) -> Any:
    """Draw each option's effect in both, in standard deviations of each environment."""
    figure = graph.Figure()
    pair = found.pair
    varied = [
        j for j in range(len(pair.names))
        if found.source_effects[j].test != 'none' or found.target_effects[j].test != 'none'
    ]
    order = sorted(varied, key=lambda j: abs(found.source_effects[j].change))
    for side, effects, (_, y), colour in zip(
        (pair.source, pair.target), (found.source_effects, found.target_effects), pair.used,
        (_SOURCE, _TARGET),
    ):
        spread = _spread(y)
        figure.add_bar(
            name=side.name, orientation='h', marker_color=colour,
            y=[pair.names[j] for j in order], x=[effects[j].change / spread for j in order],
            error_x={'array': [_finite(1.645 * effects[j].error / spread) for j in order]},
            hovertext=[f'p = {effects[j].p:.2g}, {effects[j].test}' for j in order],
        )
    figure.update_layout(
        title='What options change, from their low to their high end (bars: 90 %)',
        xaxis_title='standard deviations of the environment', height=max(420, 30 * len(order)),
    )
    return figure


def _interactions(graph: Any, found: Similarity) -> Any:
    """Draw the coefficients of interactions in both, in standard deviations of each."""
    figure = graph.Figure()
    pair = found.pair
    shown = found.interactions.found[:_BARS][::-1] if found.interactions else ()
    names = [f'{pair.names[one.first]} x {pair.names[one.second]}' for one in shown]
    values = ([one.source for one in shown], [one.target for one in shown])
    for side, numbers, (_, y), colour in zip(
        (pair.source, pair.target), values, pair.used, (_SOURCE, _TARGET)
    ):
        spread = _spread(y)
        figure.add_bar(
            name=side.name, y=names, x=[v / spread for v in numbers], orientation='h',
            marker_color=colour,
        )
    figure.update_layout(
        title='Pairwise interactions (0: not in the model)', height=max(420, 30 * len(names)),
        xaxis_title='coefficient, in standard deviations of the environment',
    )
    return figure


def _curve(graph: Any, curve: tuple[Point, ...]) -> Any:
    """Draw the error by number of target measurements."""
    figure = graph.Figure()
    sizes = [point.size for point in curve]
    alone = [None if np.isnan(point.alone) else point.alone for point in curve]
    transfer = [point.transfer for point in curve]
    for name, values, colour in (
        ('transfer', transfer, _TARGET), ('target alone', alone, '#999999')
    ):
        figure.add_scatter(
            name=name, mode='lines+markers', x=sizes, y=values, line_color=colour,
            marker_symbol=['circle' if p.measured else 'circle-open' for p in curve],
        )
    figure.update_layout(
        title='Error by target measurements (open: expected)', xaxis_title='target measurements',
        xaxis_type='log', yaxis_title='error / spread of the target', yaxis_rangemode='tozero',
    )
    return figure


def _spread(y: Array) -> float:
    return float(y.std()) or 1.0 if len(y) else 1.0


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
