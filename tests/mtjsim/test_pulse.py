"""Pulses: what they are at any time, how they are joined, and what is no pulse."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtjsim.pulse import Pulse, pulse_of
from physics import approx

derandomized = settings(max_examples=80)
durations = st.floats(1e-12, 1e-6)
levels = st.floats(-1e-3, 1e-3)


@st.composite
def sampled_pulses(draw, drive="current"):
    gaps = draw(st.lists(st.one_of(st.just(0.0), durations), min_size=1, max_size=8).filter(lambda g: sum(g) > 0))
    times = np.concatenate([[0.0], np.cumsum(gaps)])
    values = draw(st.lists(levels, min_size=len(times), max_size=len(times)))
    return Pulse.sampled(times, **{drive: values})


def area(pulse):
    return sum((t1 - t0) * (a + b) / 2 for t0, t1, a, b in pulse.segments)


@derandomized
@given(
    durations,
    st.one_of(st.just(0.0), st.floats(1e-12, 1)),
    st.one_of(st.just(0.0), st.floats(1e-9, 1e-3)),
    st.sampled_from(["current", "voltage"]),
)
def test_trapezoid(width, share, level, drive):
    """Full width at half maximum, total width + rise, area level * width whatever the ramps."""
    rise = share * width
    pulse = Pulse.trapezoidal(pulse_width=width, rise_time=rise, **{drive: level})
    assert pulse.drive == drive
    assert pulse.duration == approx(width + rise)
    assert pulse.peak == level
    assert area(pulse) == approx(level * width, abs=1e-12 * level * width)
    assert pulse.at(pulse.duration / 2) == approx(level)
    if rise > 1e-6 * width:
        half = pulse.at(np.array([rise / 2, width + rise / 2]))
        assert half == approx(level / 2, rel=1e-6)


@derandomized
@given(sampled_pulses())
def test_segments_are_the_pulse(pulse):
    """They cover 0 to the end without a gap, are never empty, and `at` is linear inside each."""
    pieces = pulse.segments
    assert pieces[0][0] == 0
    assert pieces[-1][1] == pulse.duration
    assert all(end == start for (_, end, *_), (start, *_) in itertools.pairwise(pieces))
    assert all(t1 > t0 for t0, t1, *_ in pieces)
    for t0, t1, a, b in pieces:
        share = 0.37
        inside = t0 + share * (t1 - t0)
        if t0 < inside < t1:
            share = (inside - t0) / (t1 - t0)
            assert pulse.at(inside) == approx(a + (b - a) * share, abs=1e-12)
        assert abs(float(pulse.at(t0))) <= pulse.peak + 1e-18
    assert (pulse.at([-1e-9, pulse.duration * 1.01 + 1e-12]) == 0).all()
    assert pulse.at(np.zeros((2, 3))).shape == (2, 3)


@derandomized
@given(sampled_pulses(), sampled_pulses(), st.one_of(st.just(0.0), durations))
def test_followed_by(first, second, relax):
    both = first.followed_by(second, relax_time=relax)
    assert both.duration == approx(first.duration + relax + second.duration)
    assert both.peak == max(first.peak, second.peak)
    assert area(both) == approx(
        area(first) + area(second),
        abs=1e-6 * (first.peak * first.duration + 1e-30) + 1e-6 * second.peak * second.duration,
    )
    rest = first.followed_by(relax_time=relax)
    assert rest.duration == approx(first.duration + relax)
    if relax > 0:
        assert rest.at(first.duration + relax / 2) == 0
    else:
        assert rest == first
    assert first.followed_by() == first


def test_after_a_jump_at_the_jump():
    pulse = Pulse.sampled([0, 1e-9, 1e-9, 2e-9], current=[1e-6, 1e-6, -3e-6, -3e-6])
    assert pulse.at([0.0, 0.999e-9, 1e-9, 2e-9]) == approx([1e-6, 1e-6, -3e-6, -3e-6])
    assert len(pulse.segments) == 2
    assert pulse.peak == 3e-6


def test_sign():
    """I > 0 favours P: writing P -> AP takes I < 0, and a polarity overrules the direction."""
    pulse = Pulse.rectangular(current=1e-6, pulse_width=1e-9)
    assert (pulse.sign("p_to_ap"), pulse.sign("ap_to_p")) == (-1, 1)
    fixed = Pulse.rectangular(voltage=1.0, pulse_width=1e-9, polarity="ap_to_p")
    assert (fixed.sign("p_to_ap"), fixed.sign("ap_to_p")) == (1, 1)


def test_frozen_and_comparable():
    pulse = Pulse.rectangular(current=1e-6, pulse_width=1e-9)
    with pytest.raises(AttributeError):
        pulse.times = (0.0, 1.0)
    assert hash(pulse) == hash(Pulse(np.array([0, 1e-9]), [1e-6, 1e-6]))
    assert pulse == Pulse([0, 1e-9], np.array([1e-6, 1e-6]))


RECTANGLE = Pulse.rectangular(current=1e-6, pulse_width=1e-9)
REFUSED = {
    "times must be a number or an array of numbers in s, got .'0', '1e-9'": lambda: Pulse(("0", "1e-9"), (1, 1)),
    "levels must be a number or an array of numbers in A, got .True": lambda: Pulse((0, 1e-9), (True, False)),
    "levels must be finite, got nan": lambda: Pulse((0, 1e-9), (1, math.nan)),
    "times must be finite, got inf": lambda: Pulse((0, math.inf), (1, 1)),
    "times must be a number .*got None": lambda: Pulse(None, (1, 1)),
    "levels must be a number .*1j": lambda: Pulse((0, 1), (1j, 1)),
    "current must be a number or an array of numbers in A": lambda: Pulse.sampled([0, 1e-9], current=["a", "b"]),
    "times must be a number .*.1.": lambda: Pulse.sampled([0, 1e-9, [1]], current=[1, 1, 1]),
    "two lists of one length >= 2, got shapes .2,. and ..": lambda: Pulse.sampled([0, 1e-9], current=5e-6),
    "two lists of one length >= 2, got shapes .2,. and .3,.": lambda: Pulse((0, 1), (1, 1, 1)),
    "two lists of one length >= 2, got shapes .1, 2.": lambda: Pulse([[0, 1]], [[1, 1]]),
    "two lists of one length >= 2, got shapes .1,.": lambda: Pulse([0], [1]),
    "times must start at 0 s": lambda: Pulse((1e-9, 2e-9), (1, 1)),
    "never fall": lambda: Pulse((0, 2e-9, 1e-9), (1, 1, 1)),
    "end later than they start": lambda: Pulse((0, 0), (1, 1)),
    "drive must be one of 'current', 'voltage', got 'curent'. Did you mean": lambda: Pulse((0, 1), (1, 1), "curent"),
    "polarity must be one of": lambda: Pulse((0, 1), (1, 1), "current", "up"),
    "give exactly one of current and voltage, got neither": lambda: Pulse.rectangular(pulse_width=1e-9),
    "give exactly one of current and voltage, got both": lambda: Pulse.sampled([0, 1], current=[1, 1], voltage=[1, 1]),
    "rise_time must be <= pulse_width": lambda: Pulse.trapezoidal(current=1, pulse_width=1e-9, rise_time=2e-9),
    "rise_time must be finite and >= 0": lambda: Pulse.trapezoidal(current=1, pulse_width=1e-9, rise_time=-2e-9),
    "pulse_width must be finite and > 0": lambda: Pulse.rectangular(current=1, pulse_width=0),
    "voltage must be finite and >= 0 V": lambda: Pulse.rectangular(voltage=-1, pulse_width=1e-9),
    "relax_time must be finite and >= 0": lambda: RECTANGLE.followed_by(relax_time=-1),
    "other must be of type Pulse, got 3": lambda: RECTANGLE.followed_by(3),
    "same drive and polarity, got current/None and voltage/None": lambda: RECTANGLE.followed_by(
        Pulse.rectangular(voltage=1, pulse_width=1e-9)
    ),
    "time must be a number or an array of numbers in s, got .x": lambda: RECTANGLE.at("x"),
    "direction must be one of": lambda: RECTANGLE.sign("up"),
    "give pulse_width and one of current and voltage, or a pulse; got nothing": lambda: pulse_of(
        None, None, None, None
    ),
    "pulse replaces current, voltage, .*; omit pulse_width": lambda: pulse_of(None, None, 1e-9, RECTANGLE),
    "pulse must be of type Pulse, got 'x'. Pulse.rectangular": lambda: pulse_of(None, None, None, "x"),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_is_no_pulse(message):
    with pytest.raises(ValueError, match=message):
        REFUSED[message]()
