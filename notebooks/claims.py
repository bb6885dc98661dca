"""Write CLAIMS.md: each claim with its source, command, result, verdict, from the stored records alone.

python notebooks/claims.py [FILE]   # CLAIMS.md by default; nothing is run

A claim is a function of a stored result: it returns the result in words, and an interval for the number that the claim
is about. The verdict follows from that interval and the bound of the claim, see `Claim.verdict`.
"""

import csv
import json
import math
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path

from bnn.studies.table import interval
from mtjsim.files import write_whole

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "notebooks" / "results"
RECIPES = "recipes"  # in place of a folder: what shipped recipes expect
DATA = {"batch_norm": "MNIST_FOLDER", "error_modes": "MNIST_FOLDER", "wer_accuracy": "tests/golden"}  # --data-dir
HEAD = """# Claims

Written by `make claims` from the records in `notebooks/results`; do not edit. `make results` says which of them are out
of date with the code. Intervals are 95 % intervals.

* *Confirmed*: the whole interval keeps the bound. *Not confirmed*: the whole interval breaks it. *Undecided*: the
  interval contains the bound, or there is no record.
* A range is the lowest and the highest of the measurements named; a verdict needs all of them on one side.
* A number that is solved has no interval; its error is that of the solver.
"""


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
    return text == value if isinstance(value, str) else float(text) == value


@dataclass(frozen=True)
class Found:
    """The number that a claim is about: mean, low, high (all the same for one without an interval), and in words."""

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
        Of the stored result, in notebooks/results, or "recipes".
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
        return "undecided", f"the interval contains the bound, {self.bound}"


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


# ---- the claims ------------------------------------------------------------------------------------------------------


def deviation(kind):
    """Return the rule of the largest deviation from reference values."""

    def find(stored):
        (row,) = stored.rows("table", kind=kind)
        largest, own = float(row["largest_deviation"]), float(row["reference_error"])
        words = f"largest of {row['cases']}: {largest:.1e}; the references are good to {own:.0e}"
        return Found(largest, max(0.0, largest - own), largest + own, words)

    return find


def decades(network):
    """Return the rule of the decades between the rates that overwrite and independent errors allow."""
    path, name = "memory.words", "log10_memory.words.error_rate"

    def find(stored):
        ways = {}
        for errors in ("overwrite", "independent"):
            where = {"arm": network, f"{path}.errors": errors, f"{path}.protection": "none"}
            (ways[errors],) = stored.rows("crossing", **where)
        first, second = ways["overwrite"], ways["independent"]
        mean = float(first[name]) - float(second[name])
        low, high = float(first["lowest"]) - float(second["highest"]), float(first["highest"]) - float(second["lowest"])
        if first["bound"] == "<" or second["bound"] == ">":  # a bound is one end alone
            low = -math.inf
        if first["bound"] == ">" or second["bound"] == "<":
            high = math.inf
        shown = (f"{errors} {row['bound']}10^{float(row[name]):.1f}" for errors, row in ways.items())
        words = f"one point is lost at {', '.join(shown)}: {mean:.1f} decades, range {low:.1f} to {high:.1f}, "
        return Found(mean, low, high, f"{words}{first['repeats']} networks each")

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
        shown = dict(zip(more, others, strict=True)) | {
            "with the same pulse in each cell": float(pulse[f"{scheme}.ratio_system"]),
            f"with {last['reads_per_write']} reads": float(last[f"{scheme}.ratio_system"]),
        }
        words = "; ".join(f"{value:.2f} {name}" for name, value in shown.items())
        return Found(ratio, ratio, ratio, f"ratio {ratio:.2f}, of ledgers ({words})")

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


def lenet4_with_errors(_):
    """Return the loss of LeNet-4 that was trained with 5 % errors in its activations, tested without errors."""
    clean, errors = (_expected(name)["error_free"] for name in ("mnist_lenet4", "mnist_lenet4_errors"))
    return points(clean, errors, "trained without minus trained with 5 % errors, both tested without")


def _expected(name):
    text = files("bnn.recipes").joinpath("shipped", f"{name}.toml").read_text("utf-8")
    return tomllib.loads(text)["expected"]


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


