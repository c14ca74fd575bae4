# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Finding out how a simulator can be controlled, and simulators that are not quite like ours."""

import re
import threading
import types

import pytest

pytestmark = pytest.mark.ros
pytest.importorskip('rclpy')

from std_srvs.srv import Empty  # noqa: E402

from tl_adapt.errors import ApparatusError  # noqa: E402
from tl_adapt.ros import optional_interfaces  # noqa: E402
from tl_adapt.ros.simulator_control import ControlError, find, find_control  # noqa: E402
from tl_adapt.ros.simulator_control import gazebo as gazebo_module  # noqa: E402
from tl_adapt.ros.simulator_control.find import make_control  # noqa: E402
from tl_adapt.ros.simulator_control.interfaces import InterfacesControl  # noqa: E402
from tl_adapt.simulators.base import EntityState  # noqa: E402

HERE = EntityState((0.0, 0.0, 0.0))
TIME = ('pause_physics', 'unpause_physics', 'reset_simulation')


def offer_time(node, prefix='', names=TIME):
    """Offer what gazebo_ros_init does; return the names of what was called."""
    called = []

    def serve(name):
        def callback(_, response):
            called.append(name)
            return response

        return callback

    for name in names:
        node.create_service(Empty, f'{prefix}{name}', serve(name))
    return called


def offer(node, interfaces, name, kind, answer=lambda request, response: None):
    def callback(request, response):
        answer(request, response)
        return response

    node.create_service(getattr(interfaces.srv, kind), name, callback)


def missing(code, call, *arguments, **named):
    with pytest.raises(ControlError) as caught:
        call(*arguments, **named)
    assert caught.value.code == code
    assert isinstance(caught.value, ApparatusError)
    return str(caught.value)


@pytest.fixture
def gazebo():
    return optional_interfaces.gazebo_msgs() or pytest.skip('gazebo_msgs is not installed')


@pytest.fixture
def standard():
    return optional_interfaces.simulation_interfaces() or pytest.skip(
        'simulation_interfaces is not installed'
    )


def test_nobody_offers_anything(graph):
    node = graph('me')
    text = missing('missing', find_control, node, deadline=0.2)
    for words in (
        'no service of type simulation_interfaces/srv/GetSimulatorFeatures',
        '1.0.18 (Jazzy)', '2.1.12 (Kilted)', 'no service pause_physics', 'within 0.2 s',
    ):  # fmt: skip
        assert words in text
    text = missing('missing', find_control, node, 'gazebo', prefix='gazebo', deadline=0.2)
    assert 'in the namespace /gazebo' in text
    assert 'GetSimulatorFeatures' not in text
    assert 'must be one of' in missing('invalid', find_control, node, 'unity')


def test_services_of_std_srvs_only(graph, gazebo):
    called = offer_time(graph('gazebo'))
    node = graph('me')
    control = find_control(node, deadline=0.8)
    assert control.interface == 'gazebo'
    assert control.features() == {'pause', 'reset'}
    control.pause(), control.reset(), control.resume()
    assert called == ['pause_physics', 'reset_simulation', 'unpause_physics']
    for call, words in (
        (lambda: control.state('robot'), ('GetEntityState', 'libgazebo_ros_state.so')),
        (lambda: control.set_state('robot', HERE), ('SetEntityState', 'libgazebo_ros_state.so')),
        (lambda: control.spawn('a', '<sdf/>', HERE), ('SpawnEntity', 'libgazebo_ros_factory.so')),
        (control.entities, ('GetModelList', 'libgazebo_ros_factory.so')),
    ):  # fmt: skip
        text = missing('missing', call)
        assert all(word in text for word in words)
    missing('unsupported', control.step, 1)
    control.close()
    text = missing('missing', find_control, node, 'simulation_interfaces', deadline=0.3)
    assert 'there is /pause_physics' in text


