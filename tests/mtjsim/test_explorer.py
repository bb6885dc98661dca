"""The explorer's numbers are the solvers', its picture is that of a full redraw, and nobody needs a screen."""

import io

import numpy as np
import pytest

from mtjsim import (
    MTJ,
    WriteExplorer,
    dissipated_energy,
    load_preset,
    read_disturb_rate,
    retention_failure_rate,
    write_error_rate,
)
from mtjsim.holding import YEAR, strongest_read
from physics import approx, junction

DEVICE = junction(lam=0.2)
PLACE = {"current": 90e-6, "pulse_width": 6e-9, "temperature": 350.0, "read_current": 4e-6}


@pytest.fixture(scope="module")
def explorer():
    return WriteExplorer(
        DEVICE,
        currents=[50e-6, 70e-6, 90e-6],
        pulse_widths=[2e-9, 4e-9, 6e-9, 8e-9],
        temperatures=[300.0, 350.0],
        read_currents=[0.0, 4e-6],
    )


def pixels(png):
    from PIL import Image

    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_numbers_are_the_solvers(explorer):
    reading = explorer.update(**PLACE)
    pulse = {name: PLACE[name] for name in ("current", "pulse_width", "temperature")}
    for direction in ("p_to_ap", "ap_to_p"):
        rate = write_error_rate(DEVICE, direction=direction, **pulse)
        assert reading.write_error_rate[direction] == approx(rate, rel=1e-6)
        energy = dissipated_energy(DEVICE, direction=direction, **pulse)
        assert reading.energy[direction] == approx(energy, rel=1e-5)
    lost = [read_disturb_rate(DEVICE, current=4e-6, duration=1e-6, state=s, temperature=350.0) for s in ("p", "ap")]
    assert reading.read_disturb == approx(max(lost), rel=1e-6)
    rest = retention_failure_rate(DEVICE, duration=10 * YEAR, temperature=350.0)
    assert reading.retention_failure == approx(rest, rel=1e-6)
    assert f"{max(lost):.2e}" in str(reading)
    assert (reading.current, reading.temperature) == (90e-6, 350.0)


def test_curves_are_moved_and_not_made_anew(explorer):
    left, middle, _ = explorer.axes
    artists = [ax.get_children() for ax in explorer.axes]
    for temperature in (300.0, 350.0):
        explorer.update(**{**PLACE, "temperature": temperature})
        x, y = left.lines[1].get_data()
        kept = {"temperature": temperature, "direction": "ap_to_p"}
        assert y == approx(write_error_rate(DEVICE, current=90e-6, pulse_width=x * 1e-9, **kept), rel=1e-6)
        x, y = middle.lines[0].get_data()
        kept["direction"] = "p_to_ap"
        assert y == approx(write_error_rate(DEVICE, current=x * 1e-6, pulse_width=6e-9, **kept), rel=1e-6)
        assert left.get_title() == f"at 90 µA, {temperature:g} K"
    assert artists == [ax.get_children() for ax in explorer.axes]


def test_a_rate_below_the_axis_is_an_arrow_at_its_edge():
    axes = {"currents": [4e-5, 2e-4], "pulse_widths": [1e-9, 3e-8], "temperatures": [300.0], "read_currents": [0.0]}
    explorer = WriteExplorer(DEVICE, **axes)
    floor = explorer.axes[0].get_ylim()[0]
    marks = [line for ax in explorer.axes[:2] for line in ax.lines if len(line.get_xdata()) == 1]
    for current, width, marker in ((4e-5, 1e-9, "o"), (2e-4, 3e-8, "v")):
        rates = explorer.update(current=current, pulse_width=width).write_error_rate.values()
        assert [mark.get_marker() for mark in marks] == [marker] * 4
        assert [mark.get_ydata()[0] for mark in marks] == approx([max(rate, floor) for rate in rates] * 2)
    assert marks[0].get_markersize() >= marks[1].get_markersize() + 3  # both are seen where they coincide


def test_picture_is_that_of_a_full_redraw(explorer):
    explorer.update(**PLACE)
    before = explorer.png()
    explorer.update(current=50e-6, temperature=300.0)
    moved = explorer.png()
    assert not np.array_equal(pixels(before), pixels(moved))
    explorer.update(**PLACE)
    kept = pixels(explorer.png())
    assert np.array_equal(kept, pixels(before))  # nothing of the other place is left
    canvas, moving = explorer.figure.canvas, explorer.figure.findobj(lambda artist: artist.get_animated())
    assert moving
    for artist in moving:
        artist.set_animated(False)
    try:
        canvas.draw()
        whole = np.asarray(canvas.buffer_rgba())[..., :3].astype(int)
    finally:
        for artist in moving:
            artist.set_animated(True)
    # only what lies over what differs: lines over frame and legend, instead of under them
    assert (np.abs(kept - whole).max(axis=2) > 60).mean() < 0.0005


def test_what_is_not_solved_is_refused(explorer):
    with pytest.raises(
        ValueError, match=r"current must be one of the explorer's values, got 6e-05; the nearest: [57]e-05"
    ):
        explorer.update(current=60e-6)
    with pytest.raises(ValueError, match="position must be one of"):
        explorer.update(width=1e-9)
    with pytest.raises(ValueError, match="pulse_widths must be one rising list"):
        WriteExplorer(DEVICE, pulse_widths=[2e-9, 1e-9])
    sot = DEVICE.replace(channel_resistance=500.0)
    with pytest.raises(ValueError, match="write channel"):
        WriteExplorer(sot, currents=[9e-5], pulse_widths=[1e-9], temperatures=[300.0], read_currents=[0.0])


def test_sliders_move_picture_and_numbers(explorer):
    pytest.importorskip("ipywidgets", reason="comes with the extra [notebooks]")
    explorer.update(**PLACE)
    sliders, picture, numbers = explorer.widgets().children
    first, text = picture.value, numbers.value
    current = next(s for s in sliders.children if s.description == "write current")
    assert current.label == "90 µA"
    current.index = 0
    assert picture.value != first
    assert numbers.value != text
    rate = write_error_rate(DEVICE, current=50e-6, pulse_width=6e-9, temperature=350.0)
    assert f"{rate:.2e}" in numbers.value


def test_a_move_solves_nothing_and_draws_no_axes(explorer, monkeypatch):
    """What makes a move fast, without a clock; the ratio is in tests/benchmarks."""
    for name in ("write_error_rate", "dissipated_energy", "read_disturb_rate", "retention_failure_rate"):
        monkeypatch.setattr(f"mtjsim.explorer.{name}", lambda *_, **__: pytest.fail("solved again"))
    monkeypatch.setattr(explorer.figure.canvas, "draw", lambda: pytest.fail("drawn from scratch"))
    for current in explorer.values["current"]:
        explorer.update(current=current)
        assert explorer.png()


def test_strongest_read_leaves_a_barrier():
    arm = load_preset("arm_2021")
    assert strongest_read(arm, temperature=300.0) == approx(arm.critical_current() / 2)
    weak = DEVICE.replace(stray_field=(0.0, 0.0, 0.2 * DEVICE.anisotropy_field))
    read = strongest_read(weak, temperature=300.0)
    smallest = weak.critical_current("ap_to_p")
    assert read == approx(smallest * (0.8 - (15 / 60) ** 0.5))
    assert strongest_read(MTJ.from_effective(**HOPELESS), temperature=300.0) == 0.0


HOPELESS = {"thermal_stability": 14, "critical_current": 1e-5, "characteristic_time": 2e-9}
