# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for tl_adapt.security and its verb."""

import dataclasses
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tl_adapt.cli import main
from tl_adapt.errors import InputError
from tl_adapt.security import Profile, policy, profiles
from tl_adapt.study import load_study, shipped_file


def read(text):
    """Return {(enclave, namespace, node): {(kind, right): [names]}} of a policy file."""
    root = ElementTree.fromstring(text)
    assert root.tag == 'policy' and root.attrib == {'version': '0.2.0'}
    found = {}
    for enclave in root.findall('enclaves/enclave'):
        for profile in enclave.findall('profiles/profile'):
            rights = found.setdefault(
                (enclave.get('path'), profile.get('ns'), profile.get('node')), {})
            for group in profile:
                (right, qualifier), = group.attrib.items()
                assert qualifier == 'ALLOW'
                rights[group.tag, right] = [each.text for each in group]
    return found


def test_the_adapter_may_set_what_the_study_tunes_and_nothing_else():
    study = load_study('demo')
    found = read(policy(profiles(study, study.environment('robot'))))
    rights = found['/tl_adapt/adapter', '/', 'adapter']
    setters = [each for each in rights['services', 'request'] if 'set_parameters' in each]
    assert setters == [
        '/localizer/set_parameters_atomically', '/navigator/set_parameters_atomically']
    assert '/cmd_vel' not in rights['topics', 'publish']
    assert '/scan' in rights['topics', 'subscribe']


def test_names_follow_the_namespace_and_full_ones_stay():
    study = load_study('demo')
    found = read(policy(profiles(
        study, study.environment('robot'), namespace='/r1', enclaves='/fleet')))
    rights = found['/fleet/adapter', '/r1', 'adapter']
    assert '/r1/navigator/get_parameters' in rights['services', 'request']
    assert '/r1/adapter/pause' in rights['services', 'reply']
    assert '/clock' in rights['topics', 'subscribe']


def test_processes_with_two_nodes_have_one_enclave():
    study = load_study('demo')
    found = read(policy(profiles(study, study.environment('robot'))))
    nodes = {node for enclave, _, node in found if enclave == '/tl_adapt/transfer'}
    assert nodes == {'transfer', 'tl_adapt_worker'}


def test_a_robot_of_nav2_has_no_nodes_of_the_demo():
    study = load_study('nav2_dwb')
    found = read(policy(profiles(study, study.environment(study.adaptation['environment']))))
    assert {node for _, _, node in found} == {'adapter', 'transfer', 'tl_adapt_worker'}
    rights = found['/tl_adapt/transfer', '/', 'tl_adapt_worker']
    assert '/navigate_to_pose/_action/send_goal' in rights['services', 'request']


def requests_of(study, environment):
    found = read(policy(profiles(study, environment)))
    return found['/tl_adapt/adapter', '/', 'adapter']['services', 'request']


def test_states_are_changed_through_the_manager_where_there_is_one():
    study = load_study('nav2_dwb')
    requests = requests_of(study, study.environment('robot'))
    assert '/controller_server/get_state' in requests
    assert '/lifecycle_manager_navigation/manage_nodes' in requests
    assert not [name for name in requests if name.endswith('change_state')]


def test_only_nodes_that_may_be_configured_anew_may_have_their_state_changed():
    study = load_study('nav2_dwb')
    robot = study.environment('robot')
    options = {k: v for k, v in robot.options.items() if k != 'lifecycle_manager'}
    requests = requests_of(study, dataclasses.replace(robot, options=options))
    assert [name for name in requests if name.endswith('change_state')] == [
        '/controller_server/change_state', '/local_costmap/local_costmap/change_state']
    hooked = dataclasses.replace(study, adaptation={
        **study.adaptation, 'restart': {'controller_server': ['true']}})
    requests = requests_of(hooked, dataclasses.replace(robot, options=options))
    assert '/controller_server/change_state' not in requests


def test_the_adapter_sees_foreign_changes_and_tells_its_diagnostics():
    study = load_study('demo')
    found = read(policy(profiles(study, study.environment('robot'))))
    rights = found['/tl_adapt/adapter', '/', 'adapter']
    assert '/parameter_events' in rights['topics', 'subscribe']
    assert '/diagnostics' in rights['topics', 'publish']


NAMES = st.frozensets(st.from_regex(r'(~/|/)?[a-z][a-z0-9_]{0,8}', fullmatch=True), max_size=4)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine
@given(publish=NAMES, subscribe=NAMES, reply=NAMES, request=NAMES,
       namespace=st.sampled_from(['', '/r1']))
def test_every_right_is_written_as_a_full_name(publish, subscribe, reply, request, namespace):
    profile = Profile('n', '/e', namespace, publish, subscribe, reply, request)
    found = read(policy([profile]))['/e', namespace or '/', 'n']
    assert found == profile.rights()
    assert all(name.startswith('/') for names in found.values() for name in names)
    assert sum(map(len, found.values())) <= sum(map(len, (publish, subscribe, reply, request)))


def test_only_a_stack_has_a_graph(tmp_path):
    study = load_study('demo')
    table = type(study.target)('t', 'table', 'source')
    with pytest.raises(InputError, match='must be a stack') as caught:
        profiles(study, table)
    assert caught.value.key == 'environments.t.kind'


def test_the_shipped_policy_is_that_of_the_demo(capsys):
    assert main(['security', 'demo']) == 0
    shipped = shipped_file('sros2/demo.policy.xml').read_text()
    assert capsys.readouterr().out == shipped, (
        'tl_adapt security demo --output config/sros2/demo.policy.xml')


def test_verb_writes_a_file_and_refuses_wrong_input(tmp_path, capsys):
    path = tmp_path / 'p.xml'
    assert main(['security', 'demo', '--output', str(path)]) == 0
    assert read(path.read_text())
    for key, value in (('--enclaves', 'x'), ('--enclaves', '/a/../b'), ('--enclaves', '/a b'),
                       ('--namespace', '1r'), ('--namespace', '/r 1'), ('--namespace', '//')):
        assert main(['security', 'demo', key, value]) == 2
        error = capsys.readouterr().err
        assert f'{key}: must be names' in error and value in error
    policies = set()
    for namespace in ('/r1/', '/r1', 'r1'):
        capsys.readouterr()
        assert main(['security', 'demo', '--namespace', namespace, '--enclaves', '/']) == 0
        policies.add(capsys.readouterr().out)
    assert len(policies) == 1
    assert main(['security', 'demo', '--environment', 'nowhere']) == 2
    assert main(['security', 'demo', '--output', str(tmp_path)]) == 2
    assert 'can not be written' in capsys.readouterr().err