def test_a_world_without_a_service_for_time_in_its_reset(graph):
    names = ('pause_physics', 'unpause_physics', 'reset_world')
    called = offer_time(graph('gazebo'), 'sim/', names)
    control = find_control(graph('me'), 'gazebo')
    control.reset()
    assert called == ['reset_world']
    control.close()


def test_services_that_are_named(graph):
    called = offer_time(graph('world'), 'my/')
    node = graph('me')
    control = make_control(node, {'node': 'world', 'pause': 'my/pause_physics'})
    assert control.features() == set()
    control.pause()
    missing('unsupported', control.resume)
    missing('unsupported', control.state, 'robot')
    names = dict(zip(('pause', 'unpause', 'reset'), (f'my/{name}' for name in TIME)))
    control = make_control(node, {'node': 'world', **names})
    assert control.features() == {'pause', 'reset'}
    control.resume(), control.reset()
    assert called == ['pause_physics', 'unpause_physics', 'reset_simulation']
    assert make_control(node, None).features() == set()
    text = missing('missing', make_control, node, {'node': 'w', 'reset': 'gone'}, deadline=0.2)
    assert text == 'no service gone within 0.2 s'


def test_two_simulators_can_not_be_told_apart(graph):
    first = graph('one')
    offer_time(first, 'a/')
    offer_time(graph('two'), 'b/')
    node = graph('me')
    text = missing('ambiguous', find_control, node, 'gazebo', deadline=5.0)
    assert '/a/pause_physics of node /one' in text
    assert '/b/pause_physics of node /two' in text
    for named, root in (({'prefix': 'b'}, '/b'), ({'owner': 'one'}, '/a')):
        control = find_control(node, 'gazebo', **named)
        assert control._root == root
        control.close()
    # The same names twice are as bad.
    offer_time(graph('three'), 'b/')
    assert 'more than one' in missing('ambiguous', find_control, node, 'gazebo', prefix='b')


def test_services_for_entities_may_be_elsewhere(graph, gazebo):
    offer_time(graph('gazebo'))
    state = graph('state')

    def answer(request, response):
        response.success = request.name == 'robot'
        response.state.pose.position.x = 3.0

    offer(state, gazebo, 'demo/get_entity_state', 'GetEntityState', answer)
    control = find_control(graph('me'), 'gazebo')
    assert control.state('robot').position == (3.0, 0.0, 0.0)
    assert 'does not exist' in missing('unknown', control.state, 'moon')
    offer(state, gazebo, 'x/delete_entity', 'DeleteEntity')
    offer(state, gazebo, 'y/delete_entity', 'DeleteEntity')
    assert 'more than one' in missing('ambiguous', control.delete, 'robot')
    control.close()


def test_what_is_not_installed(graph, monkeypatch, standard):
    offer(graph('gzserver'), standard, 'gzserver/get_simulator_features', 'GetSimulatorFeatures')
    node = graph('me')
    monkeypatch.setattr(find, 'simulation_interfaces', lambda: None)
    text = missing('missing', find_control, node, deadline=0.5)
    assert '/gzserver/get_simulator_features is there, but simulation_interfaces is not' in text
    offer_time(graph('gazebo'))
    control = find_control(node, deadline=2.0)
    assert control.interface == 'gazebo'
    monkeypatch.setattr(gazebo_module, 'gazebo_msgs', lambda: None)
    assert control.features() == {'pause', 'reset'}
    assert 'not installed here' in missing('missing', control.state, 'robot')
    control.close()


def test_a_simulator_that_does_not_answer(graph, monkeypatch):
    released = threading.Event()

    def hang(_, response):
        released.wait(5.0)
        return response

    world = graph('world')
    world.create_service(Empty, 'pause_physics', hang)
    alive = []
    control = make_control(
        graph('me'), {'node': 'world', 'pause': 'pause_physics'}, deadline=0.5,
        alive=lambda: alive.append(1),
    )  # fmt: skip
    text = missing('silent', control.pause)
    assert text == 'service pause_physics gave no answer within 0.5 s'
    assert alive
    released.set()
    control.pause()
    control.close()


