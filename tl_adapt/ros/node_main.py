# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the main function of a process that runs one node, from its start to its end."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from tl_adapt.errors import TlAdaptError

AnyNode = TypeVar('AnyNode', bound=Node)


_LOOK = 0.25  # s between looks whether the context is still there


def _spin(_: Node, executor: SingleThreadedExecutor) -> None:
    # Not executor.spin(): a signal that comes while the executor begins to wait does not always
    # wake it up, and a node to which nothing comes any more would then never end.
    while executor.context.ok():
        executor.spin_once(timeout_sec=_LOOK)


def run_node(
    factory: Callable[[], AnyNode],
    args: list[str] | None = None,
    *,
    spin: Callable[[AnyNode, SingleThreadedExecutor], None] = _spin,
) -> int:
    """
    Make a node and spin it until SIGINT or SIGTERM; return the exit code.

    An error meant for the user, or a parameter of the wrong type, is one line and exit code 2.
    """
    node = None
    try:
        rclpy.init(args=args)
        node = factory()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        spin(node, executor)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except (TlAdaptError, ParameterException) as error:
        print(f'tl_adapt: error: {error}', file=sys.stderr)
        return TlAdaptError.exit_code
    except Exception:
        # A signal ends the context under whatever is being published at that moment.
        if rclpy.ok():
            raise
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0
