"""Calls that do not fit: the error has the nearest name and the whole call in it."""

import pytest

import bridge
import mtjsim
from physics import junction

WRONG = [
    (
        mtjsim.write_error_rate,
        {"currents": 1e-5},
        r"'currents' \(did you mean 'current'\?\): .*\(device, \*, current=None",
    ),
    (
        mtjsim.trajectories,
        {"current": 1e-5},
        r"missing .* 'trials': call it as trajectories\(device, pulse=None, \*, trial",
    ),
    (
        mtjsim.simulate_writes,
        {"trials": 9},
        r"missing .* 'seed': call it as simulate_writes\(device, \*, trials, seed, dir",
    ),
    (mtjsim.rare_write_errors, {}, r"missing .* 'seed': call it as rare_write_errors\(device, \*, seed, "),
    (
        mtjsim.read_disturb_rate,
        {"pulse_width": 1e-9},
        r"'pulse_width': call it as .* current=None, duration, state='p'",
    ),
    (
        bridge.write_error_map,
        {"current": 1e-5},
        r"'current' \(did you mean 'currents'\?\): .*\(device, currents=None, pulse_",
    ),
    (
        bridge.operating_point,
        {"current": 1e-5},
        r"'current': call it as operating_point\(device, setting, \*, temperature=3",
    ),
    (bridge.read_point, {"voltage": 0.1}, r"'voltage': call it as read_point\(device, setting, "),
    (bridge.find_setting, {"target": 0.1}, r"'target': call it as find_setting\(device, error_rate=0\.001, "),
]


@pytest.mark.parametrize(("function", "arguments", "message"), WRONG)
def test_a_call_that_does_not_fit_shows_the_call(function, arguments, message):
    with pytest.raises(TypeError, match=message):
        function(junction(), **arguments)


def test_an_error_inside_the_function_stays_as_it_is():
    with pytest.raises(TypeError, match=r"^an integer is needed$"):
        bridge.operating_point(WithoutInteger(), None)


class WithoutInteger:
    def operating_point(self, setting, *, temperature):
        raise TypeError("an integer is needed")
