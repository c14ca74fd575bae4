# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Offer one of everything that the interface packages define, for test_interfaces.py."""

import rclpy
from gazebo_msgs.msg import ModelStates
from gazebo_msgs.srv import SpawnEntity as GazeboSpawn
from geometry_msgs.msg import Pose, TransformStamped, Twist
from nav2_msgs.action import NavigateToPose
from rclpy.action import ActionServer
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from simulation_interfaces.msg import Result
from simulation_interfaces.srv import SpawnEntity
from tf2_msgs.msg import TFMessage

LATCHED = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)


def spawn_in_gazebo(request, response):
    response.success = request.name == 'box'
    response.status_message = f'{request.xml} at {request.initial_pose.position.x}'
    return response


def spawn(request, response):
    response.result = Result(result=SpawnEntity.Response.NAME_NOT_UNIQUE, error_message='taken')
    response.entity_name = f'{request.name} {request.resource_string} {request.allow_renaming}'
    return response


def navigate(handle):
    handle.publish_feedback(NavigateToPose.Feedback(distance_remaining=1.5))
    handle.abort()
    return NavigateToPose.Result(error_code=NavigateToPose.Result.TF_ERROR, error_msg='no map')


def main():
    rclpy.init()
    node = rclpy.create_node('server')
    node.create_service(GazeboSpawn, 'spawn_entity', spawn_in_gazebo)
    node.create_service(SpawnEntity, 'simulation/spawn_entity', spawn)
    action = ActionServer(node, NavigateToPose, 'navigate_to_pose', navigate)
    models = node.create_publisher(ModelStates, 'model_states', LATCHED)
    pose = Pose()
    pose.position.x = 0.5
    models.publish(ModelStates(name=['room', 'robot'], pose=[Pose(), pose], twist=[Twist()] * 2))
    transforms = node.create_publisher(TFMessage, 'tf', LATCHED)
    transforms.publish(TFMessage(transforms=[TransformStamped(child_frame_id='base_link')]))
    try:
        rclpy.spin(node)
    finally:
        action.destroy()


if __name__ == '__main__':
    main()
