"""Figures of the verbs: what is drawn against what, and that it is the solver's."""

import numpy as np
import pytest

from bnn.cli.portrait import (
    COUNTED,
    READING,
    YEAR,
    _digits,
    device_portrait,
    error_rate_figure,
    left_out,
    writing_current,
)
from mtjsim import (
    MTJ,
    ErrorCount,
    list_presets,
    load_preset,
    read_disturb_rate,
    retention_failure_rate,
    write_error_rate,
)
from physics import approx


def figure(n, m, directions=("p_to_ap", "ap_to_p"), **optional):
    rates = {name: 10.0 ** -(1.0 + k + np.arange(n)[:, None] + np.arange(m)) for k, name in enumerate(directions)}
    levels, widths = (1e-5 * np.arange(1, n + 1)).tolist(), (1e-9 * np.arange(1, m + 1)).tolist()
    return error_rate_figure(levels, widths, rates, title="t", **optional), rates


def test_curve_against_what_there_are_several_of():
    drawn, rates = figure(1, 5)
    (ax,) = drawn.axes
    assert ax.get_xlabel() == "pulse width (ns)"
    assert list(ax.lines[0].get_ydata()) == list(rates["p_to_ap"][0])
    drawn, rates = figure(5, 1)
    (ax,) = drawn.axes
    assert ax.get_xlabel() == "write current (µA)"
    assert list(ax.lines[1].get_ydata()) == list(rates["ap_to_p"][:, 0])
    assert list(ax.lines[0].get_xdata()) == approx([10, 20, 30, 40, 50])
    assert figure(5, 1, drive="voltage")[0].axes[0].get_xlabel() == "write voltage (V)"


def test_one_axis_for_a_few_values_each_with_its_colour():
    drawn, rates = figure(2, 6)
    (ax,) = drawn.axes
    assert ax.get_xlabel() == "pulse width (ns)"
    assert [list(line.get_ydata()) for line in ax.lines] == [list(rates[d][k]) for d in rates for k in (0, 1)]
    assert ax.lines[0].get_color() == ax.lines[2].get_color() != ax.lines[1].get_color()
    assert ax.lines[0].get_linewidth() > ax.lines[2].get_linewidth() + 2  # a 1 and a 0 of one current
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["10 µA", "20 µA", "write 1 (P→AP)", "write 0 (AP→P)"]
    drawn, _ = figure(6, 3)
    assert [text.get_text() for text in drawn.axes[0].get_legend().get_texts()][:3] == ["1 ns", "2 ns", "3 ns"]


def test_directions_that_are_equal_are_drawn_once():
    rates = dict.fromkeys(("p_to_ap", "ap_to_p"), 10.0 ** -np.arange(1.0, 7.0)[:, None] * np.ones(5))
    (ax,) = error_rate_figure(np.arange(1, 7) * 1e-5, [5e-9], {d: r[:, :1] for d, r in rates.items()}, title="t").axes
    assert len(ax.lines) == 1
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["write 1 and write 0: equal"]
    drawn = error_rate_figure(np.arange(1, 7) * 1e-5, np.arange(1, 6) * 1e-9, rates, title="t")
    assert [ax.get_title() for ax in drawn.axes if ax.get_ylabel() == "pulse width (ns)"] == [
        "t, write 1 and write 0: equal"
    ]


def test_map_where_there_are_many_of_both():
    drawn, _ = figure(5, 4)
    maps = [ax for ax in drawn.axes if ax.get_ylabel() == "pulse width (ns)"]
    assert [ax.get_title() for ax in maps] == ["write 1 (P→AP)", "write 0 (AP→P)"]


def test_typed_order_does_not_matter():
    levels, rates = [3e-5, 1e-5, 2e-5], {"p_to_ap": np.array([[1e-3], [1e-1], [1e-2]])}
    (ax,) = error_rate_figure(levels, [5e-9], rates, title="t").axes
    assert list(ax.lines[0].get_xdata()) == approx([10, 20, 30])
    assert list(ax.lines[0].get_ydata()) == [1e-1, 1e-2, 1e-3]


