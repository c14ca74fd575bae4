# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the MuJoCo model of a world with a robot in it."""

from __future__ import annotations

from collections.abc import Iterable
from xml.sax.saxutils import quoteattr

from tl_adapt.demo.world import Box, Cylinder
from tl_adapt.simulators.robot import Robot
from tl_adapt.simulators.scene import Solid
from tl_adapt.simulators.sdf import Part

# Contact classes as bits: hull against solids, wheels and casters against the floor, no more.
_SOLID = 'contype="1" conaffinity="0"'
_HULL = 'contype="0" conaffinity="1"'
_FLOOR = 'contype="2" conaffinity="0"'
_WHEEL = 'contype="0" conaffinity="2"'


def build_mjcf(name: str, solids: Iterable[Solid], robot: Robot) -> str:
    """
    Return the MJCF text.

    Names: body `base` with free joint, joints and actuators `left`, `right`, body `payload`,
    geom `floor`, sensor `hull` (contact force on the hull [N]). Geom group 1 is what the lidar
    sees. Wheels are spheres (one contact each); the friction of floor contacts is the floor's,
    except for the casters, which slide.
    """
    return f'''<mujoco model={quoteattr(name)}>
<compiler angle="radian" autolimits="true"/>
<option timestep="0.002" integrator="Euler" cone="elliptic" impratio="5" iterations="20">
 <flag autoreset="disable"/>
</option>
<worldbody>
 <geom name="floor" type="plane" size="0 0 1" {_FLOOR} priority="1" friction="0.8 0 0"/>
{_solids(solids)}
 <body name="base" pos="0 0 {robot.wheel_radius}">
  <freejoint name="base"/>
  {_base(robot)}
  {_wheel('left', robot, 1)}
  {_wheel('right', robot, -1)}
  <body name="payload" pos="{robot.payload_x} 0 {robot.payload_height - robot.wheel_radius}">
   <inertial pos="0 0 0" mass="1e-6" diaginertia="1e-9 1e-9 1e-9"/>
  </body>
 </body>
</worldbody>
<actuator>
{_actuator('left', robot)}
{_actuator('right', robot)}
</actuator>
<sensor><touch name="hull" site="hull"/></sensor>
</mujoco>'''


def _solids(solids: Iterable[Solid]) -> str:
    lines: list[str] = []
    for solid in solids:
        if solid.own is not None and not solid.moved:
            # The numbers of the world as they are, so that its physics is the same to the bit.
            lines.append(_own(solid.own))
        else:
            lines += [_part(part) for part in solid.placed()]
    return '\n'.join(lines)


def _own(solid: Box | Cylinder) -> str:
    half = solid.height / 2
    where = f'pos="{solid.x!r} {solid.y!r} {half!r}"'
    if isinstance(solid, Box):
        shape = f'type="box" size="{solid.sx / 2!r} {solid.sy / 2!r} {half!r}"'
        where += f' euler="0 0 {solid.yaw!r}"'
    else:
        shape = f'type="cylinder" size="{solid.r!r} {half!r}"'
    name = quoteattr(f'solid_{solid.name}')
    return f' <geom name={name} group="1" {shape} {where} {_SOLID}/>'


def _part(part: Part) -> str:
    size = list(part.size)
    if part.kind == 'box':
        size = [side / 2 for side in size]
    elif part.kind == 'cylinder':
        size[1] /= 2
    x, y, z, w = part.orientation
    shape = f'type="{part.kind}" size="{_text(size)}"'
    where = f'pos="{_text(part.position)}" quat="{_text((w, x, y, z))}"'
    return f' <geom group="1" {shape} {where} {_SOLID}/>'


def _text(numbers: Iterable[float]) -> str:
    return ' '.join(repr(float(number)) for number in numbers)


def _base(robot: Robot) -> str:
    down = -robot.wheel_radius                  # the body's origin is on the wheel axis
    half = (robot.hull_top - robot.hull_bottom) / 2
    # A sphere: its widest circle is that of the hull, and it is far cheaper than a cylinder.
    hull = f'pos="0 0 {down + robot.hull_bottom + half}"'
    r = robot.hull_radius
    caster = (
        f'type="sphere" size="0.01" mass="0" {_WHEEL} priority="2" friction="0.02 0 0" group="2"'
    )
    inertia = robot.base_mass * r**2 / 2
    upright = robot.base_mass * (3 * r**2 + 4 * half**2) / 12
    return f'''<inertial pos="{robot.mass_x} 0 {down + robot.mass_height}"
   mass="{robot.base_mass}" diaginertia="{upright} {upright} {inertia}"/>
  <geom name="hull" type="sphere" size="{r}" {hull} mass="0" {_HULL} group="2" friction="0.3 0 0"/>
  <site name="hull" type="sphere" size="{r + 0.01}" {hull} group="4"/>
  <geom name="rear_caster" pos="-0.08 0 {down + 0.01}" {caster}/>
  <geom name="front_caster" pos="0.08 0 {down + 0.0115}" {caster}/>'''


def _wheel(side: str, robot: Robot, sign: int) -> str:
    m, r = robot.wheel_mass, robot.wheel_radius
    spin, across = m * r**2 / 2, m * r**2 / 4
    # Armature (the rotor's inertia through the gear) and damping keep the small wheels stable.
    return f'''<body name="{side}_wheel" pos="0 {sign * robot.wheel_separation / 2} 0">
   <joint name="{side}" type="hinge" axis="0 1 0" armature="{robot.armature}"
    damping="{robot.viscous_friction}" frictionloss="{robot.wheel_friction(0.0)}"/>
   <inertial pos="0 0 0" mass="{m}" diaginertia="{across} {spin} {across}"/>
   <geom name="{side}_wheel" type="sphere" size="{r}" mass="0" {_WHEEL} group="2"/>
  </body>'''


def _actuator(side: str, robot: Robot) -> str:
    # A speed controller (torque = gain * (wanted - actual)) whose wanted speed lags behind the
    # command by a first-order filter, exactly integrated.
    gain, limit = robot.speed_gain, robot.torque_limit
    return (
        f' <general name="{side}" joint="{side}" dyntype="filterexact" dynprm="0.04"'
        f' gaintype="fixed" gainprm="{gain}" biastype="affine" biasprm="0 0 -{gain}"'
        f' forcerange="-{limit} {limit}"/>'
    )
