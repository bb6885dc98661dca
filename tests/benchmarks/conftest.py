"""Print the ratios that the benchmarks measured, which the table of pytest-benchmark leaves out."""

import time

import pytest


@pytest.fixture
def least_seconds():
    """Thread CPU time of each of several functions, the least of interleaved rounds."""

    def measure(functions, rounds):
        least = [float("inf")] * len(functions)
        for _ in range(rounds):
            for i, function in enumerate(functions):
                started = time.thread_time()
                function()
                least[i] = min(least[i], time.thread_time() - started)
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
