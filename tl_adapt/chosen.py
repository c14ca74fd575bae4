# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the files that a choice leaves: model, choice and ROS 2 parameter file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tl_adapt.models.model_set import ModelSet
from tl_adapt.parameter_file import (
    check_folder,
    configuration_lines,
    parameter_tree,
    write_parameter_file,
    write_text,
)
from tl_adapt.tuning.proposal import Choice

if TYPE_CHECKING:
    from tl_adapt.study import Study


def check_chosen(output: Path) -> None:
    """Raise InputError if `write_chosen` could not write: before anything is spent."""
    check_folder(output)
    if (output / 'model').exists():
        check_folder(output / 'model')


def write_chosen(study: Study, choice: Choice, model: ModelSet, output: Path) -> None:
    """Show the choice; write it, the model, and a ROS 2 parameter file if there are targets."""
    folder = output / 'model'
    model.save(folder)
    content = {
        'study': study.name, 'digest': study.digest,
        'configuration': choice.configuration, 'why': choice.why,
    }
    write_text(folder / 'choice.json', json.dumps(content, indent=2) + '\n')
    print(f'chosen: {choice.why}')
    for line in configuration_lines(study, choice.configuration):
        print(f'  {line}')
    if parameter_tree(study, choice.configuration):
        path = output / 'tuned_parameters.yaml'
        write_parameter_file(study, choice.configuration, path)
        print(f'written: {folder}, {path}')
    else:
        print(
            f'written: {folder} (no tuned_parameters.yaml: no parameter has a target in ROS 2 '
            'that such a file can hold)'
        )
