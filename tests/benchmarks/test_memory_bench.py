"""A memory that errs against one that does not: what failing writes cost beside copying the words."""

import numpy as np
import pytest

from bridge.memory.mram import Memory
from bridge.memory.sampling import chosen
from bridge.write import OperatingPoint

WORDS = 25_000_000
RATE = 1e-6


@pytest.mark.parametrize("errors", ["independent", "overwrite"])
def test_write_of_25_million_fp32_words(benchmark, sized, least_seconds, errors):
    point, words = OperatingPoint.of_rates(error_rate_0=RATE, error_rate_1=RATE), sized(WORDS, 1000)
    memory = Memory(words, format="fp32", point=point, errors=errors)
    values = np.random.default_rng(0).standard_normal(words, dtype=np.float32)
    plain = np.zeros_like(values)

    def copy():
        plain[...] = values

    write, alone = least_seconds([lambda: memory.write(values)], 10, peers=[copy])
    benchmark.extra_info.update(milliseconds=write * 1e3, times_a_copy=write / alone)
    benchmark.pedantic(lambda: memory.write(values), rounds=5)
    assert (memory.read() == values).mean() > 0.99


def test_sampling_of_failures_among_800_million_cells(benchmark):
    rng = np.random.default_rng(0)
    picked = benchmark.pedantic(lambda: chosen(rng, 32 * WORDS, RATE), rounds=50)
    assert 600 < len(picked) < 1000
