# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""A simulator's node in a process of its own, and a node that is spun beside it."""

import contextlib
import sys
import threading

from tl_adapt.ros.isolation import spawn


@contextlib.contextmanager
def process(*parameters):
    """Run the node with parameters such as `beams:=90`; end it."""
    ros = [part for p in parameters for part in ('-p', p)]
    started = spawn([sys.executable, '-m', 'tl_adapt.simulators.node', '--ros-args', *ros])
    try:
        yield started
    finally:
        started.kill()
        started.wait()


@contextlib.contextmanager
def spun_node(name='test', domain=None):
    """Make a node in a context of its own; a thread spins it."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    executor = SingleThreadedExecutor(context=context)
    node = rclpy.create_node(name, context=context)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    try:
        yield node
    finally:
        executor.shutdown(timeout_sec=2.0)
        thread.join(5.0)
        node.destroy_node()
        rclpy.shutdown(context=context)
