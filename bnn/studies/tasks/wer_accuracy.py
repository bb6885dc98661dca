"""Write error rates against reference values of an independent solver: the largest relative deviation.

The references and their conventions are those of tests/golden (README.md there).
"""

import csv
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from mtjsim.checks import ArgumentError, checked_choice
from mtjsim.device import MTJ
from mtjsim.switching import switching_probability, write_error_rate

CASES = "wer_cases.json"
CURVES = {"A_delta60_i1.5_h0": (60, 1.5), "C_delta40_i0.9_h0": (40, 0.9), "E_delta80_i4_h0": (80, 4.0)}  # Delta, i
CRITICAL_CURRENT, CHARACTERISTIC_TIME = 40e-6, 1.7e-9  # of the junctions of the curves; any will do
KINDS = ("axial", "oblique", "curves")


def wer_accuracy(*, kind: str, method: str = "auto", data_dir: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """Return the largest relative deviation over the reference cases of a kind.

    Parameters
    ----------
    kind : {"axial", "oblique", "curves"}
        Writes that are axisymmetric, writes that are not, whole curves of rectangular pulses.
    method : {"auto", "spectral", "finite_volume"}
        As of `mtjsim.write_error_rate`.
    data_dir : path
        tests/golden.

    Returns
    -------
    dict
        `cases`, `largest_deviation`, `reference_error` (the largest of the references' own), `deepest` (the smallest
        reference); the table "cases".
    """
    checked_choice("kind", kind, KINDS)
    if data_dir is None:
        raise ArgumentError("data_dir", f"must be given: the folder of {CASES}, tests/golden in the source.")
    rows = _curves(Path(data_dir), method) if kind == "curves" else _cases(Path(data_dir), kind, method)
    return {
        "cases": len(rows),
        "largest_deviation": max(abs(row["deviation"]) for row in rows),
        "reference_error": max(row["reference_error"] for row in rows),
        "deepest": min(row["reference"] for row in rows),
        "tables": {"cases": rows},
    }


def _cases(folder: Path, kind: str, method: str) -> list[dict[str, Any]]:
    cases = json.loads((folder / CASES).read_text("utf-8"))["cases"]
    return [
        _row(kind, case["name"], method, _solved(case, method), case["value"], case["rel_err"])
        for case in cases
        if _is_axial(case["device"]) == (kind == "axial")
    ]


def _row(kind: str, name: str, method: str, solved: float, reference: float, error: float) -> dict[str, Any]:
    return {
        "kind": kind,
        "name": name,
        "method": method,
        "reference": reference,
        "solved": solved,
        "deviation": solved / reference - 1.0,
        "reference_error": error,
    }


def _is_axial(device: dict[str, Any]) -> bool:
    x, y, _ = device.get("Bext", (0.0, 0.0, 0.0))
    return x == y == 0 and abs(device.get("p", (0.0, 0.0, 1.0))[2]) == 1


def _solved(case: dict[str, Any], method: str) -> float:
    given = case["device"]
    device = MTJ(
        diameter=given["diameter"],
        thickness=given["thickness"],
        saturation_magnetization=given["Ms"],
        anisotropy_field=given["Bk"],
        damping=given["alpha"],
        spin_torque_efficiency=given["eta"],
        spin_torque_asymmetry=given.get("lam", 0.0),
        field_like_ratio=given.get("beta", 0.0),
        stray_field=tuple(given.get("Bext", (0.0, 0.0, 0.0))),
        polarizer=tuple(given.get("p", (0.0, 0.0, 1.0))),
        resistance_area_product=10e-12,  # of no effect under a current
        tunnel_magnetoresistance=1.0,
    )
    question = {"wer": write_error_rate, "sw": switching_probability}[case["quantity"]]
    write: dict[str, Any] = {
        "current": abs(case["current_A"]),
        "pulse_width": case["pulse_s"],
        "temperature": case["T"],
        "rise_time": case["rise_s"],
        "relax_time": case["relax_s"],
        "direction": {"P": "p_to_ap", "AP": "ap_to_p"}[case["from_state"]],
    }
    return float(question(device, **write, method=method))


def _curves(folder: Path, method: str) -> list[dict[str, Any]]:
    rows = []
    for name, (Delta, i) in CURVES.items():
        with (folder / f"wer_curve_{name}.csv").open(encoding="utf-8") as file:
            tau, reference = np.array(list(csv.reader(file))[1:], dtype=float).T
        device = MTJ.from_effective(
            thermal_stability=Delta, critical_current=CRITICAL_CURRENT, characteristic_time=CHARACTERISTIC_TIME
        )
        widths = tau[1:] * CHARACTERISTIC_TIME
        solved = np.asarray(
            write_error_rate(
                device, current=i * CRITICAL_CURRENT, pulse_width=widths, direction="p_to_ap", method=method
            )
        )
        rows += [
            _row("curves", f"{name} tau {at:g}", method, float(own), float(value), 1e-6)
            for at, own, value in zip(tau[1:], solved, reference[1:], strict=True)
        ]
    return rows
