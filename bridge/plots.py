"""Figures of maps, trade-offs, cells and dies, from the folders that draw them."""

from bridge.dies.plots import plot_die, plot_rate_distribution
from bridge.maps.plots import plot_energy_contours, plot_iso_error, plot_map, plot_map_cut, plot_measured_places
from bridge.search.plots import plot_area, plot_cell_currents, plot_energy_parts, plot_trade_off

__all__ = [
    "plot_area",
    "plot_cell_currents",
    "plot_die",
    "plot_energy_contours",
    "plot_energy_parts",
    "plot_iso_error",
    "plot_map",
    "plot_map_cut",
    "plot_measured_places",
    "plot_rate_distribution",
    "plot_trade_off",
]
