# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the errors that a user meets, and for optional dependencies."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

_MISSING: Any = object()


class TlAdaptError(Exception):
    """Be the base of every error whose text is meant for the user."""

    exit_code = 2


class InputError(TlAdaptError):
    """
    Report one mistake in the input.

    The message names file, key, rule and value, as far as they are known:
    `study.yaml: parameters.v.range: low <= high must hold, got [0.5, 0.1]`.
    """

    def __init__(
        self, rule: str, *, file: object = None, key: str | None = None, value: Any = _MISSING
    ) -> None:
        """Store the parts; `value` may be any object, also None."""
        self.rule = rule
        self.file = file
        self.key = key
        self.value = None if value is _MISSING else value
        self._given = value
        where = ''.join(f'{part}: ' for part in (file, key) if part)
        got = '' if value is _MISSING else f', got {value!r}'
        super().__init__(f'{where}{rule}{got}')

    def at(self, *, file: object = None, key: str | None = None) -> InputError:
        """Return the same error with `file` filled in, and its key put below `key`."""
        parts = [part for part in (key, self.key) if part]
        return InputError(
            self.rule, file=file or self.file, key='.'.join(parts) or None, value=self._given
        )


class StoreError(TlAdaptError):
    """Report a store that can't be opened, read or written."""


class MeasurementError(TlAdaptError):
    """Say why a measurement is invalid; the campaign goes on."""

    #: The study does not fit what is measured, whatever the configuration.
    mismatch = False

    def __init__(self, reason: str) -> None:
        """Store the reason, which becomes the measurement's `reason`."""
        self.reason = reason
        super().__init__(reason)


class ApparatusError(MeasurementError):
    """
    Say why nothing was measured: what failed is not what is measured, but what measures it.

    A worker that dies, a stack that does not come up or a simulator that gives no answer tells
    nothing about a configuration. So there is no measurement then, not even an invalid one.
    """


class SimulatorFailedError(ApparatusError):
    """
    Say that the simulator failed in a run: it died, hung, diverged or came to a standstill.

    Mostly that tells nothing about the configuration, so the run is repeated; but where it
    happens again and again, the configuration may be the cause.
    """


def import_ros(module: str, user: str) -> ModuleType:
    """
    Import a module of ours that needs rclpy.

    Raises TlAdaptError, one line that says what `user` lacks, if ROS 2 can't be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise TlAdaptError(
            f'{user} needs ROS 2, which can not be imported ({error}); '
            'source its setup file, or use the environment that `make demo` sets up'
        ) from error


def try_import(module: str, extra: str) -> ModuleType:
    """
    Import an optional dependency.

    Raises TlAdaptError that names the extra to install if it is missing.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise TlAdaptError(
            f'{module} is needed here but can not be imported ({error}); '
            f"install it, for example with: pip install 'tl_adapt[{extra}]'"
        ) from error
