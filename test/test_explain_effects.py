# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tl_adapt.models.basis import Axis, Basis, axes_of, axes_of_space
from tl_adapt.models.changes import SAME, STRONGER, TURNED, compare
from tl_adapt.models.draws import belief, ensemble, half_samples, latent_draws
from tl_adapt.models.effects import Effects, conclusive, interval
from tl_adapt.models.gaussian_process import GaussianProcess
from tl_adapt.models.transfer import TransferModel
from tl_adapt.testing.analytic import analytic_study

BINARY = np.array([0.0, 1.0])


def certain(function):
    """Return the belief of one who knows a function of points (n, d)."""
    return lambda X: np.repeat(function(X)[None, :], 40, axis=0)


def binary(count):
    return Basis([Axis(f'o{i}', BINARY) for i in range(count)])


def by_name(effects):
    return {effect.names: effect for effect in effects.mains + effects.pairs}


def test_effects_of_binary_options_are_exact():
    basis = binary(3)
    assert basis.exact and len(basis.points) == 8
    found = by_name(Effects(certain(lambda X: 5 + 2 * X[:, 0] + 4 * X[:, 1] * X[:, 2]), basis))
    assert found['o0',].change.estimate == pytest.approx(2.0)
    # The change of o1 is 4 with o2 and 0 without it.
    assert found['o1',].change.estimate == pytest.approx(2.0)
    assert found['o1', 'o2'].change.estimate == pytest.approx(4.0)
    assert found['o0', 'o1'].change.estimate == pytest.approx(0.0, abs=1e-9)
    # Variances: 1 of o0, o1 and o2 each, 1 of the pair.
    assert found['o1', 'o2'].share.estimate == pytest.approx(0.25)
    assert sum(effect.share.estimate for effect in found.values()) == pytest.approx(1.0)
    assert {names for names, effect in found.items() if effect.conclusive} == {
        ('o0',), ('o1',), ('o2',), ('o1', 'o2')
    }


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(-5, 5).map(lambda value: round(value, 6)), min_size=32, max_size=32),
    st.floats(-100, 100),
)
def test_the_decomposition_is_that_of_all_subsets(values, shift):
    table = dict(zip(itertools.product((0.0, 1.0), repeat=5), values))
    basis = binary(5)

    def function(X):
        return np.array([table[tuple(x)] for x in X])

    found = Effects(certain(function), basis)
    moved = Effects(certain(lambda X: function(X) + shift), basis)
    X, y = basis.points, function(basis.points)
    for names, effect in by_name(found).items():
        columns = [int(name[1]) for name in effect.names]
        sign = np.prod(2.0 * X[:, columns] - 1.0, axis=1)
        # An option's change is twice the mean product with its sign, a pair's four times.
        want = 2.0 ** len(columns) * np.mean(sign * y)
        assert effect.change.estimate == pytest.approx(want, abs=1e-6)
        assert by_name(moved)[names].change.estimate == pytest.approx(want, abs=1e-6)
    assert found.spread.estimate == pytest.approx(y.std(), abs=1e-6)
    shares = sum(found.shares[0]) + found.rest.estimate
    assert shares == pytest.approx(1.0 if y.std() > 1e-9 else 0.0, abs=1e-6)
    assert moved.spread.estimate == pytest.approx(y.std(), abs=1e-5)


def test_many_options_are_told_apart():
    axes = [Axis(f'o{i}', BINARY) for i in range(20)]
    found = by_name(Effects(certain(lambda X: X[:, 3] - 2 * X[:, 7] * X[:, 9]), Basis(axes)))
    assert found['o3',].change.estimate == pytest.approx(1.0, abs=0.02)
    assert found['o7', 'o9'].change.estimate == pytest.approx(-2.0, abs=0.05)
    assert sum(effect.conclusive for effect in found.values()) == 5 - 1  # o3, o7, o9, and the pair


