"""Reach one residual error rate by a strong pulse, by a code, by writing again: joules, seconds, area, pulses.

Legend: p error rate of one pulse on a cell that must turn, the same for both bits. q = p/2 error rate of a cell when
random bits are written over random bits, since half of the cells hold their bit already and cannot fail. n attempts.

plain   a bit is wrong with q, a word of 64 bits with 1 - (1 - q)^64
secded  blocks of 64 + 8 cells; two or more wrong cells lose the block (two are detected and read as zero, more may be
        taken for one): every bit of it counts as lost, with 1 - (1 - q)^72 - 72 q (1 - q)^71
        ("kept": its bits stay as they are; then only the wrong ones count, k of 72 where k >= 2 are wrong)
retry   after each pulse but the last the word is read, and wrong cells are pulsed again: a bit is wrong with p^n/2
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binom

import bridge
import mtjsim
from bridge.dies.rate_distribution import DISTRIBUTION, quasi_normals
from mtjsim.checks import checked_choice
from mtjsim.rng import child

TARGET, UNPROTECTED = 1e-9, 1e-3
TEMPERATURE = 300.0  # [K]
WORD, BLOCK = 64, 72  # data cells of an access; cells of a SECDED code word
PULSE_WIDTH = 25e-9  # [s] where every way gets the same pulse
SIZINGS = ("same cell", "same pulse")
SCAN = (0.3, 1e-10)  # raw rates of the scan, from and to
SHOWN_ATTEMPTS = (2, 3, 4)  # in the table, next to the cheapest
SPREAD = bridge.Spread(diameter_d2d=0.03, anisotropy_d2d=0.02, damping_d2d=0.05)  # assumed
CODE_ENERGY = 1e-12  # of encoding, and of decoding, 64 bits [J]; assumed
READ = bridge.ReadSetting(voltage=0.1, duration=5e-9, disturbs="ap", sense_noise=0.5e-6, sense_energy=10e-15)
SOURCES = {
    "junction": "Fokker-Planck, preset arm_2021 (each parameter has its source there)",
    "transistor": "n-th power law, 45 nm LOP of NVSim's table; its shape assumed (bridge/cell/transistor.py)",
    "driver": "regulated current from the supply, 300 ohm of driver and line: assumed",
    "area": "3 (W/F + 1) F^2 a cell: assumed (bridge/cell/cell.py); no sense amplifiers, no decoder, no code logic",
    "read": "0.1 V on the bit line for 5 ns, noise of 0.5 uA, 10 fJ a bit in the sense amplifier: assumed",
    "code": "1 pJ to encode and 1 pJ to decode a word of 64 bits: assumed; no time",
}


def the_cell() -> bridge.Cell:
    """Return the cell: one transistor, one junction, a supply of 1.5 V and a boosted word line; both assumed."""
    transistor = bridge.Transistor.of_node("45nm_lop", width=360e-9)
    device = mtjsim.load_preset("arm_2021")
    return bridge.Cell(device=device, transistor=transistor, supply_voltage=1.5, word_line_voltage=1.8)


def solve(rate: float, sizing: str) -> tuple[bridge.Cell, bridge.OperatingPoint]:
    """Return the cell and the write whose pulses fail with `rate`.

    In the "same cell" all the current that its transistor passes flows for as long as it takes. With the "same pulse"
    the currents are the weakest that do, and the transistor the narrowest that carries them.
    """
    cell = the_cell()
    if sizing == "same cell":
        return cell, bridge.find_setting(cell, rate, minimize="latency", temperature=TEMPERATURE)
    return bridge.smallest_cell(cell, rate, pulse_width=PULSE_WIDTH, temperature=TEMPERATURE)


# ---- what is left of the errors ------------------------------------------------------------------------------------


def plain_loss(rate: Any) -> Any:
    """Share of wrong bits after random bits were written over random bits."""
    return np.asarray(rate) / 2


def secded_loss(rate: Any) -> Any:
    """Share of lost bits, all those of a block with two or more wrong cells."""
    return binom.sf(1, BLOCK, np.asarray(rate) / 2)


def kept_loss(rate: Any) -> Any:
    """Share of wrong bits of SECDED if a block with two or more wrong cells is kept as it is."""
    q, k = np.asarray(rate)[..., None] / 2, np.arange(2, BLOCK + 1)
    return (binom.pmf(k, BLOCK, q) * k / BLOCK).sum(-1)


def retry_loss(rate: Any, attempts: int) -> Any:
    """Share of wrong bits after `attempts` pulses, each but the last verified by reads that do not err."""
    return np.asarray(rate) ** attempts / 2


def secded_rate(target: float, loss: Callable[[Any], Any] = secded_loss) -> float:
    """Largest p with which SECDED leaves at most `target`."""
    return float(np.exp(brentq(lambda x: np.log(loss(np.exp(x)) / target), np.log(1e-9), np.log(0.5))))


def lost_words(way: str, rate: float, attempts: int = 1) -> float:
    """Share of 64-bit words with a bit that is wrong or lost."""
    if way != "retry":
        return float(secded_loss(rate))
    return float(-np.expm1(WORD * np.log1p(-float(retry_loss(rate, attempts)))))


# ---- cells that differ ----------------------------------------------------------------------------------------------


def moments_of(population: bridge.Population, most: int, seed: int) -> Any:
    """Means of p, p^2, ... p^most over the population and both bits, (most,).

    High powers live far out: quasi-normals of twice the width, weighted back. The mean agrees with `mean_error_rates`
    to 0.2 %, p^4 at p = 7e-3 with that of 2.5 times the width to 0.1 %; higher powers are less certain.
    """
    u = quasi_normals(len(population.spread.properties), 1 << 12, child(seed, "rate_quadrature", DISTRIBUTION))
    z = 2 * u
    weight = 2.0 ** u.shape[1] * np.exp((u**2 - z**2).sum(1) / 2) / len(u)
    log_p = np.stack([population.log_rates(bit, z) for bit in (0, 1)])
    return np.array([(np.exp(k * log_p) @ weight).mean() for k in range(1, most + 1)])


def loss_of(way: str, attempts: int, moments: Any) -> float:
    """Share of lost bits of a population; the cells of a block differ, so that a code sees the mean of p."""
    return float(LOSS[way](moments[0]) if way in LOSS else moments[attempts - 1] / 2)


def spread_row(label: str, way: str, attempts: int, rate: float, seed: int) -> dict[str, Any]:
    """Write the same cells, which now differ, for so long that the target is kept again."""
    cell, point = solve(rate, "same cell")
    target = UNPROTECTED if label == "unprotected" else TARGET
    nominal, steps = point.setting.pulse_width, []
    width = nominal
    for _ in range(8):  # secant, ln loss against the width
        setting = replace(point.setting, pulse_width=width)
        moments = moments_of(bridge.Population(cell, SPREAD, setting, TEMPERATURE), attempts, seed)
        steps.append((width, np.log(loss_of(way, attempts, moments) / target)))
        if abs(steps[-1][1]) < 0.01:
            break
        if len(steps) == 1:
            width = 1.25 * nominal
        else:
            (a, x), (b, y) = steps[-2:]
            width = b - y * (b - a) / (y - x)
    point = bridge.operating_point(cell, setting, temperature=TEMPERATURE)
    return {
        "way": label,
        "attempts": attempts,
        "nominal_width_s": nominal,
        "lost_bits_nominal_width": float(np.exp(steps[0][1]) * target),
        "mean_pulse_error_rate": float(moments[0]),
        "lost_bits": loss_of(way, attempts, moments),
        **cost(cell, point, secded=way in LOSS, attempts=attempts, moments=moments),
    }


# ---- what it costs -------------------------------------------------------------------------------------------------


def cost(
    cell: bridge.Cell,
    point: bridge.OperatingPoint,
    *,
    secded: bool = False,
    attempts: int = 1,
    word: int = WORD,
    moments: Any = None,
) -> dict[str, float]:
    """Return what a data bit costs, random bits written over random bits, `word` bits an access.

    `moments` are the means of p, p^2, ... over cells that differ; left out, powers of the point's own p.
    """
    p, cells = point.mean_error_rate, BLOCK / WORD if secded else 1.0
    reading = bridge.read_point(cell, READ, temperature=TEMPERATURE)
    # shares of the cells, and of the words, that need the k-th retry
    again = [(p**k if moments is None else moments[k - 1]) / 2 for k in range(1, attempts)]
    words = [-np.expm1(word * np.log1p(-q)) for q in again]
    reads = 1 + sum(words[:-1]) if attempts > 1 else 0.0  # every pulse but the last is verified, if there was one
    # a pulse costs the mean of its successes and failures, as in the ledger
    parts = {part: cells * (table.mean() + sum(again) * table[:, 0].mean()) for part, table in point.energies.items()}
    sensed = (reading.energy_0 + reading.energy_1) / 2
    path = sum(getattr(reading, f"{part}_energy_{bit}") for part in ("transistor", "driver") for bit in (0, 1)) / 2
    code = CODE_ENERGY / WORD if secded else 0.0
    device = parts["junction"] + reads * sensed
    with_driver = sum(parts.values()) + reads * (sensed + path)
    highest = max(
        abs(I) * float(mtjsim.junction_resistance(cell.device, m_z=np.array(-1.0), current=abs(I)))
        for I in point.setting.amplitudes
    )
    pulse, read = point.latency, reading.latency
    return {
        "junction_J": float(device),
        "with_driver_J": float(with_driver),
        "system_J": float(with_driver + reads * reading.sense_energy + code),
        "system_read_J": float(cells * (sensed + path + reading.sense_energy) + code),
        "latency_mean_s": float(pulse * (1 + sum(words)) + read * reads),
        "latency_worst_s": float(pulse * attempts + read * (attempts - 1)),
        "area_F2": cells * cell.area_f2,
        "cells_per_bit": cells,
        "pulses_per_cell": float(1 + sum(again)),
        "verifies_per_write": float(reads),
        "current_uA": max(point.setting.amplitudes) * 1e6,
        "pulse_width_s": point.setting.pulse_width,
        "highest_junction_V": highest,
    }


LOSS: dict[str, Callable[[Any], Any]] = {"secded": secded_loss, "kept": kept_loss}


def ways(target: float, most_attempts: int) -> list[tuple[str, str, int, float]]:
    """Return (label, way, attempts, largest p) of all that is compared; a plain write is a retry of one attempt."""
    return [
        ("unprotected", "retry", 1, 2 * UNPROTECTED),
        ("strong pulse", "retry", 1, 2 * target),
        ("strong pulse, words", "retry", 1, -2 * np.expm1(np.log1p(-target) / WORD)),  # 1e-9 of words and not of bits
        ("SECDED", "secded", 1, secded_rate(target)),
        ("SECDED, kept", "kept", 1, secded_rate(target, kept_loss)),
        *((f"retry, {n} pulses", "retry", n, (2 * target) ** (1 / n)) for n in range(2, most_attempts + 1)),
    ]


def row(label: str, way: str, attempts: int, rate: float, sizing: str) -> dict[str, Any]:
    """Solve one way and return its line of the table."""
    cell, point = solve(rate, sizing)
    p = point.mean_error_rate
    return {
        "sizing": sizing,
        "way": label,
        "attempts": attempts,
        "pulse_error_rate": p,
        "lost_bits": float(LOSS[way](p) if way in LOSS else retry_loss(p, attempts)),
        "lost_words": lost_words(way, p, attempts),
        **cost(cell, point, secded=way in LOSS, attempts=attempts),
        "transistor_width_m": cell.transistor.width,
        "cell_identity": cell.identity,
        "point_identity": point.identity,
    }


def scan(rates: Any, sizing: str) -> list[dict[str, Any]]:
    """Return what is left and what it costs, of a plain write and of SECDED at raw rates of one pulse."""
    rows = []
    for rate in rates:
        cell, point = solve(float(rate), sizing)
        p = point.mean_error_rate
        for way, loss in (("plain", plain_loss(p)), ("secded", secded_loss(p))):
            head = {"sizing": sizing, "way": way, "pulse_error_rate": p, "lost_bits": float(loss)}
            rows.append(head | cost(cell, point, secded=way == "secded"))
    return rows


def shown(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keep of the retries those of `SHOWN_ATTEMPTS` and the one of least system energy, which is named so."""
    best = min((line for line in rows if line["attempts"] > 1), key=lambda line: line["system_J"])
    few = [line for line in rows if line["attempts"] in (1, *SHOWN_ATTEMPTS) and line is not best]
    return [*few, best | {"way": f"retry, {best['attempts']} pulses (least energy)"}]


