# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for reading models that may be spawned: static solids, described in SDF.

What is read is what a solid needs: where it is and what shape it has. Looks, surfaces and masses
do not matter for it and are skipped; whatever would make it more than a solid is refused, because
a model that is not what its description says is worse than none.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from xml.parsers import expat

from tl_adapt.simulators import rotations
from tl_adapt.simulators.base import EntityError
from tl_adapt.simulators.rotations import IDENTITY, Quaternion, Vector

SUPPORTED = (
    'supported is one static model of links with collisions that are a box, cylinder or sphere'
)
MAX_LENGTH = 1_000_000  # characters
_MAX_DEPTH = 50  # elements
_MAX_PARTS = 1000
_SMALLEST, _LARGEST = 1e-4, 1000.0  # m
_REFUSED = {'model', 'include', 'joint', 'plugin', 'gripper', 'frame', 'sensor', 'projector'}
_SIZES = {'box': ('size',), 'cylinder': ('radius', 'length'), 'sphere': ('radius',)}


@dataclass(frozen=True)
class Part:
    """
    Stand for one collision of a model, relative to the model's origin.

    kind: box, cylinder or sphere; size [m]: the three sides, radius and length, or the radius.
    """

    kind: str
    size: tuple[float, ...]
    position: Vector
    orientation: Quaternion = IDENTITY

    def placed(self, position: Vector, orientation: Quaternion) -> Part:
        """Return the part as seen from the frame in which its model has that pose."""
        return Part(self.kind, self.size, *_below((position, orientation), self))


@dataclass(frozen=True)
class Model:
    """Hold a static model: the name and pose in the description, and its parts."""

    name: str
    position: Vector
    orientation: Quaternion
    parts: tuple[Part, ...]


def read_model(xml: str) -> Model:
    """
    Read the one model of an SDF description.

    Raises EntityError: 'parse' if it is not well-formed, or has a document type (whose entities
    can make a short text a huge one), 'format' if it is no SDF, and 'unsupported' if it is more
    than a static solid.
    """
    root = _tree(xml)
    if root.tag != 'sdf':
        raise EntityError('format', f'the description must be SDF, got <{root.tag}>')
    if (world := root.find('world')) is not None:
        root = world
    models = root.findall('model')
    if len(models) != 1:
        raise EntityError('unsupported', f'{SUPPORTED}, got {len(models)} models')
    model = models[0]
    if not _flag(model, 'static'):
        raise EntityError('unsupported', f'{SUPPORTED}, got a model that is not static')
    for element in model.iter():
        if element.tag in _REFUSED and element is not model:
            raise EntityError('unsupported', f'{SUPPORTED}, got <{element.tag}> in the model')
    parts = []
    for link in model.findall('link'):
        base = _pose(link)
        for collision in link.findall('collision'):
            kind, size = _shape(collision)
            part = Part(kind, size, *_pose(collision))
            parts.append(part.placed(*base))
            if len(parts) > _MAX_PARTS:
                rule = f'a model may have {_MAX_PARTS} collisions'
                raise EntityError('unsupported', rule)
    if not parts:
        raise EntityError('unsupported', f'{SUPPORTED}, got no collision')
    return Model(model.get('name', ''), *_pose(model), tuple(parts))


def write_box(name: str, size: Vector) -> str:
    """Return the SDF of a static box that stands on the floor, sides [m]."""
    sides = ' '.join(repr(side) for side in size)
    shape = f'<geometry><box><size>{sides}</size></box></geometry>'
    return (
        f'<sdf version="1.6"><model name="{name}"><static>true</static>'
        f'<link name="link"><pose>0 0 {size[2] / 2!r} 0 0 0</pose>'
        f'<collision name="collision">{shape}</collision>'
        f'<visual name="visual">{shape}</visual></link></model></sdf>'
    )