def test_shares_of_the_ishigami_function():
    # Ishigami & Homma 1990, a = 7, b = 0.1: the indices are known in closed form.
    axes = [Axis(f'x{i}', np.linspace(0.0, 1.0, 17)) for i in range(3)]

    def ishigami(X):
        z = np.pi * (2.0 * X - 1.0)
        return np.sin(z[:, 0]) + 7 * np.sin(z[:, 1]) ** 2 + 0.1 * z[:, 2] ** 4 * np.sin(z[:, 0])

    found = by_name(Effects(certain(ishigami), Basis(axes, points=2048)))
    # Polynomials of degree 4 on a grid are near to it, not exact.
    assert found['x0',].share.estimate == pytest.approx(0.314, abs=0.09)
    assert found['x2',].share.estimate == pytest.approx(0.0, abs=0.03)
    assert found['x0', 'x2'].share.estimate > 0.1
    assert found['x0', 'x1'].share.estimate == pytest.approx(0.0, abs=0.02)


def test_values_without_order_have_their_best_and_worst():
    axes = [Axis('planner', np.array([0.0, 0.5, 1.0]), True), Axis('fast', BINARY)]
    height = {0.0: 1.0, 0.5: 9.0, 1.0: 3.0}

    def function(X):
        return np.array([height[p] * (1.0 + f) for p, f in X])

    found = by_name(Effects(certain(function), Basis(axes)))
    effect = found['planner',]
    assert (effect.low, effect.high) == ((0.0,), (0.5,))
    assert effect.change.estimate == pytest.approx(12.0)
    assert abs(found['planner', 'fast'].change.estimate) == pytest.approx(8.0)


def test_factors_are_those_of_the_logarithm():
    found = by_name(Effects(
        certain(lambda X: np.exp(0.5 * X[:, 0] - X[:, 1])), binary(2), log=True
    ))
    assert found['o0',].factor.estimate == pytest.approx(np.exp(0.5))
    assert found['o1',].factor.estimate == pytest.approx(np.exp(-1.0))
    assert found['o0', 'o1'].factor.estimate == pytest.approx(1.0)


def test_a_constant_has_no_effects():
    found = Effects(certain(lambda X: np.full(len(X), 3.0)), binary(4))
    assert not any(e.conclusive or e.share.estimate > 0 for e in [*found.mains, *found.pairs])
    assert found.level.estimate == pytest.approx(3.0)


def test_a_parameter_of_one_value_has_no_effect():
    found = Effects(
        certain(lambda X: X[:, 0]), Basis([Axis('a', BINARY), Axis('b', np.array([0.0]))])
    )
    assert [effect.names for effect in found.mains] == [('a',)]
    assert Effects(certain(lambda X: X[:, 0]), Basis([Axis('b', np.array([0.0]))])).mains == []


@pytest.mark.parametrize('transfer', [False, True])
def test_a_model_says_what_it_knows(transfer):
    rng = np.random.default_rng(1)
    X = (rng.random((120, 8)) > 0.5).astype(float)
    y = np.exp(0.8 * X[:, 0] - 0.5 * X[:, 1] * X[:, 2] + 0.02 * rng.standard_normal(120))
    alone = GaussianProcess(log=True).fit(X, y)
    model = TransferModel(log=True).fit(source=(X, y), target=(X[:12], 2 * y[:12]))
    basis = Basis(axes_of(X, [f'o{i}' for i in range(8)]))
    drawn = belief(model if transfer else alone)
    found = by_name(Effects(drawn, basis, log=True))
    factor = found['o0',].factor
    assert factor.estimate == pytest.approx(np.exp(0.8), rel=0.05)
    assert factor.high - factor.low < 0.4
    assert found['o1', 'o2'].conclusive
    assert found['o1', 'o2'].factor.estimate == pytest.approx(np.exp(-0.5), abs=0.08)
    sure = {names for names, effect in found.items() if effect.conclusive}
    assert sure <= {('o0',), ('o1',), ('o2',), ('o1', 'o2'), ('o0', 'o1'), ('o0', 'o2')}