def junction_to_memory(
    *,
    sizing: str,
    most_attempts: int = 20,
    scanned: int = 14,
    spread_attempts: Sequence[int] = (1, 2, 3, 4, 6, 8, 12, 16),
    seed: int = 0,
) -> dict[str, Any]:
    """Return what each way to the target costs.

    Parameters
    ----------
    sizing : {"same cell", "same pulse"}
        See `solve`.
    most_attempts : int
        Of a retry.
    scanned : int
        Raw rates of a scan of plain writes and SECDED.
    spread_attempts : sequence of int
        Retries that are compared where the cells differ; only for the same cell.
    seed : int
        Of the quasi-random cells; all else is solved.

    Returns
    -------
    dict
        Energy with sense amplifiers and code logic ("WAY.system_J"), mean latency and area of the strong pulse, of
        SECDED and of the cheapest retry; the tables "ways", "retries", "scan", "spread" and "sources".
    """
    checked_choice("sizing", sizing, SIZINGS)
    every = ways(TARGET, most_attempts)
    rows = [row(*way, sizing) for way in every]
    few = [w for w in every if w[1] in ("retry", "secded") and w[2] in spread_attempts and "words" not in w[0]]
    table = shown(rows)
    best = {"strong pulse": "strong pulse", "SECDED": "SECDED", table[-1]["way"]: "retry"}
    columns = ("system_J", "with_driver_J", "junction_J", "latency_mean_s", "area_F2")
    return {
        **{f"{best[line['way']]}.{name}": line[name] for line in table if line["way"] in best for name in columns},
        "retry.attempts": table[-1]["attempts"],
        "cell_identity": the_cell().identity,
        "tables": {
            "ways": table,
            "retries": [line for line in rows if line["attempts"] > 1],
            "scan": scan(np.geomspace(*SCAN, scanned), sizing),
            "spread": [spread_row(*way, seed) for way in few] if sizing == "same cell" else [],
            "sources": [{"sizing": sizing, "part": part, "source": text} for part, text in SOURCES.items()],
        },
    }
