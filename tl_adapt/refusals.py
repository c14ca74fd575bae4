# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for what operators refused, as a table beside a store's measurements.

What was refused is a fact about an environment, whatever was looked for when it was asked, until
an operator takes it back.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tl_adapt.database import row_number
from tl_adapt.errors import StoreError

if TYPE_CHECKING:
    from tl_adapt.space import Configuration, Space

_TABLE = sa.Table(
    'refused',
    sa.MetaData(),
    row_number(),
    sa.Column('environment_digest', sa.String(64), nullable=False, index=True),
    sa.Column('configuration', sa.Text, nullable=False),
    sa.Column('refused', sa.Text, nullable=False),
)


def add_refusal(
    connection: sa.engine.Connection, environment: str, space: Space,
    configuration: Mapping[str, Any],
) -> None:
    """
    Keep a refusal in the environment of a digest; a second time does nothing.

    Raises InputError for a configuration outside of the space.
    """
    text = json.dumps(space.validate(configuration), sort_keys=True)
    _TABLE.create(connection, checkfirst=True)
    same = (_TABLE.c.environment_digest == environment) & (_TABLE.c.configuration == text)
    if connection.execute(sa.select(_TABLE.c.id).where(same)).first() is None:
        now = datetime.datetime.now(datetime.timezone.utc).isoformat()
        connection.execute(_TABLE.insert().values(
            environment_digest=environment, configuration=text, refused=now,
        ))


def get_refusals(
    connection: sa.engine.Connection, environment: str, space: Space, name: str
) -> list[Configuration]:
    """
    Return what was refused in the environment of a digest and can be had in a space.

    Raises StoreError, with a store's `name`, for what can't be read.
    """
    if not sa.inspect(connection).has_table(_TABLE.name):
        return []
    query = sa.select(_TABLE.c.configuration).order_by(_TABLE.c.id)
    texts = connection.execute(query.where(_TABLE.c.environment_digest == environment)).scalars()
    try:
        found = [json.loads(text) for text in texts]
    except (ValueError, TypeError, RecursionError) as error:
        raise StoreError(f'{name}: the table {_TABLE.name} is damaged: {error}') from error
    return [space.validate(one) for one in found if space.contains(one)]


def take_back(connection: sa.engine.Connection, environment: str) -> int:
    """Drop what was refused in the environment of a digest; return how much that was."""
    if not sa.inspect(connection).has_table(_TABLE.name):
        return 0
    gone = connection.execute(_TABLE.delete().where(_TABLE.c.environment_digest == environment))
    return int(gone.rowcount)
