"""Options of a cell around the junction, which several verbs share."""

import argparse

from bnn.cli.typed import given, option_of
from bridge.cell.cell import CONNECTIONS, Cell
from bridge.cell.transistor import NODES, Transistor
from mtjsim.checks import ArgumentError
from mtjsim.device import MTJ

CELL_OPTIONS = ("supply_voltage", "word_line_voltage", "node", "connection", "differential", "max_area")
USUAL_NODE = "45nm_lop"
OF_A_CELL = "is of a cell: give --transistor-width 270nm and --supply-voltage 1.2V."


def add_cell(parser: argparse.ArgumentParser) -> None:
    """Add the options of a cell."""
    group = parser.add_argument_group(
        "a cell around the junction; all need --transistor-width, and voltages are then its supply's"
    )
    for name, metavar, text in (
        ("--transistor-width", "LENGTH", "width of the access transistor, as in 270nm"),
        ("--supply-voltage", "VOLTAGE", "supply of the write driver, as in 1.2V"),
        ("--word-line-voltage", "VOLTAGE", "gate voltage of the transistor; default: the supply voltage"),
        ("--node", "NODE", f"technology node of the transistor: {', '.join(NODES)}; default {USUAL_NODE}"),
        ("--connection", "NAME", f"layer on the transistor: {', '.join(CONNECTIONS)}; default {CONNECTIONS[0]}"),
    ):
        group.add_argument(name, metavar=metavar, help=text)
    group.add_argument(
        "--differential",
        action="store_true",
        default=None,
        help="store each bit in two junctions, one written each way",
    )


def in_a_cell(options: argparse.Namespace, device: MTJ) -> MTJ | Cell:
    """Put the junction behind the transistor that was typed, if any; ValueError if a part of the cell is missing."""
    if options.transistor_width is None:
        typed = [option_of(name) for name in CELL_OPTIONS if getattr(options, name, None) is not None]
        if typed:
            raise ArgumentError(typed[0], OF_A_CELL)
        return device
    if options.supply_voltage is None:
        raise ArgumentError("--supply-voltage", "is missing: a cell has a driver, as in --supply-voltage 1.2V.")
    node = options.node or USUAL_NODE
    volts = given(options, supply_voltage="V", word_line_voltage="V")
    width = given(options, transistor_width="m")["transistor_width"]
    if node in NODES and not width >= NODES[node][0]:
        narrowest = f"{NODES[node][0] * 1e9:g} nm, F of {node}"
        raise ArgumentError("--transistor-width", f"must be >= {narrowest}, got {width:g} m.")
    return Cell(
        device=device,
        transistor=Transistor.of_node(node, width=width),
        differential=bool(options.differential),
        **volts,
        **({} if options.connection is None else {"connection": options.connection}),
    )
