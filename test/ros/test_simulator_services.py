# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""What the services of our simulators answer, in all the cases that upstream documents."""

import math
import types

import pytest

pytestmark = pytest.mark.ros
pytest.importorskip('rclpy')
pytest.importorskip('mujoco')
gazebo_srv = pytest.importorskip('gazebo_msgs.srv')
standard_srv = pytest.importorskip('simulation_interfaces.srv')

from geometry_msgs.msg import Quaternion  # noqa: E402
from simulation_interfaces.msg import (  # noqa: E402
    Bounds,
    EntityCategory,
    Result,
    SimulationState,
    SimulatorFeatures,
)
from std_srvs.srv import Empty  # noqa: E402

from tl_adapt.simulators.base import EntityState, SimulatorError  # noqa: E402
from tl_adapt.simulators.mujoco_sim import MujocoSimulator  # noqa: E402
from tl_adapt.simulators.rotations import from_rpy, yaw_of  # noqa: E402
from tl_adapt.simulators.sdf import write_box  # noqa: E402
from tl_adapt.simulators.services.filters import matching  # noqa: E402
from tl_adapt.simulators.services.gazebo import EntityServices, WorldServices  # noqa: E402
from tl_adapt.simulators.services.interfaces import MAX_STEPS, InterfaceServices  # noqa: E402
from tl_adapt.simulators.services.names import is_namespace, unused  # noqa: E402

BOX = write_box('block', (0.2, 0.2, 0.5))
START = (-2.3, -2.3, 0.6)


class Host:
    """Stand for the simulator's node: keep the callbacks, and do what they ask for."""

    def __init__(self):
        self.simulator = MujocoSimulator(beams=4)
        self.paused, self.published_ns = True, 0
        self.done, self.callbacks, self.published = [], {}, []
        self.listeners, self.error = 0, None

    def create_service(self, kind, name, callback, callback_group=None):
        assert name not in self.callbacks
        self.callbacks[name] = kind, callback

    def create_publisher(self, kind, name, qos, event_callbacks=None):
        assert (kind.__name__, name) == ('ModelStates', 'model_states')
        return types.SimpleNamespace(
            get_subscription_count=lambda: self.listeners, publish=self.published.append
        )

    def get_logger(self):
        return types.SimpleNamespace(error=lambda text, **_: self.done.append(text))

    def pause(self):
        self.paused = True

    def resume(self):
        self.paused = False

    def reset(self, *, keep_battery=False, time_ns=0):
        self.done.append(('reset', keep_battery, time_ns))
        self.published_ns = time_ns
        self.simulator.reset(seed=0, start=START, keep_battery=keep_battery, time_ns=time_ns)

    def step(self, steps):
        if self.error:
            raise self.error
        if steps:
            self.simulator.advance(steps * 2_000_000)

    def quit(self):
        self.done.append('quit')

    def call(self, name, /, **fields):
        kind, callback = self.callbacks[name]
        request, response = kind.Request(**fields), kind.Response()
        assert callback(request, response) is response
        return response


@pytest.fixture
def host():
    host = Host()
    WorldServices(host, '')
    EntityServices(host, '', None)
    InterfaceServices(host, 'gzserver/', None)
    return host


def standard(host, name, /, **fields):
    answer = host.call(f'gzserver/{name}', **fields)
    if answer.result.result != Result.RESULT_OK:
        assert answer.result.error_message
    return answer


def result(host, name, /, **fields):
    return standard(host, name, **fields).result.result


def set_state(host, state):
    return result(host, 'set_simulation_state', state=SimulationState(state=state))


def get_state(host):
    return standard(host, 'get_simulation_state').state.state


def pose_message(kind, place=(1.0, 2.4), yaw=0.0, frame=''):
    message = kind()
    message.header.frame_id = frame
    message.pose.position.x, message.pose.position.y = place
    q = from_rpy(0.0, 0.0, yaw)
    message.pose.orientation = Quaternion(x=q[0], y=q[1], z=q[2], w=q[3])
    return message


def initial_pose(*arguments, **named):
    return pose_message(type(standard_srv.SpawnEntity.Request().initial_pose), *arguments, **named)


def state_message(*arguments, **named):
    return pose_message(type(standard_srv.SetEntityState.Request().state), *arguments, **named)


