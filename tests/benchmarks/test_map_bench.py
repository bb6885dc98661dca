"""What a map costs: 50 x 50 x 3 x 2 solved (the bar is 5 s on two cores), reused, and asked between its nodes."""

import time
import warnings
from functools import partial

import numpy as np
import pytest

from bridge import ErrorMap, write_error_map
from bridge.maps.lookup import CoarseMapWarning
from physics import junction

DEVICE = junction(lam=0.3)


@pytest.fixture
def grid(sized):
    return {
        "currents": np.linspace(20e-6, 120e-6, sized(50, 3)),
        "pulse_widths": np.geomspace(0.6e-9, 20e-9, sized(50, 3)),
        "temperatures": [260.0, 300.0, 350.0],
    }


def share_of_cpu(function):
    """Wall seconds and processor seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return {"wall_seconds": time.perf_counter() - wall, "processor_seconds": time.process_time() - cpu}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("energy", [False, True], ids=["rates", "rates and energies"])
def test_map_of_50_by_50_by_3_by_2(benchmark, grid, workers, energy):
    solve = partial(write_error_map, DEVICE, **grid, energy=energy, workers=workers)
    solved = benchmark.pedantic(solve, rounds=3, warmup_rounds=1)
    n = len(grid["currents"])
    assert solved["write_error_rate"].shape == (2, n, n, 3)
    assert ("energy" in solved) == energy
    if benchmark.enabled:
        benchmark.extra_info |= share_of_cpu(solve)
    benchmark.extra_info["interpolation_bound"] = float(solved.attrs["interpolation_bound"])


def test_reuse(benchmark, grid, tmp_path):
    path = tmp_path / "map.nc"
    write_error_map(DEVICE, **grid, cache=path)
    assert benchmark(write_error_map, DEVICE, **grid, cache=path).attrs["kind"] == "solved"


def test_100_000_places(benchmark, grid):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CoarseMapWarning)  # the small grid is coarse
        error_map = ErrorMap(write_error_map(DEVICE, **grid))
    draw = np.random.default_rng(1)
    places = {
        "current": draw.uniform(20e-6, 120e-6, 100_000),
        "pulse_width": draw.uniform(0.6e-9, 20e-9, 100_000),
        "temperature": draw.uniform(260, 350, 100_000),
    }
    rates = benchmark(error_map.rate, **places)
    assert ((rates >= 0) & (rates <= 1)).all()
