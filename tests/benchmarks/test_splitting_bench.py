"""What a rare write error costs by splitting, and how much less than by counting. Times are recorded, never judged."""

import math

import pytest

from mtjsim import rare_write_errors, write_error_rate
from physics import junction

SLOW = junction()
FAST = junction(characteristic_time=0.4e-9, damping=0.05)


def variance_reduction(result):
    """Trajectories that plain counting needs for the same relative error, over those that were used."""
    counting = (1 / result.rate - 1) / result.spread**2
    return counting / (result.trajectories * result.repeats)


@pytest.mark.parametrize(("device", "width"), [(SLOW, 18.2e-9), (FAST, 3.64e-9)], ids=["damping-0.01", "damping-0.05"])
def test_one_in_ten_thousand_million(benchmark, sized, device, width):
    write = {"current": 75e-6, "pulse_width": width}
    effort = {"seed": 1, "trajectories": sized(4096, 1024), "repeats": sized(16, 4)}
    result = benchmark.pedantic(rare_write_errors, args=(device,), kwargs=write | effort, rounds=3, warmup_rounds=1)
    expected = write_error_rate(device, **write)
    assert abs(math.log(result.rate / expected)) < sized(0.15, 1.0)
    benchmark.extra_info["over_fokker_planck"] = result.rate / expected
    benchmark.extra_info["standard_error"] = result.spread
    benchmark.extra_info["variance_reduction"] = variance_reduction(result)
    assert variance_reduction(result) > 1e7 or not benchmark.enabled
