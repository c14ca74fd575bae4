# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what stands in a simulated world now: its own solids, and what was spawned."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from tl_adapt.demo.world import Box, Cylinder, World
from tl_adapt.simulators import rotations
from tl_adapt.simulators.base import GROUND, ROBOT, EntityError, EntityState, finite
from tl_adapt.simulators.sdf import Part, read_model

_LONGEST = 200  # characters of a name
_STRANGE = re.compile('::|[&\'"]')
_REACH = 100.0  # m from the origin; where coordinates still make sense


@dataclass(frozen=True)
class Solid:
    """
    Stand for a static entity: its parts, where it began, where it is.

    own: the world's description, None if it was spawned.
    """

    name: str
    parts: tuple[Part, ...]
    first: EntityState
    state: EntityState
    own: Box | Cylinder | None = None

    @property
    def moved(self) -> bool:
        """Return whether it is no longer where it began."""
        return self.state != self.first

    def placed(self) -> list[Part]:
        """Return the parts where they are in the frame `map`."""
        return [part.placed(self.state.position, self.state.orientation) for part in self.parts]


class Scene:
    """
    Keep account of the solids; of what an engine has to do for them it knows nothing.

    Each change is checked first, and raises EntityError if it is refused.
    """

    def __init__(self, world: World) -> None:
        """Begin with the world's solids."""
        self._own = {solid.name: solid for solid in map(_solid, world.solids())}
        self._solids = dict(self._own)

    def names(self) -> list[str]:
        """Return the names of all entities, the robot and the ground too."""
        return [GROUND, *self._solids, ROBOT]

    def solids(self) -> list[Solid]:
        """Return the solids, those of the world first."""
        return list(self._solids.values())

    def solid(self, name: str) -> Solid:
        """Return a solid; robot and ground are none."""
        if name in (ROBOT, GROUND):
            raise EntityError('unsupported', f'{name} can not be changed like this')
        if name not in self._solids:
            raise EntityError('unknown', f'entity {name!r} does not exist')
        return self._solids[name]

    def state(self, name: str) -> EntityState:
        """Return the state of the ground or of a solid."""
        if name == GROUND:
            return EntityState((0.0, 0.0, 0.0))
        return self.solid(name).state

    def move(self, name: str, state: EntityState) -> None:
        """Put a solid elsewhere."""
        solid, state = self.solid(name), checked(state)
        if state.moving:
            raise EntityError('unsupported', f'{name} is static: its velocity must be zero')
        self._solids[name] = replace(solid, state=state)

    def add(self, name: str, sdf_xml: str, state: EntityState) -> Solid:
        """Add a spawned solid."""
        plain = name.isprintable() and name == name.strip() and not _STRANGE.search(name)
        if not 0 < len(name) <= _LONGEST or not plain:
            rule = (
                f'the name must have 1 to {_LONGEST} printable characters, no ::, & or quote, and '
                'no blank at an end'
            )
            raise EntityError('name', f'{rule}, got {name[:100]!r}')
        if name in self.names():
            raise EntityError('exists', f'entity {name!r} already exists')
        state = checked(state)
        parts = read_model(sdf_xml).parts
        if state.moving:
            raise EntityError('unsupported', f'{name} is static: its velocity must be zero')
        solid = Solid(name, parts, state, state)
        self._solids[name] = solid
        return solid

    def remove(self, name: str) -> None:
        """Remove a solid."""
        del self._solids[self.solid(name).name]

    def restore_to(self, solids: list[Solid]) -> None:
        """Let the solids be what `solids` returned before."""
        self._solids = {solid.name: solid for solid in solids}

    def reset(self) -> bool:
        """Put all solids back to where they began; return whether one was elsewhere."""
        moved = [solid for solid in self._solids.values() if solid.moved]
        self._solids.update({solid.name: replace(solid, state=solid.first) for solid in moved})
        return bool(moved)

    def restore(self, deleted: bool) -> bool:
        """
        Remove what was spawned and, if `deleted`, bring back what the world had at first.

        Return whether anything changed. A solid that was only moved stays where it is.
        """
        before, self._solids = self._solids, {}
        for name, first in self._own.items():
            now = before.get(name)
            if now is not None and now.own is not None:
                self._solids[name] = now
            elif deleted:
                self._solids[name] = first
        return self._solids != before


def checked(state: EntityState) -> EntityState:
    """
    Return the state with a unit quaternion.

    Raises EntityError for what is not finite, no rotation, or farther away than 100 m.
    """
    numbers = (*state.position, *state.orientation, *state.linear, *state.angular)
    if not finite(numbers):
        raise EntityError('invalid', f'a state must be finite, got {state}')
    if not 0.5 < rotations.norm(state.orientation) < 2.0:
        rule = 'an orientation must be a unit quaternion'
        raise EntityError('invalid', f'{rule}, got {state.orientation}')
    if max(map(abs, state.position)) > _REACH:
        rule = f'a position must be at most {_REACH:g} m from the origin'
        raise EntityError('invalid', f'{rule}, got {state.position}')
    return replace(state, orientation=rotations.normalized(state.orientation))


def _solid(own: Box | Cylinder) -> Solid:
    centre = (0.0, 0.0, own.height / 2)
    if isinstance(own, Box):
        part, yaw = Part('box', (own.sx, own.sy, own.height), centre), own.yaw
    else:
        part, yaw = Part('cylinder', (own.r, own.height), centre), 0.0
    state = EntityState((own.x, own.y, 0.0), rotations.from_rpy(0.0, 0.0, yaw))
    return Solid(own.name, (part,), state, state, own)
