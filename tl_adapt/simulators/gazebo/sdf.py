# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the SDF of a world with a robot in it: the same description as MuJoCo's model."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from xml.sax.saxutils import quoteattr

from tl_adapt.demo.world import World
from tl_adapt.simulators import rotations
from tl_adapt.simulators.base import EntityState
from tl_adapt.simulators.robot import Robot
from tl_adapt.simulators.rotations import Quaternion, Vector
from tl_adapt.simulators.scene import Scene
from tl_adapt.simulators.sdf import Part

# Who touches whom, as bits: wheels and casters the floor, the hull everything else.
_ON_FLOOR, _ON_HULL, _ON_ALL = 0x01, 0x02, 0xFFFF
_ROUGH = 100.0  # of two surfaces the smaller friction coefficient counts: that of the robot's
SMALL_MASS = 1e-3  # kg; a payload of nothing still is a body
_CASTER = 0.01  # m; radius


def build_sdf(
    world: World, robot: Robot, *, plugin: Path, physics_step: float, iterations: int, beams: int
) -> str:
    """
    Return the text of a world file for Gazebo 11.

    plugin: our world plugin, compiled. physics_step: [s]. iterations: of the contact solver.
    Names: model `robot` with links base, payload, left_wheel, right_wheel, joints left and right,
    sensor lidar; model `ground_plane`; a static model for each solid.
    """
    solids = '\n'.join(_solid(s.name, s.parts, s.state) for s in Scene(world).solids())
    return f'''<?xml version="1.0"?>
<sdf version="1.6">
<world name={quoteattr(world.name)}>
 <physics type="ode">
  <max_step_size>{physics_step}</max_step_size>
  <real_time_update_rate>0</real_time_update_rate>
  <ode>
   <solver><type>quick</type><iters>{iterations}</iters><sor>1.3</sor></solver>
   <constraints>
    <cfm>0</cfm><erp>0.2</erp>
    <contact_max_correcting_vel>100</contact_max_correcting_vel>
    <contact_surface_layer>0.0005</contact_surface_layer>
   </constraints>
  </ode>
 </physics>
 <scene><shadows>0</shadows></scene>
 <model name="ground_plane"><static>1</static><link name="link"><collision name="floor">
  <geometry><plane><normal>0 0 1</normal><size>100 100</size></plane></geometry>
  {_surface(_ON_FLOOR, _ROUGH)}
 </collision></link></model>
{solids}
{_robot(world, robot, beams)}
 <plugin name="tl_adapt_lockstep" filename={quoteattr(str(plugin))}/>
</world>
</sdf>
'''


def build_solid(name: str, parts: Iterable[Part]) -> str:
    """Return the SDF of a static model whose origin is that of its parts."""
    return f'<sdf version="1.6">{_solid(name, parts, EntityState((0.0, 0.0, 0.0)))}</sdf>'


def _solid(name: str, parts: Iterable[Part], state: EntityState) -> str:
    surface, lines = _surface(_ON_HULL, 0.3), []
    for number, part in enumerate(parts):
        inner = f'{_pose(part.position, part.orientation)}<geometry>{_shape(part)}</geometry>'
        lines.append(
            f'<collision name="part_{number}">{inner}{surface}</collision>'
            f'<visual name="part_{number}">{inner}</visual>'
        )
    pose = _pose(state.position, state.orientation)
    return (
        f'<model name={quoteattr(name)}><static>1</static>{pose}'
        f'<link name="link">{"".join(lines)}</link></model>'
    )


def _shape(part: Part) -> str:
    if part.kind == 'box':
        return f'<box><size>{" ".join(map(repr, part.size))}</size></box>'
    if part.kind == 'sphere':
        return f'<sphere><radius>{part.size[0]!r}</radius></sphere>'
    radius, length = part.size
    return f'<cylinder><radius>{radius!r}</radius><length>{length!r}</length></cylinder>'


def _pose(position: Vector, orientation: Quaternion) -> str:
    roll, pitch, yaw = rotations.to_rpy(orientation)
    return f'<pose>{" ".join(repr(float(v)) for v in (*position, roll, pitch, yaw))}</pose>'


def _surface(bits: int, friction: float) -> str:
    return (
        f'<surface><contact><collide_bitmask>{bits}</collide_bitmask></contact><friction><ode>'
        f'<mu>{friction!r}</mu><mu2>{friction!r}</mu2></ode></friction></surface>'
    )