def test_the_names_are_those_of_upstream(host):
    assert {name for name in host.callbacks if not name.startswith('gzserver/')} == {
        'pause_physics', 'unpause_physics', 'reset_world', 'reset_simulation', 'spawn_entity',
        'delete_entity', 'get_model_list', 'get_entity_state', 'set_entity_state',
    }  # fmt: skip
    assert {name[9:] for name in host.callbacks if name.startswith('gzserver/')} == {
        'get_simulator_features', 'get_simulation_state', 'set_simulation_state',
        'step_simulation', 'reset_simulation', 'spawn_entity', 'delete_entity', 'get_entities',
        'get_entity_state', 'set_entity_state',
    }  # fmt: skip
    assert host.callbacks['pause_physics'][0] is Empty


# ----- simulation_interfaces


def test_features(host):
    features = host.call('gzserver/get_simulator_features').features
    for name in ('SPAWNING', 'DELETING', 'SPAWNING_RESOURCE_STRING', 'STEP_SIMULATION_MULTIPLE'):
        assert getattr(SimulatorFeatures, name) in features.features
    for name in ('ENTITY_TAGS', 'STEP_SIMULATION_ACTION', 'SIMULATION_RESET_TIME', 'NAMED_POSES'):
        assert getattr(SimulatorFeatures, name) not in features.features
    assert features.spawn_formats == ['sdf']
    assert features.custom_info


def test_states(host):
    S, R = SimulationState, standard_srv.SetSimulationState.Response
    assert get_state(host) == S.STATE_STOPPED
    assert set_state(host, S.STATE_STOPPED) == R.ALREADY_IN_TARGET_STATE
    assert set_state(host, S.STATE_PAUSED) == Result.RESULT_OK
    assert get_state(host) == S.STATE_PAUSED
    assert set_state(host, S.STATE_PAUSED) == R.ALREADY_IN_TARGET_STATE
    assert set_state(host, S.STATE_PLAYING) == Result.RESULT_OK
    assert set_state(host, S.STATE_PLAYING) == R.ALREADY_IN_TARGET_STATE
    assert not host.paused
    host.simulator.advance(100_000_000)
    assert set_state(host, S.STATE_PAUSED) == Result.RESULT_OK
    assert set_state(host, S.STATE_STOPPED) == Result.RESULT_OK
    assert (host.paused, host.simulator.time_ns) == (True, 0)
    assert get_state(host) == S.STATE_STOPPED
    for state in (S.STATE_NO_WORLD, S.STATE_LOADING_WORLD, 99):
        assert set_state(host, state) == Result.RESULT_FEATURE_UNSUPPORTED
    assert set_state(host, S.STATE_PLAYING) == Result.RESULT_OK
    assert set_state(host, S.STATE_QUITTING) == Result.RESULT_OK
    assert (host.done[-1], host.paused) == ('quit', True)


def test_steps(host):
    assert result(host, 'step_simulation', steps=0) == Result.RESULT_OK
    assert get_state(host) == SimulationState.STATE_STOPPED
    assert result(host, 'step_simulation', steps=7) == Result.RESULT_OK
    assert host.simulator.time_ns == 7 * 2_000_000
    assert get_state(host) == SimulationState.STATE_PAUSED
    assert result(host, 'step_simulation', steps=MAX_STEPS + 1) == Result.RESULT_OPERATION_FAILED
    assert result(host, 'step_simulation', steps=2**64 - 1) == Result.RESULT_OPERATION_FAILED
    host.error = SimulatorError('the physics diverged')
    assert result(host, 'step_simulation', steps=1) == Result.RESULT_OPERATION_FAILED
    host.resume()
    assert result(host, 'step_simulation', steps=1) == Result.RESULT_OPERATION_FAILED


