# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the worlds that robots are simulated in: what stands where, and the map of it."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tl_adapt.errors import InputError


@dataclass(frozen=True)
class Box:
    """Stand for an upright box: centre [m], yaw [rad], side lengths [m], height [m]."""

    x: float
    y: float
    yaw: float
    sx: float
    sy: float
    height: float
    mapped: bool = True
    name: str = ''

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Return the signed distances [m] (n,) of points (n, 2); negative inside."""
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        dx, dy = points[:, 0] - self.x, points[:, 1] - self.y
        q = np.stack(
            [np.abs(c * dx + s * dy) - self.sx / 2, np.abs(c * dy - s * dx) - self.sy / 2], axis=1
        )
        return np.hypot(*np.maximum(q, 0.0).T) + np.minimum(q.max(axis=1), 0.0)


@dataclass(frozen=True)
class Cylinder:
    """Stand for an upright cylinder: centre [m], radius [m], height [m]."""

    x: float
    y: float
    r: float
    height: float
    mapped: bool = True
    name: str = ''

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Return the signed distances [m] (n,) of points (n, 2); negative inside."""
        return np.hypot(points[:, 0] - self.x, points[:, 1] - self.y) - self.r


@dataclass(frozen=True)
class OccupancyGrid:
    """
    Hold a map of square cells.

    data: bool (h, w), True where occupied; row 0 has the lowest y, column 0 the lowest x.
    resolution: side of a cell [m]. origin: (x, y) of the outer corner of cell [0, 0] [m].
    """

    data: np.ndarray
    resolution: float
    origin: tuple[float, float]

    def cells(self, points: np.ndarray) -> np.ndarray:
        """Return (row, column) int (..., 2) of points [m] (..., 2); they may lie outside."""
        points = np.asarray(points, dtype=float)
        return np.floor((points - self.origin) / self.resolution).astype(int)[..., ::-1]

    def centres(self, cells: np.ndarray) -> np.ndarray:
        """Return the points [m] (..., 2) in the middle of cells (row, column) (..., 2)."""
        return (np.asarray(cells)[..., ::-1] + 0.5) * self.resolution + self.origin

    def inside(self, cells: np.ndarray) -> np.ndarray:
        """Return bool (...): which cells (row, column) (..., 2) the map has."""
        cells = np.asarray(cells)
        return np.all((cells >= 0) & (cells < self.data.shape), axis=-1)

    def distance_field(self) -> np.ndarray:
        """
        Return the distances [m] (h, w) from each cell to the nearest occupied one.

        Measured between centres, so 0 in occupied cells and one cell wide of them the resolution.
        """
        if not self.data.any():
            return np.full(self.data.shape, np.inf)
        from scipy import ndimage  # slow to import; neither simulator nor localizer needs it

        return ndimage.distance_transform_edt(~self.data) * self.resolution


@dataclass(frozen=True)
class World:
    """
    Describe a rectangular room around the origin of the frame `map`.

    size: inner (x, y) extent [m]. walls: the four outer walls. obstacles: what stands in it.
    start: pose (x, y, yaw) where the robot stands at first.
    """

    name: str
    size: tuple[float, float]
    walls: tuple[Box, ...]
    obstacles: tuple[Box | Cylinder, ...]
    start: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def solids(self, mapped_only: bool = False) -> tuple[Box | Cylinder, ...]:
        """Return walls and obstacles, all of them or those in the map."""
        return self.walls + tuple(o for o in self.obstacles if o.mapped or not mapped_only)

    def distance(self, points: np.ndarray, mapped_only: bool = False) -> np.ndarray:
        """Return the exact distances [m] (n,) of points (n, 2) to the nearest solid."""
        points = np.atleast_2d(np.asarray(points, dtype=float))
        return np.min([solid.distance(points) for solid in self.solids(mapped_only)], axis=0)

    def occupancy(self, resolution: float = 0.05, mapped_only: bool = True) -> OccupancyGrid:
        """
        Return the map: a cell is occupied where its centre is in a solid or outside the room.

        The grid reaches over the walls by at least one cell on each side.
        Raises InputError for a resolution that is not positive.
        """
        if not (math.isfinite(resolution) and resolution > 0):
            raise InputError('resolution must be positive', key='resolution', value=resolution)
        half = [int(math.ceil(s / 2 / resolution - 1e-9)) + 2 for s in self.size]
        shape = (2 * half[1], 2 * half[0])
        origin = (-half[0] * resolution, -half[1] * resolution)
        grid = OccupancyGrid(np.zeros(shape, dtype=bool), resolution, origin)
        cells = np.indices(shape).reshape(2, -1).T
        points = grid.centres(cells)
        outside = np.any(np.abs(points) > np.array(self.size) / 2, axis=1)
        occupied = outside | (self.distance(points, mapped_only) <= 0)
        return OccupancyGrid(occupied.reshape(shape), resolution, origin)

    def distance_field(self, resolution: float = 0.05, mapped_only: bool = True) -> np.ndarray:
        """Return `occupancy(...).distance_field()`: distances [m] (h, w)."""
        return self.occupancy(resolution, mapped_only).distance_field()


