"""What a die costs: a million cells with their rates, and a large sparse die. Times are recorded, never judged.

What is judged is the error against direct solves, and the ratio of one cell by the surface to one by a solve.
"""

import time

import numpy as np
import pytest

from bridge.dies.faults import Process
from bridge.dies.spread import Spread
from bridge.dies.variability import Population
from bridge.write import WriteSetting
from physics import junction

DEVICE = junction()
LOPSIDED = DEVICE.replace(stray_field=(0, 0, 0.01), spin_torque_asymmetry=0.3)
SPREAD = Spread(
    diameter_d2d=0.03,
    thickness_d2d=0.01,
    anisotropy_d2d=0.03,
    resistance_area_product_d2d=0.05,
    tunnel_magnetoresistance_d2d=0.03,
    damping_d2d=0.05,
)
CELLS = 1_000_000


@pytest.fixture
def spread(sized):
    return sized(SPREAD, Spread(diameter_d2d=0.03))


@pytest.mark.parametrize(
    ("device", "rise_time"),
    [(DEVICE, 0.0), (LOPSIDED, 0.0), (DEVICE, 1e-9)],
    ids=["plain", "field and asymmetry", "ramps"],
)
def test_a_million_cells(benchmark, sized, spread, device, rise_time):
    """From nothing: solves, fit, draw, and both directions of each cell; beside 100 direct solves."""
    setting = WriteSetting(current_0=75e-6, current_1=85e-6, pulse_width=7e-9, rise_time=rise_time)
    seconds, cpu, count = [], [], sized(CELLS, 100)

    def draw():
        population = Population(device, spread, setting)
        wall, busy = time.perf_counter(), time.process_time()
        cells = population.cells(count, seed=1)
        seconds.append(time.perf_counter() - wall)
        cpu.append(time.process_time() - busy)
        return population, cells

    population, cells = benchmark.pedantic(draw, rounds=2)
    z = np.random.default_rng(1).standard_normal((sized(30 if rise_time else 100, 3), len(spread.properties)))
    start = time.process_time()
    direct = population.direct_log_rates(1, z)
    solve = (time.process_time() - start) / len(z)
    error = float(np.abs(population.log_rates(1, z) - direct).max())
    benchmark.extra_info.update(
        seconds=min(seconds),
        cpu_seconds=min(cpu),
        worst_error=error,
        stored_error=max(surface.worst_error for surface in population.surfaces),
        times_faster=solve * 2 * count / min(cpu),
        cells_over_solve=min(cpu) / solve,
    )
    assert cells.error_rates.shape == (2, count)
    assert error < 0.01
    assert benchmark.extra_info["times_faster"] > 100 or not benchmark.enabled


def test_a_second_die_and_the_mean(benchmark, sized, spread):
    population = Population(DEVICE, spread, WriteSetting(current_0=75e-6, current_1=75e-6, pulse_width=7e-9))
    population.cells(1, seed=0)
    start = time.process_time()
    means = population.mean_error_rates()
    benchmark.extra_info.update(
        mean_cpu_seconds=time.process_time() - start, relative_error=means[1].error / means[1].rate
    )
    cells = benchmark.pedantic(population.cells, args=(sized(CELLS, 100),), kwargs={"seed": 2}, rounds=3)
    assert ((cells.error_rates > 0) & (cells.error_rates < 1)).all()


def test_a_sparse_die(benchmark):
    """8e8 cells at 1e-6."""
    process = Process(stuck_p_rate=1e-6)
    die = benchmark.pedantic(lambda: process.die((800_000_000,), seed=1), rounds=3)
    assert 600 < len(die.faulty) < 1000