def _robot(world: World, robot: Robot, beams: int) -> str:
    x, y, yaw = world.start
    half = (robot.hull_top - robot.hull_bottom) / 2
    r = robot.hull_radius
    across, upright = robot.base_mass * r**2 / 2, robot.base_mass * (3 * r**2 + 4 * half**2) / 12
    # A sphere, as in MuJoCo, but so low that the lidar looks over it. It does not touch the floor.
    hull = min(robot.lidar_height - r - 0.005, robot.hull_bottom + half)
    last = 2 * math.pi * (beams - 1) / beams
    return f''' <model name="robot">
  <allow_auto_disable>0</allow_auto_disable>
  <pose>{x!r} {y!r} 0 0 0 {yaw!r}</pose>
  <link name="base">
   <inertial><pose>{robot.mass_x!r} 0 {robot.mass_height!r} 0 0 0</pose>
    <mass>{robot.base_mass!r}</mass>{_inertia(upright, upright, across)}</inertial>
   <collision name="hull"><pose>0 0 {hull!r} 0 0 0</pose>
    <geometry><sphere><radius>{r!r}</radius></sphere></geometry>
    {_surface(_ON_HULL, 0.3)}</collision>
   <visual name="hull"><pose>0 0 {robot.hull_bottom + half!r} 0 0 0</pose><geometry>
    <cylinder><radius>{r!r}</radius><length>{2 * half!r}</length></cylinder></geometry></visual>
   {_caster('rear_caster', -0.08, _CASTER)}
   {_caster('front_caster', 0.08, _CASTER + 0.0015)}
   <sensor name="lidar" type="ray"><pose>0 0 {robot.lidar_height!r} 0 0 0</pose>
    <always_on>0</always_on><update_rate>0.01</update_rate><visualize>0</visualize>
    <ray><scan><horizontal><samples>{beams}</samples><resolution>1</resolution>
     <min_angle>0</min_angle><max_angle>{last!r}</max_angle></horizontal></scan>
     <range><min>0.01</min><max>{robot.range_max + 1.0!r}</max><resolution>0</resolution></range>
    </ray></sensor>
  </link>
  <link name="payload"><pose>{robot.payload_x!r} 0 {robot.payload_height!r} 0 0 0</pose>
   <inertial><mass>{SMALL_MASS!r}</mass>{_inertia(*[robot.payload_inertia(SMALL_MASS)] * 3)}
   </inertial></link>
  <joint name="payload_mount" type="fixed"><parent>base</parent><child>payload</child></joint>
{_wheel('left', robot, 1)}
{_wheel('right', robot, -1)}
 </model>'''


def _caster(name: str, x: float, z: float) -> str:
    return (
        f'<collision name="{name}"><pose>{x!r} 0 {z!r} 0 0 0</pose><geometry><sphere><radius>'
        f'{_CASTER!r}</radius></sphere></geometry>{_surface(_ON_FLOOR, 0.02)}</collision>'
    )


def _wheel(side: str, robot: Robot, sign: int) -> str:
    m, r, y = robot.wheel_mass, robot.wheel_radius, sign * robot.wheel_separation / 2
    # The rotor's inertia through the gear belongs to the wheel's axis only.
    spin, across = m * r**2 / 2 + robot.armature, m * r**2 / 4 + robot.armature
    return f'''  <link name="{side}_wheel"><pose>0 {y!r} {r!r} 0 0 0</pose>
   <inertial><mass>{m!r}</mass>{_inertia(across, spin, across)}</inertial>
   <collision name="wheel"><geometry><sphere><radius>{r!r}</radius></sphere></geometry>
    {_surface(_ON_FLOOR, 0.8)}</collision></link>
  <joint name="{side}" type="revolute"><parent>base</parent><child>{side}_wheel</child>
   <axis><xyz>0 1 0</xyz>
   <limit><effort>1000</effort><velocity>1000</velocity></limit></axis></joint>'''


def _inertia(xx: float, yy: float, zz: float) -> str:
    return (
        f'<inertia><ixx>{xx!r}</ixx><iyy>{yy!r}</iyy><izz>{zz!r}</izz>'
        '<ixy>0</ixy><ixz>0</ixz><iyz>0</iyz></inertia>'
    )
