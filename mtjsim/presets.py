"""Device files in TOML: the published junctions that ship with the package, and users' own.

A device file has one table, either

    [device]      the fields of `MTJ`; `interface_anisotropy` may replace `anisotropy_field`, and `spin_hall_angle`,
                  `channel_width`, `channel_thickness` may replace `spin_torque_efficiency`
    [effective]   the arguments of `MTJ.from_effective`

with quantities as numbers in SI or as text with a unit ("40nm", "0.27 T"). Presets add `title`, `reference`,
`not_modelled` and a table `[provenance]`: for every number where it was read, or that it is derived or assumed.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from mtjsim.checks import ArgumentError, Suggesting, checked_choice
from mtjsim.cylinder import effective_anisotropy_field
from mtjsim.device import MTJ, require_junction
from mtjsim.files import read_text, write_whole
from mtjsim.spin_torque import spin_hall_efficiency
from mtjsim.units import to_si

EFFECTIVE_UNITS = {
    "thermal_stability": "",
    "critical_current": "A",
    "characteristic_time": "s",
    "resistance_p": "ohm",
}
STAND_IN_UNITS = {
    "interface_anisotropy": "J/m^2",
    "spin_hall_angle": "",
    "channel_width": "m",
    "channel_thickness": "m",
}
SHOWN_IN = {"m": ("nm", 1e-9), "ohm m^2": ("ohm um^2", 1e-12), "A/m": ("kA/m", 1e3), "J/(V m)": ("fJ/(V m)", 1e-15)}
FILE_KINDS: dict[str, tuple[type, str]] = {
    "device": (dict, "a table, [device]"),
    "effective": (dict, "a table, [effective]"),
    "provenance": (dict, "a table, [provenance]"),
    "title": (str, "a text"),
    "reference": (str, "a text"),
    "not_modelled": (list, "a list of texts"),
}


@dataclass(frozen=True)
class DeviceFile(Suggesting):
    """A junction and the descriptions in its file.

    Attributes
    ----------
    device : MTJ
        The junction.
    title, reference : str
        Name and publication; empty if the file has none.
    not_modelled : tuple of str
        Known effects that the declaration leaves out.
    provenance : mapping of str to str
        For each number: read, derived or assumed, and where.
    """

    device: MTJ
    title: str = ""
    reference: str = ""
    not_modelled: tuple[str, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)


def list_presets() -> list[str]:
    """Names of the junctions that ship with the package.

    Returns
    -------
    list of str
        Sorted; `load_preset` and `preset_file` take each of them.

    Examples
    --------
    >>> [name for name in list_presets() if name.startswith("arm")]
    ['arm_2021', 'arm_vcma_2021']
    """
    return sorted(entry.name.removesuffix(".toml") for entry in _folder().iterdir() if entry.name.endswith(".toml"))


def load_preset(name: str) -> MTJ:
    """Return the preset junction called `name`.

    Parameters
    ----------
    name : str
        One of `list_presets`.

    Returns
    -------
    MTJ
        The junction alone. `preset_file` returns the descriptions too, as `load_device` does for a file of your own:
        both return a `DeviceFile`, whose `.device` is the junction.

    Raises
    ------
    ValueError
        If there is no such preset; lists the valid names and the nearest.

    Examples
    --------
    >>> round(load_preset("arm_2021").thermal_stability(), 1)
    84.4
    """
    return preset_file(name).device


def preset_file(name: str) -> DeviceFile:
    """Return a preset with its source and the provenance of each number.

    Parameters
    ----------
    name : str
        One of `list_presets`.

    Returns
    -------
    DeviceFile
        The junction is its `.device`, and is what `load_preset` returns.

    Raises
    ------
    ValueError
        As in `load_preset`.

    Examples
    --------
    >>> file = preset_file("arm_2021")
    >>> file.device == load_preset("arm_2021"), file.provenance["damping"].split(":")[0]
    (True, 'read')
    """
    checked_choice("preset", name, list_presets())
    return parse_device(_folder().joinpath(f"{name}.toml").read_text("utf-8"), where=f"preset {name}")


def load_device(path: str | os.PathLike[str]) -> DeviceFile:
    """Read a device file; the docstring of presets.py describes its format.

    Parameters
    ----------
    path : str or path
        Of the TOML file.

    Returns
    -------
    DeviceFile
        The junction is its `.device`; `title`, `reference`, `not_modelled` and `provenance` are those of the file.
        (`load_preset` returns the junction alone, `preset_file` a DeviceFile as this function does.)

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file, or it is a folder.
    ValueError
        If it is not TOML, or a field is missing, unknown, in a wrong unit or out of range: names the file, the field
        and the rule.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     save_device(load_preset("arm_2021"), f"{folder}/mine.toml", title="as published")
    ...     file = load_device(f"{folder}/mine.toml")
    >>> file.title, file.device == load_preset("arm_2021")
    ('as published', True)
    """
    text = read_text(path, kind="device file", remedy=f"Presets: {', '.join(list_presets())}.")
    return parse_device(text, where=os.fspath(path))


def save_device(
    device: MTJ, path: str | os.PathLike[str], *, title: str = "", provenance: Mapping[str, str] | None = None
) -> None:
    """Write a junction as a device file in SI: the whole file or none.

    Parameters
    ----------
    device : MTJ
        The junction; of a `DeviceFile` that is its `.device`.
    path : str or path
        Of the TOML file; its folder must exist. A file that is there is replaced.
    title : str
        Name of the junction.
    provenance : mapping of str to str, optional
        For each number: read, derived, fitted or assumed, and where.

    Raises
    ------
    ValueError
        If `device` is not an MTJ.
    OSError
        If the file cannot be written.

    Notes
    -----
    `load_device(path).device` is the same junction, to the bit. `reference` and `not_modelled` are not written.

    Examples
    --------
    See `load_device`.
    """
    require_junction(device)
    write_whole(path, device_toml(device, title=title, provenance=provenance).encode())


def device_toml(
    device: MTJ,
    *,
    title: str = "",
    reference: str = "",
    not_modelled: Sequence[str] = (),
    provenance: Mapping[str, str] | None = None,
) -> str:
    """Return the text of a device file that gives the same junction back, to the bit."""
    lines = [f"{key} = {_toml_string(text)}" for key, text in (("title", title), ("reference", reference)) if text]
    if not_modelled:
        lines += ["not_modelled = [", *(f"    {_toml_string(text)}," for text in not_modelled), "]"]
    lines += ["", "[device]"] if lines else ["[device]"]
    for name, value in device.model_dump(exclude_none=True).items():
        shown, unit = _toml_value(value, _unit_of(name)), _unit_of(name)
        lines.append(f"{name} = {shown}" + (f"  # {unit}" if unit and '"' not in shown else ""))
    if provenance:
        lines += [
            "",
            "[provenance]",
            *(f"{_toml_key(name)} = {_toml_string(text)}" for name, text in provenance.items()),
        ]
    return "\n".join(lines) + "\n"


def junction_of(table: Mapping[str, Any]) -> MTJ:
    """Return the junction of a table: a preset or a device file with changes, or the fields of a device file.

    Parameters
    ----------
    table : mapping
        `preset` (a name) or `file` (a path), and the fields of `MTJ` that differ from it; or all the fields of a
        [device] or of an [effective] table. Quantities in SI, or as text with a unit.

    Raises
    ------
    ValueError, OSError
        As `load_preset`, `load_device` and `MTJ`; for an unknown field, and for both a preset and a file.

    Examples
    --------
    >>> junction_of({"preset": "arm_2021", "damping": 0.02}) == load_preset("arm_2021").replace(damping=0.02)
    True
    """
    fields = dict(table)
    origins = [name for name in ("preset", "file") if name in fields]
    if len(origins) == 2:
        raise ArgumentError("preset", "and file are two junctions: give one of them.")
    if not origins:
        return _from_effective(fields) if "thermal_stability" in fields else _from_fields(fields)
    origin = fields.pop(origins[0])
    if not isinstance(origin, str):
        raise ArgumentError(origins[0], f"must be a text, got {origin!r}.")
    device = load_preset(origin) if origins == ["preset"] else load_device(origin).device
    for name in fields:
        checked_choice("a field of the device", name, [*MTJ.model_fields, "preset", "file"])
    return device.replace(**{name: _read(name, value, _unit_of(name)) for name, value in fields.items()})


def parse_device(text: str, *, where: str) -> DeviceFile:
    """Build a junction from the text of a device file; `where` names it in errors (raised as in `load_device`)."""
    try:
        return _parsed(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{where}: not valid TOML: {error}") from None
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _parsed(content: dict[str, Any]) -> DeviceFile:
    for key in content:
        checked_choice("a top-level name", key, FILE_KINDS)
    for key, (kind, wanted) in FILE_KINDS.items():
        if not isinstance(content.get(key, kind()), kind):
            raise ValueError(f"{key} must be {wanted}, got {content[key]!r}.")
    if not all(isinstance(line, str) for line in content.get("not_modelled", [])):
        raise ValueError(f"not_modelled must be a list of texts, got {content['not_modelled']!r}.")
    if ("device" in content) == ("effective" in content):
        raise ValueError("needs exactly one of the tables [device] and [effective].")
    device = _from_fields(content["device"]) if "device" in content else _from_effective(content["effective"])
    return DeviceFile(
        device=device,
        title=content.get("title", ""),
        reference=content.get("reference", ""),
        not_modelled=tuple(content.get("not_modelled", ())),
        provenance=content.get("provenance", {}),
    )


def _from_fields(table: dict[str, Any]) -> MTJ:
    for name in table:
        checked_choice("a field of [device]", name, [*MTJ.model_fields, *STAND_IN_UNITS])
    fields = {name: _read(name, value, _unit_of(name)) for name, value in table.items()}
    _stand_in(
        fields,
        "anisotropy_field",
        effective_anisotropy_field,
        given=("interface_anisotropy",),
        shared=("saturation_magnetization", "diameter", "thickness"),
    )
    polarizer = fields.get("polarizer", (0.0, 0.0, 1.0))
    if "spin_hall_angle" in fields and isinstance(polarizer, tuple) and not any(polarizer[:2]):
        needed = f"a polarizer across the channel, in the plane, got {polarizer}. Give polarizer = [0, 1, 0]."
        raise ArgumentError("spin_hall_angle", f"needs {needed}")
    _stand_in(
        fields,
        "spin_torque_efficiency",
        spin_hall_efficiency,
        given=("spin_hall_angle", "channel_width", "channel_thickness"),
        shared=("diameter",),
    )
    return MTJ(**fields)


def _stand_in(
    fields: dict[str, Any], field: str, law: Callable[..., float], *, given: tuple[str, ...], shared: tuple[str, ...]
) -> None:
    """Replace the `given` entries, which `MTJ` does not have, by the `field` that follows from them and `shared`."""
    used = [name for name in given if name in fields]
    if not used:
        return
    if field in fields:
        raise ArgumentError(used[0], f"and {field} are two ways to declare one property: give one of them.")
    missing = [name for name in (*given, *shared) if name not in fields]
    if missing:
        raise ArgumentError(missing[0], f"is missing: {used[0]} needs it to give {field}.")
    fields[field] = law(**{name: fields[name] for name in (*given, *shared)})
    for name in given:
        del fields[name]


def _from_effective(table: dict[str, Any]) -> MTJ:
    required = ("thermal_stability", "critical_current", "characteristic_time")
    for name in required:
        if name not in table:
            raise ArgumentError(name, f"is missing from [effective]: it needs {', '.join(required)}.")
    for name in table:
        if name not in EFFECTIVE_UNITS:
            checked_choice("a field of [effective]", name, [*EFFECTIVE_UNITS, *MTJ.model_fields])
    taken = {"saturation_magnetization", "anisotropy_field", "spin_torque_efficiency", "resistance_area_product"}
    for name in sorted(taken & set(table)):
        raise ArgumentError(name, "follows from the effective parameters: leave it out, or use a [device] table.")
    return MTJ.from_effective(**{n: _read(n, v, EFFECTIVE_UNITS.get(n, _unit_of(n))) for n, v in table.items()})


def _read(name: str, value: Any, unit: str) -> Any:
    if isinstance(value, list) and name in ("stray_field", "polarizer"):
        return tuple(to_si(part, unit, name=name) for part in value)
    return to_si(value, unit, name=name)


def _unit_of(name: str) -> str:
    if name in STAND_IN_UNITS:
        return STAND_IN_UNITS[name]
    entry = MTJ.model_fields.get(name)
    extra = entry.json_schema_extra if entry else None
    return str(extra["unit"]) if isinstance(extra, dict) else ""


def _toml_value(value: float | tuple[float, ...], unit: str) -> str:
    """Return numbers as TOML: with the unit that the field uses, or in SI where that would change the last bit."""
    if isinstance(value, tuple):
        return f"[{', '.join(_toml_value(part, unit) for part in value)}]"
    shown, scale = SHOWN_IN.get(unit, (unit, 1.0))
    text = f"{value / scale:.15g}"
    if unit and value and float(f"{float(text) * scale:.15g}") == value:
        return f'"{text} {shown}"'
    return repr(value)


def _toml_string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")  # a JSON string is a TOML string


def _toml_key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml_string(name)


def _folder() -> Any:
    return files("mtjsim").joinpath("presets")
