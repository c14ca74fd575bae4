# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what all pages share: their frame, tables and figures, all in one file."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tl_adapt.errors import TlAdaptError
from tl_adapt.parameter_file import write_text

_STYLE = '''
body{font:15px/1.5 system-ui,sans-serif;max-width:1080px;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0;font-size:14px}
td,th{padding:.3em .7em;border-bottom:1px solid #ddd;text-align:right}
td:first-child,th:first-child{text-align:left}
p.note{color:#555}
'''


def write_page(path: Path, title: str, parts: Sequence[str]) -> Path:
    """Write a page of parts in HTML and return its path; raises InputError if it can't be."""
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<title>tl_adapt: {html.escape(title)}</title><style>{_STYLE}</style></head>'
        f'<body>{"".join(parts)}</body></html>\n'
    )
    write_text(path, page)
    return path


def html_figures(draw: Callable[[], Sequence[Any]]) -> list[str]:
    """
    Return the figures of plotly that `draw` makes as parts, or one that says why there are none.

    The first figure brings plotly itself.
    """
    try:
        figures = draw()
    except TlAdaptError as error:
        return [f'<p class="note">No plots: {html.escape(str(error))}</p>']
    return [
        figure.to_html(full_html=False, include_plotlyjs='inline' if index == 0 else False)
        for index, figure in enumerate(figures)
    ]


def html_table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of text, the head first, as a table."""
    head = ''.join(f'<th>{html.escape(cell)}</th>' for cell in rows[0])
    body = ''.join(
        '<tr>' + ''.join(f'<td>{html.escape(cell)}</td>' for cell in row) + '</tr>'
        for row in rows[1:]
    )
    return f'<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
