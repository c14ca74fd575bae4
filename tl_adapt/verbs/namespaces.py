# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the option `--namespace`, which means the same for every verb."""

from __future__ import annotations

import re

from tl_adapt.errors import InputError


def namespace_of(text: str) -> str:
    """Return a namespace as full name, empty for the root; raises InputError if it is none."""
    if not re.fullmatch(r'/|/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*/?|', text, re.ASCII):
        rule = 'must be names of letters, digits and _ with / between'
        raise InputError(rule, key='--namespace', value=text)
    return f'/{text.strip("/")}'.rstrip('/')
