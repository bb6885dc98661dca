"""Former path of `bnn/studies/plots.py`."""

from bnn.studies.plots import plot_energy_accuracy
from mtjsim.plot_style import png_of

__all__ = ["plot_energy_accuracy", "png_of"]
