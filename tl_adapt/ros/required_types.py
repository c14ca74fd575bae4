# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for checking, before anything is started, that the ROS types of a study are installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tl_adapt.errors import InputError
from tl_adapt.ros.goals import action_type
from tl_adapt.ros.lifecycle import manager_type
from tl_adapt.ros.preparation import requests

if TYPE_CHECKING:
    from tl_adapt.study import EnvironmentSpec, Study


def require_types(study: Study, environment: EnvironmentSpec) -> None:
    """Raise InputError for a type that an environment of the study needs and that is missing."""
    try:
        if study.mission is not None:
            action_type(study.mission)
            requests(study.mission.prepare)
        if 'lifecycle_manager' in environment.options:
            manager_type(f'environments.{environment.name}.lifecycle_manager')
    except InputError as error:
        raise error.at(file=study.sources.named(error.key)) from error