def _tree(xml: str) -> ElementTree.Element:
    """Parse a document without a document type."""
    if len(xml) > MAX_LENGTH:
        raise EntityError('parse', f'a description may have {MAX_LENGTH} characters')
    builder, depth = ElementTree.TreeBuilder(), 0
    parser = expat.ParserCreate('utf-8')

    def refuse(*_: object) -> None:
        raise EntityError('parse', 'a document type is refused')

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _MAX_DEPTH:
            raise EntityError('parse', f'elements may be nested {_MAX_DEPTH} deep')
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(xml.encode('utf-8', 'strict'), True)
        return builder.close()
    except (expat.ExpatError, UnicodeEncodeError, ValueError, LookupError) as error:
        raise EntityError('parse', f'is no well-formed XML: {error}') from None


def _shape(collision: ElementTree.Element) -> tuple[str, tuple[float, ...]]:
    geometry = collision.find('geometry')
    kinds = [child.tag for child in geometry] if geometry is not None else []
    if geometry is None or len(kinds) != 1 or kinds[0] not in _SIZES:
        got = ', '.join(f'<{kind}>' for kind in kinds) or 'no geometry'
        raise EntityError('unsupported', f'{SUPPORTED}, got {got}')
    size: list[float] = []
    for tag in _SIZES[kinds[0]]:
        size += _numbers(geometry[0], tag, 3 if tag == 'size' else 1)
    if not all(_SMALLEST <= side <= _LARGEST for side in size):
        rule = f'sizes must lie in [{_SMALLEST:g}, {_LARGEST:g}] m'
        raise EntityError('parse', f'{rule}, got {size} for <{kinds[0]}>')
    return kinds[0], tuple(size)


def _pose(element: ElementTree.Element) -> tuple[Vector, Quaternion]:
    """Return the pose of an element relative to its parent."""
    pose = element.find('pose')
    if pose is None:
        return (0.0, 0.0, 0.0), IDENTITY
    if pose.get('relative_to') or pose.get('frame'):
        raise EntityError('unsupported', f'{SUPPORTED}, got a <pose> relative to another frame')
    if pose.get('rotation_format', 'euler_rpy') != 'euler_rpy':
        raise EntityError('unsupported', f'{SUPPORTED}, got a <pose> that is no euler_rpy')
    if not (pose.text or '').strip():
        return (0.0, 0.0, 0.0), IDENTITY
    values = _numbers(element, 'pose', 6)
    if max(map(abs, values[:3])) > _LARGEST:
        rule = f'a <pose> must be at most {_LARGEST:g} m away'
        raise EntityError('parse', f'{rule}, got {values[:3]} in <{element.tag}>')
    angles = [math.radians(v) if _flag(pose, 'degrees') else v for v in values[3:]]
    return (values[0], values[1], values[2]), rotations.from_rpy(*angles)


def _below(parent: tuple[Vector, Quaternion], part: Part) -> tuple[Vector, Quaternion]:
    position, orientation = parent
    moved = rotations.add(position, rotations.rotate(orientation, part.position))
    return moved, rotations.normalized(rotations.multiply(orientation, part.orientation))


def _numbers(parent: ElementTree.Element, tag: str, n: int) -> list[float]:
    element = parent.find(tag)
    text = '' if element is None else (element.text or '')
    try:
        values = list(_floats(text))
    except ValueError:
        values = []
    if len(values) != n or not all(math.isfinite(value) for value in values):
        rule = f'<{tag}> must be {n} finite numbers'
        raise EntityError('parse', f'{rule}, got {text.strip()[:100]!r} in <{parent.tag}>')
    return values


def _floats(text: str) -> Iterator[float]:
    for word in text.split():
        if '_' in word:  # a number in Python, none in XML
            raise ValueError(word)
        yield float(word)


def _flag(element: ElementTree.Element, name: str) -> bool:
    child = element.find(name)
    text = element.get(name, '') if child is None else (child.text or '')
    if (word := text.strip().lower()) not in ('', '0', '1', 'true', 'false'):
        raise EntityError('parse', f'<{name}> must be true or false, got {text.strip()[:100]!r}')
    return word in ('1', 'true')
