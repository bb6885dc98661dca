"""Former path of `bnn/studies/curve.py`."""

from bnn.studies.curve import CurvePoint, EnergyAccuracyCurve, Interval, energy_accuracy_curve, over_networks

__all__ = ["CurvePoint", "EnergyAccuracyCurve", "Interval", "energy_accuracy_curve", "over_networks"]
