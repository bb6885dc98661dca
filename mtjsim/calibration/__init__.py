"""A junction from measured write counts.

In the order of a fit: `measurement.py` counts and their CSV · `parameters.py` free parameters · `likelihood.py`
likelihood of the counts · `search.py` its maximum and profiles · `identifiability.py` combinations that the counts do
not determine · `fit.py` all of these in sequence, `calibrate` · `report.py` its result, `Calibration`.
"""
