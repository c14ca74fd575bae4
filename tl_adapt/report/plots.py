# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the report's plots, drawn with plotly."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tl_adapt.errors import try_import

#: One colour per method, of those that everybody can tell apart (Okabe, Ito 2008).
COLOURS = {
    'default': '#999999',
    'simulation best': '#E69F00',
    'target-only': '#56B4E9',
    'random': '#CC79A7',
    'ours': '#009E73',
    'transfer': '#009E73',
}


def comparison_plot(comparison: Mapping[str, Any], units: Mapping[str, str]) -> Any:
    """Draw each metric's mean relative to the default's, one bar per configuration."""
    graph = try_import('plotly.graph_objects', 'report')
    figure = graph.Figure()
    rows = comparison['rows']
    reference = rows.get('default', next(iter(rows.values())))['metrics']
    names = [n for n in reference if abs(reference[n]['mean']) > 1e-12]
    for label, row in rows.items():
        shown = [n for n in names if n in row['metrics']]
        ratio = [row['metrics'][n]['mean'] / reference[n]['mean'] for n in shown]
        error = [
            1.96 * row['metrics'][n]['std'] / math.sqrt(row['metrics'][n]['n'])
            / abs(reference[n]['mean'])
            for n in shown
        ]
        text = [f'{row["metrics"][n]["mean"]:.3g} {units.get(n, "")}' for n in shown]
        figure.add_bar(
            name=label, x=shown, y=ratio, error_y={'array': error}, hovertext=text,
            marker_color=COLOURS.get(label),
        )
    figure.update_layout(
        title='On the target, relative to the default (bars: mean, 95 %)', yaxis_title='ratio'
    )
    return figure


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points of which none other is at least as small in both coordinates, sorted."""
    front: list[tuple[float, float]] = []
    for point in sorted(set(points)):
        if not front or point[1] < front[-1][1]:
            front.append(point)
    return front


def pareto_plot(
    groups: Mapping[str, Sequence[tuple[float, float]]], axes: tuple[str, str]
) -> Any:
    """Draw measurements of two metrics (both to be minimised) and the front of each group."""
    graph = try_import('plotly.graph_objects', 'report')
    figure = graph.Figure()
    for label, points in groups.items():
        colour = COLOURS.get(label)
        figure.add_scatter(
            name=label, mode='markers', x=[p[0] for p in points], y=[p[1] for p in points],
            marker_color=colour,
        )
        front = pareto_front(points)
        figure.add_scatter(
            name=f'{label}: front', mode='lines', line_shape='hv', line_color=colour,
            x=[p[0] for p in front], y=[p[1] for p in front],
        )
    figure.update_layout(
        title='What is reached together: the Pareto front', xaxis_title=axes[0],
        yaxis_title=axes[1],
    )
    return figure


def learning_plot(curves: Mapping[str, Sequence[float]]) -> Any:
    """Draw the best objective so far against the number of target measurements."""
    graph = try_import('plotly.graph_objects', 'report')
    figure = graph.Figure()
    for label, values in curves.items():
        figure.add_scatter(
            name=label, mode='lines+markers', x=list(range(1, len(values) + 1)),
            y=[None if math.isnan(v) else v for v in values], line_color=COLOURS.get(label),
        )
    figure.update_layout(
        title='Best objective measured so far on the target', xaxis_title='target measurements',
        yaxis_title='objective',
    )
    return figure


def influence_plot(influence: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Any:
    """Draw each parameter's signed main effect on the objective, per environment."""
    graph = try_import('plotly.graph_objects', 'report')
    figure = graph.Figure()
    first = next(iter(influence.values()))
    names = sorted(first, key=lambda name: first[name]['span'])
    for (label, table), colour in zip(influence.items(), ('#E69F00', '#0072B2')):
        signed = [math.copysign(table[n]['span'], table[n]['change']) for n in names]
        figure.add_bar(name=label, y=names, x=signed, orientation='h', marker_color=colour)
    figure.update_layout(
        title="Parameters' influence on the objective (model; right: more of it costs more)",
        xaxis_title='main effect on the objective', height=max(420, 28 * len(names)),
    )
    return figure
