"""Plans: bisections find the crossings of known functions, random points are stable."""

import math

import pytest

from bnn.studies.plans import Bisection, between, plan_of
from bnn.studies.space import Study

RATE = "memory.activations.error_rate"


def study(**tables):
    return Study(**{"name": "mine", "recipe": "digits_mlp", **tables})


def bisecting(space=None, repeats=1, **changes):
    bisect = {"field": RATE, "low": 0.01, "high": 0.41, "value": "with_errors.accuracy", "level": 0.5, "rounds": 10}
    return study(sampler="bisection", bisect=bisect | changes, repeats=repeats, **({"space": space} if space else {}))


def finish(mine, values_of):
    """Run a plan to its end by a function; returns the results and the points in the order in which they were run."""
    results, order = {}, []
    while left := [point for point in plan_of(mine).points(results) if mine.key(point) not in results]:
        point = left[0]
        results[mine.key(point)] = values_of(mine.recipe_at(point), point)
        order.append(point)
    return results, order


def at(point):
    return dict(point.shown)[RATE]


# ---- bisection -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("rising", [False, True])
@pytest.mark.parametrize("crossing", [0.0123, 0.2, 0.4])
def test_a_bisection_finds_a_known_crossing(log, rising, crossing):
    mine, sign = bisecting(log=log), 1 if rising else -1
    results, order = finish(
        mine, lambda recipe, point: {"with_errors.accuracy": 0.5 + sign * 0.1 * math.copysign(1, at(point) - crossing)}
    )
    low, high = Bisection.of(mine).bracket({}, results)
    assert low <= crossing <= high
    if log:
        assert high / low == pytest.approx((0.41 / 0.01) ** (2.0**-10), rel=1e-9)
    else:
        assert high - low == pytest.approx(0.4 * 2.0**-10, rel=1e-6)
    assert [at(point) for point in order[:3]] == [0.01, 0.41, between(0.01, 0.41, 0.5, log=log)]
    assert len(order) == 12
    assert {at(point) for point in order} >= {low, high}


def test_a_level_may_be_a_share_of_another_value_above_chance():
    level = {"of": "error_free.accuracy", "keep": 0.8, "above": "chance"}
    mine = bisecting(level=level)  # 0.1 + 0.8 (0.95 - 0.1) = 0.78
    results, _ = finish(
        mine, lambda recipe, point: {"error_free.accuracy": 0.95, "with_errors.accuracy": 0.95 - at(point)}
    )
    low, high = Bisection.of(mine).bracket({}, results)
    assert low <= 0.17 <= high
    plain = bisecting(level={"of": "error_free.accuracy", "keep": 0.8, "above": 0.2})  # 0.2 + 0.8 0.75 = 0.8
    results, _ = finish(
        plain, lambda recipe, point: {"error_free.accuracy": 0.95, "with_errors.accuracy": 0.95 - at(point)}
    )
    low, high = Bisection.of(plain).bracket({}, results)
    assert low <= 0.15 <= high
    three = study(**{**mine.tables, "set": {"data.classes": 4}})  # 0.25 + 0.8 0.7 = 0.81
    results, _ = finish(
        three, lambda recipe, point: {"error_free.accuracy": 0.95, "with_errors.accuracy": 0.95 - at(point)}
    )
    low, high = Bisection.of(three).bracket({}, results)
    assert low <= 0.14 <= high


def test_a_level_that_is_not_crossed_ends_after_the_two_ends():
    mine = bisecting()
    results, order = finish(mine, lambda recipe, point: {"with_errors.accuracy": 0.9 - at(point) / 10})
    assert [at(point) for point in order] == [0.01, 0.41]
    assert Bisection.of(mine).bracket({}, results) is None


def test_the_mean_of_the_repeats_crosses_the_level_and_each_point_of_the_grid_has_a_bisection():
    mine = bisecting(space={"training.epochs": [1, 2]}, repeats=3, rounds=6)

    def values_of(recipe, point):
        crossing = 0.1 * recipe.value("training.epochs") + 0.02 * (point.repeat - 1)
        return {"with_errors.accuracy": 0.5 - (at(point) - crossing)}

    results, order = finish(mine, values_of)
    assert len(order) == 2 * 3 * (2 + 6)
    for epochs in (1, 2):
        low, high = Bisection.of(mine).bracket({"training.epochs": epochs}, results)
        assert low <= 0.1 * epochs <= high
        assert high - low == pytest.approx(0.4 / 64)
    assert Bisection.of(mine).bracket({"training.epochs": 3}, results) is None


def test_more_rounds_keep_the_places_and_a_plan_follows_from_the_results_alone():
    def values_of(recipe, point):
        return {"with_errors.accuracy": 0.8 - at(point)}

    results, order = finish(bisecting(rounds=3), values_of)
    more = bisecting(rounds=6)
    known = plan_of(more).points(results)
    assert known[: len(order)] == order
    assert len(known) == len(order) + 1  # the next one is known, those after it are not
    assert plan_of(more).points(dict(reversed(results.items()))) == known


# ---- random points ---------------------------------------------------------------------------------------------------

CHOICE = {
    "sampler": "random",
    "objective": {"training.loss": "minimize"},
    "space": {
        RATE: {"low": 0.001, "high": 0.1, "log": True},
        "training.epochs": {"low": 1, "high": 9},
        "training.learning_rate": {"low": 0.01, "high": 0.02},
        "memory.activations.errors": ["independent", "overwrite"],
    },
}


def test_random_points_are_in_their_ranges_and_stable_when_trials_grow():
    few, many = (plan_of(study(**CHOICE, trials=trials, repeats=2)).points({}) for trials in (5, 200))
    assert many[:10] == few
    assert [point.repeat for point in few] == [0, 1] * 5
    assert plan_of(study(**CHOICE, trials=5, repeats=2, seed=1)).points({}) != few
    values = [dict(point.shown) for point in many[::2]]
    assert len({tuple(own.values()) for own in values}) == 200
    assert all(0.001 <= own[RATE] <= 0.1 for own in values)
    assert all(type(own["training.epochs"]) is int for own in values)
    assert {own["training.epochs"] for own in values} == set(range(1, 10))
    below = sum(own[RATE] < 0.01 for own in values)  # half of the decades: 200 draws, false alarm 1e-6
    assert 65 <= below <= 135


def test_a_point_that_is_drawn_twice_is_one_point():
    mine = study(sampler="random", objective={"training.loss": "minimize"}, space={RATE: [0.01, 0.1]}, trials=50)
    assert sorted(at(point) for point in plan_of(mine).points({})) == [0.01, 0.1]
