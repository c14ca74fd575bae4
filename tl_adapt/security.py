# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for access control policies of our nodes, in the format of SROS 2.

A policy allows what a study needs and nothing else: the adapter may set parameters of the nodes
that the study names, and read the topics that its metrics are made of. The format is that of the
design document "ROS 2 Access Control Policies" (version 0.2.0); `ros2 security create_permission`
turns it into the permissions that the middleware enforces.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from tl_adapt.adaptation.context_source import context_sources
from tl_adapt.errors import InputError
from tl_adapt.metrics import needed_fields
from tl_adapt.study_rules import resolved

if TYPE_CHECKING:
    from tl_adapt.study import EnvironmentSpec, Study

VERSION = '0.2.0'
OWN_SERVICES = (
    '~/describe_parameters', '~/get_parameter_types', '~/get_parameters', '~/list_parameters',
    '~/set_parameters', '~/set_parameters_atomically', '~/get_type_description',
)
_LIFECYCLE = (
    '~/change_state', '~/get_state', '~/get_available_states', '~/get_available_transitions',
    '~/get_transition_graph',
)
_PARAMETERS = ('list_parameters', 'get_parameters', 'set_parameters_atomically')
_CLOCK = '/clock'
_EVERYONE = ('/rosout', '/parameter_events')
_ACTION_SERVICES = ('send_goal', 'cancel_goal', 'get_result')
_INTERFACES = (
    'delete_entity', 'get_entities', 'get_entity_state', 'get_simulation_state',
    'get_simulator_features', 'reset_simulation', 'set_entity_state', 'set_simulation_state',
    'spawn_entity', 'step_simulation',
)
_GAZEBO: tuple[str, ...] = (
    'delete_entity', 'get_entity_state', 'get_model_list', 'pause_physics', 'reset_simulation',
    'reset_world', 'set_entity_state', 'spawn_entity', 'unpause_physics',
)


@dataclasses.dataclass(frozen=True)
class Profile:
    """
    Hold what one node may do: topics and services by name, as in ROS (relative, `~/` or full).

    `enclave` names the process; nodes of one process share its rights.
    """

    node: str
    enclave: str
    namespace: str = ''
    publish: frozenset[str] = frozenset()
    subscribe: frozenset[str] = frozenset()
    reply: frozenset[str] = frozenset()
    request: frozenset[str] = frozenset()

    def rights(self) -> dict[tuple[str, str], list[str]]:
        """Return full names by (kind, right), sorted: ('topics', 'publish') -> [...]."""
        return {
            (kind, right): sorted({self._full(name) for name in names})
            for kind, right, names in (
                ('topics', 'publish', self.publish), ('topics', 'subscribe', self.subscribe),
                ('services', 'reply', self.reply), ('services', 'request', self.request),
            ) if names
        }

    def _full(self, name: str) -> str:
        if name.startswith('~'):
            return f'{resolved(self.node, self.namespace)}{name[1:]}'
        return resolved(name, self.namespace)


def profiles(
    study: Study, environment: EnvironmentSpec, *, namespace: str | None = None,
    enclaves: str = '/tl_adapt',
) -> list[Profile]:
    """
    Return what each of our nodes needs for a study in one of its environments.

    `namespace` is that of the robot (None: the environment's own). Nodes of the demo's robot are
    among them where the environment's bringup starts them. Raises InputError for an environment
    that is no ROS graph.
    """
    if environment.kind != 'stack':
        rule = 'must be a stack, as only that is a ROS graph'
        raise InputError(rule, file=study.path, key=f'environments.{environment.name}.kind',
                         value=environment.kind)
    own = environment.options.get('namespace', '')
    where = (own if namespace is None else namespace).rstrip('/')
    found = [_adapter(study, environment), _transfer(), _worker(study, environment)]
    names = {
        node.strip('/') for entry in environment.options.get('bringup', ())
        for node in entry.get('nodes', ())
    }
    found += [profile for profile in _DEMO if profile.node in names]
    root = enclaves.rstrip('/')
    return [
        dataclasses.replace(one, namespace=where, enclave=f'{root}/{one.enclave}') for one in found
    ]


def policy(found: Iterable[Profile]) -> str:
    """Return the policy file (XML) for profiles; those of one enclave come together."""
    root = ElementTree.Element('policy', version=VERSION)
    enclaves = ElementTree.SubElement(root, 'enclaves')
    groups: dict[str, ElementTree.Element] = {}
    for profile in found:
        if profile.enclave not in groups:
            enclave = ElementTree.SubElement(enclaves, 'enclave', path=profile.enclave)
            groups[profile.enclave] = ElementTree.SubElement(enclave, 'profiles')
        entry = ElementTree.SubElement(
            groups[profile.enclave], 'profile', ns=profile.namespace or '/', node=profile.node
        )
        for (kind, right), names in profile.rights().items():
            group = ElementTree.SubElement(entry, kind, {right: 'ALLOW'})
            for name in names:
                ElementTree.SubElement(group, kind[:-1]).text = name
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, "unicode")}\n'


