# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the grid planner: the map, what the lidar saw besides it, and the cheapest path.

Cells cost more the closer they are to obstacles (the exponential of Nav2's inflation layer);
Dijkstra's algorithm (scipy) on the 8-connected grid finds the path.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse import csgraph

from tl_adapt.demo.geometry import Pose, to_parent, wrap_array
from tl_adapt.demo.world import World

ROBOT_RADIUS = 0.105  # m
COST_FACTOR = 6.0  # a metre beside an obstacle costs as much as 1 + this many metres in the open
LETHAL = 1e4  # factor for cells that the hull does not fit into: passable only if nothing else is
MARKS = 3.0  # net sightings that make an unmapped obstacle
MOST_MARKS = 8.0  # so that one that has gone is forgotten again
MAPPED_WITHIN = 0.15  # m: hits this close to the map's obstacles are those
SIGHT = 3.0  # m: how far hits are trusted to mark obstacles
SPACING = 0.05  # m between the points of a path
RESOLUTION = 0.05  # m: cells of the map


def closeness_cost(
    clearance: np.ndarray, inflation_radius: float, cost_scaling_factor: float
) -> np.ndarray:
    """Return the cost of closeness in [0, 1] for clearances [m] of the hull, of any shape."""
    reach = max(inflation_radius - ROBOT_RADIUS, 1e-6)
    cost = np.exp(-cost_scaling_factor * np.maximum(clearance, 0.0))
    return np.where(clearance < reach, cost, 0.0)


@dataclass(frozen=True)
class Plan:
    """A path (n, 2) [m] from the robot to the goal; `expanded` cells were visited to find it."""

    points: np.ndarray
    expanded: int


class GridPlanner:
    """Planner on a grid: static obstacles from the map, others as the lidar sees them."""

    def __init__(
        self, occupied: np.ndarray, resolution: float, origin: tuple[float, float]
    ) -> None:
        """Take the map: bool (h, w), row = y, whose cell (0, 0) starts at `origin` [m]."""
        if occupied.ndim != 2 or not occupied.any():
            raise ValueError('occupied must be a map (h, w) with at least one occupied cell')
        self._occupied = np.asarray(occupied, dtype=bool)
        self._height, self._width = self._occupied.shape
        self._resolution = float(resolution)
        self._origin = np.asarray(origin, dtype=float)
        self._static = ndimage.distance_transform_edt(~self._occupied) * self._resolution
        self._build_graph()
        self.configure(0.35, 5.0)
        self.reset()

    def configure(self, inflation_radius: float, cost_scaling_factor: float) -> None:
        """Take the parameters of the costmap; they take effect with the next plan."""
        self._inflation = inflation_radius
        self._scaling = cost_scaling_factor

    def reset(self) -> None:
        """Forget the obstacles that are not in the map."""
        self._marks = np.zeros(self._occupied.shape)

    def observe(self, pose: Pose, angles: np.ndarray, ranges: np.ndarray) -> None:
        """Mark and clear unmapped obstacles by a scan (n,) taken at `pose`."""
        hit = np.isfinite(ranges) & (ranges > 0.0) & (ranges < SIGHT)
        r, a = ranges[hit], angles[hit]
        points = to_parent(pose, np.column_stack((r * np.cos(a), r * np.sin(a))))
        row, column, inside = self._cell(points)
        row, column = row[inside], column[inside]
        new = self._static[row, column] > MAPPED_WITHIN
        self._clear(pose, angles, ranges)
        flat = np.unique(row[new] * self._width + column[new])
        marks = self._marks.ravel()
        marks[flat] = np.minimum(marks[flat] + 1.0, MOST_MARKS)

    def plan(self, start: Pose, goal: tuple[float, float]) -> Plan | None:
        """Return the cheapest path from `start` to `goal` [m], or None if there is none."""
        cells, valid = self._flat(np.array([start[:2], goal]))
        if not valid.all():
            return None
        blocked = self._occupied | (self._marks >= MARKS)
        clearance = (
            ndimage.distance_transform_edt(~blocked) - 0.5
        ) * self._resolution - ROBOT_RADIUS
        cost = 1.0 + COST_FACTOR * closeness_cost(clearance, self._inflation, self._scaling)
        cost[clearance <= 0.0] = LETHAL
        flat = cost.ravel()
        self._graph.data = self._length * np.maximum(flat[self._from], flat[self._graph.indices])
        distance, previous = csgraph.dijkstra(
            self._graph, indices=int(cells[1]), return_predecessors=True
        )
        path = [int(cells[0])]
        while path[-1] != cells[1]:
            path.append(int(previous[path[-1]]))
            if path[-1] < 0:
                return None
        route = np.array(path)
        points = self._origin + self._resolution * (
            np.column_stack((route % self._width, route // self._width)) + 0.5
        )
        # Leaving a place where the hull does not fit (a wrong estimate) is allowed, no more.
        away = np.hypot(points[:, 0] - start[0], points[:, 1] - start[1]) > 0.3
        if np.any(flat[route[away]] >= LETHAL):
            return None
        points[0], points[-1] = start[:2], goal
        expanded = int(np.count_nonzero(distance <= distance[cells[0]]))
        return Plan(_smooth(points), expanded)

    def _clear(self, pose: Pose, angles: np.ndarray, ranges: np.ndarray) -> None:
        """Take a mark from cells that a beam has passed."""
        rows, columns = np.nonzero(self._marks > 0.0)
        if not len(rows) or not len(angles):
            return
        dx = self._origin[0] + (columns + 0.5) * self._resolution - pose[0]
        dy = self._origin[1] + (rows + 0.5) * self._resolution - pose[1]
        bearing = wrap_array(np.arctan2(dy, dx) - pose[2] - angles[0])
        increment = 2.0 * math.pi / len(angles)
        if len(angles) > 1:
            increment = (angles[-1] - angles[0]) / (len(angles) - 1)
        beam = np.rint(np.mod(bearing, 2.0 * math.pi) / increment).astype(int)
        seen = beam <= len(angles)
        reading = np.where(seen, ranges[np.minimum(beam, len(angles)) % len(angles)], 0.0)
        passed = reading > np.hypot(dx, dy) + 0.15
        self._marks[rows[passed], columns[passed]] = np.maximum(
            self._marks[rows[passed], columns[passed]] - 1.0, 0.0
        )

    def _cell(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return rows, columns and which of the points (n, 2) are on the map."""
        scaled = np.floor((points - self._origin) / self._resolution).astype(int)
        column, row = scaled[:, 0], scaled[:, 1]
        inside = (column >= 0) & (column < self._width) & (row >= 0) & (row < self._height)
        return row, column, inside

    def _flat(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return flat cell numbers (n,) of points, and which of them are on the map."""
        row, column, inside = self._cell(points)
        return row * self._width + column, inside

    def _build_graph(self) -> None:
        """Build the 8-connected graph once; only its weights change from plan to plan."""
        number = np.arange(self._height * self._width).reshape(self._height, self._width)
        start, end, length = [], [], []
        for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
            a = number[: self._height - dy, max(0, -dx) : self._width - max(0, dx)].ravel()
            b = number[dy:, max(0, dx) : self._width - max(0, -dx)].ravel()
            start += [a, b]
            end += [b, a]
            length += [np.full(2 * len(a), math.hypot(dx, dy) * self._resolution)]
        rows, columns = np.concatenate(start), np.concatenate(end)
        order = np.lexsort((columns, rows))
        size = number.size
        indptr = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=size))))
        self._from = rows[order]
        self._length = np.concatenate(length)[order]
        self._graph = sparse.csr_matrix(
            (self._length.copy(), columns[order].astype(np.int32), indptr.astype(np.int32)),
            shape=(size, size),
        )


def make_planner(world: World) -> GridPlanner:
    """Return a planner on the mapped part of a world."""
    grid = world.occupancy(RESOLUTION, mapped_only=True)
    return GridPlanner(grid.data, grid.resolution, grid.origin)


def _smooth(points: np.ndarray) -> np.ndarray:
    """Return the path smoothed by a moving mean of five cells and spaced evenly."""
    if len(points) >= 5:
        padded = np.concatenate((points[:1], points[:1], points, points[-1:], points[-1:]))
        mean = np.mean([padded[i : i + len(points)] for i in range(5)], axis=0)
        mean[0], mean[-1] = points[0], points[-1]
        points = mean
    steps = np.hypot(*np.diff(points, axis=0).T)
    along = np.concatenate(([0.0], np.cumsum(steps)))
    count = max(2, math.ceil(along[-1] / SPACING) + 1)
    at = np.linspace(0.0, along[-1], count)
    return np.column_stack(
        (np.interp(at, along, points[:, 0]), np.interp(at, along, points[:, 1]))
    )
