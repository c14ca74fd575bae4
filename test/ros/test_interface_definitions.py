# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Test that the definitions are what goes over the wire elsewhere: types, names, values, order."""

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / 'interfaces'

#: Parts by `---`; fields by `;`.
WIRE = {
    'gazebo_msgs/msg/EntityState':
        'string name; geometry_msgs/Pose pose; geometry_msgs/Twist twist; string reference_frame',
    'gazebo_msgs/msg/ModelStates':
        'string[] name; geometry_msgs/Pose[] pose; geometry_msgs/Twist[] twist',
    'gazebo_msgs/srv/SpawnEntity':
        'string name; string xml; string robot_namespace; geometry_msgs/Pose initial_pose; '
        'string reference_frame --- bool success; string status_message',
    'gazebo_msgs/srv/DeleteEntity': 'string name --- bool success; string status_message',
    'gazebo_msgs/srv/GetModelList':
        '--- std_msgs/Header header; string[] model_names; bool success',
    'gazebo_msgs/srv/GetEntityState':
        'string name; string reference_frame '
        '--- std_msgs/Header header; gazebo_msgs/EntityState state; bool success',
    'gazebo_msgs/srv/SetEntityState': 'gazebo_msgs/EntityState state --- bool success',
    'tf2_msgs/msg/TFMessage': 'geometry_msgs/TransformStamped[] transforms',
    'nav2_msgs/action/NavigateToPose':
        'geometry_msgs/PoseStamped pose; string behavior_tree '
        '--- uint16 NONE=0; uint16 UNKNOWN=9000; uint16 FAILED_TO_LOAD_BEHAVIOR_TREE=9001; '
        'uint16 TF_ERROR=9002; uint16 TIMEOUT=9003; uint16 error_code; string error_msg '
        '--- geometry_msgs/PoseStamped current_pose; builtin_interfaces/Duration navigation_time; '
        'builtin_interfaces/Duration estimated_time_remaining; int16 number_of_recoveries; '
        'float32 distance_remaining',
    'nav2_msgs/srv/ManageLifecycleNodes':
        'uint8 STARTUP=0; uint8 PAUSE=1; uint8 RESUME=2; uint8 RESET=3; uint8 SHUTDOWN=4; '
        'uint8 CONFIGURE=5; uint8 CLEANUP=6; uint8 command --- bool success',
    'simulation_interfaces/msg/Bounds':
        'uint8 TYPE_EMPTY=0; uint8 TYPE_BOX=1; uint8 TYPE_CONVEX_HULL=2; uint8 TYPE_SPHERE=3; '
        'uint8 type; geometry_msgs/Vector3[] points',
    'simulation_interfaces/msg/EntityCategory':
        'uint8 CATEGORY_OBJECT=0; uint8 CATEGORY_ROBOT=1; uint8 CATEGORY_HUMAN=2; '
        'uint8 CATEGORY_DYNAMIC_OBJECT=4; uint8 CATEGORY_STATIC_OBJECT=5; uint8 category',
    'simulation_interfaces/msg/EntityFilters':
        'string filter; EntityCategory[] categories; TagsFilter tags; Bounds bounds',
    'simulation_interfaces/msg/EntityState':
        'std_msgs/Header header; geometry_msgs/Pose pose; geometry_msgs/Twist twist; '
        'geometry_msgs/Accel acceleration',
    'simulation_interfaces/msg/Result':
        'uint8 RESULT_FEATURE_UNSUPPORTED=0; uint8 RESULT_OK=1; uint8 RESULT_NOT_FOUND=2; '
        'uint8 RESULT_INCORRECT_STATE=3; uint8 RESULT_OPERATION_FAILED=4; uint8 result; '
        'string error_message',
    'simulation_interfaces/msg/SimulationState':
        'uint8 STATE_STOPPED=0; uint8 STATE_PLAYING=1; uint8 STATE_PAUSED=2; '
        'uint8 STATE_QUITTING=3; uint8 STATE_NO_WORLD=4; uint8 STATE_LOADING_WORLD=5; uint8 state',
    'simulation_interfaces/msg/SimulatorFeatures':
        'uint8 SPAWNING=0; uint8 DELETING=1; uint8 NAMED_POSES=2; uint8 POSE_BOUNDS=3; '
        'uint8 ENTITY_TAGS=4; uint8 ENTITY_BOUNDS=5; uint8 ENTITY_BOUNDS_BOX=6; '
        'uint8 ENTITY_BOUNDS_CONVEX=7; uint8 ENTITY_CATEGORIES=8; '
        'uint8 SPAWNING_RESOURCE_STRING=9; uint8 ENTITY_STATE_GETTING=10; '
        'uint8 ENTITY_STATE_SETTING=11; uint8 ENTITY_INFO_GETTING=12; '
        'uint8 ENTITY_INFO_SETTING=13; uint8 SPAWNABLES=14; uint8 SIMULATION_RESET=20; '
        'uint8 SIMULATION_RESET_TIME=21; uint8 SIMULATION_RESET_STATE=22; '
        'uint8 SIMULATION_RESET_SPAWNED=23; uint8 SIMULATION_STATE_GETTING=24; '
        'uint8 SIMULATION_STATE_SETTING=25; uint8 SIMULATION_STATE_PAUSE=26; '
        'uint8 STEP_SIMULATION_SINGLE=31; uint8 STEP_SIMULATION_MULTIPLE=32; '
        'uint8 STEP_SIMULATION_ACTION=33; uint8 WORLD_LOADING=40; uint8 WORLD_RESOURCE_STRING=41; '
        'uint8 WORLD_TAGS=42; uint8 WORLD_UNLOADING=43; uint8 WORLD_INFO_GETTING=44; '
        'uint8 AVAILABLE_WORLDS=45; uint8 SPAWNING_ENTITIES=50; uint16[] features; '
        'string[] spawn_formats; string custom_info',
    'simulation_interfaces/msg/TagsFilter':
        'string[] tags; uint8 FILTER_MODE_ANY=0; uint8 FILTER_MODE_ALL=1; uint8 filter_mode',
    'simulation_interfaces/srv/DeleteEntity': 'string entity --- Result result',
    'simulation_interfaces/srv/GetEntities':
        'EntityFilters filters --- Result result; string[] entities',
    'simulation_interfaces/srv/GetEntityState':
        'string entity --- Result result; EntityState state',
    'simulation_interfaces/srv/GetSimulationState':
        '--- SimulationState state; Result result',
    'simulation_interfaces/srv/GetSimulatorFeatures': '--- SimulatorFeatures features',
    'simulation_interfaces/srv/ResetSimulation':
        'uint8 SCOPE_DEFAULT=0; uint8 SCOPE_TIME=1; uint8 SCOPE_STATE=2; uint8 SCOPE_SPAWNED=4; '
        'uint8 SCOPE_ALL=255; uint8 scope --- Result result',
    'simulation_interfaces/srv/SetEntityState':
        'string entity; EntityState state --- uint8 INVALID_POSE=101; Result result',
    'simulation_interfaces/srv/SetSimulationState':
        'SimulationState state --- uint8 ALREADY_IN_TARGET_STATE=101; '
        'uint8 STATE_TRANSITION_ERROR=102; uint8 INCORRECT_TRANSITION=103; Result result',
    'simulation_interfaces/srv/SpawnEntity':
        'string name; bool allow_renaming; string uri; string resource_string; '
        'string entity_namespace; geometry_msgs/PoseStamped initial_pose '
        '--- uint8 NAME_NOT_UNIQUE=101; uint8 NAME_INVALID=102; uint8 UNSUPPORTED_FORMAT=103; '
        'uint8 NO_RESOURCE=104; uint8 NAMESPACE_INVALID=105; uint8 RESOURCE_PARSE_ERROR=106; '
        'uint8 MISSING_ASSETS=107; uint8 UNSUPPORTED_ASSETS=108; uint8 INVALID_POSE=109; '
        'Result result; string entity_name',
    'simulation_interfaces/srv/StepSimulation': 'uint64 steps 1 --- Result result',
}


def wire(text):
    """Return a definition in the form of the table."""
    parts = [[]]
    for line in text.splitlines():
        line = line.split('#')[0].strip()
        if line == '---':
            parts.append([])
        elif line:
            parts[-1].append(' '.join(re.sub(r'\s*=\s*', '=', line).split()))
    return ' --- '.join('; '.join(part) for part in parts).strip()


def test_the_table_is_complete():
    found = {path.relative_to(FOLDER).with_suffix('').as_posix() for path in FOLDER.glob('*/*/*')}
    assert found == set(WIRE)


@pytest.mark.parametrize('name', WIRE)
def test_a_definition_is_as_upstream_has_it(name):
    path = next((FOLDER / name).parent.glob(Path(name).name + '.*'))
    assert path.suffix == f'.{path.parent.name}'
    assert ' '.join(wire(path.read_text()).split()) == WIRE[name]


@pytest.mark.parametrize('name', WIRE)
def test_a_definition_says_which_version_it_follows(name):
    path = next((FOLDER / name).parent.glob(Path(name).name + '.*'))
    assert path.read_text().startswith(('# Follows ', '# The same in every ROS 2 distribution.'))
