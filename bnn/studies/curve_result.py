"""The result of a curve: its points, the cheapest of them, and the same as a table, a file and a figure."""

from __future__ import annotations

import html
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bnn.recipes.record import Record, identity_of
from bnn.studies.curve_point import CurvePoint, Interval
from mtjsim.checks import ArgumentError, Suggesting
from mtjsim.wording import number_of


@dataclass(frozen=True)
class EnergyAccuracyCurve(Suggesting):
    """Result of `energy_accuracy_curve`: the error-free accuracy, and two rows for each operating point.

    Attributes
    ----------
    error_free : Interval
    points : tuple of CurvePoint
    made : mapping
        For the record: seed, data, network, training, draws, seconds and core-seconds; empty for a curve of one's own.
    """

    error_free: Interval
    points: tuple[CurvePoint, ...]
    made: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def identity(self) -> str:
        """SHA-256 of all that the numbers follow from: operating points, data, network, training and seed."""
        free = ("seconds", "core_seconds")
        return identity_of(
            "curve",
            {name: value for name, value in self.made.items() if name not in free},
            [[point.point.identity, point.training, point.networks, point.draws] for point in self.points],
        )

    def __repr__(self) -> str:
        free, networks = self.error_free, self.points[0].networks if self.points else 0
        count = len({point.point.identity for point in self.points})
        interval = f"{100 * free.mean:.1f} % [{100 * free.low:.1f}, {100 * free.high:.1f}] without errors"
        points, each = number_of(count, "operating point"), number_of(networks, "network")
        return f"EnergyAccuracyCurve({points}, {each} each, {interval})"

    def _repr_html_(self) -> str:
        """Return the table for notebooks."""
        return f"<p>{html.escape(repr(self))}</p>{self.to_dataframe().to_html(index=False)}"

    def cheapest(self, largest_loss: float) -> CurvePoint | None:
        """Return the point of least energy a bit whose paired 95 % interval of the loss ends below `largest_loss`.

        None if there is no such point. The intervals hold for each point by itself, and the choice is made on the test
        images. Points that invert are left out: with independent errors most of their cells hold the *inverse* of what
        was written, from which a network may learn, but which is not what a memory does.
        """
        fit = [p for p in self.points if p.loss.high < largest_loss and not p.point.inverts]
        return min(fit, key=lambda p: p.point.mean_energy) if fit else None

    def to_dataframe(self) -> Any:
        """Return the curve as a pandas.DataFrame, a row for each operating point and training.

        Energies, currents and latencies are in SI; rates and accuracies are shares, 0 to 1.
        """
        import pandas as pd

        table = pd.DataFrame(curve_rows(self.points))
        numbers = [name for name in table.columns if name != "training"]
        return table.astype(dict.fromkeys(numbers, float) | {"networks": int, "draws": int})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the table as CSV, and its record next to it: "curve.json" for "curve.csv", see `bnn.recipes.record`.

        `to_dataframe` describes the columns.

        Raises
        ------
        ArgumentError
            For a name that does not end in .csv.
        OSError
            If a file cannot be written.
        """
        path = Path(path)
        if path.suffix.lower() != ".csv":
            raise ArgumentError("path", f"must end in .csv, got {os.fspath(path)!r}.")
        spent = {name: self.made.get(name, 0.0) for name in ("seconds", "core_seconds")}
        record = Record(
            title="Accuracy against the energy of writing the activations",
            identity=self.identity,
            seeds=self.made.get("seed", ()),
            contents={
                **{name: value for name, value in self.made.items() if name not in (*spent, "seed")},
                "error_free": asdict(self.error_free),
                "points": counted_points(self.points),
            },
            tables={path.name: curve_rows(self.points)},
            **spent,
        )
        record.write(path.parent, f"{path.stem}.json")

    def plot(self, ax: Any = None, *, marked: CurvePoint | None = None, largest_loss: float | None = None) -> Any:
        """Draw accuracy against energy, see `bnn.plots.plot_energy_accuracy`.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            To draw on; None: the axes of a new figure of matplotlib.pyplot.
        marked, largest_loss
            As for `bnn.plots.plot_energy_accuracy`.

        Returns
        -------
        Axes
        """
        from bnn.studies.plots import plot_energy_accuracy

        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.subplots(layout="constrained")[1]
        plot_energy_accuracy(ax, self, marked=marked, largest_loss=largest_loss)
        return ax


def counted_points(points: Iterable[CurvePoint]) -> list[dict[str, Any]]:
    """Return points of a curve for a record: counts, intervals, operating point and its identity."""
    return [asdict(p) | {"point": p.point.as_dict(), "identity": p.point.identity} for p in points]


def curve_rows(points: Iterable[CurvePoint]) -> list[dict[str, Any]]:
    """Return points of a curve as rows, one for each training; SI units, rates and shares 0 to 1."""
    rows = []
    for row in points:
        p = row.point
        numbers = {
            "current_A": math.nan if p.setting is None or p.setting.drive == "voltage" else p.setting.current_1,
            "error_rate_0": p.error_rate_0,
            "error_rate_1": p.error_rate_1,
            "energy_0_J": p.energy_0,
            "energy_1_J": p.energy_1,
            "energy_per_bit_J": p.mean_energy,
            "latency_s": p.latency,
        }
        intervals = [
            (name + end, value)
            for name, interval in (("accuracy", row.accuracy), ("loss", row.loss))
            for end, value in zip(("", "_low", "_high"), (interval.mean, interval.low, interval.high), strict=True)
        ]
        rows.append(
            {name: f"{number:.9g}" for name, number in numbers.items()}
            | {"training": row.training, "networks": row.networks, "draws": row.draws}
            | {name: f"{share:.6f}" for name, share in intervals}
        )
    return rows
