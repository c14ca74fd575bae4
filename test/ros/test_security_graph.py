# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests that our nodes need what the policy allows, and nothing else, in a real graph."""

import contextlib
import fnmatch
import json

import numpy as np
import pytest

pytestmark = pytest.mark.ros
pytest.importorskip('rclpy')

from tl_adapt.demo import adaptation_run  # noqa: E402
from tl_adapt.environments.base import Measurement  # noqa: E402
from tl_adapt.environments.stack import StackEnvironment  # noqa: E402
from tl_adapt.models.model_set import ModelSet  # noqa: E402
from tl_adapt.security import profiles  # noqa: E402
from tl_adapt.study import load_study  # noqa: E402

# Newer distributions have them, older ones not.
LATER = {'get_type_description'}


def made_up_model(study, folder):
    """Save a model of random measurements, and the default as chosen."""
    rng = np.random.default_rng(0)
    rows = [
        Measurement('', configuration, 0, {name: float(rng.uniform(0.5, 1.0))
                                           for name in study.metrics})
        for configuration in study.space.sample(12, seed=1)
    ]
    ModelSet(study).fit(rows, rows[:3]).save(folder / 'model')
    (folder / 'model' / 'choice.json').write_text(
        json.dumps({'configuration': study.space.default(), 'why': 'made up'}))


@pytest.fixture(scope='module')
def demo_graph(tmp_path_factory):
    """Run the demo's robot with an adapter, and a node that looks at the graph."""
    study = load_study('demo')
    folder = tmp_path_factory.mktemp('security')
    made_up_model(study, folder)
    environment = StackEnvironment(study, 'robot')
    with contextlib.ExitStack() as stack:
        stack.callback(environment.close)
        variables = environment.environment()
        watch = stack.enter_context(adaptation_run.watching(variables))
        stack.enter_context(adaptation_run.running_adapter(study, folder, variables))
        watch.wait('ready', lambda: watch.ready_for(0), 60.0)
        yield study, watch._node


def in_graph(node, profile):
    """Return what a node has in the graph, as a profile's rights are."""
    names = node.get_node_names_and_namespaces()
    # The worker's name ends with the number of its process.
    name, namespace = next(
        (n, ns) for n, ns in names if n.rstrip('0123456789').rstrip('_') == profile.node)
    rights = {
        ('topics', 'publish'): node.get_publisher_names_and_types_by_node,
        ('topics', 'subscribe'): node.get_subscriber_names_and_types_by_node,
        ('services', 'reply'): node.get_service_names_and_types_by_node,
        ('services', 'request'): node.get_client_names_and_types_by_node,
    }
    return {key: {each for each, _ in ask(name, namespace)} for key, ask in rights.items()}


@pytest.mark.parametrize('name', ['adapter', 'tl_adapt_worker', 'simulator', 'localizer',
                                  'navigator'])
def test_needs_what_is_allowed_and_nothing_else(demo_graph, wait_until, name):
    study, node = demo_graph
    profile = next(
        one for one in profiles(study, study.environment('robot')) if one.node == name)
    allowed = {key: set(names) for key, names in profile.rights().items()}

    def unused():
        found = in_graph(node, profile)
        # Clients and subscriptions are made when they are needed first.
        return {
            each for right in (('topics', 'publish'), ('services', 'reply'))
            for each in allowed.get(right, set()) - found[right]
            if each.rpartition('/')[2] not in LATER
        }

    wait_until(lambda: not unused(), 20.0)
    assert {
        (*key, each) for key, found in in_graph(node, profile).items() for each in found
        if not any(fnmatch.fnmatch(each, pattern) for pattern in allowed.get(key, ()))
    } == set()