def test_portrait_draws_the_solvers_numbers():
    device = load_preset("arm_2021").replace(spin_torque_asymmetry=0.1)
    page = device_portrait(device, title="t")
    s_curves, errors, disturb, retention = page.axes
    left = s_curves.lines[0]
    assert (left.get_xdata() <= 0).all()
    rate = write_error_rate(device, current=left.get_xdata()[20] * -1e-6, pulse_width=10e-9)
    assert left.get_ydata()[20] == approx(1 - rate, abs=1e-6)
    current = float(errors.get_title().split()[3]) * 1e-6
    width = errors.lines[1].get_xdata()[60] * 1e-9
    rate = write_error_rate(device, current=current, pulse_width=width, direction="ap_to_p")
    assert errors.lines[1].get_ydata()[60] == approx(rate, rel=1e-5)
    assert disturb.lines[0].get_label() == "P, 300 K"
    current, drawn = (line[12] for line in disturb.lines[0].get_data())
    assert drawn == approx(read_disturb_rate(device, current=current * 1e-6, duration=READING), rel=1e-4)
    assert [line.get_label() for line in retention.lines[:3]] == [f"{T} K" for T in (300, 358, 398)]
    seconds, drawn = (line[-1] for line in retention.lines[2].get_data())
    assert seconds == approx(100 * YEAR)
    assert drawn == approx(retention_failure_rate(device, duration=seconds, temperature=398.15), rel=1e-4)


def test_portrait_of_a_barrier_too_low_to_read():
    device = MTJ.from_effective(thermal_stability=19, critical_current=10e-6, characteristic_time=2e-9)
    page = device_portrait(device, title="t")
    assert "barrier too low" in page.axes[2].texts[0].get_text()


def test_portrait_counts_what_is_not_axisymmetric_and_says_what_is_left_out(monkeypatch):
    asked = []

    def counted(device, *, trials, **write):
        asked.append(write)
        return ErrorCount(trials // 4, trials)

    monkeypatch.setattr("mtjsim.macrospin.simulate.simulate_writes", counted)
    device = load_preset("umn_sot_2017")  # in a field along x, read through another path
    page = device_portrait(device, title="t")
    s_curves, errors = page.axes  # no empty panels: the reasons are a note
    assert f"{COUNTED} writes a point counted" in s_curves.get_title()
    assert {write["direction"] for write in asked} == {"p_to_ap", "ap_to_p"}
    assert max(write["current"] for write in asked) == approx(3 * writing_current(device))
    assert all(write["relax_time"] > 0 for write in asked)
    assert errors.containers[0].lines[0].get_ydata() == approx(0.25)
    assert s_curves.containers[0].lines[0].get_ydata() == approx(0.75)
    assert errors.get_ylim()[0] == approx(1e-2)  # no decades without a count
    assert "I_c0 517 µA" in page.get_suptitle()
    note = page.get_supxlabel().replace("\n", " ")
    assert "No read disturb: it is read through another path" in note
    assert "has an in-plane part" in note
    assert list(left_out(device)) == ["read disturb", "retention"]


@pytest.mark.parametrize(("value", "text"), [(1113.4, "1110"), (28.31, "28.3"), (0.5462, "0.546"), (40.0, "40")])
def test_the_facts_of_a_portrait_have_no_exponents(value, text):
    assert _digits(value) == text


def test_left_out_is_what_the_solvers_refuse():
    for name in list_presets():
        device = load_preset(name)
        for panel, ask in (
            ("read disturb", lambda d: read_disturb_rate(d, current=0.0, duration=1e-6)),
            ("retention", lambda d: retention_failure_rate(d, duration=1.0)),
        ):
            if panel in left_out(device):
                with pytest.raises(ValueError, match=r"axisymmetric|two-terminal copy"):
                    ask(device)
            else:
                assert ask(device) < 0.5
    heated = load_preset("arm_2021").replace(thermal_resistance=1e6)
    assert list(left_out(heated)) == ["read disturb"]
    assert left_out(load_preset("arm_2021")) == {}


def test_a_torque_across_the_axis_is_drawn_to_its_threshold():
    """Lee et al.: a_J = B_k/2 without field, 1/(2 alpha) times the critical current of the torque along the axis."""
    device = load_preset("ut_austin_sot")
    along = device.replace(polarizer=(0.0, 0.0, 1.0)).critical_current()
    assert writing_current(device) == approx(along / (2 * device.damping), rel=1e-6)
    assert writing_current(load_preset("arm_2021")) == load_preset("arm_2021").critical_current()