def test_scopes_of_a_reset(host):
    scope = standard_srv.ResetSimulation.Request
    names = host.simulator.entities()

    def change():
        host.simulator.advance(1_000_000_000)
        host.published_ns = 900_000_000
        host.simulator.set_entity_state('robot', EntityState((1.0, 2.2, 0.0)))
        if 'block' not in host.simulator.entities():
            host.simulator.spawn('block', BOX, EntityState((2.0, -2.5, 0.0)))
        host.done.clear()

    change()
    host.simulator.delete('bin')
    for value in (scope.SCOPE_TIME, scope.SCOPE_TIME | scope.SCOPE_SPAWNED, 8, 128, 254):
        assert result(host, 'reset_simulation', scope=value) == Result.RESULT_FEATURE_UNSUPPORTED
    assert host.done == []
    assert result(host, 'reset_simulation', scope=scope.SCOPE_STATE) == Result.RESULT_OK
    assert host.done == [('reset', True, 900_000_000)]
    assert 'block' in host.simulator.entities()
    change()
    both = scope.SCOPE_STATE | scope.SCOPE_TIME
    assert result(host, 'reset_simulation', scope=both) == Result.RESULT_OK
    assert host.done == [('reset', False, 0)]
    change()
    assert result(host, 'reset_simulation', scope=scope.SCOPE_SPAWNED) == Result.RESULT_OK
    assert host.done == []
    assert set(names) - set(host.simulator.entities()) == {'bin'}
    assert host.simulator.entity_state('robot').position[0] == pytest.approx(1.0, abs=0.01)
    for value in (scope.SCOPE_DEFAULT, scope.SCOPE_ALL):
        change()
        host.resume()
        assert result(host, 'reset_simulation', scope=value) == Result.RESULT_OK
        assert host.done == [('reset', False, 0)]
        assert host.simulator.entities() == names
        assert get_state(host) == SimulationState.STATE_PLAYING
        host.pause()
        assert get_state(host) == SimulationState.STATE_STOPPED


def test_spawning(host):
    kind = standard_srv.SpawnEntity.Response

    def spawn(**fields):
        fields.setdefault('resource_string', BOX)
        return standard(host, 'spawn_entity', initial_pose=initial_pose(), **fields)

    # An empty name stands for the one in the description.
    assert spawn().entity_name == 'block'
    assert spawn(name='other').entity_name == 'other'
    assert spawn(name='other').result.result == kind.NAME_NOT_UNIQUE
    assert spawn().result.result == kind.NAME_NOT_UNIQUE
    assert spawn(name='robot').result.result == kind.NAME_NOT_UNIQUE
    assert spawn(name='other', allow_renaming=True).entity_name == 'other_0'
    assert spawn(allow_renaming=True).entity_name == 'block_0'
    nameless = write_box('', (0.1, 0.1, 0.1))
    assert spawn(resource_string=nameless).result.result == kind.NAME_INVALID
    assert spawn(resource_string=nameless, allow_renaming=True).entity_name == 'entity'
    assert spawn(name='a::b').result.result == kind.NAME_INVALID
    for fields, code in (
        ({'resource_string': ''}, kind.NO_RESOURCE),
        ({'uri': '/tmp/model.sdf'}, kind.UNSUPPORTED_FORMAT),
        ({'resource_string': '<robot name="r"/>'}, kind.UNSUPPORTED_FORMAT),
        ({'resource_string': '<sdf>'}, kind.RESOURCE_PARSE_ERROR),
        ({'resource_string': '<sdf/>'}, kind.UNSUPPORTED_ASSETS),
        ({'entity_namespace': 'a b'}, kind.NAMESPACE_INVALID),
        ({'entity_namespace': '1a'}, kind.NAMESPACE_INVALID),
    ):
        answer = spawn(name='new', **fields)
        assert (answer.result.result, answer.entity_name) == (code, ''), fields
    assert spawn(name='new', entity_namespace='/a/b').result.result == Result.RESULT_OK


def test_the_pose_of_what_is_spawned(host):
    kind = standard_srv.SpawnEntity.Response
    host.simulator.set_entity_state('crate', EntityState((1.0, -2.0, 0.0), from_rpy(0, 0, 1.0)))

    def spawn(pose, name='new'):
        return result(host, 'spawn_entity', name=name, resource_string=BOX, initial_pose=pose)

    assert spawn(initial_pose((0.5, 0.0), 0.5, 'crate')) == Result.RESULT_OK
    state = host.simulator.entity_state('new')
    expected = (1.0 + 0.5 * math.cos(1.0), -2.0 + 0.5 * math.sin(1.0), 0.0)
    assert state.position == pytest.approx(expected)
    assert yaw_of(state.orientation) == pytest.approx(1.5)
    assert spawn(initial_pose(frame='world'), 'second') == Result.RESULT_OK
    assert spawn(initial_pose(frame='moon'), 'third') == Result.RESULT_NOT_FOUND
    assert spawn(initial_pose((math.nan, 0.0)), 'third') == kind.INVALID_POSE
    assert spawn(initial_pose((1e6, 0.0)), 'third') == kind.INVALID_POSE
    no_rotation = initial_pose()
    no_rotation.pose.orientation.w = 0.0
    assert spawn(no_rotation, 'third') == kind.INVALID_POSE
    assert 'third' not in host.simulator.entities()


