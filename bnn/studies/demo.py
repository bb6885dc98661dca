"""The demo: from a write current, through the junction's error rate, to an energy/accuracy curve.

`run_demo`, read top to bottom, follows one bit from the pulse to the accuracy.
"""

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bnn.data.images import DataSet
from bnn.models import mlp
from bnn.recipes.out_folder import check_folder
from bnn.recipes.record import Clock, Record, identity_of
from bnn.studies.curve import energy_accuracy_curve
from bnn.studies.curve_point import CLEAN, WITH_ERRORS, CurvePoint, Interval
from bnn.studies.curve_result import EnergyAccuracyCurve, counted_points, curve_rows
from bnn.training.config import TrainConfig
from bridge.search.find import current_for
from bridge.write import DIRECTION_OF_BIT, WriteSetting, operating_point
from mtjsim.checks import DIRECTIONS, ArgumentError
from mtjsim.device import MTJ
from mtjsim.files import made_folder, write_whole
from mtjsim.switching import write_error_rate
from mtjsim.wording import number_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Error rates of the worse direction at which the demo puts its write currents, from far too weak to comfortable.
TARGETS = (0.9, 0.6, 0.4, 0.25, 0.15, 0.08, 0.04, 0.02, 0.01, 3e-3, 1e-3, 1e-4, 1e-6, 1e-9)
FEWEST_POINTS = 10
FEW_NETWORKS = 6  # with fewer, the width of an interval varies much from point to point
LARGEST_LOSS = 0.01  # of accuracy: one percentage point
EPOCHS = {"digits": 30}  # others: 3
HIDDEN = (128, 128)


@dataclass(frozen=True)
class Demo:
    """Results of the demo, as numbers and as text, and the files with them."""

    curve: EnergyAccuracyCurve
    cheapest: CurvePoint | None
    table: str
    summary: str
    files: tuple[Path, ...]


def run_demo(
    device: MTJ,
    data: DataSet,
    out: Path,
    *,
    pulse_width: float = 10e-9,
    temperature: float = 300.0,
    seed: int = 0,
    networks: int = 3,
    draws: int = 20,
    workers: int | None = None,
    device_name: str = "",
) -> Demo:
    """Compute what a binarized network loses, and what its memory saves, when it is written with too little current.

    Parameters
    ----------
    device : MTJ
        The memory's junction.
    data : DataSet
        The images that the networks learn.
    out : Path
        Folder for `curve.csv`, `run.json` and `curve.png`; made if need be, tried before the work. Those of the same
        command are replaced. A demo that is refused leaves no new folder.
    pulse_width, temperature : float
        Of every write [s], [K].
    seed : int
        The same seed gives the same `curve.csv`, to the byte, on one machine.
    networks, draws : int
        Trained networks a point, error draws a network.
    workers : int, optional
        Processes; the numbers do not depend on it.
    device_name : str
        Preset or file, for the captions and for the command in `run.json`.

    Returns
    -------
    Demo

    Raises
    ------
    OSError
        If `out` cannot be written, before any work.
    ValueError
        As in `mtjsim.write_error_rate` and `bnn.energy_accuracy_curve`, and for an `out` that holds anything else: a
        demo of another command, a run, a study, or such files without a record of what made them.
    """
    clock = Clock()
    command = (
        f"mtj-bnn demo --device {device_name} --pulse-width {pulse_width!r}s --temperature {temperature!r}K "
        f"--data {data.name} --seed {seed} --networks {networks} --draws {draws}"
    )
    with made_folder(out, option="out"):
        check_folder(out, "demo", same=lambda record: record["command"] == command, files=("curve.csv", "curve.png"))

        # the junction: a current and a pulse give error rates and energies of both bits
        currents = spanning_currents(device, pulse_width=pulse_width, temperature=temperature)
        points = [
            operating_point(
                device, WriteSetting(current_0=I, current_1=I, pulse_width=pulse_width), temperature=temperature
            )
            for I in currents
        ]

        # the network: its hidden activations are bits, each written to that memory and read back
        values = int(np.prod(data.train.images.shape[1:]))
        make_model = partial(mlp, values, HIDDEN, len(data.class_names))
        training = TrainConfig(epochs=EPOCHS.get(data.name, 3), batch_size=64, learning_rate=0.02, seed=seed)
        curve = energy_accuracy_curve(
            make_model, data, points, training, networks=networks, draws=draws, seed=seed, workers=workers
        )
    cheapest = curve.cheapest(LARGEST_LOSS)

    record = Record(
        title="Accuracy of binarized networks against the energy of writing their activations",
        identity=identity_of("demo", curve.identity, device.identity),
        command=command,
        seeds=seed,
        data=data,
        device=device,
        contents={
            "device_name": device_name,
            "pulse_width_s": pulse_width,
            "temperature_K": temperature,
            "network": {"model": "mlp", "inputs": values, "hidden": list(HIDDEN), "classes": len(data.class_names)},
            "training": {k: v for k, v in asdict(training).items() if k not in ("checkpoint", "metrics", "progress")},
            "networks": networks,
            "draws": draws,
            "threads": 1,  # of torch, in every process
            **_facts(curve, cheapest),
        },
        tables={"curve.csv": curve_rows(curve.points)},
        **clock.spent(),
    )
    figure = draw(curve, cheapest, device, device_name, data.name, pulse_width, temperature)
    files = (*record.write(out), out / "curve.png")
    write_whole(files[-1], figure)
    return Demo(curve, cheapest, curve_table(curve, cheapest), summary(curve, cheapest), files)