def test_draws_of_a_process_have_its_mean_and_variance():
    rng = np.random.default_rng(0)
    X = rng.random((20, 2))
    model = GaussianProcess(log=False).fit(X, np.sin(4 * X[:, 0]))
    Z = rng.random((15, 2))
    mean, var = model.latent(Z, noise=False)
    drawn = latent_draws(model, Z, 4000)
    assert drawn.mean(axis=0) == pytest.approx(mean, abs=4 * np.sqrt(var.max() / 4000) + 1e-6)
    assert drawn.std(axis=0) == pytest.approx(np.sqrt(var), rel=0.1, abs=1e-3)
    # The same point twice is the same number.
    twice = latent_draws(model, Z[[0, 0]], 10)
    assert np.ptp(twice, axis=1).max() < 1e-2 * twice.std()


def test_a_models_own_draws_are_taken():
    class Model:
        log_scale = True

        def sample(self, X, n, seed=0):
            return np.exp(7.0 + np.random.default_rng(seed).standard_normal((n, len(X))))

    drawn = latent_draws(Model(), np.zeros((5, 2)), 50)
    assert drawn.shape == (50, 5)
    assert drawn.mean() == pytest.approx(7.0, abs=0.5)


def test_halves_of_the_rows_spread_as_the_mean_of_all_does():
    rng = np.random.default_rng(0)
    y = rng.standard_normal(100)
    means = [y[half].mean() for half in half_samples(100, 2000, rng)]
    assert np.std(means) == pytest.approx(y.std() / 10, rel=0.08)
    drawn = ensemble(lambda rows: (lambda X: np.full(len(X), y[rows].mean())), 100)
    values = drawn(np.zeros((2, 1)))
    assert values.mean() == pytest.approx(y.mean())
    assert (values[:, 0] == values[:, 1]).all()


def test_an_error_widens_the_interval():
    draws = np.linspace(-1.0, 1.0, 101)
    plain, wide = interval(draws), interval(draws, 0.5)
    assert wide.low < plain.low and wide.high > plain.high
    assert conclusive(np.c_[draws + 0.95, draws + 0.8]).tolist() == [True, False]
    assert conclusive(np.empty((40, 0))).tolist() == []


def test_what_changed_begins_with_what_turned():
    basis, rng = binary(4), np.random.default_rng(0)

    def noisy(function):
        noise = 0.05 * rng.standard_normal((200, 16))
        return lambda X: function(X) + noise

    before = Effects(noisy(lambda X: X[:, 0] + 0.5 * X[:, 1] + 0.2 * X[:, 2]), basis)
    after = Effects(
        noisy(lambda X: 3 * X[:, 0] - 0.5 * X[:, 1] + 0.2 * X[:, 2]), basis, like=before
    )
    found = compare(before, after)
    assert [(c.names, c.kind) for c in found[:2]] == [(('o1',), TURNED), (('o0',), STRONGER)]
    assert found[1].difference.low < 2.0 < found[1].difference.high
    same = next(c for c in found if c.names == ('o2',))
    assert same.kind == SAME and not same.sure
    with pytest.raises(ValueError, match='one basis'):
        compare(before, Effects(noisy(lambda X: X[:, 0]), binary(4)))


def test_axes_of_a_space_are_its_values():
    axes = {axis.name: axis for axis in axes_of_space(analytic_study().space)}
    assert axes['planner'].categorical and axes['planner'].levels.tolist() == [0.0, 0.5, 1.0]
    assert len(axes['speed'].levels) == 17
    measured = axes_of(np.c_[[0.0, 1.0, 1.0], [0.2, 0.4, 0.9]], ['a', 'b'])
    assert measured[0].binary and measured[1].levels.tolist() == [0.2, 0.4, 0.9]
