"""Intervals and tests over users, against scipy, plain loops and figures computed by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from recbole_hlr.benchmark import statistics
from recbole_hlr.benchmark.statistics import compare, cube_of, groups, holm, intervals, user_means, verdict


def random_cube(users: int = 60, seeds: int = 3, metrics: int = 2, missing: float = 0.3) -> np.ndarray:
    rng = np.random.default_rng(5)
    cube = rng.random((users, seeds, metrics))
    cube[rng.random((users, seeds)) < missing] = np.nan
    return cube


def test_a_cube_has_each_users_values_in_their_place():
    tables = [
        pd.DataFrame({"user": ["b", "a"], "x": [1.0, 2.0], "y": [3.0, 4.0]}),
        pd.DataFrame({"user": ["c"], "x": [5.0], "y": [6.0]}),
    ]
    cube = cube_of(tables, pd.Index(["a", "b", "c"]), ["y", "x"])
    nan = np.nan
    expected = [[[4, 2], [nan, nan]], [[3, 1], [nan, nan]], [[nan, nan], [6, 5]]]
    np.testing.assert_array_equal(cube, expected)
    np.testing.assert_array_equal(user_means(cube), [[4, 2], [3, 1], [6, 5]])


def test_user_means_are_over_the_seeds_in_which_a_user_is_tested():
    cube = np.array([[[1.0], [3.0]], [[np.nan], [5.0]], [[np.nan], [np.nan]]])
    np.testing.assert_array_equal(user_means(cube), [[2.0], [5.0], [np.nan]])


def test_a_resample_is_the_mean_over_seeds_of_the_drawn_users_means():
    cube = random_cube(users=9)
    drawn = np.array([[0, 2, 2, 5, 7, 7, 7, 1, 8], [3] * 8 + [4]])
    weights = np.stack([np.bincount(row, minlength=9) for row in drawn]).astype(float)
    found = statistics.weighted_means(cube, weights)
    for row, users in enumerate(drawn):
        for metric in range(2):
            per_seed = []
            for seed in range(3):
                values = [cube[user, seed, metric] for user in users]
                values = [value for value in values if not np.isnan(value)]
                if values:
                    per_seed.append(sum(values) / len(values))
            assert found[row, metric] == pytest.approx(sum(per_seed) / len(per_seed))


def test_the_interval_is_that_of_scipy_for_one_seed():
    values = np.random.default_rng(1).beta(0.5, 2, 400)
    ((low, high),) = intervals([values[:, None, None]], resamples=6000)
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=6000, rng=0)
    width = high[0] - low[0]
    assert [low[0], high[0]] == pytest.approx(list(theirs.confidence_interval), abs=0.05 * width)


def test_a_seed_given_twice_makes_no_interval_narrower_and_no_test_sharper():
    cube = random_cube(missing=0)
    twice = np.concatenate([cube, cube], axis=1)
    np.testing.assert_allclose(intervals([cube])[0], intervals([twice])[0])
    one, two = (compare(user_means(c)[:, 0], user_means(c)[:, 1]) for c in (cube, twice))
    assert one == pytest.approx(two)


def test_intervals_are_the_same_each_time_and_whatever_the_block(monkeypatch):
    cubes = [random_cube(), random_cube() + 1]
    first = intervals(cubes)
    monkeypatch.setattr(statistics, "_BLOCK", 700)
    np.testing.assert_array_equal(first, intervals(cubes))
    np.testing.assert_allclose(np.array(first[1]) - 1, first[0])  # the same draws for all


def test_a_comparison_with_figures_computed_by_hand():
    found = compare(np.array([3.0, 1.0, 4.0, 2.0]), np.array([1.0, 2.0, 1.0, 2.0]))  # gaps 2, -1, 3, 0
    assert found["users"] == 4
    assert found["difference"] == 1.0
    deviation = np.sqrt((1 + 4 + 4 + 1) / 3)
    assert found["d_z"] == pytest.approx(1 / deviation)
    assert found["t_p"] == pytest.approx(2 * stats.t.sf(1 / (deviation / 2), df=3))
    assert found["rank_biserial"] == pytest.approx((2 + 3 - 1) / 6)  # ranks 2, 1, 3
    assert found["wilcoxon_p"] == pytest.approx(4 / 8)  # W <= 1 of 0 to 6, twice: 2 of 8 sign patterns


def test_the_direction_of_all_figures_is_that_of_the_model():
    rng = np.random.default_rng(0)
    baseline = rng.random(200)
    better = baseline + 0.05 + 0.1 * rng.standard_normal(200)
    for ours, theirs, sign, word in ((better, baseline, 1, "better"), (baseline, better, -1, "worse")):
        found = compare(ours, theirs)
        assert all(np.sign(found[key]) == sign for key in ("difference", "d_z", "rank_biserial"))
        assert max(found["t_p"], found["wilcoxon_p"]) < 0.001
        row = pd.Series({**found, "t_holm": found["t_p"], "wilcoxon_holm": found["wilcoxon_p"]})
        assert verdict(row) == word
        assert verdict(row.replace({row["t_holm"]: 0.06})) == ""


def test_differences_that_are_equal_but_for_rounding_tie():
    """.3 - .2 is less than .4 - .3 in float64, and both are a tenth."""
    baseline = np.repeat([0.2, 0.4], 100)
    found = compare(np.repeat([0.3, 0.3], 100), baseline)  # a hundred gain, a hundred lose
    assert (found["rank_biserial"], found["wilcoxon_p"]) == (0, 1)
    thirds = np.full(30, 0.1 + 0.2 + 0.3) / 3
    assert compare(thirds, np.full(30, 0.3 + 0.2 + 0.1) / 3)["wilcoxon_p"] == 1  # and these are no difference


def test_equal_values_and_one_user_show_nothing_and_a_constant_gain_does():
    values = np.random.default_rng(0).random(50)
    for ours, theirs in ((values, values), (values[:1] + 1, values[:1])):
        found = compare(ours, theirs)
        assert (found["t_p"], found["wilcoxon_p"], found["d_z"]) == (1, 1, 0)
    found = compare(values + 0.5, values)
    assert found["d_z"] == np.inf
    assert found["t_p"] == 0
    assert found["rank_biserial"] == 1


@pytest.mark.parametrize(
    ("p", "adjusted"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.5, 0.6], [1, 1]),
        ([0.02], [0.02]),
        ([0.02, 0.02, 0.001], [0.04, 0.04, 0.003]),
    ],
)
def test_holm_against_figures_computed_by_hand(p, adjusted):
    assert holm(p) == pytest.approx(adjusted)


def test_groups_are_of_equal_size_and_named_by_their_histories():
    history = np.array([1, 2, 3, 4, 5, 6, 7, 8, np.nan])
    found = groups(history, np.arange(9.0))
    assert found["group"].tolist() == ["1 to 2", "3 to 4", "5 to 6", "7 to 8"]
    assert found["users"].tolist() == [2, 2, 2, 2]
    assert found["value"].tolist() == [0.5, 2.5, 4.5, 6.5]


def test_equal_histories_are_in_one_group():
    found = groups(np.array([3.0, 3, 3, 3]), np.array([0.0, 1, 1, 0]))
    assert found.to_dict("records") == [{"group": "3 to 3", "users": 4, "value": 0.5}]
    skewed = groups(np.array([1.0, 1, 1, 1, 1, 1, 2, 9]), np.ones(8))
    assert skewed["users"].sum() == 8