def test_both_interfaces(graph, standard):
    """Where both are offered, auto takes the standard; what it lists decides."""

    def features(_, response):
        names = response.features
        names.features = [names.SIMULATION_RESET, names.STEP_SIMULATION_SINGLE]

    server = graph('gzserver')
    offer_time(graph('gazebo'))
    offer(server, standard, 'gzserver/get_simulator_features', 'GetSimulatorFeatures', features)
    node = graph('me')
    text = missing('missing', find_control, node, 'simulation_interfaces', deadline=3.0)
    assert 'simulation_interfaces/srv/SetSimulationState in /gzserver' in text
    # The name is the simulator's own affair.
    offer(server, standard, 'gzserver/SetState', 'SetSimulationState')
    control = find_control(node)
    assert control.interface == 'simulation_interfaces'
    assert control.features() == {'reset', 'step', 'list'}
    assert 'SIMULATION_STATE_PAUSE' in missing('unsupported', control.pause)
    assert 'SPAWNING' in missing('unsupported', control.spawn, 'a', '<sdf/>', HERE)
    missing('unsupported', control.state, 'robot')
    missing('unsupported', control.delete, 'robot')
    control.close()


class UpstreamCaller:
    """Stand for a simulator with its own habits: answer by service type, without ROS."""

    deadline = 1.0

    def __init__(self, **answers):
        self.answers, self.requests = answers, []

    def find(self, look, what, hint=''):
        return re.search(r'/srv/(\w+)', what)[1]

    def wait_for(self, kind, name, hint=''):
        pass

    def call(self, kind, name, request=None, *, more=0.0):
        self.requests.append((name, request))
        answer = self.answers[name]
        answer = answer.pop(0) if isinstance(answer, list) else answer
        return answer(request) if callable(answer) else answer


def answered(code=1, text='', **fields):
    return types.SimpleNamespace(
        result=types.SimpleNamespace(result=code, error_message=text), **fields
    )


def upstream(standard, *features, **answers):
    names = standard.msg.SimulatorFeatures
    listed = types.SimpleNamespace(features=[getattr(names, f) for f in features])
    answers.setdefault('GetSimulatorFeatures', types.SimpleNamespace(features=listed))
    caller = UpstreamCaller(**answers)
    return InterfacesControl(caller, '/gzserver'), caller


def test_early_ros_gz_leaves_the_result_of_a_list_unset(standard):
    control, _ = upstream(standard, GetEntities=answered(0, entities=['a', 'b']))
    assert control.entities() == ['a', 'b']
    control, _ = upstream(standard, GetEntities=answered(0, 'no', entities=[]))
    missing('unsupported', control.entities)


def test_states_that_it_is_in_already(standard):
    pause = ('SIMULATION_STATE_PAUSE',)
    for code in (1, 101, 103):
        upstream(standard, *pause, SetSimulationState=answered(code))[0].pause()
    for code in (1, 101):
        upstream(standard, *pause, SetSimulationState=answered(code))[0].resume()
    for code, meaning in ((102, 'failed'), (4, 'failed'), (3, 'state'), (0, 'unsupported')):
        control, _ = upstream(standard, *pause, SetSimulationState=answered(code, 'why'))
        assert 'why' in missing(meaning, control.pause)
    control, _ = upstream(standard, *pause, SetSimulationState=answered(103))
    missing('failed', control.resume)


def test_ros_gz_names_an_unknown_entity_otherwise(standard):
    control, _ = upstream(
        standard, 'ENTITY_STATE_GETTING', GetEntityState=answered(4, 'Requested entity not found')
    )
    assert 'not found' in missing('failed', control.state, 'moon')