def _facts(curve: EnergyAccuracyCurve, cheapest: CurvePoint | None) -> dict[str, Any]:
    """Return for the record how errors and energies are meant, and the points with their counts."""
    return {
        "errors": "independent: every written cell is taken to have held the opposite bit",
        "energy": "junction only, mean of writing a 0 and a 1; no transistor, driver or line",
        "gradient": "identity: through a flipped bit as through a kept one",
        "error_rate_targets": TARGETS,
        "largest_loss": LARGEST_LOSS,
        "cheapest": None if cheapest is None else {"identity": cheapest.point.identity, "training": cheapest.training},
        "error_free": asdict(curve.error_free),
        "points": counted_points(curve.points),
    }


def spanning_currents(device: MTJ, *, pulse_width: float, temperature: float) -> list[float]:
    """Currents [A], rising, at which the worse direction errs with about the rates `TARGETS`, as far as they go.

    Raises
    ------
    ValueError
        If too few of the rates can be reached with this pulse for a curve.
    """
    currents: list[float] = []
    for target in TARGETS:
        try:
            needed = [
                current_for(
                    device,
                    error_rate=target,
                    pulse_width=pulse_width,
                    direction=DIRECTION_OF_BIT[bit],
                    temperature=temperature,
                )
                for bit in (0, 1)
            ]
        except ValueError as error:
            if len(currents) < FEWEST_POINTS:
                problem = f"{pulse_width:g} s at {temperature:g} K leaves no curve to draw: {error} Try a longer pulse."
                raise ArgumentError("pulse_width", problem) from None
            break  # the deepest rates are out of reach: the curve ends there
        currents.append(float(f"{max(needed):.3g}"))
    return sorted(set(currents))


def curve_table(curve: EnergyAccuracyCurve, cheapest: CurvePoint | None) -> str:
    """Return the curve as the table that the verb prints."""
    lines = [
        "                 error rate          energy (fJ)       accuracy with these errors (%)",
        "current     write 0    write 1    write 0  write 1    trained with them    trained without",
    ]
    by = {(p.point.identity, p.training): p for p in curve.points}
    for p in (p for p in curve.points if p.training == WITH_ERRORS):
        point, clean = p.point, by[p.point.identity, CLEAN]
        mark = "  <- cheapest, loss < 1 point" if cheapest and point == cheapest.point else ""
        lines.append(
            f"{point.setting.current_1 * 1e6:6.1f} µA   {point.error_rate_0:8.2e}   {point.error_rate_1:8.2e}   "
            f"{point.energy_0 * 1e15:7.1f}  {point.energy_1 * 1e15:7.1f}    "
            f"{_percent(p)}    {_percent(clean)}{mark}"
        )
    free = curve.error_free
    lines.append(f"no errors at all: {100 * free.mean:.1f} % [{100 * free.low:.1f}, {100 * free.high:.1f}]")
    return "\n".join(lines)


def summary(curve: EnergyAccuracyCurve, cheapest: CurvePoint | None) -> str:
    """Return the result in words."""
    reliable = max((p for p in curve.points if p.training == CLEAN), key=lambda p: p.point.mean_energy).point
    clean = {p.point.identity: p.accuracy.mean for p in curve.points if p.training == CLEAN}
    trained = [p for p in curve.points if p.training == WITH_ERRORS and not p.point.inverts]
    if cheapest is None:
        text = "No operating point keeps the loss below one percentage point."
    else:
        p = cheapest.point
        saved = 1 - p.mean_energy / reliable.mean_energy
        text = (
            f"Written at {p.setting.current_1 * 1e6:.1f} µA, {100 * p.error_rate_0:.2g} % of the zeros and "
            f"{100 * p.error_rate_1:.2g} % of the ones fail, and a bit needs {p.mean_energy * 1e15:.0f} fJ:\n"
            f"{100 * saved:.0f} % less than a pulse of the same width at {reliable.mean_error_rate:.0e} "
            f"({reliable.mean_energy * 1e15:.0f} fJ). A network trained {cheapest.training} "
            f"{_change(cheapest.loss)} by it."
        )
    if trained:
        most = max(trained, key=lambda p: p.accuracy.mean - clean[p.point.identity])
        both = f"{100 * most.accuracy.mean:.1f} % against {100 * clean[most.point.identity]:.1f} %"
        helps = "helps most" if most.accuracy.mean > clean[most.point.identity] else "helps at no point; it is closest"
        text += f"\nTraining with the errors {helps} at {100 * most.point.mean_error_rate:.2g} % of them: {both}."
    return text


