"""A junction from measured write counts.

In the order of a fit: `measurement.py` counts and their CSV · `parameters.py` free parameters · `rates.py` error rates
of a table, with few solves · `likelihood.py` likelihood of the counts · `first_guess.py` starts from closed forms ·
`search.py` its maximum and profiles · `identifiability.py` combinations that the counts do not determine · `fit.py` all
of these in sequence, `calibrate` · `report.py` its result, `Calibration` · `curves.py`, `plots.py` its figure.
"""
