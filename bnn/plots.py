"""Former path of `bnn/studies/plots.py`."""

from bnn.studies.plots import plot_energy_accuracy, png_of

__all__ = ["plot_energy_accuracy", "png_of"]
