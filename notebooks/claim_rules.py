"""Rules of claims: from a stored result to a number with an interval, and from that to a verdict."""

import csv
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from bnn.studies.table import interval


class Stored:
    """A stored result: its record, and its tables as rows of texts."""

    def __init__(self, folder):
        self.folder = folder

    @cached_property
    def record(self):
        """The record; None if there is none in today's format."""
        path = self.folder / "run.json"
        found = json.loads(path.read_text("utf-8")) if path.exists() else {}
        return found if "code" in found else None

    def rows(self, name, **where):
        """Return the rows of a table with these values of some columns."""
        with (self.folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return [row for row in rows if all(_same(row[column], value) for column, value in where.items())]


def _same(text, value):
    if isinstance(value, str):
        return text == value
    try:
        return float(text) == value
    except ValueError:  # a list among numbers
        return False


@dataclass(frozen=True)
class Found:
    """The number that a claim is about, mean, low and high, and in words. Without an interval the three are equal."""

    mean: float
    low: float
    high: float
    words: str


@dataclass(frozen=True)
class Claim:
    """A claim, and the rule that decides it.

    Attributes
    ----------
    text, source : str
        The claim in a sentence; who made it.
    folder : str
        Of the stored result, in notebooks/results.
    find : callable
        Stored -> Found.
    least, most : float
        The bound of the number; the other is None.
    """

    text: str
    source: str
    folder: str
    find: Callable[[Stored], Found]
    least: float | None = None
    most: float | None = None
    bound: str = ""

    def verdict(self, found):
        """Return the verdict and why."""
        inside, outside = (
            (found.low >= self.least, found.high < self.least)
            if self.least is not None
            else (found.high <= self.most, found.low > self.most)
        )
        if inside:
            return "confirmed", f"within the bound, {self.bound}"
        if outside:
            return "not confirmed", f"outside the bound, {self.bound}"
        return "undecided", f"the bound, {self.bound}, is between its ends"


def paired(first, second):
    """Return mean and 95 % interval of differences of paired accuracies, in percentage points, Student's t."""
    differences = [100 * (a - b) for a, b in zip(first, second, strict=True)]
    mean, low, high = interval(differences)
    if math.isnan(low):  # one pair has no interval
        low, high = -math.inf, math.inf
    return mean, low, high, len(differences)


def points(first, second, what):
    """Return a difference of accuracies with its interval."""
    mean, low, high, count = paired(first, second)
    return Found(mean, low, high, f"{what}: {mean:+.2f} points [{low:.2f}, {high:.2f}], {count} networks")


# ---- rules -----------------------------------------------------------------------------------------------------------


def deviation(kind):
    """Return the rule of the largest deviation from reference values."""

    def find(stored):
        (row,) = stored.rows("table", kind=kind)
        largest, own = float(row["largest_deviation"]), float(row["reference_error"])
        words = f"largest of {row['cases']}: {largest:.1e}; the references are good to {own:.0e}"
        return Found(largest, max(0.0, largest - own), largest + own, words)

    return find


def decades(column, ways, what):
    """Return the rule of the decades between the crossings of two points, `ways` by name."""

    def find(stored):
        rows = {}
        for name, where in ways.items():
            (rows[name],) = stored.rows("crossing", **where)
        first, second = rows.values()
        if not all(row[name] for row in (first, second) for name in (column, "lowest", "highest")):
            raise LookupError("a reference failed, of a mean or of one network, so that there is no crossing")
        mean = float(first[column]) - float(second[column])
        low, high = float(first["lowest"]) - float(second["highest"]), float(first["highest"]) - float(second["lowest"])
        shown = (f"{name} {row['bound']}{10 ** float(row[column]):.2g}" for name, row in rows.items())
        ends = f"{mean:.2g} decades, range {low:.2g} to {high:.2g}"
        return Found(mean, low, high, f"{what} {', '.join(shown)}: {ends}, {first['repeats']} networks each")

    return find


def modes(other, sign):
    """Return the rule of a difference of overwrite errors and another kind, at a write error rate of 20 %."""

    def find(stored):
        own, theirs = (
            [float(row["accuracy"]) for row in stored.rows("modes", trained_at=0.0, write_error_rate=0.2, mode=mode)]
            for mode in ("overwrite", other)
        )
        first, second = (own, theirs) if sign > 0 else (theirs, own)
        what = f"overwrite minus {other}" if sign > 0 else f"{other} minus overwrite"
        return points(first, second, what)

    return find


def corrected(kind, before, after):
    """Return the rule of the gain of rescaled BatchNorm."""

    def find(stored):
        field = "memory.bits"
        ways = [
            [
                float(row["run.accuracy"])
                for row in stored.rows(
                    "table",
                    **{
                        f"{field}.holds": kind,
                        f"{field}.error_rate": before,
                        f"test.run.{field}.error_rate": after,
                        "test.run.correct": way,
                    },
                )
            ]
            for way in ("rescale", "none")
        ]
        return points(*ways, f"trained at {100 * before:g} %, run at {100 * after:g} %, rescaled minus plain")

    return find


def cheaper(first, second):
    """Return the rule of the ratio of the energies of two ways to 1e-9, in one cell."""

    def find(stored):
        (row,) = stored.rows("table", sizing="same cell")
        energies = [float(row[f"{way}.system_J"]) for way in (first, second)]
        ratio = energies[0] / energies[1]
        shown = f"{1e15 * energies[0]:.0f} against {1e15 * energies[1]:.0f} fJ a bit: ratio {ratio:.2f}, solved"
        return Found(ratio, ratio, ratio, shown)

    return find


def halved(scheme, **more):
    """Return the rule of the energy of a memory at 1e-9 over that of an unprotected one: same cell, a write, no reads.

    `more` are other ratios at that point that are shown, with their names.
    """

    def find(stored):
        rows = stored.rows("table", sizing="same cell")
        first, last = (end(rows, key=lambda row: float(row["reads_per_write"])) for end in (min, max))
        (pulse,) = stored.rows("table", sizing="same pulse", reads_per_write=float(first["reads_per_write"]))
        ratio, *others = (float(first[f"{name}.ratio_system"]) for name in (scheme, *more.values()))
        reads = f"with {last['reads_per_write']} reads a write"
        shown = dict(zip(more, others, strict=True)) | {
            "with the same pulse in each cell": float(pulse[f"{scheme}.ratio_system"]),
            reads: float(last[f"{scheme}.ratio_system"]),
            **{f"{reads}, {way}": float(last[f"{name}.ratio_system"]) for way, name in more.items()},
        }
        words = "; ".join(f"{value:.2f} {name}" for name, value in shown.items())
        times = float(first[f"{scheme}.ratio_latency"])
        return Found(
            ratio, ratio, ratio, f"ratio {ratio:.2f}, of ledgers ({words}); its writes take {times:.1f} times as long"
        )

    return find


def weaker_activations(stored):
    """Return the energy of the cheapest point of the demo that loses less than a point, over that of its strongest."""
    rows = stored.rows("curve", training="with errors")
    good = [row for row in stored.rows("curve") if float(row["loss_high"]) < 0.01 and float(row["error_rate_1"]) < 0.5]
    least = min(good, key=lambda row: float(row["energy_per_bit_J"]))
    most = max(float(row["energy_per_bit_J"]) for row in rows)
    ratio = float(least["energy_per_bit_J"]) / most
    ends = f"[{100 * float(least['loss_low']):.2f}, {100 * float(least['loss_high']):.2f}]"
    lost = f"loss {100 * float(least['loss']):.2f} points {ends}"
    words = f"{ratio:.2f} of the energy at 1e-9, trained {least['training']}, {lost}"
    return Found(ratio, ratio, ratio, f"{words}; the point is chosen on the test images")


def ratio(benchmark, *names):
    """Return the rule of the lowest and highest of some ratios of a benchmark."""

    def find(stored):
        rows = [row for row in stored.rows("ratios") if row["benchmark"].partition("[")[0] == benchmark]
        values = [float(row["value"]) for row in rows if row["ratio"] in names]
        if not values:
            raise LookupError(f"no {benchmark} in the record")
        low, high, cpu = min(values), max(values), stored.record["machine"]["cpu"].get("brand_raw", "unknown processor")
        spread = f"{low:.3g}" if len(values) == 1 else f"{low:.3g} to {high:.3g} in {len(values)} measurements"
        return Found(sum(values) / len(values), low, high, f"{spread}; {cpu}")

    return find


def _values(stored, value, where):
    """Return repeat -> value of a point; LookupError for a point that is not there, or that lacks a value."""
    found = {int(row["repeat"]): row[value] for row in stored.rows("table", **where)}
    at = ", ".join(f"{name} = {own}" for name, own in where.items())
    if not found:
        raise LookupError(f"the record does not contain {at}")
    if missing := [str(repeat) for repeat, text in found.items() if not text]:
        raise LookupError(f"no {value} in repeat {', '.join(missing)} at {at}: the training diverged")
    return {repeat: float(text) for repeat, text in found.items()}


def _pairs(stored, first, second):
    """Return the pairs of two points, each (value, where), that have the same repeat."""
    one, two = _values(stored, *first), _values(stored, *second)
    if set(one) != set(two):
        raise LookupError(f"{first[1]} and {second[1]} have other repeats")
    return [(one[repeat], two[repeat]) for repeat in sorted(one)]


def gap(value, first, second, what, *, minus=None):
    """Return the rule of a difference of accuracies of two points, paired by the repeat; `minus` is another value."""

    def find(stored):
        pairs = _pairs(stored, (value, first), (minus or value, second))
        return points(*zip(*pairs, strict=True), what)

    return find


def largest_gap(value, first, seconds, what):
    """Return the rule of the difference with the largest upper end of those between a point and several, by name.

    `first` is the point, or a function that returns that of each of the others.
    """

    def find(stored):
        own = first if callable(first) else lambda second: first
        rules = (gap(value, own(second), second, f"{what} {name}") for name, second in seconds.items())
        return max((rule(stored) for rule in rules), key=lambda found: found.high)

    return find


def gap_of_best(first, value, ways, what):
    """Return the rule of the difference of a point, (value, where), and the best of several.

    `ways` are the points by name, each (where, choice): `choice` is the value, of images apart, by whose mean one is
    the best.
    """

    def find(stored):
        chosen_by = {name: interval(list(_values(stored, own, at).values()))[0] for name, (at, own) in ways.items()}
        best = max(chosen_by, key=chosen_by.get)
        pairs = _pairs(stored, first, (value, ways[best][0]))
        words = f"{what} of that with the best of {len(ways)} ways, {best} (chosen on images held out)"
        return points(*zip(*pairs, strict=True), words)

    return find


def level_of(value, where, what):
    """Return the rule of the mean accuracy of a point, in percent."""

    def find(stored):
        numbers = [100 * number for number in _values(stored, value, where).values()]
        mean, low, high = interval(numbers)
        return Found(mean, low, high, f"{what}: {mean:.2f} % [{low:.2f}, {high:.2f}], {len(numbers)} networks")

    return find


def quotient(first, second, what, where, other=None, *, also=()):
    """Return the rule of the mean ratio of two values, paired by the repeat; `also` are further ones, in words."""

    def ratios(stored, above, below):
        pairs = _pairs(stored, (above, where), (below, other or where))
        return interval([a / b for a, b in pairs])

    def find(stored):
        mean, low, high = ratios(stored, first, second)
        if math.isnan(low):
            low = high = mean
        more = "".join(f"; {name} {ratios(stored, *pair)[0]:.3g}" for name, pair in dict(also).items())
        return Found(mean, low, high, f"{what}: {mean:.3g} [{low:.3g}, {high:.3g}]{more}")

    return find


def of_the_memory(where, what, *, sram, over):
    """Return the rule of the ratio of joules of a training, of what is held in MRAM at a point, and of it in SRAM.

    The whole system has the same other SRAM in both, "the rest": its joules without those of the MRAM, whose sensing
    and code are the MRAM's. In SRAM, `sram`: (value, where), what is held takes what is left of the joules of the
    system. `over` is "sram" for SRAM over MRAM, or "mram".
    """

    def find(stored):
        whole, cells = (_values(stored, f"training.joules_{scope}", where) for scope in ("system", "of_mram"))
        other = _values(stored, *sram)
        ratios, systems, shares = [], [], []
        for repeat in sorted(whole):
            rest = whole[repeat] - cells[repeat]
            pair = (other[repeat] - rest, cells[repeat]) if over == "sram" else (cells[repeat], other[repeat] - rest)
            ratios.append(pair[0] / pair[1])
            systems.append((other[repeat] / whole[repeat]) ** (1 if over == "sram" else -1))
            shares.append(rest / whole[repeat])
        mean, low, high = interval(ratios)
        share, system = 100 * interval(shares)[0], interval(systems)[0]
        words = f"{what}: {mean:.3g} [{low:.3g}, {high:.3g}] for what the MRAM holds; for the whole system {system:.3g}"
        return Found(mean, low, high, f"{words}, of which {share:.0f} % are in the same SRAM in both")

    return find


def bracket(stored, where):
    """Return low and high of a bisection and how many failed, in words; high is inf if its highest rate holds.

    LookupError for one that is not finished, or whose trainings failed at its lowest rate.
    """
    (row,) = stored.rows("threshold", **where)
    counts = f"of {row['repeats']} trainings failed"
    if row["why"].endswith("above high"):
        return float(stored.record["study"]["bisect"]["high"]), math.inf, f"{row['failed_high']} {counts} there"
    if row["why"]:
        raise LookupError(f"no bracket at {where}: {row['why']}")
    ends = f"{row['failed_low']} and {row['failed_high']} {counts} at its ends"
    return float(row["low"]), float(row["high"]), ends


def brackets(places, least, what):
    """Return the rule of the range of several brackets, (name -> where), and which of them are above a rate."""

    def find(stored):
        ends = {name: bracket(stored, where)[:2] for name, where in places.items()}
        above = [name for name, (low, _) in ends.items() if low >= least]
        shown = {name: f"above {a:.1e}" if b == math.inf else f"{a:.1e} to {b:.1e}" for name, (a, b) in ends.items()}
        others = [f"{name} {shown[name]}" for name in ends if name not in above]
        rest = f", not {', '.join(others)}" if others else ""
        low, high = min(low for low, _ in ends.values()), max(high for _, high in ends.values())
        words = f"{what}: the whole bracket is above in {len(above)} of {len(ends)}{rest}"
        return Found(math.sqrt(low * high), low, high, words)

    return find


def threshold_ratio(first, second, what):
    """Return the rule of the ratio of two thresholds, from their brackets."""

    def find(stored):
        one, two = (bracket(stored, where)[:2] for where in (first, second))
        low, high = one[0] / two[1], one[1] / two[0]
        shown = " over ".join(f"above {a:.1e}" if b == math.inf else f"{a:.1e} to {b:.1e}" for a, b in (one, two))
        return Found(math.sqrt(low * high), low, high, f"{what}: brackets {shown}, ratio {low:.2g} to {high:.2g}")

    return find


def spread_of_products(places, what):
    """Return the rule of the largest over the smallest of thresholds, each times a number.

    `places` are (where, number) by name.
    """

    def find(stored):
        ends = {}
        for name, (where, number) in places.items():
            low, high, _ = bracket(stored, where)
            ends[name] = (low * number, high * number)
        lows, highs = zip(*ends.values(), strict=True)
        least, most = max(1.0, max(lows) / min(highs)), max(highs) / min(lows)
        shown = ", ".join(f"{name} {low:.2g} to {high:.2g}" for name, (low, high) in ends.items())
        return Found(
            math.sqrt(least * most),
            least,
            most,
            f"{what}: {shown}; the largest is {least:.2g} to {most:.2g} times the smallest",
        )

    return find
