"""`mtj-bnn device`: a junction, and what follows from its declaration."""

import argparse
import sys
from typing import Any

from bnn.cli.shared_options import DEVICE, add_plot
from bnn.cli.typed import figure_file, name_of, named_device, print_json, save_figure
from mtjsim.checks import ArgumentError
from mtjsim.device import MTJ
from mtjsim.presets import DeviceFile, device_toml, list_presets, preset_file
from mtjsim.spin_torque import is_across, write_sense

EXAMPLE = "mtj-bnn device arm_2021 --plot arm_2021.png"
THRESHOLD = "the layer turns into the plane, and leaves it"
DRIVEN = {
    1.0: "to the state that a write names",
    -1.0: "to the other state: reverse the polarizer",
    0.0: "to either state",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.set_defaults(verb=device)
    parser.add_argument("device", nargs="?", metavar="DEVICE", help=f"{DEVICE}; without it the presets are listed")
    add_plot(parser, "its switching, write errors, read disturb and retention")


def device(options: argparse.Namespace) -> None:
    """Show a junction and what follows from its declaration; without a name, list the presets."""
    plot = figure_file(options)
    if options.device is None:
        if plot is not None:
            raise ArgumentError("--plot", "needs a device: name a preset or a TOML file.")
        _list_presets(options)
        return
    chosen = named_device(options.device)
    if plot is not None:
        from bnn.cli.portrait import device_portrait, left_out

        save_figure(device_portrait(chosen.device, title=chosen.title or name_of(options.device)), plot)
        for panel, reason in left_out(chosen.device).items():
            print(f"not drawn: {panel}, because {reason}", file=sys.stderr)
    derived = _derived(chosen.device)
    if options.json:
        described = {"title": chosen.title, "reference": chosen.reference, "not_modelled": chosen.not_modelled}
        declared = {"device": chosen.device.model_dump(), "derived": derived}
        print_json({**described, **declared, "provenance": dict(chosen.provenance)})
    else:
        _print_device(chosen, derived)


def _list_presets(options: argparse.Namespace) -> None:
    titles = {name: preset_file(name).title for name in list_presets()}
    if options.json:
        print_json(titles)
    else:
        print("\n".join(f"{name:20} {title}" for name, title in titles.items()))


def _derived(d: MTJ) -> dict[str, Any]:
    derived: dict[str, Any] = {
        "resistance_p_ohm": d.resistance_p,
        "resistance_ap_ohm": d.resistance_ap,
        "thermal_stability_300K": d.thermal_stability(),
    }
    if d.stray_field[2] != 0:
        derived |= {f"thermal_stability_{s}_300K": d.thermal_stability(state=s) for s in ("p", "ap")}
    derived |= {
        "critical_current_p_to_ap_A": d.critical_current("p_to_ap"),
        "critical_current_ap_to_p_A": d.critical_current("ap_to_p"),
        "characteristic_time_s": d.characteristic_time(),
        "identity": d.identity,
    }
    across = f"{THRESHOLD} {DRIVEN[write_sense(d)]}"
    return derived | ({"critical_current_is": across} if is_across(d) else {})


def _print_device(chosen: DeviceFile, derived: dict[str, Any]) -> None:
    """Print a device file, which the verbs take; what follows from it is in comments."""
    described: dict[str, Any] = {key: getattr(chosen, key) for key in ("title", "reference", "not_modelled")}
    print(device_toml(chosen.device, **described, provenance=chosen.provenance))
    print("# derived from these numbers:")
    note = f"  ({derived.pop('critical_current_is')})" if "critical_current_is" in derived else ""
    for name, value in derived.items():
        text = f"# {name} = {value:.6g}" if isinstance(value, float) else f"# {name} = {value}"
        print(text + note if name.startswith("critical_current") else text)
