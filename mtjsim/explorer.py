"""A junction under sliders: error rates, energy, read disturb and retention against current, width and temperature.

The slow part is solved once, on the values of the sliders; a move looks the curves up, sets the data of existing
artists, and draws those over a stored background. Nothing shown is interpolated or extrapolated.

matplotlib and ipywidgets are imported on first use. No front end is needed: an explorer shows itself as a picture.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from mtjsim.checks import DIRECTIONS, ArgumentError, Array, Suggesting, checked_array, checked_choice, checked_number
from mtjsim.device import MTJ
from mtjsim.energy import dissipated_energy
from mtjsim.holding import OUT_OF, YEAR, read_disturb_rate, retention_failure_rate, strongest_read
from mtjsim.plot_style import BLACK, GREEN, PURPLE, legend_below
from mtjsim.plots import plot_holding, plot_write_error_rate
from mtjsim.switching import write_error_rate

if TYPE_CHECKING:
    from ipywidgets import Widget

TEMPERATURES = (253.0, 300.0, 328.0, 358.0, 398.0)  # [K], about -20, 27, 55, 85 and 125 degrees Celsius
HELD = np.geomspace(1e-6, 100 * YEAR, 60)  # [s]
FLOOR, HELD_FLOOR = 1e-16, 1e-30  # lowest rates shown; one below is an arrow
UNITS = {"current": (1e6, "µA"), "pulse_width": (1e9, "ns"), "temperature": (1.0, "K"), "read_current": (1e6, "µA")}
WORDS = {"current": "write current", "pulse_width": "pulse width", "read_current": "read current"}


@dataclass(frozen=True)
class Reading:
    """Numbers at one position of the sliders.

    Attributes
    ----------
    current, pulse_width, temperature, read_current : float
        The position [A], [s], [K], [A].
    write_error_rate, energy : dict of float
        By direction; energy in the junction, mean over all writes [J].
    read_disturb : float
        Probability that the worse state is lost in `reading` seconds of the read current.
    retention_failure : float
        The same after ten years with nothing applied.
    reading : float
        [s].
    """

    current: float
    pulse_width: float
    temperature: float
    read_current: float
    write_error_rate: dict[str, float]
    energy: dict[str, float]
    read_disturb: float
    retention_failure: float
    reading: float

    def __str__(self) -> str:
        rate, joule = self.write_error_rate, self.energy
        return "\n".join(
            [
                f"write 1 (P→AP)   error rate {rate['p_to_ap']:.2e}   {joule['p_to_ap'] * 1e15:7.1f} fJ",
                f"write 0 (AP→P)   error rate {rate['ap_to_p']:.2e}   {joule['ap_to_p'] * 1e15:7.1f} fJ",
                f"read             lost after {self.reading * 1e6:g} µs of reading {self.read_disturb:.2e}",
                f"rest             lost after ten years {self.retention_failure:.2e}",
            ]
        )


class WriteExplorer(Suggesting):
    """Write error rates, energies, read disturb and retention of a junction, following sliders.

    Parameters
    ----------
    device : MTJ
        An axisymmetric two-terminal junction that does not heat itself.
    currents, pulse_widths, temperatures, read_currents : (n,) arrays, optional
        Values of the sliders, rising [A], [s], [K], [A]. Default: from below the critical current to 3.9 times it, to
        20 characteristic times, `TEMPERATURES`, from 0 to `strongest_read`.
    reading : float
        Total time of the reads whose disturb is shown [s], such as fifty of 20 ns.

    Raises
    ------
    ValueError
        If an axis is not rising or out of range, and as in `write_error_rate` and `read_disturb_rate`.

    Attributes
    ----------
    figure : Figure
    axes : tuple of Axes
        Error rate against width, against current, and the held bit.

    Examples
    --------
    >>> device = MTJ.from_effective(thermal_stability=60, critical_current=30e-6, characteristic_time=2e-9)
    >>> explorer = WriteExplorer(device, currents=[6e-5, 9e-5], pulse_widths=[5e-9, 1e-8], temperatures=[300.0])
    >>> print(f"{explorer.update(current=9e-5, pulse_width=1e-8).write_error_rate['p_to_ap']:.2e}")
    1.90e-07
    """

    def __init__(
        self,
        device: MTJ,
        *,
        currents: ArrayLike | None = None,
        pulse_widths: ArrayLike | None = None,
        temperatures: ArrayLike = TEMPERATURES,
        read_currents: ArrayLike | None = None,
        reading: float = 1e-6,
    ) -> None:
        heat = _axis("temperatures", temperatures, "K")
        critical = max(device.critical_current(direction) for direction in DIRECTIONS)
        strongest = strongest_read(device, temperature=float(heat[-1]))
        defaults: dict[str, ArrayLike] = {
            "currents": _round(0.1 * critical) * np.arange(9, 40),
            "pulse_widths": _round(device.characteristic_time() / 4) * np.arange(1, 81),
            "read_currents": np.arange(0.0, strongest + 1e-12, _round(max(strongest, 1e-7) / 12)),
        }
        given = {"currents": currents, "pulse_widths": pulse_widths, "read_currents": read_currents}
        units = {"currents": "A", "pulse_widths": "s", "read_currents": "A"}
        self.values: dict[str, Array] = {"temperature": heat}
        for name, values in given.items():
            self.values[name[:-1]] = _axis(name, defaults[name] if values is None else values, units[name])
        self.device = device
        self.reading = checked_number("reading", reading, "s", zero_allowed=False)
        self._solve()
        self._position = {name: float(axis[len(axis) // 3]) for name, axis in self.values.items()}
        self._position["temperature"] = float(heat[np.abs(heat - 300.0).argmin()])
        self._draw()
        self.update()

    # ---- solved once ------------------------------------------------------------------------------------------------

    def _solve(self) -> None:
        """Tables: `_rate`, `_joule` (T, way, I, width), `_rest` (T, state, held), `_read` (T, state, I_read, held)."""
        I, width, heat, read = (self.values[n] for n in ("current", "pulse_width", "temperature", "read_current"))
        held = np.append(HELD, [self.reading, 10 * YEAR])
        self._rate = np.empty((heat.size, len(DIRECTIONS), I.size, width.size))
        self._joule = np.empty_like(self._rate)
        self._rest = np.empty((heat.size, len(OUT_OF), held.size))
        self._read = np.empty((heat.size, len(OUT_OF), read.size, held.size))
        for k, T in enumerate(tqdm(heat, desc="explorer", disable=None, leave=False)):
            for d, direction in enumerate(DIRECTIONS):
                grid: dict[str, Any] = {"current": I[:, None], "pulse_width": width[None, :]}
                self._rate[k, d] = write_error_rate(self.device, **grid, direction=direction, temperature=T)
                self._joule[k, d] = dissipated_energy(self.device, **grid, direction=direction, temperature=T)
            for s, state in enumerate(OUT_OF):
                one: dict[str, Any] = {"state": state, "temperature": T}
                self._rest[k, s] = retention_failure_rate(self.device, duration=held, **one)
                self._read[k, s] = read_disturb_rate(self.device, current=read[:, None], duration=held, **one)

    # ---- the picture ------------------------------------------------------------------------------------------------

    def _draw(self) -> None:
        """Make the axes and every artist once; those that move are animated, so that a draw leaves them out."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.figure = Figure(figsize=(11.5, 4.1), layout="constrained", dpi=90)
        self._canvas = FigureCanvasAgg(self.figure)
        self.axes = left, middle, right = tuple(self.figure.subplots(1, 3))
        moving: list[Any] = []
        for ax, name in ((left, "pulse_width"), (middle, "current")):
            scale, unit = UNITS[name]
            x = self.values[name] * scale
            rates: dict[str, Any] = {direction: np.ones(x.size) for direction in DIRECTIONS}
            lines = plot_write_error_rate(ax, x, rates, x_label=f"{WORDS[name]} ({unit})", floor=FLOOR)
            for line in lines:
                line.set_marker("")
            legend_below(ax, ncols=2)
            dots = [_dot(ax, line.get_color(), size) for line, size in zip(lines, (9, 5), strict=True)]
            here = ax.axvline(1.0, color=BLACK, lw=0.8, ls=":")
            moving += [*lines, *dots, here]
            ax.set_xlim(0.0 if name == "pulse_width" else x[0], x[-1])
        failures = {text: np.ones(HELD.size) for text in ("nothing applied", "in the read current")}
        marks = {"10 years": 10 * YEAR, "read": self.reading}
        lines = plot_holding(right, HELD, failures, x_label="time (s)", floor=HELD_FLOOR, marks=marks)[:2]
        for line, colour in zip(lines, (GREEN, PURPLE), strict=True):  # no direction's colours
            line.set_color(colour)
        dots = [_dot(right, line.get_color(), 6) for line in lines]
        right.set_xlim(0.03 * HELD[0], 10 * HELD[-1])
        right.set_ylabel("the worse state has flipped")
        legend_below(right, ncols=2)
        moving += [*lines, *dots]
        for ax in self.axes:
            moving.append(ax.set_title("title", fontsize=9))  # the layout leaves room for it
        self._moving = moving
        self._canvas.draw()
        self.figure.set_layout_engine("none")  # nothing moves from here on
        for artist in moving:
            artist.set_animated(True)
        self._canvas.draw()
        self._background = self._canvas.copy_from_bbox(self.figure.bbox)

    def update(self, **position: float) -> Reading:
        """Move to another position and return the numbers there; `png` has the picture.

        Parameters
        ----------
        **position
            Any of current, pulse_width, temperature, read_current, each one of the explorer's `values`; the others
            stay.

        Returns
        -------
        Reading

        Raises
        ------
        ValueError
            If a value is not one of those solved.
        """
        for name in position:
            checked_choice("position", name, UNITS)
        where = {**self._position, **position}
        i, j, k, r = (self._index(n, where[n]) for n in ("current", "pulse_width", "temperature", "read_current"))
        where = {name: float(self.values[name][n]) for name, n in zip(UNITS, (i, j, k, r), strict=True)}
        self._position = where
        rates, rest, read = self._rate[k], self._rest[k].max(axis=0), self._read[k, :, r].max(axis=0)
        self._set_data(rates, rest, read, i, j)
        return Reading(
            current=where["current"],
            pulse_width=where["pulse_width"],
            temperature=where["temperature"],
            read_current=where["read_current"],
            write_error_rate={d: float(rates[n, i, j]) for n, d in enumerate(DIRECTIONS)},
            energy={d: float(self._joule[k, n, i, j]) for n, d in enumerate(DIRECTIONS)},
            read_disturb=float(read[-2]),
            retention_failure=float(rest[-1]),
            reading=self.reading,
        )

    def _index(self, name: str, value: float) -> int:
        axis = self.values[name]
        index = int(np.abs(axis - value).argmin())
        if not np.isclose(axis[index], value, rtol=1e-9, atol=0.0):
            nearest = f"the nearest: {axis[index]:g}."
            raise ArgumentError(name, f"must be one of the explorer's values, got {value:g}; {nearest}")
        return index

    def _set_data(self, rates: Array, rest: Array, read: Array, i: int, j: int) -> None:
        moving = iter(self._moving)
        for name, index, curves in (("pulse_width", j, rates[:, i, :]), ("current", i, rates[:, :, j])):
            x = self.values[name][index] * UNITS[name][0]
            for curve in curves:
                next(moving).set_ydata(curve)
            for curve in curves:
                _place(next(moving), x, curve[index], FLOOR)
            next(moving).set_xdata([x, x])
        for curve in (rest, read):
            next(moving).set_ydata(curve[:-2])
        _place(next(moving), 10 * YEAR, rest[-1], HELD_FLOOR)
        _place(next(moving), self.reading, read[-2], HELD_FLOOR)
        text = {name: self.text(name, self._position[name]) for name in UNITS}
        next(moving).set_text(f"at {text['current']}, {text['temperature']}")
        next(moving).set_text(f"at {text['pulse_width']}, {text['temperature']}")
        next(moving).set_text(f"at {text['temperature']}, read {text['read_current']}")

    @staticmethod
    def text(name: str, value: float) -> str:
        """Return a value of a slider in its usual unit."""
        scale, unit = UNITS[name]
        return f"{value * scale:.4g} {unit}"

    def png(self) -> bytes:
        """Return the picture of the present position: the moving artists over the kept background."""
        from PIL import Image

        self._canvas.restore_region(self._background)
        for artist in self._moving:
            artist.axes.draw_artist(artist)
        buffer = io.BytesIO()
        image = Image.fromarray(np.asarray(self._canvas.buffer_rgba())).convert("RGB")
        image.save(buffer, format="png", compress_level=1)
        return buffer.getvalue()

    def _repr_png_(self) -> bytes:
        return self.png()

    # ---- sliders ----------------------------------------------------------------------------------------------------

    def widgets(self) -> Widget:
        """Return sliders with the picture and the numbers, for a notebook; needs ipywidgets (the extra [notebooks])."""
        import ipywidgets

        sliders = {
            name: ipywidgets.SelectionSlider(
                options=[(self.text(name, float(value)), float(value)) for value in self.values[name]],
                value=self._position[name],
                description=WORDS.get(name, name),
                style={"description_width": "initial"},
            )
            for name in UNITS
        }
        picture, numbers = ipywidgets.Image(format="png"), ipywidgets.HTML()

        def redraw(_: Any = None) -> None:
            reading = self.update(**{name: slider.value for name, slider in sliders.items()})
            picture.value, numbers.value = self.png(), f"<pre>{reading}</pre>"

        for slider in sliders.values():
            slider.observe(redraw, names="value")
        redraw()
        return ipywidgets.VBox([ipywidgets.HBox(list(sliders.values())), picture, numbers])


def _dot(ax: Any, colour: str, size: float) -> Any:
    return ax.plot([1.0], [1.0], "o", color=colour, ms=size, clip_on=False)[0]


def _place(dot: Any, x: float, rate: float, floor: float) -> None:
    """Move a mark; a rate below the axis is an arrow at its edge."""
    dot.set_data([x], [max(rate, floor)])
    dot.set_marker("o" if rate >= floor else "v")


def _axis(name: str, values: ArrayLike, unit: str) -> Array:
    axis = np.atleast_1d(checked_array(name, values, unit, zero_allowed=name == "read_currents"))
    if axis.ndim != 1 or axis.size == 0 or (np.diff(axis) <= 0).any():
        raise ArgumentError(name, f"must be one rising list of numbers in {unit}.")
    return axis


def _round(value: float) -> float:
    """Round to one digit, for readable steps."""
    return float(f"{value:.0e}")
