# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for writing a configuration as a ROS 2 parameter file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tl_adapt.errors import InputError
from tl_adapt.space import Configuration, Value

if TYPE_CHECKING:
    from tl_adapt.study import Study


def configuration_lines(study: Study, configuration: Configuration) -> list[str]:
    """Return a configuration for the reader: one line `name = value unit` per parameter."""
    return [
        f'{p.name} = {value_text(configuration[p.name])} '
        f'{p.unit if p.unit != "1" else ""}'.rstrip()
        for p in study.space.parameters
    ]


def value_text(value: Value) -> str:
    """Return a value of a parameter for the reader."""
    if isinstance(value, bool):
        return 'true' if value else 'false'
    return f'{value:.6g}' if isinstance(value, float) else str(value)


def parameter_tree(study: Study, configuration: Configuration) -> dict[str, Any]:
    """
    Return the configuration as nodes with their `ros__parameters`.

    A target that is one element of an array is left out: the file would have to repeat the
    array's other elements, which only the running node knows.
    """
    tree: dict[str, Any] = {}
    for parameter in study.space.parameters:
        for target in parameter.targets:
            if target.index is not None:
                continue
            node = '/' + target.node.lstrip('/')
            values = tree.setdefault(node, {'ros__parameters': {}})['ros__parameters']
            values[target.name] = target.to_ros(configuration[parameter.name])
    return tree


def write_parameter_file(study: Study, configuration: Configuration, path: Path) -> Path:
    """Write the file, whole or not at all, and return its path."""
    head = (
        f'# Parameters that tl_adapt chose for the study {study.name}.\n'
        '# Use: ros2 run PACKAGE NODE --ros-args --params-file THIS_FILE\n'
    )
    write_text(path, head + yaml.safe_dump(parameter_tree(study, configuration)))
    return path


def write_text(path: Path, text: str) -> None:
    """
    Replace a file's content at once, so that a reader never sees half of it.

    Raises InputError if it can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix='.', suffix='.part')
        try:
            with os.fdopen(handle, 'w', encoding='utf-8') as stream:
                stream.write(text)
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise InputError(f'can not be written ({error.strerror})', file=path) from error


def check_outputs(outputs: Mapping[str, Path | None], inputs: Iterable[Path | str]) -> None:
    """
    Check before long work that the files of `outputs` (by option) can be written afterwards.

    Nothing is written. Raises InputError for a folder, a place that can't be written, and a file
    that is one of the `inputs` or of another option.
    """
    taken = {os.path.realpath(path): f'must not be the input {path}' for path in inputs}
    for option, path in outputs.items():
        if path is None:
            continue
        if os.path.exists(path) and not os.path.isfile(path):
            raise InputError('must be a file, no folder or device', key=option, value=str(path))
        real = os.path.realpath(path)
        if real in taken:
            raise InputError(taken[real], key=option, value=str(path))
        taken[real] = f'must not be the file of {option}, too'
        folder = path.parent
        while not os.path.lexists(folder) and folder != folder.parent:
            folder = folder.parent
        if not os.path.isdir(folder) or not os.access(folder, os.W_OK | os.X_OK):
            rule = f'can not be written, as {folder} is no folder that can be written to'
            raise InputError(rule, key=option, value=str(path))


def check_folder(folder: Path) -> None:
    """Make a folder if it is missing; raises InputError unless files can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f'nothing can be written to this folder ({error.strerror})', file=folder
        ) from error
