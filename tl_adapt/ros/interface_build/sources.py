# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for generating an interface package's sources with ROS 2's own generators.

It hands to each generator what ament's CMake functions hand to it, a JSON file with arguments, and
needs neither CMake nor ament. Run it as a program: generators print, and they keep a state.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from tl_adapt.ros.interface_build.package import InterfacePackage, load_package

#: What rmw_fastrtps_cpp serializes with, and what it describes types to other tools with.
TYPE_SUPPORTS = ('rosidl_typesupport_fastrtps_c', 'rosidl_typesupport_introspection_c')
#: Where the wheels of ROS 2 are: they set no AMENT_PREFIX_PATH by which to look for them.
PREFIX = Path(sys.prefix)
_INDEX = PREFIX / 'share/ament_index/resource_index'


def interface_dependencies(names: Iterable[str]) -> list[str]:
    """Return the interface packages among `names` and all that they depend on."""
    found: list[str] = []
    pending = list(names)
    while pending:
        name = pending.pop()
        if name not in found and (_INDEX / 'rosidl_interfaces' / name).exists():
            found.append(name)
            pending += (_INDEX / 'package_run_dependencies' / name).read_text().split(';')
    return sorted(found)


class _Generators:
    """Run the generators for one package."""

    def __init__(self, package: InterfacePackage, output: Path) -> None:
        self._package = package
        self._output = output
        self._idl = output / 'idl'
        self._relative = [path.with_suffix('.idl').as_posix() for path in package.files]

    def arguments(self, generator: str, **more: object) -> str:
        """Write the arguments of `generator` into a file and return its path."""
        output = self._output / generator / self._package.name
        output.mkdir(parents=True, exist_ok=True)
        path = self._output / f'{generator}.json'
        content = {
            'package_name': self._package.name,
            'idl_tuples': [f'{self._idl}:{path}' for path in self._relative],
            'output_dir': str(output),
            'template_dir': str(PREFIX / 'share' / generator / 'resource'),
            'target_dependencies': [],
            **more,
        }
        path.write_text(json.dumps(content))
        return str(path)

    def describe(self) -> list[str]:
        """Make IDL files and type descriptions; return pairs of IDL file and description."""
        from rosidl_adapter import convert_to_idl
        from rosidl_generator_type_description import generate_type_hash

        for file in self._package.files:
            convert_to_idl(self._package.folder, self._package.name, file, self._idl)
        include = [
            f'{name}:{PREFIX / "share" / name}'
            for name in interface_dependencies(self._package.depends)
        ]
        name = 'rosidl_generator_type_description'
        generate_type_hash(self.arguments(name, include_paths=include))
        made = self._output / name / self._package.name
        return [f'{path}:{(made / path).with_suffix(".json")}' for path in self._relative]

    def generate(self) -> None:
        """Make the sources in C, C++ and Python."""
        from rosidl_generator_c import generate_c
        from rosidl_generator_py import generate_py
        from rosidl_typesupport_c import generate_c as generate_dispatch
        from rosidl_typesupport_fastrtps_c import generate_typesupport_fastrtps_c
        from rosidl_typesupport_introspection_c import generate_c as generate_introspection

        descriptions = self.describe()
        generate_c(self.arguments(
            'rosidl_generator_c',
            type_description_tuples=descriptions,
            ros_interface_files=[str(self._package.folder / path) for path in self._package.files],
        ))
        self.visibility('rosidl_generator_c')
        for name, generate in zip(
            TYPE_SUPPORTS, (generate_typesupport_fastrtps_c, generate_introspection)
        ):
            generate(self.arguments(name))
            self.visibility(name)
        generate_dispatch(self.arguments('rosidl_typesupport_c'), TYPE_SUPPORTS)
        generate_py(self.arguments('rosidl_generator_py'), ['rosidl_typesupport_c'])
        python = self._output / 'rosidl_generator_py' / self._package.name
        (python / '__init__.py').touch()

    def visibility(self, generator: str) -> None:
        """Write the header that CMake would make from the generator's template."""
        name = f'{generator}__visibility_control.h'
        text = (PREFIX / 'share' / generator / 'resource' / f'{name}.in').read_text()
        text = text.replace('@PROJECT_NAME_UPPER@', self._package.name.upper())
        path = self._output / generator / self._package.name / 'msg' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace('@PROJECT_NAME@', self._package.name))


def main(folder: str, output: str) -> None:
    """Generate the sources of the package in `folder` into the folder `output`."""
    target = Path(output).resolve()
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    _Generators(load_package(Path(folder).resolve()), target).generate()


if __name__ == '__main__':
    main(*sys.argv[1:])
