"""Print the ratios that the benchmarks measured, which the table of pytest-benchmark leaves out."""


def pytest_terminal_summary(terminalreporter, config):
    session = getattr(config, "_benchmarksession", None)
    measured = [bench for bench in getattr(session, "benchmarks", []) if bench.extra_info]
    if measured:
        terminalreporter.section("ratios, each measured in one process")
    for bench in measured:
        shown = (f"{name} = {value:.3g}" for name, value in bench.extra_info.items())
        terminalreporter.write_line(f"{bench.name}: {', '.join(shown)}")
