"""Plans: bisections find the crossings of known functions, random points are stable."""

import math

import pytest

from bnn.studies.level import failures
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
    assert Bisection.of(mine).why({}, results) == ""
    assert Bisection.of(mine).why({}, dict(list(results.items())[:-1])) == "not finished"
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


# ---- a share of the repeats that fail --------------------------------------------------------------------------------

LOSSES = {"lose": 0.01, "share": 0.5}
WIDE = {"low": 1e-17, "high": 1e-1, "log": True, "rounds": 5}
FAIL_ABOVE = (1e-4, 1e-3, 3e-12, 2e-9, 1e-2, 1.0, 5e-6, 2e-3)  # rate of each repeat, in no order


def ending(recipe, point):
    """A repeat whose accuracy, another one for each, falls by 0.02 above its rate."""
    rate = FAIL_ABOVE[point.repeat]
    return {"with_errors.accuracy": 0.9 - 0.05 * point.repeat - 0.02 * (at(point) > rate)}


def diverging(recipe, point):
    """The same, by a divergence; with a better accuracy below its rate than at low."""
    if at(point) > FAIL_ABOVE[point.repeat]:
        return {"training.diverged": 1}
    return {"with_errors.accuracy": 0.5 + 0.1 * (at(point) > 1e-16), "training.diverged": 0}


@pytest.mark.parametrize("values_of", [ending, diverging])
@pytest.mark.parametrize(("share", "place"), [(0.01, 0), (0.25, 1), (0.5, 3), (0.51, 4), (0.875, 6)])
def test_a_share_of_the_repeats_fails_at_the_rate_of_one_of_them(values_of, share, place):
    mine = bisecting(repeats=8, level={"lose": 0.01, "share": share}, **WIDE)
    results, order = finish(mine, values_of)
    plan = Bisection.of(mine)
    low, high = plan.bracket({}, results)
    assert low <= sorted(FAIL_ABOVE)[place] < high
    assert high / low == pytest.approx(10**0.5, rel=1e-9)  # half a decade
    assert {round(2 * math.log10(at(point)), 9) % 1 for point in order} == {0.0}
    assert len(order) == 8 * 7
    for end in (low, high):
        assert plan.failed({}, end, results) == sum(end > rate for rate in FAIL_ABOVE)
    assert plan.failed({}, low, results) < share * 8 <= plan.failed({}, high, results)
    assert plan.failed({}, 3e-5, results) is None


def test_a_share_that_does_not_fail_at_high_ends_there():
    mine = bisecting(repeats=8, level={"lose": 0.01, "share": 1.0}, **WIDE)
    results, order = finish(mine, ending)
    assert len(order) == 8 * 2
    plan = Bisection.of(mine)
    assert plan.bracket({}, results) is None
    assert plan.why({}, results) == "both ends on one side: above high"
    assert (plan.failed({}, 1e-17, results), plan.failed({}, 1e-1, results)) == (0, 7)
    assert plan.why({}, dict(list(results.items())[:-1])) == "not finished"


def test_a_repeat_that_diverged_or_has_no_value_at_low_fails_everywhere():
    def values_of(recipe, point):
        if point.repeat == 0 and at(point) == 1e-17:
            return {"training.diverged": 1}
        return {} if point.repeat == 1 else ending(recipe, point)

    mine = bisecting(repeats=8, level=LOSSES, **WIDE)  # of the others the second that fails is half
    results, _ = finish(mine, values_of)
    low, high = Bisection.of(mine).bracket({}, results)
    assert low <= sorted(FAIL_ABOVE[2:])[1] < high
    assert Bisection.of(mine).failed({}, 1e-17, results) == 2
    more = bisecting(repeats=8, level={"lose": 0.01, "share": 0.25}, **WIDE)
    results, order = finish(more, values_of)
    assert {at(point) for point in order} == {1e-17}
    plan = Bisection.of(more)
    assert (plan.bracket({}, results), plan.why({}, results)) == (None, "fails at low")
    assert plan.failed({}, 1e-1, results) is None


def test_a_loss_of_just_the_limit_is_none_and_a_share_is_exact():
    pairs = [(images / 100, (images - 1) / 100) for images in range(2, 100)]
    assert sum(first - own > 0.01 for first, own in pairs) > 10  # in floating point
    for first, own in pairs:
        assert failures([{"a": own}], [{"a": first}], "a", lose=0.01) == 0
        assert failures([{"a": own - 0.001}], [{"a": first}], "a", lose=0.01) == 1
    mine = bisecting(repeats=20, level={"lose": 0.01, "share": 0.55}, **WIDE)  # 0.55 * 20 > 11
    results, _ = finish(
        mine, lambda recipe, point: {"with_errors.accuracy": 0.9 - (point.repeat < 11 and at(point) > 1e-5)}
    )
    low, high = Bisection.of(mine).bracket({}, results)
    assert low <= 1e-5 < high


def test_a_value_that_no_repeat_has_at_low_is_an_error():
    mine = bisecting(repeats=2, level=LOSSES, **WIDE)
    with pytest.raises(ValueError, match=r"bisect.value must be a number of the run, got 'with_errors.accuracy'; .* a"):
        finish(mine, lambda recipe, point: {"a": 1.0})


@pytest.mark.parametrize(
    ("low", "high", "why"),
    [
        (0.9, 0.7, ": above high"),
        (0.7, 0.9, ": below low"),
        (0.4, 0.1, ": below low"),
        (0.1, 0.4, ": above high"),
        (0.4, None, ": below low"),
        (0.7, 0.7, ""),
        (None, None, ""),
    ],
)
def test_a_mean_that_does_not_cross_says_which_end_is_nearer_to_the_level(low, high, why):
    mine = bisecting()

    def values_of(recipe, point):
        mean = low if at(point) == 0.01 else high
        return {"training.diverged": 1} if mean is None else {"with_errors.accuracy": mean}

    results, _ = finish(mine, values_of)
    assert Bisection.of(mine).bracket({}, results) is None
    assert Bisection.of(mine).why({}, results) == f"both ends on one side{why}"


def test_a_share_of_a_reference_that_is_not_above_chance_has_no_threshold():
    """As [crossing] says; at once, without a look at the other places."""
    for above, failed in ((0.95, True), (0.9, True), ("chance", False)):
        mine = bisecting(level={"of": "with_errors.accuracy", "keep": 0.9, "above": above})
        results, order = finish(mine, lambda recipe, point: {"with_errors.accuracy": 0.9 - at(point)})
        why = Bisection.of(mine).why({}, results)
        assert (why, {at(point) for point in order} == {0.01}) == ("reference failed" if failed else "", failed)


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