def config_folders() -> list[Path]:
    """Return where the package's configuration may lie: in a checkout, or installed in share."""
    package = Path(__file__).resolve().parent.parent
    prefixes = [*package.parents, Path(sys.prefix)]
    return [package.parent / 'config', *(p / 'share' / 'tl_adapt' / 'config' for p in prefixes)]


def load_world(path_or_name: str | Path = 'room') -> World:
    """
    Read a world from a file, or one of the package's by its name.

    Raises InputError with file, key, rule and value for anything that is wrong.
    """
    path = Path(path_or_name)
    if path.suffix not in ('.yaml', '.yml'):
        folders = [folder / 'worlds' for folder in config_folders()]
        known = {p.stem: p for folder in reversed(folders) for p in folder.glob('*.yaml')}
        if str(path_or_name) not in known:
            rule = f'must be a YAML file or one of {sorted(known)}'
            raise InputError(rule, key='world', value=str(path_or_name))
        path = known[str(path_or_name)]
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = ' '.join(str(error).split())
        raise InputError(f'can not be read: {reason}', file=path) from error
    try:
        return _world(content)
    except InputError as error:
        raise InputError(error.rule, file=path, key=error.key, value=error.value) from None


def _world(content: Any) -> World:
    top = _mapping(content, 'world', {'name', 'size', 'wall', 'obstacles'}, {'start'})
    sx, sy = _numbers(top['size'], 'size', 2, low=0.5)
    wall = _mapping(top['wall'], 'wall', {'height', 'thickness'}, set())
    height, t = (_number(wall[k], f'wall.{k}', low=0.01) for k in ('height', 'thickness'))
    walls = (
        Box(sx / 2 + t / 2, 0.0, 0.0, t, sy + 2 * t, height, name='wall_east'),
        Box(-sx / 2 - t / 2, 0.0, 0.0, t, sy + 2 * t, height, name='wall_west'),
        Box(0.0, sy / 2 + t / 2, 0.0, sx + 2 * t, t, height, name='wall_north'),
        Box(0.0, -sy / 2 - t / 2, 0.0, sx + 2 * t, t, height, name='wall_south'),
    )
    if not isinstance(top['obstacles'], list):
        raise InputError('must be a list', key='obstacles', value=top['obstacles'])
    obstacles = tuple(_obstacle(o, f'obstacles[{i}]') for i, o in enumerate(top['obstacles']))
    names = [o.name for o in obstacles]
    if len(set(names)) < len(names):
        raise InputError('names must differ', key='obstacles', value=names)
    start = _numbers(top.get('start', [0.0, 0.0, 0.0]), 'start', 3)
    reserved = {'robot', 'ground_plane', *(wall.name for wall in walls)}
    for i, name in enumerate(names):
        if name in reserved:
            raise InputError('is reserved', key=f'obstacles[{i}].name', value=name)
    world = World(str(top['name']), (sx, sy), walls, obstacles, (start[0], start[1], start[2]))
    if world.distance(np.array(start[:2]))[0] <= 0:
        raise InputError('must be free of obstacles', key='start', value=start)
    return world


def _obstacle(content: Any, key: str) -> Box | Cylinder:
    common = {'name', 'shape', 'x', 'y', 'height'}
    if not isinstance(content, Mapping) or content.get('shape') not in ('box', 'cylinder'):
        raise InputError('shape must be box or cylinder', key=key, value=content)
    own = {'size'} if content['shape'] == 'box' else {'radius'}
    optional = {'mapped', 'yaw'} if content['shape'] == 'box' else {'mapped'}
    o = _mapping(content, key, common | own, optional)
    x, y = _number(o['x'], f'{key}.x'), _number(o['y'], f'{key}.y')
    height, mapped = _number(o['height'], f'{key}.height', low=0.01), o.get('mapped', True)
    if not isinstance(mapped, bool):
        raise InputError('must be true or false', key=f'{key}.mapped', value=mapped)
    if o['shape'] == 'cylinder':
        radius = _number(o['radius'], f'{key}.radius', low=0.005)
        return Cylinder(x, y, radius, height, mapped, str(o['name']))
    sx, sy = _numbers(o['size'], f'{key}.size', 2, low=0.01)
    yaw = _number(o.get('yaw', 0.0), f'{key}.yaw')
    return Box(x, y, yaw, sx, sy, height, mapped, str(o['name']))


def _mapping(value: Any, key: str, required: set[str], optional: set[str]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError('must be a mapping', key=key, value=value)
    if missing := sorted(required - set(value)):
        raise InputError(f'must have {missing}', key=key, value=sorted(map(str, value)))
    if unknown := sorted(map(str, set(value) - required - optional)):
        raise InputError(f'must not have {unknown}', key=key, value=sorted(map(str, value)))
    return value


def _number(value: Any, key: str, low: float = -math.inf) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InputError('must be a finite number', key=key, value=value)
    if value < low:
        raise InputError(f'must be at least {low}', key=key, value=value)
    return float(value)


def _numbers(value: Any, key: str, n: int, low: float = -math.inf) -> list[float]:
    if not isinstance(value, list) or len(value) != n:
        raise InputError(f'must be a list of {n} numbers', key=key, value=value)
    return [_number(v, f'{key}[{i}]', low) for i, v in enumerate(value)]
