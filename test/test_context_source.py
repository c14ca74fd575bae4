# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import array
import math

import pytest

from tl_adapt.adaptation.context_source import Lasting, context_id, context_sources
from tl_adapt.errors import InputError


def source(**entry):
    return context_sources({'contexts': [{'name': 'load', 'topic': 'load', **entry}]})[0]


def test_numbers_fall_into_bins():
    load = source(field='data', edges=[0.5, 1.5])
    assert [load.label(v) for v in (0.0, 0.5, 1.0, 9.0)] == ['0', '1', '1', '2']
    assert [load.label(v) for v in (math.nan, math.inf, 'heavy', 10**400)] == [None] * 4


@pytest.mark.parametrize('value', [array.array('f', [1.0, 2.0]), [1.0], None, object()])
@pytest.mark.parametrize('entry', [
    {'field': 'data', 'edges': [0.5]}, {'field': 'data'},
    {'polygons': {'hall': [[0, 0], [4, 0], [4, 4]]}},
])
def test_what_is_of_another_type_has_no_label(entry, value):
    assert source(**entry).label(value) is None


def test_a_bin_is_left_beyond_the_hysteresis():
    load = source(field='data', edges=[0.5, 1.5], hysteresis=0.2)
    assert load.label(0.6) == '1'
    assert load.label(0.6, present='0') == '0'
    assert load.label(0.71, present='0') == '1'
    assert load.label(0.4, present='1') == '1'
    assert load.label(0.29, present='1') == '0'
    assert load.label(1.6, present='0') == '1', 'beyond the first edge, not beyond the second'
    assert load.label(1.8, present='0') == '2'
    assert load.label(0.45, present='2') == '1'


def test_texts_flags_and_integers_are_labels():
    floor = source(field='data')
    assert [floor.label(v) for v in ('wet', True, False, 3, 3.0)] == [
        'wet', 'true', 'false', '3', '3']
    assert floor.label(0.25) is None, 'every number would be a context of its own'
    assert floor.label('a=1, b=2') == 'a_1_b_2'
    assert len(floor.label('x' * 1000)) == 40


def test_a_position_is_in_a_region():
    hall = [[0, 0], [4, 0], [4, 4], [2, 1], [0, 4]]  # not convex
    region = source(polygons={'hall': hall, 'dock': [[3, 3], [6, 3], [6, 6], [3, 6]]})
    assert region.label((1.0, 0.5)) == 'hall'
    assert region.label((2.0, 3.0)) == 'elsewhere'
    assert region.label((5.0, 5.0)) == 'dock'
    assert region.label((math.nan, 0.0)) is None


def test_a_label_has_to_last():
    lasting = Lasting(10)
    assert not lasting.update('a', 0)
    assert not lasting.steady
    assert lasting.update('a', 10)
    assert (lasting.label, lasting.steady) == ('a', True)
    assert not lasting.update('b', 20)
    assert not lasting.steady
    assert not lasting.update('a', 25)
    assert lasting.steady
    assert not lasting.update('b', 30), 'its time begins anew'
    assert not lasting.update('c', 38)
    assert not lasting.update('c', 45)
    assert lasting.update('c', 48)
    assert lasting.label == 'c'


def test_time_that_goes_back_counts_for_nothing():
    lasting = Lasting(10)
    lasting.update('a', 1000)
    assert not lasting.update('a', 5)
    assert not lasting.update('a', 14)
    assert lasting.update('a', 15)


def test_the_id_joins_the_labels():
    assert context_id({'payload': '1', 'region': None}) == 'payload=1,region=?'


@pytest.mark.parametrize(('entry', 'key'), [
    ({'name': '1st', 'field': 'data'}, 'name'),
    ({}, ''),
    ({'field': 'data', 'polygons': {'hall': [[0, 0], [1, 0], [1, 1]]}}, ''),
    ({'field': '1 +'}, 'field'),
    ({'field': '7'}, 'field'),
    ({'field': 'data', 'edges': [1, 1]}, 'edges'),
    ({'field': 'data', 'edges': [2, 1]}, 'edges'),
    ({'field': 'data', 'hysteresis': 0.1}, 'hysteresis'),
    ({'field': 'data', 'edges': [1, 2], 'hysteresis': 0.5}, 'hysteresis'),
    ({'polygons': {'elsewhere': [[0, 0], [1, 0], [1, 1]]}}, 'polygons.elsewhere'),
    ({'polygons': {'hall': [[0, 0], [1, 0], [1, 1]]}, 'edges': [1]}, 'edges'),
])
def test_what_makes_no_sense_is_refused_by_its_key(entry, key):
    with pytest.raises(InputError) as caught:
        source(**entry)
    assert caught.value.key == f'adaptation.contexts[0].{key}'.rstrip('.')


def test_a_name_comes_once():
    entry = {'name': 'load', 'topic': 'load', 'field': 'data'}
    with pytest.raises(InputError) as caught:
        context_sources({'contexts': [entry, entry]})
    assert caught.value.key == 'adaptation.contexts[1].name'
