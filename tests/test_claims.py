"""CLAIMS.md follows from the stored records, and each rule from its numbers."""

import csv
import json
import math

import pytest

from bnn.studies.table import interval
from physics import approx
from stored import ROOT, script

CLAIMS = {**script("claim_rules"), **script("claims")}
BENCH = script("bench")
Claim, Found, Stored = (CLAIMS[name] for name in ("Claim", "Found", "Stored"))


def stored(folder, name="table", rows=(), **record):
    """Write a table and a record to a folder; return the stored result."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (folder / "run.json").write_text(json.dumps({"code": {}, **record}))
    return Stored(folder)


def test_claims_md_is_that_of_the_stored_records():
    """If this fails: `make claims`."""
    assert (ROOT / "CLAIMS.md").read_text("utf-8") == CLAIMS["text_of"]()


@pytest.mark.parametrize(
    ("bound", "low", "high", "verdict"),
    [
        ({"least": 1.0}, 1.1, 2.0, "confirmed"),
        ({"least": 1.0}, 0.9, 2.0, "undecided"),
        ({"least": 1.0}, 0.1, 0.9, "not confirmed"),
        ({"least": 1.0}, 1.0, math.inf, "confirmed"),
        ({"most": 1.0}, 0.1, 0.9, "confirmed"),
        ({"most": 1.0}, 0.9, 1.1, "undecided"),
        ({"most": 1.0}, 1.1, 1.2, "not confirmed"),
        ({"most": 1.0}, -math.inf, math.inf, "undecided"),
    ],
)
def test_the_verdict_follows_from_the_whole_interval(bound, low, high, verdict):
    claim = Claim("c", "s", "f", lambda stored: None, **bound, bound="b")
    assert claim.verdict(Found((low + high) / 2, low, high, ""))[0] == verdict


def test_every_claim_has_one_bound_and_a_line_with_five_cells():
    claims = CLAIMS["CLAIMS"]
    assert len({claim.text for claim in claims}) == len(claims)
    for claim in claims:
        assert (claim.least is None) != (claim.most is None)
        cells = CLAIMS["line_of"](claim, ROOT / "notebooks" / "results")
        assert len(cells) == 5
        assert cells[-1].partition(":")[0] in ("confirmed", "not confirmed", "undecided")


def test_what_is_not_stored_is_undecided_and_says_so(tmp_path):
    claim = Claim("c", "s", "one", lambda stored: Found(2.0, 2.0, 2.0, "two"), least=1.0, bound="at least 1")
    line_of = CLAIMS["line_of"]
    assert line_of(claim, tmp_path)[-1] == "undecided: not measured yet"
    folder = stored(tmp_path / "one", rows=[{"a": 1}]).folder
    assert line_of(claim, tmp_path)[-2:] == ("two", "confirmed: within the bound, at least 1")
    (folder / "run.json").write_text("{}")
    assert line_of(claim, tmp_path)[-1] == "undecided: the stored table is of an older version"
    stored(tmp_path / "one", rows=[{"a": 1}])
    missing = Claim("c", "s", "one", lambda stored: stored.rows("nothing"), least=1.0)
    assert line_of(missing, tmp_path)[-1] == "undecided: there is no nothing.csv"
    diverged = Claim("c", "s", "two", CLAIMS["gap"]("a", {"arm": "x"}, {"arm": "x"}, "gap"), least=1.0)
    stored(tmp_path / "two", rows=[{"arm": "x", "repeat": 0, "a": ""}])
    assert line_of(diverged, tmp_path)[-1] == "undecided: no a in repeat 0 at arm = x: the training diverged"


def test_accuracies_are_paired_by_network():
    found = CLAIMS["points"]([0.95, 0.97, 0.96], [0.94, 0.95, 0.95], "gain")
    assert (found.mean, found.low, found.high) == approx(interval([1.0, 2.0, 1.0]))
    one = CLAIMS["points"]([0.95], [0.9], "gain")  # one network has no interval
    assert (one.low, one.high) == (-math.inf, math.inf)


def test_a_deviation_contains_the_error_of_the_references(tmp_path):
    row = {"kind": "axial", "cases": 14, "largest_deviation": 2e-7, "reference_error": 1e-7}
    found = CLAIMS["deviation"]("axial")(stored(tmp_path, rows=[row]))
    assert (found.mean, found.low, found.high) == approx((2e-7, 1e-7, 3e-7))


def test_decades_between_two_kinds_of_errors(tmp_path):
    head, name = {"arm": "real", "memory.words.protection": "none", "repeats": 3}, "log10_memory.words.error_rate"
    kinds = {"overwrite": (-2.5, "", -3.0, -2.2), "independent": (-8.0, "", -8.2, -7.9)}

    def rows():
        for errors, (log10, bound, low, high) in kinds.items():
            own = {"memory.words.errors": errors, name: log10, "bound": bound, "lowest": low, "highest": high}
            yield head | own

    names = ("overwrite", "independent")
    ways = {own: {"arm": "real", "memory.words.errors": own, "memory.words.protection": "none"} for own in names}
    rule = CLAIMS["decades"](name, ways, "lost at")
    found = rule(stored(tmp_path, "crossing", list(rows())))
    assert (found.mean, found.low, found.high) == approx((5.5, 4.9, 6.0))
    kinds["overwrite"] = (-2.0, ">", -2.0, math.inf)
    found = rule(stored(tmp_path, "crossing", list(rows())))
    assert (found.low, found.high) == (approx(5.9), math.inf)
    assert "lost at overwrite >0.01, independent 1e-08" in found.words
    kinds["independent"] = (-8.0, "<", -math.inf, -8.0)
    found = rule(stored(tmp_path, "crossing", list(rows())))
    assert (found.low, found.high) == (approx(6.0), math.inf)
    kinds |= {"overwrite": (-2.0, "", -2.2, -1.9), "independent": (-8.0, ">", -8.0, math.inf)}  # may be as good
    found = rule(stored(tmp_path, "crossing", list(rows())))
    assert (found.low, found.high) == (-math.inf, approx(6.1))
    assert Claim("c", "s", "f", None, least=1.0).verdict(found)[0] == "undecided"
    kinds["overwrite"] = (-2.0, "", "", "")  # of one network alone
    with pytest.raises(LookupError, match="a reference failed"):
        rule(stored(tmp_path, "crossing", list(rows())))
    kinds["overwrite"] = ("", "reference failed", "", "")
    with pytest.raises(LookupError, match="a reference failed"):
        rule(stored(tmp_path, "crossing", list(rows())))


def test_two_kinds_of_errors_at_the_same_rate(tmp_path):
    accuracies = {"overwrite": (0.94, 0.95), "same share": (0.97, 0.98), "full rate": (0.80, 0.82)}
    rows = [
        {"trained_at": trained, "write_error_rate": rate, "mode": mode, "accuracy": value if trained == 0 else 0.5}
        for trained in (0.0, 0.05)
        for rate in (0.2, 0.3)
        for mode, values in accuracies.items()
        for value in values
    ]
    rows = [row for row in rows if row["write_error_rate"] == 0.2 or row.update(accuracy=0.1) is None]
    found = CLAIMS["modes"]("full rate", 1)(stored(tmp_path, "modes", rows))
    assert found.mean == approx(13.5)
    assert CLAIMS["modes"]("same share", -1)(Stored(tmp_path)).mean == approx(3.0)


def test_the_gain_of_a_correction(tmp_path):
    rows = [
        {
            "memory.bits.holds": kind,
            "memory.bits.error_rate": before,
            "test.run.memory.bits.error_rate": after,
            "test.run.correct": way,
            "run.accuracy": value + 0.001 * repeat,
        }
        for (kind, before, after, way), value in {
            ("signs", 0.0, 0.1, "none"): 0.84,
            ("signs", 0.0, 0.1, "rescale"): 0.92,
            ("signs", 0.1, 0.0, "rescale"): 0.5,
            ("activations", 0.0, 0.1, "rescale"): 0.4,
        }.items()
        for repeat in range(3)
    ]
    found = CLAIMS["corrected"]("signs", 0.0, 0.1)(stored(tmp_path, rows=rows))
    assert (found.mean, found.low, found.high) == approx((8.0, 8.0, 8.0), abs=1e-9)


def test_energies_of_two_ways(tmp_path):
    row = {"sizing": "same cell", "retry.system_J": 6e-13, "SECDED.system_J": 1.2e-12}
    found = CLAIMS["cheaper"]("retry", "SECDED")(stored(tmp_path, rows=[row, row | {"sizing": "same pulse"}]))
    assert found.mean == approx(0.5)
    assert "600 against 1200 fJ" in found.words


def test_half_the_energy_is_that_of_writes_alone_in_the_same_cell(tmp_path):
    points = (("same cell", 0, 2.3), ("same cell", 10, 1.5), ("same pulse", 0, 1.4), ("same pulse", 10, 1.2))
    rows = [
        {
            "sizing": sizing,
            "reads_per_write": reads,
            "a.ratio_system": ratio,
            "b.ratio_system": 0.7,
            "a.ratio_latency": 3.5,
        }
        for sizing, reads, ratio in points
    ]
    found = CLAIMS["halved"]("a", **{"of b": "b"})(stored(tmp_path, rows=rows))
    assert (found.mean, found.low, found.high) == (2.3, 2.3, 2.3)
    of_reads = "1.50 with 10 reads a write; 0.70 with 10 reads a write, of b"
    words = f"(0.70 of b; 1.40 with the same pulse in each cell; {of_reads}); its writes take 3.5 times as long"
    assert found.words.endswith(words)


def test_the_cheapest_point_of_the_demo_is_one_that_does_not_invert(tmp_path):
    head = {"training": "with errors", "loss": 0.002, "loss_low": -0.001}
    rows = [
        head | {"error_rate_1": 0.9, "energy_per_bit_J": 1e-13, "loss_high": 0.005},  # inverts
        head | {"error_rate_1": 0.2, "energy_per_bit_J": 2e-13, "loss_high": 0.02},  # loses too much
        head | {"error_rate_1": 0.05, "energy_per_bit_J": 3e-13, "loss_high": 0.005},
        head | {"error_rate_1": 1e-9, "energy_per_bit_J": 1e-12, "loss_high": 0.005},
    ]
    found = CLAIMS["weaker_activations"](stored(tmp_path, "curve", rows))
    assert found.mean == approx(0.3)


def bench(name, extra, params=None):
    fullname = f"tests/benchmarks/test_packed_bench.py::{name}"
    return {"fullname": fullname, "extra_info": extra, "params": params, "stats": {"total": 2.0}}


def test_ratios_of_benchmarks_are_kept_and_seconds_and_arguments_are_not(tmp_path):
    content = {
        "machine_info": {"node": "a-name", "machine": "x86_64", "system": "Linux", "cpu": {"brand_raw": "A CPU"}},
        "benchmarks": [
            bench("test_a[64]", {"inputs": 64.0, "times_mkl_to_bits": 7.0, "seconds": 3.0}, {"inputs": 64.0}),
            bench("test_a[128]", {"inputs": 128.0, "times_mkl_to_bits": 9.0, "adam_milliseconds": 3.0}, {"inputs": 1}),
            bench("test_b", {"milliseconds_over_point": 1.5, "share_of_adam": 0.2, "ns_per_spin_step": 5.0}),
        ],
    }
    record = BENCH["record_of"](content)
    found = {(row["benchmark"], row["ratio"]): row["value"] for row in BENCH["ratios"](content)}
    assert found == {
        ("test_a[64]", "times_mkl_to_bits"): 7.0,
        ("test_a[128]", "times_mkl_to_bits"): 9.0,
        ("test_b", "milliseconds_over_point"): 1.5,
        ("test_b", "share_of_adam"): 0.2,
    }
    record.write(tmp_path)
    saved = json.loads((tmp_path / "run.json").read_text())
    assert "a-name" not in (tmp_path / "run.json").read_text()
    assert saved["machine"]["cpu"] == {"brand_raw": "A CPU"}
    assert {"bnn.packed.trace", "mtjsim.switching", "bridge.write"} <= saved["code"].keys()
    speed = CLAIMS["ratio"]("test_a", "times_mkl_to_bits")(Stored(tmp_path))
    assert (speed.low, speed.high) == (7.0, 9.0)
    assert speed.words == "7 to 9 in 2 measurements; A CPU"
    with pytest.raises(LookupError, match="no test_c in the record"):
        CLAIMS["ratio"]("test_c", "times")(Stored(tmp_path))


def test_the_benchmarks_that_claims_name_are_there():
    text = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests" / "benchmarks").glob("test_*.py"))
    names = [claim.find.__closure__ for claim in CLAIMS["CLAIMS"] if claim.folder == "bench"]
    cells = [cell.cell_contents for closure in names for cell in closure]
    functions = {cell for cell in cells if isinstance(cell, str)}
    missing = {name for name in functions if f"def {name}(" not in text}
    assert functions
    assert not missing


# ---- rules of the published works ------------------------------------------------------------------------------------

NETWORKS = [
    {"arm": arm, "rate": rate, "repeat": repeat, "a": accuracy - 0.01 * repeat, "b": accuracy - 0.02 * repeat, "c": own}
    for arm, rate, accuracy, own in (("one", 0.1, 0.9, 0.5), ("two", 0.1, 0.8, 0.7), ("two", "[0.1, 0.2]", 0.7, 0.6))
    for repeat in (0, 1, 2)
]
ONE, TWO, LIST = {"arm": "one"}, {"arm": "two", "rate": 0.1}, {"rate": "[0.1, 0.2]"}


def test_accuracies_of_two_points_are_paired_by_the_repeat_whatever_their_order(tmp_path):
    rule = CLAIMS["gap"]("a", ONE, TWO, "one minus two")
    found = rule(stored(tmp_path, rows=[NETWORKS[2], *NETWORKS[3:], *NETWORKS[:2]]))
    assert (found.mean, found.low, found.high) == approx((10.0, 10.0, 10.0))
    assert CLAIMS["gap"]("a", ONE, ONE, "a minus b", minus="b")(Stored(tmp_path)).mean == approx(1.0)
    with pytest.raises(LookupError, match="have other repeats"):
        rule(stored(tmp_path, rows=NETWORKS[1:]))
    with pytest.raises(LookupError, match="no a in repeat 1 at arm = one: the training diverged"):
        rule(stored(tmp_path, rows=[NETWORKS[0], NETWORKS[1] | {"a": ""}, *NETWORKS[2:]]))


def test_the_largest_gap_is_the_one_with_the_largest_upper_end(tmp_path):
    found = CLAIMS["largest_gap"]("a", ONE, {"first": TWO, "second": LIST}, "minus")(stored(tmp_path, rows=NETWORKS))
    assert (found.mean, "minus second" in found.words) == (approx(20.0), True)


def test_the_best_of_several_ways_is_chosen_by_another_value_than_the_one_that_is_judged(tmp_path):
    ways = {"first": (ONE, "c"), "second": (TWO, "c"), "third": (LIST, "c")}
    found = CLAIMS["gap_of_best"](("a", ONE), "b", ways, "first minus b")(stored(tmp_path, rows=NETWORKS))
    assert found.mean == approx(100 * (0.89 - 0.78))
    assert "the best of 3 ways, second (chosen on images held out)" in found.words  # by a or b it is the first


def test_a_level_and_a_quotient_have_intervals_over_networks(tmp_path):
    own = stored(tmp_path, rows=NETWORKS)
    found = CLAIMS["level_of"]("a", ONE, "one")(own)
    assert (found.mean, found.low) == approx((89.0, interval([90.0, 89.0, 88.0])[1]))
    found = CLAIMS["quotient"]("a", "c", "a over c", ONE)(own)
    assert (found.mean, found.low) == approx((1.78, interval([1.8, 1.78, 1.76])[1]))
    assert CLAIMS["quotient"]("c", "c", "one over two", ONE, TWO)(own).mean == approx(5 / 7)
    also = CLAIMS["quotient"]("a", "c", "a over c", ONE, TWO, also={"c alone": ("c", "c")})(own)
    assert also.words.endswith("; c alone 0.714")


def test_energies_of_a_memory_are_compared_with_and_without_the_rest_of_the_system(tmp_path):
    """6 J of 10 are elsewhere: 4 J in MRAM, its sensing included, against 8 J of the 14 J in SRAM."""
    own = {"training.joules_system": 10.0, "training.joules_of_mram": 4.0, "training.joules_in_sram": 14.0}
    rows = [{"arm": "one", "repeat": repeat} | own for repeat in (0, 1, 2)]
    rows += [{"arm": "sram", "repeat": repeat} | own | {"training.joules_system": 14.0} for repeat in (0, 1, 2)]
    stores = stored(tmp_path, rows=rows)
    found = CLAIMS["of_the_memory"](ONE, "MRAM over", sram=("training.joules_in_sram", ONE), over="mram")(stores)
    assert (found.mean, found.low, found.high) == (0.5, 0.5, 0.5)
    words = (
        "0.5 [0.5, 0.5] for what the MRAM holds; for the whole system 0.714, of which 60 % are in the same SRAM in both"
    )
    assert found.words.endswith(words)
    other = ("training.joules_system", {"arm": "sram"})
    found = CLAIMS["of_the_memory"](ONE, "SRAM over", sram=other, over="sram")(stores)
    assert (found.mean, "for the whole system 1.4," in found.words) == (2.0, True)


def thresholds(folder):
    ends = {
        "sharp": (1e-4, 1e-3, ""),
        "other": (1e-2, 1e-1, ""),
        "never": ("", "", "both ends on one side: above high"),
    }
    ends |= {"always": ("", "", "fails at low"), "open": (1e-4, 1e-2, "not finished")}
    rows = [
        {"arm": arm, "low": low, "high": high, "why": why, "failed_low": 1, "failed_high": 5, "repeats": 8}
        for arm, (low, high, why) in ends.items()
    ]
    return stored(folder, "threshold", rows, study={"bisect": {"high": 0.5}})


def test_a_threshold_is_a_bracket_or_a_bound_and_nothing_where_the_reference_fails(tmp_path):
    own = thresholds(tmp_path)
    found = CLAIMS["brackets"]({"a": {"arm": "sharp"}}, 1e-3, "half fail")(own)
    assert (found.low, found.high) == (1e-4, 1e-3)
    assert found.words == "half fail: the whole bracket is above in 0 of 1, not a 1.0e-04 to 1.0e-03"
    found = CLAIMS["brackets"]({"a": {"arm": "never"}, "b": {"arm": "sharp"}}, 1e-4, "half fail")(own)
    assert (found.low, found.high) == (1e-4, math.inf)
    assert found.words == "half fail: the whole bracket is above in 2 of 2"
    assert Claim("c", "s", "f", None, least=1e-4).verdict(found)[0] == "confirmed"
    assert CLAIMS["brackets"]({"a": {"arm": "never"}}, 0.7, "half fail")(own).words.endswith("not a above 5.0e-01")
    for arm in ("always", "open"):
        with pytest.raises(LookupError, match="no bracket at"):
            CLAIMS["brackets"]({"a": {"arm": arm}}, 1e-3, "half fail")(own)


def test_a_ratio_and_a_product_of_thresholds_take_the_ends_of_their_brackets(tmp_path):
    own = thresholds(tmp_path)
    found = CLAIMS["threshold_ratio"]({"arm": "other"}, {"arm": "sharp"}, "other over sharp")(own)
    assert (found.low, found.high) == approx((10.0, 1000.0))
    found = CLAIMS["threshold_ratio"]({"arm": "never"}, {"arm": "sharp"}, "never over sharp")(own)
    assert (found.low, found.high) == (approx(500.0), math.inf)
    places = {"a": ({"arm": "sharp"}, 100.0), "b": ({"arm": "other"}, 1.0)}  # 0.01 to 0.1, twice
    found = CLAIMS["spread_of_products"](places, "products")(own)
    assert (found.low, found.high) == approx((1.0, 10.0))
    found = CLAIMS["spread_of_products"](places | {"c": ({"arm": "other"}, 100.0)}, "products")(own)  # 1 to 10
    assert (found.low, found.high) == approx((10.0, 1000.0))
