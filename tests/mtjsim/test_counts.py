"""Counts: the exact interval covers what it says, and what is no count is refused."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from mtjsim.counts import ErrorCount, clopper_pearson
from physics import approx

counts = st.integers(1, 10**7).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@settings(max_examples=80)
@given(counts, st.sampled_from([0.5, 0.95, 0.999999]))
def test_interval_is_clopper_pearson(pair, confidence):
    """At either end, the tail of the binomial law is half of what is left out."""
    count = ErrorCount(*pair, confidence=confidence)
    assert 0 <= count.low <= count.rate <= count.high <= 1
    left_out = (1 - confidence) / 2
    if count.errors > 0:
        assert binom.sf(count.errors - 1, count.trials, count.low) == approx(left_out, rel=1e-5)
    if count.errors < count.trials:
        assert binom.cdf(count.errors, count.trials, count.high) == approx(left_out, rel=1e-5)


def test_intervals_of_an_array():
    """Element by element those of the counts, broadcast; where no trial was made there is no interval."""
    errors, trials = [[0], [3]], [10, 1000, 3]
    low, high = clopper_pearson(errors, trials, confidence=0.9)
    assert low.shape == high.shape == (2, 3)
    for i, (k,) in enumerate(errors):
        for j, n in enumerate(trials):
            count = ErrorCount(k, n, confidence=0.9)
            assert (low[i, j], high[i, j]) == (count.low, count.high)
    low, high = clopper_pearson([0, 1], [0, 4])
    assert np.isnan([low[0], high[0]]).all()
    assert 0 < low[1] < 0.25 < high[1] < 1
    assert [type(end) for end in clopper_pearson(1, 4)] == [float, float]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"errors": [1, 5], "trials": 4}, "errors must be between 0 and trials"),
        ({"errors": -1, "trials": 4}, "errors must be between 0 and trials"),
        ({"errors": 1, "trials": 4, "confidence": 95}, "confidence must be finite, > 0 and < 1, got 95"),
    ],
)
def test_intervals_of_impossible_counts_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        clopper_pearson(**arguments)


def test_coverage():
    """Of all that may be counted at a rate of 0.03 in 200 trials, 95 % and more have 0.03 in their interval."""
    covered = sum(
        binom.pmf(n, 200, 0.03) for n in range(201) if ErrorCount(n, 200).low <= 0.03 <= ErrorCount(n, 200).high
    )
    assert covered >= 0.95


def test_no_errors_is_an_upper_bound():
    """The rule of three, two-sided: 1 - 0.025^(1/n)."""
    none, all_failed = ErrorCount(0, 1000), ErrorCount(1000, 1000)
    assert none.low == 0
    assert none.high == approx(1 - 0.025 ** (1 / 1000))
    assert all_failed.high == 1
    assert all_failed.low == approx(0.025 ** (1 / 1000))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"errors": -1, "trials": 2}, "errors must be a whole number >= 0, got -1"),
        ({"errors": 3, "trials": 2}, "errors must be between 0 and trials >= 1, got 3 of 2"),
        ({"errors": 0, "trials": 0}, "trials must be a whole number >= 1, got 0"),
        ({"errors": 0.5, "trials": 1}, "errors must be a whole number >= 0, got 0.5"),
        ({"errors": True, "trials": 1}, "errors must be a whole number >= 0, got True"),
        ({"errors": math.nan, "trials": 1}, "errors must be a whole number"),
        ({"errors": "1", "trials": 1}, "errors must be a whole number >= 0, got '1'"),
        (
            {"errors": 1, "trials": 1, "confidence": 95},
            "confidence must be finite, > 0 and < 1, got 95. 0.95",
        ),
        ({"errors": 1, "trials": 1, "confidence": 0}, "confidence must be finite, > 0 and < 1, got 0"),
    ],
)
def test_what_is_no_count(arguments, message):
    with pytest.raises(ValueError, match=message):
        ErrorCount(**arguments)