def test_deleting(host):
    assert result(host, 'delete_entity', entity='bin') == Result.RESULT_OK
    assert result(host, 'delete_entity', entity='bin') == Result.RESULT_NOT_FOUND
    assert result(host, 'delete_entity', entity='') == Result.RESULT_NOT_FOUND
    for name in ('robot', 'ground_plane'):
        assert result(host, 'delete_entity', entity=name) == Result.RESULT_OPERATION_FAILED


def test_filters(host):
    def found(expression):
        request = standard_srv.GetEntities.Request()
        request.filters.filter = expression
        answer = host.call('gzserver/get_entities', filters=request.filters)
        return answer.result.result, list(answer.entities)

    everything = host.simulator.entities()
    assert found('') == (Result.RESULT_OK, everything)
    assert found('wall_(east|west)') == (Result.RESULT_OK, ['wall_east', 'wall_west'])
    assert found('wall') == (Result.RESULT_OK, [])  # the whole name has to match
    assert found('[[:alpha:]]{3}') == (Result.RESULT_OK, ['bin', 'box'])
    assert found('moon') == (Result.RESULT_OK, [])
    for wrong in ('(', '[z-a]', '*', 'a' * 300):
        assert found(wrong) == (Result.RESULT_OPERATION_FAILED, [])
    filters = standard_srv.GetEntities.Request().filters
    for field, value in (
        ('categories', [EntityCategory(category=EntityCategory.CATEGORY_ROBOT)]),
        ('bounds', Bounds(type=Bounds.TYPE_SPHERE)),
    ):
        changed = type(filters)(**{field: value})
        assert result(host, 'get_entities', filters=changed) == Result.RESULT_FEATURE_UNSUPPORTED
    filters.tags.tags = ['red']
    with pytest.raises(NotImplementedError, match='by name only, got tags'):
        matching(everything, filters)


def test_getting_a_state(host):
    host.simulator.advance(100_000_000)
    answer = standard(host, 'get_entity_state', entity='robot')
    assert answer.state.header.frame_id == 'world'
    assert answer.state.header.stamp.nanosec == 100_000_000
    assert answer.state.pose.position.x == pytest.approx(-2.3, abs=0.01)
    assert result(host, 'get_entity_state', entity='moon') == Result.RESULT_NOT_FOUND
    assert result(host, 'get_entity_state', entity='') == Result.RESULT_NOT_FOUND


def test_setting_a_state(host):
    kind = standard_srv.SetEntityState.Response

    def put(state, entity='robot'):
        return result(host, 'set_entity_state', entity=entity, state=state)

    assert put(state_message((1.0, 2.2), 0.5)) == Result.RESULT_OK
    assert host.simulator.entity_state('robot').position[:2] == pytest.approx((1.0, 2.2), abs=0.01)
    moving = state_message((1.0, 2.2))
    moving.twist.linear.x = 0.2
    assert put(moving) == Result.RESULT_OK
    assert host.simulator.entity_state('robot').linear[0] == pytest.approx(0.2, abs=0.01)
    assert put(moving, 'bin') == Result.RESULT_OPERATION_FAILED
    pushed = state_message((1.0, 2.2))
    pushed.acceleration.linear.x = 1.0
    assert put(pushed) == Result.RESULT_OK
    assert put(pushed, 'bin') == Result.RESULT_OPERATION_FAILED
    assert put(state_message((2.5, 2.5)), 'bin') == Result.RESULT_OK
    assert host.simulator.entity_state('bin').position == (2.5, 2.5, 0.0)
    assert put(state_message((0.1, 0.0), frame='bin'), 'box') == Result.RESULT_OK
    assert host.simulator.entity_state('box').position == pytest.approx((2.6, 2.5, 0.0))
    assert put(state_message(), 'moon') == Result.RESULT_NOT_FOUND
    assert put(state_message(frame='moon')) == Result.RESULT_NOT_FOUND
    assert put(state_message((math.inf, 0.0))) == kind.INVALID_POSE
    assert put(state_message((9.0, 0.0))) == kind.INVALID_POSE
    assert put(state_message(), 'ground_plane') == Result.RESULT_OPERATION_FAILED


