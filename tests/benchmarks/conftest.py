"""Benchmarks measure with --benchmark-enable; without it each runs one small step. Measured ratios are printed."""

import math
import time

import pytest


@pytest.fixture
def sized(benchmark):
    """`sized(full, small)`: `full` where speed is measured, `small` where the benchmark only has to work."""
    return lambda full, small: full if benchmark.enabled else small


@pytest.fixture
def least_seconds(benchmark):
    """Seconds of each of several functions, then of their peers: the least of interleaved rounds after a first call.

    Where speed is not measured each function is called once, a peer never, and all seconds are NaN.
    """

    def measure(functions, rounds, *, peers=(), clock=time.thread_time):
        every = [*functions, *peers]
        for function in every if benchmark.enabled else functions:
            function()
        if not benchmark.enabled:
            return [math.nan] * len(every)
        least = [math.inf] * len(every)
        for _ in range(rounds):
            for i, function in enumerate(every):
                started = clock()
                function()
                least[i] = min(least[i], clock() - started)
        return least

    return measure


def pytest_terminal_summary(terminalreporter, config):
    session = getattr(config, "_benchmarksession", None)
    measured = [bench for bench in getattr(session, "benchmarks", []) if bench.extra_info]
    if measured:
        terminalreporter.section("ratios, each measured in one process")
    for bench in measured:
        shown = (f"{name} = {value:.3g}" for name, value in bench.extra_info.items())
        terminalreporter.write_line(f"{bench.name}: {', '.join(shown)}")