def test_a_simulator_that_steps_once_at_a_time_and_answers_early(standard):
    state = standard.msg.SimulationState
    playing, paused = (
        answered(state=state(state=s)) for s in (state.STATE_PLAYING, state.STATE_PAUSED)
    )
    control, caller = upstream(
        standard, 'STEP_SIMULATION_SINGLE', 'SIMULATION_STATE_GETTING',
        StepSimulation=answered(), GetSimulationState=[playing, playing, paused, paused, paused],
    )  # fmt: skip
    control.step(3)
    names = [name for name, _ in caller.requests]
    assert names.count('StepSimulation') == 3
    assert names.count('GetSimulationState') == 5
    assert {r.steps for name, r in caller.requests if name == 'StepSimulation'} == {1}
    control.step(0)
    assert names == [name for name, _ in caller.requests]
    missing('invalid', control.step, -1)
    failed = answered(4, 'not paused')
    control, _ = upstream(standard, 'STEP_SIMULATION_SINGLE', StepSimulation=failed)
    missing('state', control.step, 1)


def test_isaac_sim_goes_on_after_a_reset(standard):
    state = standard.msg.SimulationState
    playing, paused = (
        answered(state=state(state=s)) for s in (state.STATE_PLAYING, state.STATE_PAUSED)
    )
    for states, pauses in (
        ([paused, playing], 1),
        ([paused, paused], 0),
        ([playing, playing], 0),
    ):
        control, caller = upstream(
            standard, 'SIMULATION_RESET', 'SIMULATION_STATE_PAUSE', 'SIMULATION_STATE_GETTING',
            ResetSimulation=answered(), GetSimulationState=states, SetSimulationState=answered(),
        )  # fmt: skip
        control.reset()
        assert [name for name, _ in caller.requests].count('SetSimulationState') == pauses
    # Whether time goes on is not known of every simulator.
    upstream(standard, 'SIMULATION_RESET', ResetSimulation=answered())[0].reset()


def test_newer_and_older_definitions(standard, monkeypatch):
    """Fields that a version has are filled, others are not needed."""

    class Spawn:
        class Request(types.SimpleNamespace):
            def __init__(self, name):
                pose = standard.srv.SpawnEntity.Request().initial_pose
                resource = types.SimpleNamespace(uri='', resource_string='')
                super().__init__(name=name, initial_pose=pose, entity_resource=resource)

        Response = types.SimpleNamespace()

    class Put:
        class Request(types.SimpleNamespace):
            def __init__(self, entity):
                state = standard.srv.SetEntityState.Request().state
                super().__init__(entity=entity, state=state, set_pose=False, set_twist=False)

        Response = types.SimpleNamespace()

    newer = {'SpawnEntity': Spawn, 'SetEntityState': Put}
    srv = types.SimpleNamespace(**{**vars(standard.srv), **newer})
    monkeypatch.setattr(
        'tl_adapt.ros.simulator_control.interfaces.simulation_interfaces',
        lambda: types.SimpleNamespace(srv=srv, msg=standard.msg),
    )
    control, caller = upstream(
        standard, 'SPAWNING', 'ENTITY_STATE_SETTING',
        SpawnEntity=answered(entity_name=''), SetEntityState=answered(),
    )  # fmt: skip
    assert control.spawn('a', '<sdf/>', HERE) == 'a'  # ros_gz tells no name
    assert caller.requests[-1][1].entity_resource.resource_string == '<sdf/>'
    control.set_state('a', HERE)
    assert caller.requests[-1][1].set_pose
    assert caller.requests[-1][1].set_twist
    refused = upstream(standard, 'SPAWNING', SpawnEntity=answered(101, 'taken', entity_name=''))[0]
    missing('failed', refused.spawn, 'a', '<sdf/>', HERE)
    monkeypatch.undo()
    refused = upstream(standard, 'SPAWNING', SpawnEntity=answered(101, 'taken', entity_name=''))[0]
    missing('exists', refused.spawn, 'a', '<sdf/>', HERE)
