# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import os

from setuptools import find_packages, setup

PACKAGE = 'tl_adapt'


def share(folder):
    """List (destination, files) for everything below `folder`."""
    for path, _, files in os.walk(folder):
        if files:
            yield (
                os.path.join('share', PACKAGE, path),
                [os.path.join(path, name) for name in sorted(files)],
            )


setup(
    name=PACKAGE,
    version='0.1.0',
    packages=find_packages(include=[PACKAGE, PACKAGE + '.*']),
    package_data={
        PACKAGE: ['*.json', 'simulators/gazebo/*.cc', 'simulators/gazebo/*.txt'],
    },
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/' + PACKAGE]),
        ('share/' + PACKAGE, ['package.xml']),
        *share('launch'),
        *share('config'),
    ],
    python_requires='>=3.10',
    install_requires=[
        'setuptools',
        'jsonschema',
        'numpy',
        'psutil',
        'pyyaml',
        'scikit-learn',
        'scipy',
        'SQLAlchemy>=1.4',
    ],
    extras_require={
        'bags': ['mcap>=1.5', 'rosbags>=0.11'],
        'mujoco': ['mujoco>=3.1'],
        'report': ['plotly'],
        'terminal': ['rich'],
        'test': ['hypothesis', 'pytest', 'ruff', 'mypy', 'types-PyYAML', 'types-jsonschema'],
    },
    zip_safe=False,
    maintainer='the tl_adapt authors',
    maintainer_email='tl_adapt@example.org',
    description='Measure, transfer and adapt the parameters of a robot software stack.',
    license='Apache-2.0',
    entry_points={
        'console_scripts': [
            'tl_adapt = tl_adapt.cli:main',
            'adapter = tl_adapt.ros.nodes.adapter:main',
            'simulator = tl_adapt.simulators.node:main',
            'navigator = tl_adapt.demo.navigator:main',
            'localizer = tl_adapt.demo.localizer:main',
            'demo_robot = tl_adapt.demo.robot_run:main',
            'worker = tl_adapt.ros.worker:main',
        ],
    },
)
