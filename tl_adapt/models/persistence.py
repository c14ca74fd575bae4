# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for keeping models in a folder: arrays as .npz, everything else as JSON."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tl_adapt.errors import InputError
from tl_adapt.json_file import read_json
from tl_adapt.models.kernel import Array

FORMAT = 'tl_adapt model'
VERSION = 2
ARRAYS, META = 'model.npz', 'model.json'
_LARGEST = 2**31  # bytes; a model of the largest allowed size is far below


def save(folder: str | Path, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """
    Write a model into `folder`, which is made if need be.

    The JSON file names the array file by its hash and is written last, so that a model is either
    the old or the new one. Raises InputError if the folder can't be written.
    """
    buffer = io.BytesIO()
    # Numbers are never pickled. Before NumPy 2.1 `allow_pickle` would be the name of an array.
    numbers = {name: np.asarray(a, dtype=np.float64) for name, a in arrays.items()}
    np.savez_compressed(buffer, **numbers)  # type: ignore[arg-type]
    data = buffer.getvalue()
    head = {'format': FORMAT, 'version': VERSION, 'sha256': hashlib.sha256(data).hexdigest()}
    text = json.dumps({**head, **meta}, indent=2, sort_keys=True) + '\n'
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        _replace(path / ARRAYS, data)
        _replace(path / META, text.encode())
    except OSError as error:
        raise InputError(f'the model can not be written: {error.strerror}', file=path) from error


def load(folder: str | Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """
    Return what `save` was given.

    Raises InputError if there is no model, if it is corrupt, or of another version.
    """
    path = Path(folder)
    meta = read_json(path / META, 'no model here')
    if not isinstance(meta, dict) or meta.get('format') != FORMAT:
        raise InputError(f'format must be {FORMAT!r}', file=path / META)
    if meta.get('version') != VERSION:
        raise InputError(
            f'only version {VERSION} can be read', file=path / META, key='version',
            value=meta.get('version'),
        )
    return meta, _load_arrays(path / ARRAYS, meta.get('sha256'))


def _load_arrays(path: Path, digest: Any) -> dict[str, Array]:
    """Return the arrays of a file whose SHA-256 is `digest`."""
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError('is too large for a model', file=path)
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f'can not be read: {error.strerror}', file=path) from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise InputError('is corrupt or belongs to another model', file=path)
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return {name: np.asarray(file[name], dtype=np.float64) for name in file.files}
    except (ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f'is corrupt: {error}', file=path) from error


def _replace(path: Path, data: bytes) -> None:
    """Write a file so that a crash leaves either the old or the new content."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')
    try:
        with os.fdopen(handle, 'wb') as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
