"""A memory that errs against one that does not: what failing writes cost beside copying the words."""

import numpy as np
import pytest

from bridge.memory.mram import Memory
from bridge.memory.sampling import chosen
from bridge.write import OperatingPoint

WORDS = 25_000_000
RATE = 1e-6


@pytest.mark.parametrize("errors", ["independent", "overwrite"])
def test_write_of_25_million_fp32_words(benchmark, least_seconds, errors):
    point = OperatingPoint.of_rates(error_rate_0=RATE, error_rate_1=RATE)
    memory = Memory(WORDS, format="fp32", point=point, errors=errors)
    values = np.random.default_rng(0).standard_normal(WORDS, dtype=np.float32)
    plain = np.zeros_like(values)
    memory.write(values)

    def copy():
        plain[...] = values

    write, alone = least_seconds([lambda: memory.write(values), copy], 10)
    benchmark.extra_info.update(milliseconds=write * 1e3, times_a_copy=write / alone)
    benchmark.pedantic(lambda: memory.write(values), rounds=5)


def test_sampling_of_failures_among_800_million_cells(benchmark):
    rng = np.random.default_rng(0)
    benchmark.pedantic(lambda: chosen(rng, 32 * WORDS, RATE), rounds=50)