def _adapter(study: Study, environment: EnvironmentSpec) -> Profile:
    nodes = sorted({t.node for p in study.space.parameters for t in p.targets})
    request = {f'{node}/{service}' for node in nodes for service in _PARAMETERS}
    if study.restarts(environment):
        request |= _restarts(study, environment)
    return Profile(
        'adapter', 'adapter',
        publish=frozenset({
            *_EVERYONE, '/diagnostics', '~/adapted_parameters', '~/status', '~/transition_event'
        }),
        subscribe=frozenset({_CLOCK, '/parameter_events', *_watched(study)}),
        reply=frozenset({*OWN_SERVICES, *_LIFECYCLE, '~/pause', '~/resume', '~/rollback'}),
        request=frozenset(request),
    )


def _restarts(study: Study, environment: EnvironmentSpec) -> set[str]:
    """
    Return the services by which the adapter sees nodes' states and configures them anew.

    Where a lifecycle manager watches over the nodes only it may change their states.
    """
    options = environment.options
    living = options.get('lifecycle_nodes', ())
    request = {f'{node}/get_state' for node in living}
    if living and options.get('lifecycle_manager'):
        return request | {f'{options["lifecycle_manager"]}/manage_nodes'}
    restarted = {
        target.node for parameter in study.space.parameters for target in parameter.targets
        if target.mode(options.get('distribution')) == 'restart'
    }
    hooks = study.adaptation.get('restart', {})
    return request | {
        f'{node}/change_state' for node in living if node in restarted and node not in hooks
    }


def _watched(study: Study) -> set[str]:
    """Return the topics that metrics, mission, rules and contexts are read from."""
    topics = set(needed_fields(study.metrics.values()))
    topics |= {source.topic for source in context_sources(study.adaptation)}
    if 'explore_when' in study.adaptation:
        topics.add(study.adaptation['explore_when']['topic'])
    mission = study.mission
    if mission is not None:
        topics |= {mission.outcome_topic, *(rule.topic for rule in mission.fail_when)}
        topics |= {mission.result_topic} if mission.result_topic else set()
    return topics


def _transfer() -> Profile:
    return Profile(
        'transfer', 'transfer', publish=frozenset({*_EVERYONE, '~/proposal'}),
        reply=frozenset({*OWN_SERVICES, '~/confirm', '~/skip', '~/abort'}),
    )


def _worker(study: Study, environment: EnvironmentSpec) -> Profile:
    """Return the rights of the node that measures; its name ends with a number."""
    options, mission = environment.options, study.mission
    parameter_nodes = {t.node for p in study.space.parameters for t in p.targets}
    parameter_nodes |= set(options.get('node_parameters', ()))
    request: set[str] = set()
    publish = {'/parameter_events'}
    subscribe = {_CLOCK, *_watched(study)}
    if mission is not None:
        parameter_nodes |= {node for node, _ in mission.seed_targets}
        publish.add(mission.goal_topic)
        if mission.goal_interface != 'topic':
            request |= {f'{mission.action}/_action/{part}' for part in _ACTION_SERVICES}
        if mission.initialpose_topic:
            publish.add(mission.initialpose_topic)
            subscribe |= {'pose', 'amcl_pose'}
        request |= {call.service for call in mission.prepare}
    request |= {f'{node}/{service}' for node in parameter_nodes for service in _PARAMETERS}
    request |= _states(environment)
    request |= _control(options.get('simulator') or {})
    return Profile(
        'tl_adapt_worker', 'transfer', publish=frozenset(publish),
        subscribe=frozenset(subscribe), request=frozenset(request),
        # A pattern, as permissions of DDS Security may have: of fnmatch.
        reply=frozenset({'tl_adapt_worker_*/get_type_description'}),
    )


def _states(environment: EnvironmentSpec) -> set[str]:
    """Return the services by which lifecycle nodes are configured anew."""
    options = environment.options
    found = {
        f'{node}/{service}' for node in options.get('lifecycle_nodes', ())
        for service in ('get_state', 'change_state')
    }
    if options.get('lifecycle_manager'):
        found.add(f'{options["lifecycle_manager"]}/manage_nodes')
    return found


def _control(simulator: Mapping[str, str]) -> set[str]:
    """Return the services that control a simulator, as a study's entry names them."""
    found = {simulator[name] for name in ('pause', 'unpause', 'reset') if name in simulator}
    kind = simulator.get('interface', 'services')
    offered = _GAZEBO if kind in ('auto', 'gazebo') else ()
    offered += _INTERFACES if kind in ('auto', 'simulation_interfaces') else ()
    # Offered at the root, or below the node.
    return found | {*offered, *(f'{simulator["node"]}/{name}' for name in offered)}


def _demo(node: str, publish: Sequence[str], subscribe: Sequence[str],
          reply: Sequence[str] = ()) -> Profile:
    return Profile(
        node, node, publish=frozenset({*_EVERYONE, *publish}), subscribe=frozenset(subscribe),
        reply=frozenset({*OWN_SERVICES, *reply}),
    )


_DEMO = (
    _demo(
        'simulator',
        (_CLOCK, 'battery_state', 'collision', 'ground_truth', 'imu', 'model_states', 'odom',
         'scan', '/tf'),
        ('cmd_vel', 'cmd_vel_unstamped', 'compute_time'),
        (*_GAZEBO, *(f'gzserver/{name}' for name in _INTERFACES)),
    ),
    _demo('localizer', ('compute_time', 'pose'), ('initialpose', 'odom', 'scan')),
    _demo(
        'navigator',
        ('cmd_vel', 'compute_time', 'navigate_to_pose/_action/status', 'navigator/result', 'plan'),
        ('goal_pose', 'odom', 'pose', 'scan'),
    ),
)