def test_flags_of_newer_definitions(host):
    """From 2.1 on the request says what counts; before, all of it does."""
    host.simulator.set_entity_state('robot', EntityState((1.0, 2.2, 0.0)))

    def put(**flags):
        state = state_message((0.0, -2.4))
        state.twist.linear.x = 0.2
        names = ('set_pose', 'set_twist', 'set_acceleration')
        request = types.SimpleNamespace(
            entity='robot', state=state, **{name: flags.get(name, False) for name in names}
        )
        response = standard_srv.SetEntityState.Response()
        host.callbacks['gzserver/set_entity_state'][1](request, response)
        assert response.result.result == Result.RESULT_OK
        return host.simulator.entity_state('robot')

    assert put().position[0] == pytest.approx(1.0, abs=0.01)
    state = put(set_twist=True)
    assert state.position[:2] == pytest.approx((1.0, 2.2), abs=0.01)
    assert state.linear[0] == pytest.approx(0.2, abs=0.01)
    state = put(set_pose=True)
    assert state.position[:2] == pytest.approx((0.0, -2.4), abs=0.01)
    assert state.linear[0] == pytest.approx(0.2, abs=0.01)


def test_resources_of_newer_definitions(host):
    resource = types.SimpleNamespace(uri='', resource_string=BOX)
    request = types.SimpleNamespace(
        name='new', allow_renaming=False, entity_resource=resource, entity_namespace='',
        initial_pose=initial_pose(),
    )  # fmt: skip
    response = standard_srv.SpawnEntity.Response()
    host.callbacks['gzserver/spawn_entity'][1](request, response)
    assert (response.result.result, response.entity_name) == (Result.RESULT_OK, 'new')


# ----- gazebo_ros


def test_gazebo_time(host):
    host.call('unpause_physics')
    assert not host.paused
    host.call('pause_physics')
    assert host.paused
    host.simulator.advance(1_000_000_000)
    host.published_ns = 900_000_000
    host.simulator.spawn('block', BOX, EntityState((2.0, -2.5, 0.0)))
    host.simulator.set_entity_state('block', EntityState((1.0, -2.5, 0.0)))
    host.simulator.delete('bin')
    host.call('reset_world')
    assert host.done == [('reset', True, 900_000_000)]
    assert host.simulator.entity_state('block').position == (2.0, -2.5, 0.0)
    host.call('reset_simulation')
    assert host.done[-1] == ('reset', False, 0)
    # Gazebo classic removes nothing and brings nothing back.
    assert 'block' in host.simulator.entities()
    assert 'bin' not in host.simulator.entities()


def test_gazebo_spawning_and_deleting(host):
    def spawn(**fields):
        request = gazebo_srv.SpawnEntity.Request()
        request.initial_pose.position.x, request.initial_pose.position.y = 1.0, -2.5
        fields = {'xml': BOX, 'initial_pose': request.initial_pose, **fields}
        answer = host.call('spawn_entity', **fields)
        assert answer.status_message
        return answer.success, answer.status_message

    assert spawn(name='new') == (True, 'SpawnEntity: Successfully spawned entity [new]')
    assert host.simulator.entity_state('new').position == (1.0, -2.5, 0.0)
    assert spawn(name='new') == (False, 'Entity [new] already exists.')
    assert spawn() == (True, 'SpawnEntity: Successfully spawned entity [block]')
    assert spawn() == (True, 'SpawnEntity: Successfully spawned entity [block_0]')
    for fields, words in (
        ({'xml': 'no xml'}, 'Failed to parse XML string: '),
        ({'xml': '<robot name="r"/>'}, 'Failed to parse XML'),
        ({'xml': '<sdf/>'}, 'got 0 models'),
        ({'reference_frame': 'moon'}, 'Reference frame [moon] not found'),
    ):
        success, text = spawn(name='bad', **fields)
        assert not success
        assert words in text
    # The pose in the description counts from the one in the request, that from the frame.
    posed = BOX.replace('<static>', '<pose>0.5 0 0 0 0 0</pose><static>')
    assert spawn(name='posed', xml=posed)[0]
    assert host.simulator.entity_state('posed').position == pytest.approx((1.5, -2.5, 0.0))
    for frame in ('world', 'map', '/map'):
        assert spawn(name=f'in{len(frame)}', reference_frame=frame)[0]
    assert spawn(name='beside', reference_frame='new')[0]
    assert host.simulator.entity_state('beside').position == pytest.approx((2.0, -5.0, 0.0))

    answer = host.call('delete_entity', name='new')
    assert (answer.success, answer.status_message) == (True, 'Successfully deleted entity [new]')
    answer = host.call('delete_entity', name='new')
    assert (answer.success, answer.status_message) == (False, 'Entity [new] does not exist')
    assert not host.call('delete_entity', name='robot').success


