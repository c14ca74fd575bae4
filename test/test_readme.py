# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import re
from pathlib import Path

import pytest
import yaml

from tl_adapt.cli import VERBS
from tl_adapt.study import study_from_dict

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / 'README.md').read_text()
STUDIES = [
    block for block in re.findall(r'```yaml\n(.*?)```', TEXT, re.S) if block.startswith('version')
]


@pytest.mark.parametrize('block', STUDIES, ids=lambda block: yaml.safe_load(block)['name'])
def test_the_examples_are_valid_studies(block):
    study = study_from_dict(yaml.safe_load(block))
    assert study.space.sample(4, seed=0)


def test_the_example_that_extends_is_a_valid_study(tmp_path):
    block, = (
        text for text in re.findall(r'```yaml\n(.*?)```', TEXT, re.S) if text.startswith('extends')
    )
    study = study_from_dict(yaml.safe_load(block), tmp_path / 'my_robot.yaml')
    assert study.space['vx_max'].high == 0.26
    assert study.target.options['lifecycle_nodes']


def test_there_are_two_whole_examples():
    assert len(STUDIES) == 2


def test_all_verbs_are_described():
    assert set(re.findall(r'^\| `(\w+)[ `]', TEXT, re.M)) >= set(VERBS)


def test_the_named_files_are_there():
    for name in re.findall(r'`(benchmarks/\w+\.py)', TEXT):
        assert (ROOT / name).is_file(), name
    for name in re.findall(r'`(\w+\.launch\.py)', TEXT):
        assert (ROOT / 'launch' / name).is_file(), name
