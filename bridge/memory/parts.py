"""The parts of one memory, write, read and retention: all of one junction or cell, else refused."""

from typing import TYPE_CHECKING

from bridge.dies.origin import named
from mtjsim.checks import ArgumentError

if TYPE_CHECKING:
    from bridge.memory.read import ReadPoint, Retention
    from bridge.write import OperatingPoint


def require_one_device(point: "OperatingPoint", reading: "ReadPoint | None", retention: "Retention | None") -> None:
    """Raise ArgumentError unless the parts of a memory are of one cell, or of one bare junction; names both.

    Rates that were given or measured fit anything. Writes and reads are at one temperature; cells may be left alone at
    another. At rest a circuit does not matter: the retention of a bare junction serves for its cell, pairs excepted.
    """
    if not point.solved:
        return
    ours, junction = named(point.layout, point.device_identity), point.junction_identity or point.device_identity
    if reading is not None and reading.device_identity:
        if reading.device_identity != point.device_identity:
            rule = f"must be of what the point is of, {ours}, got that of {reading.device_identity[:12]}"
            raise ArgumentError("reading", f"{rule}. Derive it with read_point({_remedy(point)}, ...).")
        if reading.temperature != point.temperature:
            rule = f"must be at the temperature of the point, {point.temperature:g} K, got {reading.temperature:g} K"
            raise ArgumentError("reading", f"{rule}: a memory has one at a time. Derive both at one temperature.")
    if retention is not None:
        if retention.junction.identity != junction:
            rule = f"must be of the junction of the point, {junction[:12]}, got {retention.junction.identity[:12]}"
            raise ArgumentError("retention", f"{rule}: use Retention({_remedy(point)}, ...).")
        if point.differential and not retention.pairs:
            raise ArgumentError("retention", f"must be of the pairs of the point, {ours}: use Retention(cell, ...).")


def _remedy(point: "OperatingPoint") -> str:
    return "cell" if point.layout else "device"
