"""The origin of a die's cells; a die that was drawn for other cells or another write than a point's is refused."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mtjsim.checks import ArgumentError

if TYPE_CHECKING:
    from bridge.dies.die import Die
    from bridge.dies.faults import Process
    from bridge.write import OperatingPoint


def populations(process: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what the cells of a die were drawn from, as `Population.as_dict`, however often it was joined."""
    return [part["population"] for part in _parts(process) if part.get("population")]


def _parts(process: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the draws that were joined in a die; none of a die made by hand."""
    if "joined" in process:
        return [part for joined in process["joined"] for part in _parts(joined)]
    return [process] if process else []


def junction_of(drawn: Mapping[str, Any]) -> str:
    """Return the identity of the junction of a population."""
    return str(drawn.get("junction_identity") or drawn["device_identity"])


def named(layout: str, identity: str) -> str:
    """Name a cell or a bare junction in a message."""
    return f"a Cell {layout}, {identity[:12]}" if layout else f"a bare junction, {identity[:12]}"


def require_one_write(die: "Die", point: "OperatingPoint") -> None:
    """Raise ArgumentError if the cells of a die were drawn for other cells or another write than the point's.

    Points whose rates were given (no setting) fit any die of single junctions. With measured rates drawn cells are
    refused: they have rates of their own.
    """
    _require_one_write("die", die.process, point, drawn=die.cells is not None)


def require_dies_of_one_write(process: "Process", point: "OperatingPoint") -> None:
    """Raise ArgumentError as `require_one_write` would for every die of a process."""
    _require_one_write("process", process.as_dict(), point, drawn=process.population is not None)


def _require_one_write(argument: str, process: Mapping[str, Any], point: "OperatingPoint", *, drawn: bool) -> None:
    drawn_from = populations(process)
    if point.differential and any(not populations(part) for part in _parts(process)):
        reason = "a fault is of one junction of a pair, and a Process without a population draws faults of cells"
        raise ArgumentError(argument, f"must be of the pairs of the point: {reason}. Give it a Population of the Cell.")
    if not drawn or point.setting is None:
        return
    if drawn_from and not point.solved:
        reason = "drawn cells have rates of their own, and the measured ones would not be used"
        raise ArgumentError(argument, f"must be of faults alone for rates that were measured: {reason}.")
    ours = {"setting": point.setting.as_dict(), "temperature": point.temperature}
    rule = "must have cells that are written as the point's are, got"
    for origin in drawn_from:
        if origin["device_identity"] != point.device_identity or origin.get("layout", "") != point.layout:
            theirs = named(origin.get("layout", ""), origin["device_identity"])
            got = f"those of {theirs}, for {named(point.layout, point.device_identity)}"
            remedy = "Draw the die from a Population of what the point is of, the Cell or the junction"
            raise ArgumentError(argument, f"{rule} {got}. {remedy}.")
        for name, value in ours.items():
            if origin[name] != value:
                remedy = f"Draw the die from a Population with the point's {name}"
                raise ArgumentError(argument, f"{rule} {name} {origin[name]} for {value}. {remedy}.")


def require_one_junction(die: "Die", junction_identity: str) -> None:
    """Raise ArgumentError if the stabilities of the die's cells are around another junction than the retention's."""
    for drawn in populations(die.process):
        if junction_of(drawn) != junction_identity:
            rule = f"must be of the junction that the die was drawn around, {junction_of(drawn)[:12]}"
            raise ArgumentError("retention", f"{rule}, got {junction_identity[:12]}: use population.device.")