def _change(loss: Interval) -> str:
    """Return a loss of accuracy in points, and a negative one as a gain."""
    mean, low, high = (round(100 * value, 2) + 0.0 for value in (loss.mean, loss.low, loss.high))  # no -0
    verb = "loses"
    if mean < 0:
        verb, mean, low, high = "gains", -mean, 0.0 - high, 0.0 - low
    return f"{verb} {mean:.2f} points [{low:.2f}, {high:.2f}]"


def _percent(row: CurvePoint) -> str:
    a = row.accuracy
    return f"{100 * a.mean:5.1f} [{100 * a.low:4.1f}, {100 * a.high:5.1f}]"


def draw(
    curve: EnergyAccuracyCurve,
    cheapest: CurvePoint | None,
    device: MTJ,
    device_name: str,
    data_name: str,
    pulse_width: float,
    temperature: float,
) -> bytes:
    """Return the figure as PNG: left, write error rate against current; right, accuracy against energy."""
    from matplotlib.figure import Figure

    from bnn.studies.plots import plot_energy_accuracy
    from mtjsim.plot_style import TITLE, png_of

    figure = Figure(figsize=(11, 5.2), layout="constrained", dpi=140)
    left, right = figure.subplots(1, 2)
    _draw_rates(left, curve, cheapest, device, pulse_width=pulse_width, temperature=temperature)
    plot_energy_accuracy(right, curve, marked=cheapest, largest_loss=LARGEST_LOSS)
    first = curve.points[0]
    junction = f"junction {Path(device_name).stem or 'of your own'}, {pulse_width * 1e9:g} ns, {temperature:g} K"
    networks = number_of(first.networks, "network")
    trained = f"{data_name}, {networks} × {number_of(first.draws, 'error draw')} a point, 95 % intervals"
    few = f" (of {networks}: their widths vary)" if first.networks < FEW_NETWORKS else ""
    figure.suptitle(f"{junction};   {trained}{few}", fontsize=TITLE)
    return png_of(figure)


def _draw_rates(
    ax: "Axes",
    curve: EnergyAccuracyCurve,
    cheapest: CurvePoint | None,
    device: MTJ,
    *,
    pulse_width: float,
    temperature: float,
) -> None:
    """Draw the error rates against the current, with the operating points of the curve."""
    from mtjsim.plot_style import BLACK, BOTH, DIRECTION_STYLE, RED, alike, legend_below
    from mtjsim.plots import plot_write_error_rate

    points = [p.point for p in curve.points if p.training == CLEAN]
    currents = np.array([p.setting.current_1 for p in points])
    fine = np.linspace(0.85 * currents[0], 1.03 * currents[-1], 120)
    pulse: dict[str, Any] = {"pulse_width": pulse_width, "temperature": temperature}
    both = write_error_rate(device, current=fine, direction="both", **pulse)
    rates: Any = dict(zip(DIRECTIONS, np.asarray(both), strict=True))
    same = alike(*rates.values())
    drawn = {"ap_to_p": rates["ap_to_p"]} if same else rates
    lines = plot_write_error_rate(ax, fine * 1e6, drawn, x_label="write current (µA)", floor=1e-10)
    if same:
        lines[0].set(color=BLACK, label=BOTH)
    for bit, marker, size in ((1, "o", 4),) if same else ((1, "o", 4), (0, "s", 7)):
        where = [(p.error_rate_0, p.error_rate_1)[bit] for p in points]
        colour = BLACK if same else DIRECTION_STYLE[DIRECTION_OF_BIT[bit]][0]
        style: dict[str, Any] = {"color": colour, "mfc": colour if bit else "none", "ls": "none", "ms": size}
        label = "operating points" if same else f"operating points, write {bit}"
        ax.plot(currents * 1e6, where, marker=marker, label=label, **style)
    if cheapest is not None:
        ring: dict[str, Any] = {"ms": 13, "mfc": "none", "mec": RED, "mew": 1.6, "zorder": 5}
        at = cheapest.point.setting.current_1 * 1e6, cheapest.point.worst_error_rate
        ax.plot(*at, "o", label="cheapest point", **ring)
    legend_below(ax, ncols=2)