def test_gazebo_states(host):
    host.simulator.advance(100_000_000)
    answer = host.call('get_model_list')
    assert answer.success
    assert list(answer.model_names) == host.simulator.entities()
    assert answer.header.stamp.nanosec == 100_000_000
    answer = host.call('get_entity_state', name='robot', reference_frame='world')
    assert (answer.success, answer.header.frame_id) == (True, 'world')
    assert answer.state.pose.position.x == pytest.approx(-2.3, abs=0.01)
    relative = host.call('get_entity_state', name='crate', reference_frame='bin').state
    assert relative.pose.position.x == pytest.approx(0.05)
    assert relative.pose.position.y == pytest.approx(0.9)
    own = host.call('get_entity_state', name='crate', reference_frame='crate').state
    assert (own.pose.position.x, own.pose.orientation.w) == pytest.approx((0.0, 1.0))
    for name, frame in (('moon', ''), ('robot', 'moon'), ('robot', 'map'), ('', '')):
        assert not host.call('get_entity_state', name=name, reference_frame=frame).success
    assert any('moon' in str(text) for text in host.done)


def test_gazebo_set_state(host):
    def put(name, place, frame='', yaw=None, speed=0.0):
        state = gazebo_srv.SetEntityState.Request().state
        state.name, state.reference_frame = name, frame
        state.pose.position.x, state.pose.position.y = place
        state.twist.linear.x = speed
        q = (0.0, 0.0, 0.0, 0.0) if yaw is None else from_rpy(0, 0, yaw)
        state.pose.orientation = Quaternion(x=q[0], y=q[1], z=q[2], w=q[3])
        return host.call('set_entity_state', state=state).success

    assert put('robot', (1.0, 2.2), yaw=0.5)
    assert yaw_of(host.simulator.entity_state('robot').orientation) == pytest.approx(0.5)
    # A zero quaternion turns nothing; a velocity has no effect on what is static.
    assert put('bin', (2.5, 2.5), speed=1.0)
    assert host.simulator.entity_state('bin') == EntityState((2.5, 2.5, 0.0))
    assert put('box', (0.1, 0.0), frame='bin', yaw=0.0)
    assert host.simulator.entity_state('box').position == pytest.approx((2.6, 2.5, 0.0))
    assert put('robot', (0.0, -2.4), yaw=0.0, speed=0.2)
    assert host.simulator.entity_state('robot').linear[0] == pytest.approx(0.2, abs=0.01)
    for name, place, frame in (
        ('moon', (0.0, 0.0), ''), ('', (0.0, 0.0), ''), ('robot', (0.0, 0.0), 'moon'),
        ('robot', (math.nan, 0.0), ''), ('ground_plane', (0.0, 0.0), ''),
    ):  # fmt: skip
        assert not put(name, place, frame, yaw=0.0)
    assert not put('bin', (0.0, 0.0), yaw=math.nan)


def test_model_states_are_published_if_somebody_listens(host):
    services = EntityServices(Host(), '', None)
    services.publish()
    host = services._node
    assert host.published == []
    host.listeners = 1
    services.publish()
    (message,) = host.published
    assert list(message.name) == host.simulator.entities()
    assert len(message.pose) == len(message.twist) == len(message.name)
    assert message.pose[list(message.name).index('crate')].position.x == -0.95


def test_names():
    assert unused('a', []) == 'a'
    assert unused('a', ['a', 'a_0']) == 'a_1'
    for good in ('', '/', 'a', '/a', 'a/b', '/a_1/b'):
        assert is_namespace(good)
    for bad in ('a b', '1', 'a//b', '~', 'a-b', 'a__b'):
        assert not is_namespace(bad)