OURS = "this project"
WORDS = "fp32 words that keep the old bit where a write fails tolerate, in a training, ten times the error rate of"
CLAIMS = (
    Claim(
        "Write error rates of axisymmetric writes are exact to 1e-6, relative",
        OURS, "wer_accuracy", deviation("axial"), most=1e-6, bound="at most 1e-6",
    ),
    Claim(
        "Curves of the write error rate against the pulse width are exact to 5e-6, relative",
        OURS, "wer_accuracy", deviation("curves"), most=5e-6, bound="at most 5e-6",
    ),
    Claim(
        "Writes on the full sphere are exact to 1e-4, relative",
        OURS, "wer_accuracy", deviation("oblique"), most=1e-4, bound="at most 1e-4",
    ),
    *(
        Claim(
            f"{WORDS} words with independent errors ({network} weights)",
            OURS, "weight_words", decades(network), least=1.0, bound="at least 1 decade",
        )
        for network in ("real", "binary")
    ),
    Claim(
        "For each failed write of an activation, overwrite errors do less harm than independent errors (LeNet-4, 20 %)",
        OURS, "error_modes", modes("full rate", 1), least=0.0, bound="at least 0 points",
    ),
    Claim(
        "For each wrong bit they do more harm (LeNet-4, 20 %)",
        OURS, "error_modes", modes("same share", -1), least=0.0, bound="at least 0 points",
    ),
    Claim(
        "Rescaled BatchNorm raises the accuracy of a network in a memory with weight errors (MNIST)",
        OURS, "batch_norm", corrected("signs", 0.0, 0.1), least=0.0, bound="at least 0 points",
    ),
    Claim(
        "Rescaled BatchNorm raises the accuracy of a network that was trained with weight errors and runs without",
        OURS, "batch_norm", corrected("signs", 0.1, 0.0), least=0.0, bound="at least 0 points",
    ),
    Claim(
        "For errors of activations it gains less than one point",
        OURS, "batch_norm", corrected("activations", 0.0, 0.1), most=1.0, bound="at most 1 point",
    ),
    Claim(
        "Writing again after a read reaches 1e-9 with less energy than SECDED",
        OURS, "junction_to_memory", cheaper("retry", "SECDED"), most=1.0, bound="a ratio of at most 1",
    ),
    Claim(
        "SECDED reaches 1e-9 with less energy than one strong pulse",
        OURS, "junction_to_memory", cheaper("SECDED", "strong pulse"), most=1.0, bound="a ratio of at most 1",
    ),
    *(
        Claim(
            f"Weights without error correction at 1e-3 take half the energy of a memory at 1e-9, reached by {way} "
            "(same cell, the whole system, writes alone)",
            "Hirtzlin et al., arXiv:1908.04085 (up to a factor of two)",
            "factor_two", rule, least=2.0, bound="a ratio of at least 2",
        )
        for way, rule in (
            ("a strong pulse", halved("strong pulse")),
            ("SECDED", halved("SECDED")),
            ("writing again after a read", halved("retry", **{"with 2 pulses": "retry 2", "if both do": "retry both"})),
        )
    ),
    Claim(
        "Activations of the digits network can be written with half the energy of 1e-9, for less than one point",
        OURS, "demo", weaker_activations, most=0.5, bound="at most 0.5",
    ),
    Claim(
        "A few percent of errors in the activations of a training cost no accuracy in a test without errors (LeNet-4; "
        "3 epochs here, 200 there)",
        "Tzoufras, Gajek, Walker, arXiv:1905.10927",
        RECIPES, lenet4_with_errors, most=0.1, bound="at most 0.1 points lost",
    ),
    Claim(
        "Binary matrix products on packed bits are 6 times as fast as torch's float32",
        OURS, "bench", ratio("test_binary_matrix_product_against_mkl", "times_mkl_to_bits"),
        least=6.0, bound="at least 6",
    ),
    Claim(
        "Binary convolutions on packed bits are 4 times as fast as torch's float32",
        OURS, "bench", ratio("test_binary_convolution_against_conv2d", "times_conv2d_to_bits"),
        least=4.0, bound="at least 4",
    ),
    Claim(
        "Evaluations with activation errors on packed bits are 7.5 times as fast as in torch (LeNet-4)",
        OURS, "bench", ratio("test_evaluation_of_lenet4_on_packed_bits", "times_torch_draw"),
        least=7.5, bound="at least 7.5",
    ),
    Claim(
        "Errors take at most 1 % of a training step of LeNet-4",
        OURS, "bench", ratio("test_share_of_a_lenet4_training_step", "by_key"), most=0.01, bound="at most 0.01",
    ),
    Claim(
        "Trajectories in single precision are 100 times as fast as cmtj's",
        OURS, "bench", ratio("test_beside_cmtj", "times_faster_single"), least=100.0, bound="at least 100",
    ),
)  # fmt: skip


def line_of(claim, results):
    """Return the cells of a claim: claim, source, command, result, verdict."""
    stored = Stored(results / claim.folder)
    if claim.folder == RECIPES:
        command = "mtj-bnn run mnist_lenet4_errors --seed 0 --data-dir MNIST_FOLDER"
    else:
        command = command_of(claim.folder)
    if claim.folder != RECIPES and stored.record is None:
        older = (results / claim.folder / "run.json").exists()
        why = "the stored table is of an older version" if older else "not measured yet"
        return claim.text, claim.source, f"`{command}`", "none", f"undecided: {why}"
    try:
        found = claim.find(stored)
    except (LookupError, FileNotFoundError):
        return claim.text, claim.source, f"`{command}`", "none", "undecided: the record does not contain it"
    verdict, why = claim.verdict(found)
    return claim.text, claim.source, f"`{command}`", found.words, f"{verdict}: {why}"


def command_of(folder):
    """Return the command that makes a stored result."""
    out = f"--out notebooks/results/{folder}"
    if folder == "bench":
        return "make bench"
    if folder == "demo":
        return f"mtj-bnn demo {out}"
    data = f" --data-dir {DATA[folder]}" if folder in DATA else ""
    return f"mtj-bnn study {folder} {out}{data}"


def text_of(results=RESULTS, claims=CLAIMS):
    """Return CLAIMS.md."""
    head = "| claim | source | command | result | verdict |\n|---|---|---|---|---|\n"
    lines = ("| " + " | ".join(cell.replace("|", "/") for cell in line_of(claim, results)) + " |\n" for claim in claims)
    return f"{HEAD}\n{head}{''.join(lines)}"


if __name__ == "__main__":
    write_whole(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "CLAIMS.md", text_of().encode())
