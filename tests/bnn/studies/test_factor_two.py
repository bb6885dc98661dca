"""The factor of two of unprotected weights: ledgers against an own count, against closed forms, bad input."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom
from scipy.stats import t as student_t

import bnn.studies.tasks.factor_two as study
from bnn.studies.tasks.junction_to_memory import cost, secded_loss, the_cell
from bridge.memory.codes import encode_secded
from bridge.memory.read import ReadPoint
from bridge.write import OperatingPoint, WriteSetting
from physics import approx
from stored import small_study

FALSE_ALARM = 1e-6
OTHERS = {  # with rates that are counted often
    "often wrong": study.Scheme(0.05),
    "often again": study.Scheme(0.5 * 0.2**6, attempts=6),
    "coded": study.Scheme(1e-3, secded=True),
}
JUNCTION, TRANSISTOR = np.array([[2.0, 1.0], [5.0, 3.0]]), np.array([[1.0, 0.5], [0.25, 2.0]])  # [bit, kept]
READ_JUNCTION, READ_TRANSISTOR, SENSE, CODE = (0.25, 0.125), (0.5, 0.0625), 0.03125, 1.5  # [bit]; a bit; a block


def at(rate, sizing):
    """Writes that never fail and cost the more the smaller the rate that was wanted, in a cell of 27 F^2."""
    factor = -np.log10(rate)
    point = OperatingPoint.of_rates(
        error_rate_0=0.0,
        error_rate_1=0.0,
        energy_0=factor * JUNCTION[0, 0],
        energy_1=factor * JUNCTION[1, 0],
        latency=factor,
        energies={"junction": factor * JUNCTION, "transistor": factor * TRANSISTOR},
    )
    point = replace(point, setting=WriteSetting(current_0=1e-5, current_1=1e-5, pulse_width=1e-8))
    reading = ReadPoint(
        energy_0=READ_JUNCTION[0],
        energy_1=READ_JUNCTION[1],
        transistor_energy_0=READ_TRANSISTOR[0],
        transistor_energy_1=READ_TRANSISTOR[1],
        sense_energy=SENSE,
        latency=2.0,
    )
    return the_cell(), point, reading


def bits_of(words):
    return np.unpackbits(words.view(np.uint8), bitorder="little")


def expected(scheme, scope, reads, bits, seed):
    """Joules for a data bit of cells that never fail: bit by bit, without a memory or a ledger."""
    held, written = study.random_words(bits, seed)
    old, new = bits_of(held), bits_of(written)
    if scheme.secded:
        old, new = (np.r_[bits_of(w), bits_of(encode_secded(w.view(np.uint64)))] for w in (held, written))
    kept = (old == new).astype(int)
    factor = -np.log10(study.pulse_rate(scheme, scheme.attempts or 2))
    joules = factor * JUNCTION[new, kept].sum() + reads * np.array(READ_JUNCTION)[new].sum()
    if scope != "device":
        joules += factor * TRANSISTOR[new, kept].sum() + reads * np.array(READ_TRANSISTOR)[new].sum()
    if scope == "system":
        joules += reads * SENSE * new.size + scheme.secded * (1 + reads) * CODE * bits / 64
    return joules / bits


@pytest.mark.parametrize("reads", [0, 3])
def test_the_ratios_are_those_of_an_own_count(monkeypatch, reads):
    monkeypatch.setattr(study, "solved", at)
    monkeypatch.setattr(study, "CODE_ENERGY", CODE)
    monkeypatch.setattr(study, "cheapest", lambda scheme, sizing, most: 1)
    monkeypatch.setattr(study, "closed_form", lambda *given, **more: {})
    found = study.factor_two(sizing="same cell", reads_per_write=reads, bits=1280, seed=3)
    plain = study.SCHEMES["unprotected"]
    for label in ("strong pulse", "strong pulse 1e-6", "strong pulse 1e-8", "SECDED"):
        scheme = study.SCHEMES[label]
        for name, scope in study.SCOPES.items():
            ratio = expected(scheme, scope, reads, 1280, 3) / expected(plain, scope, reads, 1280, 3)
            assert found[f"{label}.ratio_{name}"] == approx(ratio, rel=1e-12), (label, name)
        seconds = [-np.log10(study.pulse_rate(s, 1)) + 2.0 * reads for s in (scheme, plain)]
        assert found[f"{label}.ratio_latency"] == approx(seconds[0] / seconds[1], rel=1e-12)
        assert found[f"{label}.ratio_area"] == (1.125 if scheme.secded else 1.0)
    free = found["SECDED.ratio_system"] - (1 + reads) * CODE / 64 / expected(plain, "system", reads, 1280, 3)
    assert found["SECDED free code.ratio_system"] == approx(free, rel=1e-12)


@pytest.mark.parametrize("label", OTHERS)
def test_ledgers_agree_with_the_closed_forms(monkeypatch, label):
    """Sixteen memories of 2^16 bits: two-sided t-tests of five means, 1e-6 each, and what they resolve.

    The negative control: a verify that reads 64 cells, and not 32, is 1.1 % more energy in all, and is found.
    """
    monkeypatch.setattr(study, "SCHEMES", OTHERS)
    scheme, reads = OTHERS[label], 2
    cell, point, _ = study.solved(study.pulse_rate(scheme, scheme.attempts), "same cell")
    given = {"secded": scheme.secded, "attempts": scheme.attempts}
    write, wider = (cost(cell, point, word=word, **given) for word in (32, 64))
    form = study.closed_form(cell, point, scheme, attempts=scheme.attempts, reads=reads)
    monkeypatch.setattr(study, "closed_form", lambda *given, **more: {})  # it takes most of the time of a row

    def lines(count):
        more = {"sizing": "same cell", "most_attempts": 2, "bits": 1 << 16}
        return [study.row(label, reads=count, seed=seed, **more) for seed in range(16)]

    def agrees(values, mean, within=0.005):
        half = student_t.isf(FALSE_ALARM / 2, 15) * np.std(values, ddof=1) / 4
        assert half < within * mean  # the smallest deviation that is found
        return abs(np.mean(values) - mean) <= max(half, 1e-9 * mean)  # a current from the supply has no noise

    alone, read = lines(0), lines(reads)
    for name in ("junction_J", "with_driver_J", "system_J"):
        assert agrees([line[name] for line in alone], write[name]), name
    assert agrees([line["system_J"] for line in read], form["closed_form_J"])
    assert agrees([line["latency_s"] for line in read], form["closed_form_s"], within=0.015)
    if scheme.attempts > 1:
        assert not agrees([line["system_J"] for line in alone], wider["system_J"])
    assert {line["area_F2"] for line in alone} == {write["area_F2"]}


@pytest.mark.parametrize("label", ["unprotected", "unprotected retry"])
def test_the_share_of_wrong_bits_is_that_of_the_scheme(label):
    """Counted in one memory; 2^20 bits find a share that is wrong by a third: what is p, and what is p/2."""
    bits = 1 << 20
    line = study.row(label, sizing="same cell", reads=0, bits=bits, most_attempts=2, seed=5)
    low, high = binom.ppf([FALSE_ALARM / 2, 1 - FALSE_ALARM / 2], bits, study.SCHEMES[label].wrong)
    assert high - low < bits * study.SCHEMES[label].wrong / 3
    assert low <= line["wrong_cells"] <= high
    assert line["data_cells"] == bits


@pytest.mark.parametrize("scheme", study.SCHEMES.values())
def test_a_pulse_may_fail_as_often_as_its_scheme_allows(scheme):
    attempts = scheme.attempts or 3
    p = study.pulse_rate(scheme, attempts)
    left = secded_loss(p) if scheme.secded else p**attempts / 2  # half of the cells hold their bit already
    assert left == approx(scheme.wrong, rel=1e-6)


def test_the_cheapest_retry_is_the_least_of_all(monkeypatch):
    monkeypatch.setattr(study, "solved", lambda rate, sizing: (None, rate, None))
    energies = {2: 3.0, 3: 1.0, 4: 2.0, 5: 0.5}
    monkeypatch.setattr(study, "cost", lambda cell, rate, *, attempts, word: {"system_J": energies[attempts]})
    retry = study.SCHEMES["retry"]
    assert [study.cheapest(retry, "same cell", most) for most in (2, 4, 5)] == [2, 3, 5]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sizing": "same cells"}, "sizing must be one of .*Did you mean 'same cell'"),
        ({"reads_per_write": -1}, "reads_per_write must be .*>= 0, got -1"),
        ({"reads_per_write": 0.5}, "reads_per_write must be .*got 0.5"),
        ({"most_attempts": 1}, "most_attempts must be .*>= 2, got 1"),
        ({"bits": 0}, "bits must be .*>= 64, got 0"),
        ({"bits": 96}, "bits must be a multiple of 64, the bits of an access, got 96"),
    ],
)
def test_bad_input_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        study.factor_two(**{"sizing": "same cell", "reads_per_write": 0, **given})


def test_the_study_end_to_end(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "solved", at)
    monkeypatch.setattr(study, "closed_form", lambda *given, **more: {})
    monkeypatch.setattr(study, "cheapest", lambda scheme, sizing, most: most)
    result = small_study(
        "factor_two", tmp_path, fixed={"bits": 640, "most_attempts": 2}, space={"reads_per_write": [0, 1]}
    )
    assert len(result.rows) == 2 * 2
    assert (tmp_path / "figure.png").exists()
    with (tmp_path / "costs.csv").open(newline="") as file:
        costs = list(csv.DictReader(file))
    assert len(costs) == 2 * 2 * len(study.SCHEMES)
    assert {line["cells_per_bit"] for line in costs if line["scheme"] == "SECDED"} == {"1.125"}
    row = result.summary[0]
    own = {line["scheme"]: float(line["system_J"]) for line in costs[: len(study.SCHEMES)]}
    assert row["strong pulse.ratio_system"] == approx(own["strong pulse"] / own["unprotected"])
    assert row["retry both.ratio_system"] == approx(own["retry"] / own["unprotected retry"])
