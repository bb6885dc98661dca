"""What an error rate costs. Times are recorded, never judged; the ratio of the two roads is of one process."""

import io
from functools import partial

import numpy as np
import pytest

from bridge import write_error_map
from mtjsim import Pulse, dissipated_energy, write_error_rate
from physics import approx, junction

DEVICE = junction()


@pytest.fixture
def widths(sized):
    return np.linspace(1e-9, 40e-9, sized(100, 3))


def point(method):
    return write_error_rate(DEVICE, current=60e-6, pulse_width=20e-9, method=method)


def test_curve_of_100_widths(benchmark, widths):
    rates = benchmark(write_error_rate, DEVICE, current=60e-6, pulse_width=widths)
    assert (np.diff(rates) < 0).all()
    benchmark.extra_info["deepest"] = float(rates[-1])


def test_curve_with_ramps(benchmark, widths):
    rates = benchmark(write_error_rate, DEVICE, current=60e-6, pulse_width=widths, rise_time=0.5e-9)
    assert (np.diff(rates) < 0).all()


@pytest.mark.slow
def test_map_of_100_by_100_by_2(benchmark):
    """Both directions of a lopsided junction, below and above the critical current."""
    device = junction(lam=0.2)
    currents = np.linspace(35e-6, 120e-6, 100)
    write_error_map(device, currents[:1], [1e-9, 20e-9])
    grid = benchmark.pedantic(write_error_map, args=(device, currents, np.linspace(1e-9, 20e-9, 100)), rounds=1)
    assert grid["write_error_rate"].shape == (2, 100, 100, 1)


def test_one_point_by_finite_volume(benchmark):
    point("finite_volume")
    rate = benchmark(point, "finite_volume")
    assert rate == approx(point("auto"), rel=1e-4)


def test_ratio_of_the_roads(benchmark, least_seconds):
    """The same question, a single point, both roads, in one process."""
    spectral, chain = least_seconds([partial(point, "spectral")], 5, peers=[partial(point, "finite_volume")])
    benchmark.extra_info["finite_volume_over_spectral"] = chain / spectral
    assert benchmark(point, "spectral") == approx(point("finite_volume"), rel=1e-4)


def test_move_of_the_explorer(benchmark, sized, widths, least_seconds):
    """What a slider's callback does: numbers, curves, picture; beside it a picture that is drawn from scratch."""
    from mtjsim.explorer import WriteExplorer

    steps = sized(10, 2)
    explorer = WriteExplorer(
        DEVICE, currents=np.linspace(40e-6, 120e-6, steps), pulse_widths=widths, temperatures=[300.0, 330.0]
    )
    places = [{"current": explorer.values["current"][k], "temperature": 300.0 + 30 * (k % 2)} for k in range(steps)]

    def moves():
        for place in places:
            explorer.update(**place)
            explorer.png()

    full_draw = partial(explorer.figure.savefig, io.BytesIO(), format="png")
    moved, full = least_seconds([moves], 5, peers=[full_draw])
    benchmark(moves)
    benchmark.extra_info["move_over_full_draw"] = moved / len(places) / full
    assert len(explorer.png()) > 1000


def test_trace_of_an_oscilloscope(benchmark, sized, least_seconds):
    """1,000 noisy samples over the trapezoid that they are samples of: their number costs nothing by itself."""
    t = np.linspace(0, 10e-9, sized(1000, 12))
    noise = 0.5e-6 * np.random.default_rng(0).standard_normal(t.size)
    trace = Pulse.sampled(t, current=60e-6 * np.clip(np.minimum(t, 10e-9 - t) / 1e-9, 0, 1) + noise)
    plain = {"current": 60e-6, "pulse_width": 9e-9, "rise_time": 1e-9}
    sampled = partial(write_error_rate, DEVICE, pulse=trace)
    one, other = least_seconds([sampled], 3, peers=[partial(write_error_rate, DEVICE, **plain)])
    benchmark.extra_info["trace_over_trapezoid"] = one / other
    assert 0 < benchmark.pedantic(sampled, rounds=1) < 1


def test_slow_ramp(benchmark, sized, least_seconds):
    """A current ramped over 5,000 tau_D, as critical currents are measured, over one point of a write."""
    ramp = Pulse.sampled([0, sized(10e-6, 20e-9)], current=[0, 35e-6])
    slow = partial(write_error_rate, DEVICE, pulse=ramp)
    one, other = least_seconds([slow], 2, peers=[partial(point, "spectral")])
    benchmark.extra_info["slow_ramp_over_point"] = one / other
    assert 0 < benchmark.pedantic(slow, rounds=1) < 1


def test_thermally_activated_write(benchmark, least_seconds):
    """10 ms below the critical current over one point of a write."""
    hold = partial(write_error_rate, DEVICE, current=15e-6, pulse_width=10e-3)
    one, other = least_seconds([hold], 3, peers=[partial(point, "spectral")])
    benchmark.extra_info["milliseconds_over_point"] = one / other
    assert 0 < benchmark.pedantic(hold, rounds=1) < 1


def test_energy_of_a_thermally_activated_write(benchmark, least_seconds):
    """Joules of 10 ms below the critical current over those of one write."""
    joules = partial(dissipated_energy, DEVICE, current=15e-6)
    one, other = least_seconds([partial(joules, pulse_width=10e-3)], 3, peers=[partial(joules, pulse_width=10e-9)])
    benchmark.extra_info["milliseconds_over_nanoseconds"] = one / other
    assert benchmark.pedantic(joules, kwargs={"pulse_width": 10e-3}, rounds=1) > 0


def test_sampled_voltage(benchmark, least_seconds):
    """1,000 points of a noisy voltage over a trapezoid: the bound of what comes back is one table."""
    t = np.linspace(0, 10e-9, 1000)
    noise = 3e-3 * np.random.default_rng(0).standard_normal(t.size)
    trace = Pulse.sampled(t, voltage=0.4 * np.clip(np.minimum(t, 10e-9 - t) / 1e-9, 0, 1) + noise)
    sampled = partial(write_error_rate, DEVICE, pulse=trace)
    plain = partial(write_error_rate, DEVICE, voltage=0.4, pulse_width=9e-9, rise_time=1e-9)
    one, other = least_seconds([sampled], 3, peers=[plain])
    benchmark.extra_info["trace_over_trapezoid"] = one / other
    assert 0 < benchmark.pedantic(sampled, rounds=1) < 1
